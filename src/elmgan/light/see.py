"""What the network sees of an image: in training, in counting and for the baseline the same."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from elmgan.images import Tile
from elmgan.light.grey import RGB, densities_of, glass_of, haematoxylin, with_gaps
from elmgan.light.no_data import data_of
from elmgan.light.normalise import NORMAL_QUARTILE, Cells, Grey, Normalisation, Stretch, densest

BLOCKS = 8
"""Along each side of an image, whose medians show how its background goes."""

BLOCK_PIXELS = 16
"""Along each side of a block that are looked at, or about twice as many."""

UNEVEN = 0.2
"""A background is uneven if its slope is more than this share of the span. Slopes of half the contrast and of all of it
have 0.3 and 0.5, median of 160 images of bbbc039, dsb2018 and bsst265.
"""

SMOOTH, ROUGH = 0.08, 0.15
"""An uneven background is levelled if its blocks are hardly farther off its slope than this share of it, and the image
is flagged if they are not, but within the second. Of 824 images of the known kinds, 5 are levelled and 6 flagged.
"""

CURVED = 0.5
"""A levelled image is flagged all the same if more than this share of the slope is a dome or a bowl."""

STRIP = 256
"""Rows that are levelled at a time."""

QUARTER, FAR_OFF = 0.25, 4
"""Share of a block's pixels that show its background; how many usual distances off the surface it may be."""

COLOUR_PIXELS = 2**14
"""Of colour, so many pixels show what it is."""

GROUND = 0.25
"""Under transmitted light hardly a pixel is darker in all colours than this share of the brightest; see
:func:`is_stained`. The images of dsb2018, nuinsseg and foreign have 0.28 to 0.97, merges and fluorescence 0 to 0.21.
"""

WHITISH = 0.3
"""Light that comes through glass has at least this share of its strongest colour in each; 0.43 in the least of 204
stained images. Fluorescence that is shown in one colour has none.
"""

COLOURED = 0.05, 0.25
"""A stain's densities for two colours differ by this much, and by this share of their mean."""

DARK = 0.25
"""The ground of each colour is darker than this share of what is bright."""

BLEED = 0.15
"""A colour that is weaker than this share of the strongest is another's that came through."""

DIFFERENT = 0.5
"""Two colours whose correlation is below this one show different things."""

PALETTE = 256
"""A grey image in false colours has no more of them."""


@dataclass(frozen=True)
class Seen:
    """A plane as the network sees it, once it is stretched."""

    grey: Grey
    """(row, column), levelled; pixels without data hold the background's value."""
    data: NDArray[np.bool_] | None
    """Which pixels hold data; None if all do."""
    box: Tile
    """The smallest rectangle that holds all data: the image as it was before a margin was put around it."""
    stretch: Stretch
    """What becomes of the grey values."""
    channel: int | str | None = None
    """The channel that was taken, or what colour was seen as; None of grey, and of colour seen as luminance."""
    remarks: tuple[str, ...] = ()
    """Flags that the light alone raises: ``debris``, ``merge``, ``uneven``."""
    stains: tuple[int, ...] = ()
    """Of a merge, the channels that show different things, from 1."""
    as_read: Grey | None = None
    """The channel before it was levelled, (row, column); pixels without data may be no numbers."""

    def part(self, window: Tile) -> tuple[Grey, NDArray[np.bool_] | None]:
        """Grey values of a part of what holds data, and which of its pixels do."""
        grey = np.ascontiguousarray(window.of(self.box.of(self.grey)))
        return grey, None if self.data is None else window.of(self.box.of(self.data))

    @property
    def normalised(self) -> NDArray[np.float32]:
        """The whole image as the network sees it."""
        return self.stretch(self.grey)


def see(
    image: NDArray, normalisation: Normalisation, *, channel: int | str | None = None, cells: Cells = "auto"
) -> Seen:
    """Reduce an image to what the network sees of it.

    - Colour becomes grey, or the channel is taken; see :func:`to_grey`. A stained slide under transmitted light is seen
      as the density of haematoxylin, unless a channel is named, or cells are said to be bright or dark.
    - Pixels without data take no part in anything, and are background; see :func:`data_of`.
    - A background that goes up or down smoothly is subtracted; see :func:`slope_of`.
    - Background, span and sign are found by the normalisation. Of haematoxylin, a density, cells are always bright.

    It remarks

    - ``debris``, where something reaches much farther than all else in few places,
    - ``merge``, of colour on a dark ground whose channels show different things, if none of them was chosen,
    - ``uneven``, of a background that is far from level and not smooth enough to be levelled, or that was levelled but
      may be a single large cell.

    Args:
        image: (row, column) or (row, column, channel), of any numeric type.
        normalisation: How grey values are stretched.
        channel: Number, from 1, or word; see :func:`to_grey`.
        cells: Whether cells are brighter or darker than the background in the image.

    Raises:
        ImageError: The image is not of a kind that can be counted; see :func:`to_grey`.

    >>> image = np.pad(np.random.default_rng(0).normal(100, 5, (60, 90)), 3)
    >>> seen = see(image, Normalisation())
    >>> abs(float(seen.normalised[0, 0])), float(abs(seen.normalised).max()) < 1
    (0.0, True)
    """
    image = np.asarray(image)
    grey = with_gaps(image, channel)
    data = data_of(grey)
    box = _box(data, grey.shape)
    holds = None if data is None else np.ascontiguousarray(box.of(data))
    holds = None if holds is None or holds.all() else holds
    stains: tuple[int, ...] = ()
    if channel is None and image.ndim == 3 and image.shape[2] == RGB:
        pixels = _colours(box.of(image), holds)
        if cells == "auto" and is_stained(pixels):
            channel = "haematoxylin"
            grey = np.zeros(grey.shape, np.float32)
            box.of(grey)[:] = haematoxylin(box.of(image), glass_of(pixels))
        else:
            stains = stains_in(pixels)
    inner = as_read = grey
    if data is not None:
        grey = grey.copy()
        grey[~data] = 0  # nothing of it is looked at
        inner = np.ascontiguousarray(box.of(grey))
    sign: Cells = "bright" if channel == "haematoxylin" else cells
    stretch = normalisation.stretch(inner, holds, sign)
    level, uneven = _levelled(inner, holds, stretch.span)
    if level is not inner:
        inner = level
        if data is None:
            grey = inner
        else:
            grey = grey.astype(np.float32)
            box.of(grey)[:] = inner
        stretch = normalisation.stretch(inner, holds, sign)
    found = {"debris": stretch.debris, "merge": bool(stains), "uneven": uneven}
    if data is not None:
        grey = np.where(data, grey, np.float32(stretch.centre))
    return Seen(
        grey, data, box, stretch, channel, tuple(name for name, present in found.items() if present), stains, as_read
    )


def _colours(colour: NDArray, data: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Give pixels with data on a regular grid, (pixel, RGB); none of a grey image that was saved as colour."""
    step = colour_step(colour.shape)
    return colours_in(colour[::step, ::step], None if data is None else data[::step, ::step])


def colour_step(shape: Sequence[int]) -> int:
    """Give the distance between the pixels of an image that show its colours, along rows and columns."""
    return max(1, round(math.sqrt(shape[0] * shape[1] / COLOUR_PIXELS)))


def colours_in(seen: NDArray, data: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Give the pixels with data among those that show an image's colours, (pixel, RGB); none of a grey one."""
    pixels = seen.reshape(-1, RGB)
    if data is not None:
        pixels = pixels[data.ravel()]
    if (pixels == pixels[:, :1]).all():
        pixels = pixels[:0]
    pixels = pixels.astype(np.float32)
    return np.asarray(pixels[np.isfinite(pixels).all(axis=1)])


def is_stained(pixels: NDArray[np.float32]) -> bool:
    """Tell whether pixels are of a stained slide under transmitted light: a bright ground, and colours upon it.

    Args:
        pixels: (pixel, RGB), finite; some thousands tell. Those of a grey image in one tint are not stained.

    >>> glass, stain = np.float32([240, 235, 238]), np.float32([0.65, 0.7, 0.29])
    >>> is_stained(glass * 10 ** -(np.linspace(0, 1, 50, dtype=np.float32)[:, np.newaxis] * stain))
    True
    >>> is_stained(glass * np.linspace(0.3, 1, 50, dtype=np.float32)[:, np.newaxis])
    False
    """
    if len(pixels) < 2:
        return False
    brightest = pixels.max(axis=1)
    dark, bright = np.percentile(brightest, (5, 99.5))
    glass = glass_of(pixels)
    if dark <= GROUND * bright or glass.min() <= WHITISH * glass.max():
        return False
    densities = densities_of(pixels, glass)
    mean, differ = np.percentile((np.abs(densities.mean(axis=1)), np.ptp(densities, axis=1)), 99, axis=1)
    return bool(differ > max(COLOURED[0], COLOURED[1] * mean))


def _box(data: NDArray[np.bool_] | None, shape: tuple[int, int]) -> Tile:
    if data is None:
        return Tile(0, 0, *shape)
    rows, columns = (np.flatnonzero(data.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    return Tile(top, left, int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left)


def _levelled(grey: Grey, data: NDArray[np.bool_] | None, span: float) -> tuple[Grey, bool]:
    """Subtract a background that is uneven and smooth; give the image, and whether it is uneven all the same.

    Twice, since a steep slope hides the background of the blocks that it crosses. What is mostly a dome or a bowl may
    be a single large cell: the image is called uneven then, too.
    """
    slope = slope_of(grey, data)
    if slope is None or not steep(slope, span):
        return grey, False
    if slope.rough > SMOOTH:
        return grey, True
    level = slope.taken_off(grey)
    rest = slope_of(level, data)
    return level if rest is None else rest.taken_off(level), slope.curved > CURVED


@dataclass(frozen=True)
class Slope:
    """How a background goes up and down."""

    terms: NDArray[np.floating]
    """Of a surface of second degree; see :func:`surface`."""
    height: float
    """Between the lowest and the highest block on it."""
    rough: float
    """Standard deviation of the blocks from it, as a share of the height."""

    @property
    def curved(self) -> float:
        """How high what is no plane of it is, as a share of the height."""
        return float(np.ptp(surface()[:, 3:] @ self.terms[3:])) / max(self.height, 1e-30)

    def at(self, shape: tuple[int, int], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
        """Give it, around its mean, at some rows and columns of an image of a shape; (row, column)."""
        # The middles of the outermost blocks, which are at -1 and 1, lie half a block inside the image.
        reach = BLOCKS / (BLOCKS - 1)
        ends = (reach - reach / side for side in shape)
        down, across = (np.linspace(-end, end, side) for end, side in zip(ends, shape, strict=True))
        _, *terms = self.terms.tolist()
        along_rows, along_columns = terms[0] * down + terms[2] * down**2, terms[1] * across + terms[4] * across**2
        mean = along_rows.mean() + along_columns.mean() + terms[3] * down.mean() * across.mean()
        surface = np.add.outer(along_rows[rows] - mean, along_columns[columns])
        surface += np.multiply.outer(terms[3] * down[rows], across[columns])
        return np.asarray(surface)

    def taken_off(self, grey: Grey) -> NDArray[np.float32]:
        """Subtract it, around its mean, from an image; (row, column)."""
        return self.taken_off_part(grey, grey.shape, Tile(0, 0, *grey.shape))

    def taken_off_part(self, grey: Grey, shape: tuple[int, int], tile: Tile) -> NDArray[np.float32]:
        """Subtract it from a part of an image of a shape."""
        level = np.empty(grey.shape, np.float32)
        columns = np.arange(tile.left, tile.left + tile.width)
        for first in range(0, len(grey), STRIP):
            some = slice(first, min(first + STRIP, len(grey)))
            surface = self.at(shape, np.arange(tile.top + some.start, tile.top + some.stop), columns)
            np.subtract(grey[some], surface, out=level[some], casting="unsafe")
        return level


def slope_of(grey: Grey, data: NDArray[np.bool_] | None = None) -> Slope | None:
    """Give how the background of an image goes up and down; None if nothing shows it.

    A surface of second degree is fitted to the backgrounds of 8 x 8 blocks, each the middle of the shortest interval
    that holds a quarter of the block's grey values. Blocks that are far off it, which cells fill, have no weight:
    Beaton & Tukey, The fitting of power series, Technometrics 16 (1974) 147.

    >>> ramp = np.tile(np.arange(160, dtype=np.float32), (80, 1))
    >>> slope = slope_of(ramp)
    >>> round(float(np.ptp(ramp - slope.taken_off(ramp)))), slope.rough < SMOOTH
    (159, True)
    """
    rows, columns = (slice(None, None, step) for step in block_steps(grey.shape))
    return slope_in(grey[rows, columns], None if data is None else data[rows, columns])


def steep(slope: Slope, span: float) -> bool:
    """Tell whether a background is far from level, given the span of an image."""
    return slope.height > UNEVEN * span > 0 and slope.rough <= ROUGH


def block_steps(shape: tuple[int, int]) -> list[int]:
    """Give the distances between the rows and the columns of an image that show its background."""
    return [max(1, side // (BLOCKS * BLOCK_PIXELS)) for side in shape]


def slope_in(seen: Grey, data: NDArray[np.bool_] | None) -> Slope | None:
    """Do what :func:`slope_of` does, given every so many rows and columns of an image; see :func:`block_steps`."""
    levels, places = _levels(seen, data)
    if len(levels) < 2 * places.shape[1] or np.ptp(levels) == 0:
        return None
    weights = np.ones(len(levels))
    for _ in range(8):
        terms = np.linalg.lstsq(places * weights[:, np.newaxis], levels * weights, rcond=None)[0]
        off = np.abs(levels - places @ terms)
        usual = float(np.median(off)) / NORMAL_QUARTILE
        weights = np.maximum(0, 1 - (off / max(FAR_OFF * usual, 1e-6 * np.ptp(levels))) ** 2)
        if np.count_nonzero(weights) < 2 * len(terms):
            return None
    height = float(np.ptp(places @ terms))
    return Slope(terms, height, usual / max(height, 1e-9 * float(np.ptp(levels))))


def _levels(seen: Grey, data: NDArray[np.bool_] | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the backgrounds of the blocks that are mostly data, and what a surface is made of at their places."""
    rows, columns = (side // BLOCKS for side in seen.shape)
    if not rows or not columns:
        return np.empty(0), surface()

    def in_blocks(pixels: NDArray) -> NDArray:
        cut = pixels[: BLOCKS * rows, : BLOCKS * columns].reshape(BLOCKS, rows, BLOCKS, columns)
        return cut.swapaxes(1, 2).reshape(BLOCKS**2, rows * columns)

    blocks = in_blocks(seen).astype(np.float32)
    if data is None:
        blocks.sort(axis=1)
        return _densest_of_rows(blocks, QUARTER), surface()
    held = in_blocks(data)
    whole = held.mean(axis=1) > 0.5
    levels = [densest(np.sort(block[of]), QUARTER, 0) for block, of in zip(blocks[whole], held[whole], strict=True)]
    return np.array(levels, np.float64), surface()[whole]


def _densest_of_rows(blocks: NDArray[np.float32], share: float) -> NDArray[np.float64]:
    """Do what :func:`densest` does, without rounding, with each row of sorted values."""
    length = round(share * (blocks.shape[1] - 1))
    widths = blocks[:, length:] - blocks[:, : blocks.shape[1] - length]
    shortest = widths <= widths.min(axis=1, keepdims=True)
    number, rows = np.cumsum(shortest, axis=1), np.arange(len(blocks))
    first, last = (np.argmax(number == wanted[:, np.newaxis], axis=1) for wanted in _middles(number[:, -1]))
    low, high = blocks[rows, first + length // 2], blocks[rows, last + (length + 1) // 2]
    return np.asarray((low.astype(np.float64) + high) / 2)


def _middles(number: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Of so many in a row, which are in the middle, from 1."""
    return (number - 1) // 2 + 1, number // 2 + 1


@cache
def surface() -> NDArray[np.float64]:
    """Give six terms of a surface of second degree at the places of all blocks; (block, term)."""
    down, across = (axis.ravel() for axis in np.mgrid[-1 : 1 : BLOCKS * 1j, -1 : 1 : BLOCKS * 1j])
    return np.stack([np.ones_like(down), down, across, down**2, down * across, across**2], axis=1)


def stains_in(pixels: NDArray[np.float32]) -> tuple[int, ...]:
    """Name the channels, from 1, that show different things on a dark ground; pixels are (pixel, RGB). None: ()."""
    if len(pixels) < 2:
        return ()
    in_order = np.sort(pixels, axis=0)
    ground = np.array([densest(np.ascontiguousarray(values), 0.25, 0) for values in in_order.T])
    lowest, bright = in_order[[len(pixels) // 200, -1 - len(pixels) // 200]]
    above = bright - ground
    shown = above > BLEED * above.max()
    if (ground - lowest > DARK * (bright - lowest).max()).any() or shown.sum() < 2:
        return ()
    seen = np.clip((pixels - ground)[:, shown] / above[shown], -1, 1.5)
    correlations = np.corrcoef(seen.T)
    if correlations.min() >= DIFFERENT or len(np.unique(pixels, axis=0)) <= PALETTE:
        return ()
    return tuple((np.flatnonzero(shown) + 1).tolist())
