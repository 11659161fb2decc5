"""Images of any size through a network of bounded reach: tiles are read with a halo, and their inner parts are kept."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elmgan.images import Tile

Maps = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Probability and count map."""

Band = tuple[int, NDArray[np.float32], NDArray[np.float32]]
"""Number of the first row, probability and count map of some whole rows."""

Predict = Callable[[Tile], Maps]
"""Tile of an image -> its (row, column) probability and its (row / stride, column / stride) count map."""


def tiles_of(shape: tuple[int, int], tile: tuple[int, int]) -> list[Tile]:
    """Tiles of at most so many rows and columns that cover each pixel of an image of (rows, columns) once.

    >>> tiles_of((10, 4), tile=(8, 8))
    [Tile(top=0, left=0, height=8, width=4), Tile(top=8, left=0, height=2, width=4)]
    """
    (rows, columns), (height, width) = shape, tile
    return [
        Tile(top, left, min(height, rows - top), min(width, columns - left))
        for top in range(0, rows, height)
        for left in range(0, columns, width)
    ]


def even(length: int, most: int, grid: int) -> int:
    """Side of as few tiles of at most ``most`` as a length takes, with no last one that is much smaller.

    ``most`` and the result are multiples of ``grid``.

    >>> even(100, 64, 4), even(60, 64, 4)
    (52, 60)
    """
    return math.ceil(length / math.ceil(length / most) / grid) * grid


@dataclass(frozen=True)
class Tiling:
    """How an image is cut into pieces of at most ``tile + 2 * halo``, from which it can be put together again.

    All pieces have one shape, as engines like it: what lies at the edge sees more of the other side.

    Attributes:
        shape: Rows and columns of the image; multiples of ``grid``, as ``tile`` and ``halo`` are.
        tile: Side of a piece without its halo, at most.
        halo: Pixels around it.
        stride: Pixels along one side of a value of the count map.
        grid: Of the network.
        pixels: Of a band, at most, if that is one row of tiles of ``grid`` at least.
    """

    shape: tuple[int, int]
    tile: int
    halo: int
    stride: int
    grid: int
    pixels: int = 1 << 62

    @property
    def height(self) -> int:
        """Rows of a band; the last one has as many as are left."""
        rows, columns = self.shape
        return even(rows, min(self.tile, max(self.grid, self.pixels // columns // self.grid * self.grid)), self.grid)

    def band(self, predict: Predict, top: int) -> Band:
        """Give what ``predict`` gives of a band of whole rows, from pieces that come from left to right.

        It is what it gives for the whole image, up to rounding, if it decides an output pixel by at most ``halo``
        pixels around it.

        Args:
            predict: Runs the network on a piece.
            top: The band's first row.
        """
        (rows, columns), halo, stride, height = self.shape, self.halo, self.stride, self.height
        width = even(columns, self.tile, self.grid)
        most = min(height + 2 * halo, rows), min(width + 2 * halo, columns)
        band = Tile(top, 0, min(height, rows - top), columns)
        probability = np.empty((band.height, columns), dtype=np.float32)
        count_map = np.empty((band.height // stride, columns // stride), dtype=np.float32)
        for inner in tiles_of((band.height, columns), (band.height, width)):
            first, left = max(top - halo, 0), max(inner.left - halo, 0)
            window = Tile(min(first, rows - most[0]), min(left, columns - most[1]), *most)
            window_probability, window_count_map = predict(window)
            seen = Tile(top, inner.left, inner.height, inner.width).within(window)
            inner.of(probability)[:] = seen.of(window_probability)
            inner.reduced(stride).of(count_map)[:] = seen.reduced(stride).of(window_count_map)
        return top, probability, count_map


def assembled(bands: Iterable[Band], shape: tuple[int, int], stride: int) -> Maps:
    """Put bands together to the maps of an image of (rows, columns)."""
    probability = np.empty(shape, dtype=np.float32)
    count_map = np.empty([-(-side // stride) for side in shape], dtype=np.float32)
    for top, band, counts in bands:
        probability[top : top + len(band)] = band
        count_map[top // stride : top // stride + len(counts)] = counts
    return probability, count_map
