"""Parts of an image: which pixels they hold, and how much of each value of a map of blocks they cover."""

from functools import reduce

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from elmgan.errors import UsageError

NO_CLUMP = 2
"""Cells in a piece of a mask up to which it is no clump: two that touch are none, nor a large one that counts more."""

ROWS = 1024
"""Of an image whose cells are added up at a time."""


def pixels_of(region: ArrayLike, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Give the pixels of a region of an image of this shape, true inside; (row, column).

    Args:
        region: A boolean array of the image's shape, or the vertices of a polygon, ``(vertex, 2)``, each (row, column)
            in pixels. The image's corners are (0, 0) and its shape, so that pixel (0, 0) has its centre at (0.5, 0.5);
            a pixel belongs to the polygon if its centre lies inside, by the even-odd rule. What lies beyond the image
            holds no pixels.
        shape: Rows and columns of the image.

    Raises:
        UsageError: It is neither.

    >>> pixels_of([(0, 0), (0, 2), (1, 2), (1, 0)], (2, 3)).astype(int)
    array([[1, 1, 0],
           [0, 0, 0]])
    """
    given = np.asarray(region)
    if given.dtype == np.bool_:
        if given.shape != shape:
            raise UsageError(f"the region has the shape {given.shape}, the image {shape}: both must be the same")
        return given
    if not np.issubdtype(given.dtype, np.number) or given.ndim != 2 or given.shape[1] != 2 or len(given) < 3:
        raise UsageError(
            f"a region is a boolean array of the image's shape {shape}, or three or more (row, column) vertices of a "
            f"polygon; found type {given.dtype} and shape {given.shape}"
        )
    vertices = given.astype(np.float64)
    if not np.isfinite(vertices).all():
        raise UsageError("a vertex of the region is NaN or infinite; give (row, column) in pixels")
    return _inside(vertices, shape)


def _inside(vertices: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill a polygon: in every row, each edge toggles the pixels whose centres lie right of it."""
    rows, columns = shape
    toggled = np.zeros((rows, columns + 1), np.bool_)
    centres = np.arange(rows) + 0.5
    for ends in zip(vertices, np.roll(vertices, -1, axis=0), strict=True):
        # From top to bottom, so that two polygons that share an edge round it alike and leave no pixel out.
        (top, left), (bottom, right) = sorted(ends, key=tuple)
        crossed = np.flatnonzero((top <= centres) & (centres < bottom))
        crossing = np.interp(centres[crossed], (top, bottom), (left, right))
        toggled[crossed, np.ceil(np.clip(crossing - 0.5, 0, columns)).astype(np.intp)] ^= True
    return np.logical_xor.accumulate(toggled[:, :-1], axis=1)


def covered_share(region: NDArray[np.bool_], stride: int) -> NDArray[np.float32]:
    """Give the share of each ``stride`` x ``stride`` block of pixels that is true, 0..1; a cut block's of what is left.

    >>> covered_share(np.array([[True, False, True], [True, False, True]]), stride=2)
    array([[0.5, 1. ]], dtype=float32)
    """
    heights, widths = (np.diff(np.append(np.arange(0, side, stride), side)) for side in region.shape)
    return np.asarray(pixels_in_blocks(region, stride) / np.outer(heights, widths), np.float32)


def pixels_in_blocks(region: NDArray[np.bool_], stride: int) -> NDArray[np.float32]:
    """Count the pixels of each ``stride`` x ``stride`` block that are true.

    >>> pixels_in_blocks(np.array([[True, False, True], [True, False, True]]), stride=2)
    array([[2., 2.]], dtype=float32)
    """
    missing = [(0, -side % stride) for side in region.shape]
    whole = np.pad(region, missing) if any(end for _, end in missing) else region
    numbers = whole.astype(np.uint8 if stride**2 < 2**8 else np.uint32)
    for axis in (0, 1):
        numbers = np.moveaxis(numbers, axis, 0)
        numbers = np.moveaxis(reduce(np.add, (numbers[k::stride] for k in range(stride))), 0, axis)
    return numbers.astype(np.float32)


def clumped_share(mask: NDArray[np.bool_], count_map: NDArray[np.float32], stride: int) -> float:
    """Give the share of the cells that lie in pieces of a mask with more than two of them; 0..1, 0 without cells.

    Args:
        mask: Where there is cell; (row, column).
        count_map: Cells per ``stride`` x ``stride`` pixels; all are on the mask.
        stride: Pixels along one side of a value of the count map; it divides 1024.

    >>> mask = np.array([[True] * 4 + [False] * 4 + [True] * 8])
    >>> clumped_share(mask, np.array([[1, 0, 1.5, 1.5]], np.float32), stride=4)
    0.75
    """
    number, pieces = cv2.connectedComponents(mask.view(np.uint8))
    density = count_map / np.maximum(pixels_in_blocks(mask, stride), 1)
    cells = np.zeros(number)
    for top in range(0, len(mask), ROWS):
        some = pieces[top : top + ROWS]
        each = density[top // stride : (top + ROWS) // stride].repeat(stride, axis=0).repeat(stride, axis=1)
        cells += np.bincount(some.ravel(), each[: some.shape[0], : some.shape[1]].ravel(), minlength=number)
    whole = float(cells[1:].sum())
    return float(cells[1:][cells[1:] > NO_CLUMP].sum()) / whole if whole > 0 else 0.0
