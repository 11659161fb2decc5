"""What the network sees of an image: in training, in counting and for the baseline the same."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from elmgan.images import Tile
from elmgan.light.grey import with_gaps
from elmgan.light.no_data import data_of
from elmgan.light.normalise import Cells, Grey, Normalisation, Stretch, densest

BLOCKS = 8
"""Along each side of an image, whose medians show how its background goes."""

BLOCK_PIXELS = 16
"""Along each side of a block that are looked at, or about twice as many."""

UNEVEN, FLAT = 0.2, 0.05
"""A background is uneven if its slope is more than this share of the span, and its blocks are hardly farther off it
than this share of the slope. Slopes of half the contrast and of all of it have 0.25 and 0.41 of the span, median of
bbbc039 and dsb2018; as these are, no image is called uneven.
"""

MERGED_PIXELS = 2**14
"""A merge shows itself in so many pixels."""

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
    """(row, column); pixels without data hold the background's value."""
    data: NDArray[np.bool_] | None
    """Which pixels hold data; None if all do."""
    box: Tile
    """The smallest rectangle that holds all data: the image as it was before a margin was put around it."""
    stretch: Stretch
    """What becomes of the grey values."""
    remarks: tuple[str, ...] = ()
    """Flags that the light alone raises: ``merge``, ``uneven``."""

    @property
    def normalised(self) -> NDArray[np.float32]:
        """The whole image as the network sees it."""
        return self.stretch(self.grey)


def see(
    image: NDArray, normalisation: Normalisation, *, channel: int | str | None = None, cells: Cells = "auto"
) -> Seen:
    """Reduce an image to what the network sees of it.

    - Colour becomes grey, or the channel is taken; see :func:`to_grey`.
    - Pixels without data take no part in anything, and are background; see :func:`data_of`.
    - Background, span and sign are found by the normalisation. Of haematoxylin, a density, cells are always bright.
    - ``merge`` is remarked of colour on a dark ground whose channels show different things, if none of them was chosen,
      and ``uneven`` of a background that is far from level.

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
    inner, holds = grey, None
    if data is not None:
        grey = grey.copy()
        grey[~data] = 0  # nothing of it is looked at
        inner, holds = (np.ascontiguousarray(box.of(each)) for each in (grey, data))
        holds = None if holds.all() else holds
    stretch = normalisation.stretch(inner, holds, "bright" if channel == "haematoxylin" else cells)
    found = {
        "uneven": slope_of(inner, holds) > UNEVEN * stretch.span > 0,
        "merge": channel is None and image.ndim == 3 and image.shape[2] == 3 and _is_merge(box.of(image)),
    }
    if data is not None:
        grey = np.where(data, grey, np.float32(stretch.centre))
    return Seen(grey, data, box, stretch, tuple(name for name, present in found.items() if present))


def _box(data: NDArray[np.bool_] | None, shape: tuple[int, int]) -> Tile:
    if data is None:
        return Tile(0, 0, *shape)
    rows, columns = (np.flatnonzero(data.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    return Tile(top, left, int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left)


def slope_of(grey: Grey, data: NDArray[np.bool_] | None = None) -> float:
    """Measure how far the background of an image goes up or down, in grey values; 0 where it does not do so smoothly.

    A surface of second degree is fitted to the medians of 8 x 8 blocks, those that are off it weighing less.

    >>> ramp = np.tile(np.arange(160, dtype=np.float32), (80, 1))
    >>> round(slope_of(ramp)), slope_of(ramp % 40)
    (140, 0.0)
    """
    levels, places = _levels(grey, data)
    if len(levels) < 2 * len(places[0]) or np.ptp(levels) == 0:
        return 0
    weights = np.ones(len(levels))
    for _ in range(5):
        surface = places @ np.linalg.lstsq(places * weights[:, np.newaxis], levels * weights, rcond=None)[0]
        off = np.abs(levels - surface)
        usual = float(np.median(off)) / 0.6745
        weights = (1 / np.maximum(1, off / max(2 * usual, 1e-6 * np.ptp(levels)))) ** 0.5
    slope = float(np.ptp(surface))
    return slope if usual <= FLAT * slope else 0.0


def _levels(grey: Grey, data: NDArray[np.bool_] | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the medians of the blocks that are mostly data, and what a surface is made of at their places."""
    steps = [max(1, side // (BLOCKS * BLOCK_PIXELS)) for side in grey.shape]
    seen = grey[:: steps[0], :: steps[1]]
    rows, columns = (side // BLOCKS for side in seen.shape)
    if not rows or not columns:
        return np.empty(0), _surface()

    def in_blocks(pixels: NDArray) -> NDArray:
        cut = pixels[: BLOCKS * rows, : BLOCKS * columns].reshape(BLOCKS, rows, BLOCKS, columns)
        return cut.swapaxes(1, 2).reshape(BLOCKS**2, rows * columns)

    blocks = in_blocks(seen)
    if data is None:
        middle = blocks.shape[1] // 2
        return np.partition(blocks, middle, axis=1)[:, middle].astype(np.float64), _surface()
    held = in_blocks(data[:: steps[0], :: steps[1]])
    whole = held.mean(axis=1) > 0.5
    levels = [float(np.median(block[of])) for block, of in zip(blocks[whole], held[whole], strict=True)]
    return np.array(levels, np.float64), _surface()[whole]


@cache
def _surface() -> NDArray[np.float64]:
    """Six terms of a surface of second degree at the places of all blocks."""
    down, across = (axis.ravel() for axis in np.mgrid[-1 : 1 : BLOCKS * 1j, -1 : 1 : BLOCKS * 1j])
    return np.stack([np.ones_like(down), down, across, down**2, down * across, across**2], axis=1)


def _is_merge(colour: NDArray) -> bool:
    """Tell whether red, green and blue on a dark ground show different things."""
    step = max(1, round((colour.shape[0] * colour.shape[1] / MERGED_PIXELS) ** 0.5))
    pixels = colour[::step, ::step].reshape(-1, 3)
    if (pixels == pixels[:, :1]).all():  # grey saved as colour
        return False
    pixels = pixels.astype(np.float32)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    if len(pixels) < 2:
        return False
    in_order = np.sort(pixels, axis=0)
    ground = np.array([densest(np.ascontiguousarray(values), 0.25, 0) for values in in_order.T])
    lowest, bright = in_order[[len(pixels) // 200, -1 - len(pixels) // 200]]
    above = bright - ground
    shown = above > BLEED * above.max()
    if (ground - lowest > DARK * (bright - lowest).max()).any() or shown.sum() < 2:
        return False
    seen = np.clip((pixels - ground)[:, shown] / above[shown], -1, 1.5)
    correlations = np.corrcoef(seen.T)
    if correlations.min() >= DIFFERENT:
        return False
    return len(np.unique(pixels, axis=0)) > PALETTE
