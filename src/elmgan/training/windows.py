"""Windows: the part of an example that one step sees, placed, turned, zoomed and changed in its grey values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self, overload

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from elmgan.data import Example
from elmgan.nn.loss import Known, Targets
from elmgan.training.config import WINDOW_GRID, Augmentation, DataOptions

SHADES = 4
"""Bumps of a window's shading along each side."""

UNKNOWN = np.full((1, 1), np.nan, np.float32)
"""The totals of a window's squares where they are not known."""


@dataclass(frozen=True)
class Window:
    """What a step sees of one example; all arrays are (row, column) of the window.

    Attributes:
        image: Normalised; 0, the background's value, beyond the image.
        mask: 1 cell, 0 background; NaN where it is not known: all over, or in parts of a mosaic.
        seen: 1 on the image, 0 beyond.
        core: 1 where cells are counted: on the image, but not in the margin of a window that ends inside the image.
        total: Cells in the core; NaN when it is not known.
        squares: Cells in the core's part of each square of a grid on the window, (row, column) of the grid; a single
            NaN when ``data.squares`` does not ask for them, or they are not known.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.float32]
    seen: NDArray[np.float32]
    core: NDArray[np.float32]
    total: float
    squares: NDArray[np.float32]


@dataclass(frozen=True)
class Windows(Sequence[Window]):
    """Windows of one size as one array for each of their parts, (n, row, column), and (n,) for the totals.

    Attributes:
        known: How many there are of what is known.
        masked: Numbers of those with a mask.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.float32]
    seen: NDArray[np.float32]
    core: NDArray[np.float32]
    total: NDArray[np.float32]
    squares: NDArray[np.float32]
    known: Known
    masked: NDArray[np.int64]

    @classmethod
    def of(cls, windows: Sequence[Window]) -> Self:
        """Stack windows, one or more."""
        image, mask, seen, core, total, squares = (
            # In one order, also where windows were transposed: a compiled step is one for each order.
            np.ascontiguousarray(np.stack([getattr(each, part.name) for each in windows], dtype=np.float32))
            for part in fields(Window)
        )
        targets = targets_of(mask, seen, core, total, squares)
        masked = np.flatnonzero(targets.masked.numpy())
        return cls(image, mask, seen, core, total, squares, targets.known(), masked)

    @property
    def targets(self) -> Targets:
        """The same memory as a loss takes it."""
        return targets_of(self.mask, self.seen, self.core, self.total, self.squares)

    def __len__(self) -> int:
        return len(self.image)

    @overload
    def __getitem__(self, k: int) -> Window: ...

    @overload
    def __getitem__(self, k: slice) -> list[Window]: ...

    def __getitem__(self, k: int | slice) -> Window | list[Window]:
        if isinstance(k, slice):
            return [self[n] for n in range(len(self))[k]]
        return Window(*(getattr(self, part.name)[k] for part in fields(Window)))


def targets_of(
    mask: NDArray[np.float32],
    seen: NDArray[np.float32],
    core: NDArray[np.float32],
    total: NDArray[np.float32],
    squares: NDArray[np.float32],
) -> Targets:
    """Show the parts of stacked windows as a loss takes them."""
    maps = [torch.from_numpy(part[:, np.newaxis]) for part in (mask, seen, core)]
    return Targets(maps[0], maps[1], maps[2], torch.from_numpy(total), torch.from_numpy(squares))


@dataclass(frozen=True)
class Placement:
    """Where a window lies on an image that was turned and zoomed.

    Attributes:
        to_window: 2x3 matrix from (column, row) of the image to (column, row) of the window.
        size: Rows and columns of the window.
        seen: Rows and columns of the window that lie on the image.
        core: Those of them in which cells are counted.
    """

    to_window: NDArray[np.float64]
    size: tuple[int, int]
    seen: tuple[slice, slice]
    core: tuple[slice, slice]


def draw_window(
    example: Example,
    data: DataOptions,
    augmentation: Augmentation,
    *,
    multiple: int,
    zoom: float | None = None,
    rng: np.random.Generator,
) -> Window:
    """Draw a random window of an example: a tile, or the whole image where :func:`tile_side` says so.

    Args:
        example: Image and annotation.
        data: Size, margin and overhang of tiles.
        augmentation: Turns, zoom and grey value changes.
        multiple: The sides of a whole image's window are multiples of this.
        zoom: Window pixels per image pixel; drawn when ``None``.
        rng: Decides everything drawn.

    Returns:
        The window; a whole image lies at its top left.
    """
    zoom = draw_zoom(augmentation, rng=rng) if zoom is None else zoom
    tile = tile_side(example, data)
    placement = place(example.image.shape, tile, data, augmentation.flips, zoom=zoom, multiple=multiple, rng=rng)
    image = warp(example.image, placement, cv2.INTER_LINEAR)
    seen, core = np.zeros((2, *placement.size), np.float32)
    seen[placement.seen] = core[placement.core] = 1
    if example.regions is None:
        mask = np.full(placement.size, np.nan, np.float32)
    else:
        mask = (warp(example.regions, placement, cv2.INTER_NEAREST) > 0).astype(np.float32)
    squares = UNKNOWN
    if tile is None or example.regions is None or example.shares is None:
        total = math.nan if example.total is None else example.total
    else:
        totals = totals_in_core(placement, data.squares or tile, example.regions, example.shares)
        total = float(totals.sum())
        squares = totals if data.squares else squares
    image = change_grey_values(image, augmentation, rng=rng) * seen
    return Window(image, mask, seen, core, total, squares)


def tile_side(example: Example, data: DataOptions) -> int | None:
    """Give the side of an example's windows in pixels, ``None`` when it is seen whole.

    Without known shares a tile shows no total of its own, so an example with a total is then seen whole whatever
    ``data.tile`` is.
    """
    return None if example.shares is None and example.total is not None else data.tile


def padded_size(shape: tuple[int, ...], multiple: int) -> tuple[int, int]:
    """Round both sides up to a multiple."""
    return -(-shape[0] // multiple) * multiple, -(-shape[1] // multiple) * multiple


def draw_zoom(augmentation: Augmentation, *, rng: np.random.Generator) -> float:
    """Draw window pixels per image pixel: enlarging and shrinking by a factor are as likely, the middle likeliest."""
    low, high = np.log(augmentation.zoom)
    return float(np.exp(low + (high - low) * rng.random(2).mean()))


def place(
    shape: tuple[int, ...],
    tile: int | None,
    data: DataOptions,
    flips: bool,
    *,
    zoom: float,
    multiple: int,
    rng: np.random.Generator,
) -> Placement:
    """Draw where a tile lies, or with ``tile`` None how a whole image is turned."""
    transpose, flip_rows, flip_columns = rng.random(3) < 0.5 if flips else (False, False, False)
    # Whole images keep their shape: a batch of them needs no padding, and the pooled count head takes no other.
    transpose = transpose and (tile is not None or shape[0] == shape[1])
    turned = shape[:2][::-1] if transpose else shape[:2]
    rows, columns = round(turned[0] * zoom), round(turned[1] * zoom)
    if tile is None:
        size = padded_size((rows, columns), multiple)
        top = left = 0
    else:
        size = (tile, tile)
        top, left = (draw_start(side, tile, data.overhang, rng=rng) for side in (rows, columns))
    # Image pixel centres lie at whole numbers; turns and zoom act about the image's corner at -0.5.
    matrix = np.eye(3)
    matrix[:2, 2] = 0.5
    if transpose:
        matrix = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]) @ matrix
    # To whole numbers of pixels, so that the image's border lies between pixels of the window, too.
    matrix = np.diag([columns / turned[1], rows / turned[0], 1.0]) @ matrix
    if flip_columns:
        matrix = np.array([[-1.0, 0, columns], [0, 1, 0], [0, 0, 1]]) @ matrix
    if flip_rows:
        matrix = np.array([[1.0, 0, 0], [0, -1, rows], [0, 0, 1]]) @ matrix
    matrix[0, 2] -= left + 0.5
    matrix[1, 2] -= top + 0.5
    seen_rows, core_rows = overlap(rows, top, size[0], data.margin)
    seen_columns, core_columns = overlap(columns, left, size[1], data.margin)
    return Placement(matrix[:2], size, (seen_rows, seen_columns), (core_rows, core_columns))


def overlap(side: int, start: int, length: int, margin: int) -> tuple[slice, slice]:
    """Give the pixels of a window along one side that lie on the image, and those of them that are in the core.

    >>> overlap(100, 60, 64, margin=16)  # begins inside the image, and ends beyond it
    (slice(0, 40, None), slice(16, 40, None))
    """
    first, last = max(0, -start), min(length, side - start)
    first_counted = first + (margin if start > 0 else 0)
    last_counted = last - (margin if start + length < side else 0)
    return slice(first, last), slice(first_counted, max(first_counted, last_counted))


def draw_start(side: int, tile: int, overhang: int, *, rng: np.random.Generator) -> int:
    """Draw where a tile starts along a side: on the image, or in half the draws up to ``overhang`` beyond its ends.

    At least one pixel of the image lies in the tile.
    """
    beyond = min(overhang, side - 1, tile - 1) if rng.random() < 0.5 else 0
    first = min(0, side - tile) - beyond
    last = max(0, side - tile) + beyond
    start = int(rng.integers(first, last + 1))
    # Before the image, the core begins where the image does, and has to begin on the grid of the count maps.
    return start if start > 0 else -(-start // WINDOW_GRID * WINDOW_GRID)


def totals_in_core(
    placement: Placement, side: int, regions: NDArray[np.uint16], shares: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Sum the shares of an image's cells over the core's part in each square of a grid on the window.

    They are summed in the image itself, where a pixel at a square's edge counts by its part inside. In the window the
    nearest neighbours of a zoom near 1 change areas, and with them what a small cell counts, by ten per cent and more.

    Args:
        placement: Of the window.
        side: Of the squares, window pixels; divides the window's sides.
        regions: As in the example.
        shares: As in the example.

    Returns:
        Cells, (row, column) of the grid.
    """
    ends = [
        np.clip(np.arange(0, length + 1, side), core.start, core.stop)
        for length, core in zip(placement.size, placement.core, strict=True)
    ]
    inverse = cv2.invertAffineTransform(placement.to_window)
    # Rows of the image come from columns of the window when it is transposed.
    transposed = abs(inverse[0, 0]) < abs(inverse[0, 1])
    columns_of, rows_of = ends if transposed else ends[::-1]
    # The matrix takes pixel centres to be at whole numbers, and the edges of pixels half a pixel before.
    slope_column, slope_row = inverse[0, int(transposed)], inverse[1, int(not transposed)]
    columns, column_parts = covered((columns_of - 0.5) * slope_column + inverse[0, 2] + 0.5, regions.shape[1])
    rows, row_parts = covered((rows_of - 0.5) * slope_row + inverse[1, 2] + 0.5, regions.shape[0])
    totals = row_parts @ shares[regions[rows, columns]] @ column_parts.T
    return np.asarray(totals.T if transposed else totals, np.float32)


def covered(ends: NDArray[np.float64], side: int) -> tuple[slice, NDArray[np.float32]]:
    """Give the pixels between places on a side, in order or against it, and the part of each between two in a row.

    >>> covered(np.array([4.5, 2.25, 2.25]), 8)
    (slice(2, 5, None), array([[0.75, 1.  , 0.5 ],
           [0.  , 0.  , 0.  ]], dtype=float32))
    """
    ends = np.clip(ends, 0, side)
    first, last = math.floor(ends.min()), math.ceil(ends.max())
    low, high = (end(ends[:-1], ends[1:])[:, np.newaxis] for end in (np.minimum, np.maximum))
    pixels = np.arange(first, last)
    parts = np.minimum(pixels + 1, high) - np.maximum(pixels, low)
    return slice(first, last), parts.clip(0).astype(np.float32)


def warp(array: NDArray, placement: Placement, interpolation: int) -> NDArray:
    """Give the window's view of an image, 0 beyond it."""
    return cv2.warpAffine(array, placement.to_window, placement.size[::-1], flags=interpolation, borderValue=0)


def change_grey_values(
    image: NDArray[np.float32], augmentation: Augmentation, *, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Change contrast, background, sharpness, noise and polarity at random."""
    gain, offset = rng.uniform(*augmentation.gain), rng.uniform(-augmentation.offset, augmentation.offset)
    if augmentation.gamma != (1, 1):
        low, high = augmentation.gamma
        power = np.exp(rng.uniform(np.log(low), np.log(high)))
        image = np.copysign(np.abs(image) ** np.float32(power), image)
    image = image * np.float32(gain) + np.float32(offset)
    if augmentation.shading and rng.random() < 0.5:
        bumps = rng.standard_normal((SHADES, SHADES), np.float32) * np.float32(rng.uniform(0, augmentation.shading))
        image = image + cv2.resize(bumps, image.shape[::-1], interpolation=cv2.INTER_CUBIC)
    if augmentation.blur and rng.random() < 0.3:
        image = blurred(image, augmentation.blur * rng.uniform(0.25, 1))
    if augmentation.noise and rng.random() < 0.5:
        noise = rng.standard_normal(image.shape, np.float32)
        if rng.random() < 0.5:  # grain of several pixels, of the same deviation: a blur of 1 divides it by 2 sqrt(pi)
            noise = blurred(noise, 1.0) * np.float32(2 * np.sqrt(np.pi))
        image = image + noise * np.float32(rng.uniform(0, augmentation.noise))
    if rng.random() < augmentation.invert:
        image = -image
    return image


def blurred(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Blur with a Gaussian of a standard deviation in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def mosaic(parts: list[Window], *, multiple: int) -> Window:
    """Glue windows of whole images into one, without gaps: two side by side, four two by two.

    Args:
        parts: An even number of windows of one size, each filled by its image.
        multiple: The sides of the mosaic are multiples of this; it is padded with 0 at bottom and right.

    Returns:
        A window with the sum of the totals; NaN when one of them is.
    """

    def glued(name: str) -> NDArray[np.float32]:
        arrays = [getattr(part, name) for part in parts]
        whole = np.block([arrays[first : first + 2] for first in range(0, len(arrays), 2)])
        rows, columns = padded_size(whole.shape, multiple)
        return np.pad(whole, ((0, rows - whole.shape[0]), (0, columns - whole.shape[1])))

    total = sum(part.total for part in parts)
    return Window(glued("image"), glued("mask"), glued("seen"), glued("core"), total, UNKNOWN)
