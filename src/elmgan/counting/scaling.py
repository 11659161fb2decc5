"""Images that the network sees smaller or larger than they are, and what it says of them at their own size again."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.errors import UsageError
from elmgan.images import Tile

COLUMNS = 4096
"""That are added up at a time."""

SMALLEST_SCALE, LARGEST_SCALE = 0.1, 10.0
"""Factors that are taken. Beyond them it is a slip of the finger that ends without memory."""


def check_scale(scale: float) -> None:
    """Refuse a factor that is no number from 0.1 to 10.

    Raises:
        UsageError: It is none.
    """
    if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        raise UsageError(
            f"scale is {scale:g}; expected {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}: 0.5 halves the image's sides"
        )


def scaled_shape(shape: tuple[int, int], scale: float) -> tuple[int, int]:
    """Rows and columns of an image that was scaled; at least 1 each.

    >>> scaled_shape((520, 3), 0.25)
    (130, 1)
    """
    rows, columns = (max(1, round(side * scale)) for side in shape)
    return rows, columns


def resize(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resize an image to this shape: mean values where it shrinks, linear where it grows."""
    if image.shape == shape:
        return image
    method = cv2.INTER_AREA if math.prod(shape) < image.size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, shape[::-1], interpolation=method))


def redistribute(
    count_map: NDArray[np.float32], scaled: tuple[int, int], shape: tuple[int, int], stride: int
) -> NDArray[np.float32]:
    """Give the count map of a scaled image for the image itself; the sum stays the same.

    Every value is spread over the pixels that it stands for, and these are added up again.

    Args:
        count_map: One value per ``stride`` x ``stride`` pixels of the scaled image.
        scaled: Rows and columns of the scaled image.
        shape: Rows and columns of the image.
        stride: Pixels along one side of a value, of both maps.

    >>> redistribute(np.array([[1, 2]], np.float32), (4, 8), (8, 16), stride=4)
    array([[0.25, 0.25, 0.5 , 0.5 ],
           [0.25, 0.25, 0.5 , 0.5 ]], dtype=float32)
    """
    if scaled == shape:
        return count_map
    return _spread(
        count_map,
        [(edges_of(was, stride) * (side / was), side) for was, side in zip(scaled, shape, strict=True)],
        stride,
    )


def placed(count_map: NDArray[np.float32], tile: Tile, shape: tuple[int, int], stride: int) -> NDArray[np.float32]:
    """Give the count map of a part of an image for the whole of it, which has nothing else; the sum stays the same.

    >>> placed(np.array([[4, 8]], np.float32), Tile(0, 2, height=4, width=8), (4, 12), stride=4)
    array([[2., 6., 4.]], dtype=float32)
    """
    begins, sides = (tile.top, tile.left), (tile.height, tile.width)
    edges = [begin + edges_of(side, stride) for begin, side in zip(begins, sides, strict=True)]
    return _spread(count_map, list(zip(edges, shape, strict=True)), stride)


def edges_of(side: int, stride: int) -> NDArray[np.signedinteger]:
    """Where the values of a map begin along a side, and where the last one ends."""
    return np.append(np.arange(0, side, stride), side)


def _spread(count_map: NDArray[np.float32], axes: Sequence[tuple[NDArray, int]], stride: int) -> NDArray[np.float32]:
    """Add up the values of a map, given where they begin and end along each axis, in a map of other sides."""
    (down, rows), (across, columns) = axes
    spread = spread_along(count_map, down, edges_of(rows, stride))
    return np.ascontiguousarray(spread_along(spread.T, across, edges_of(columns, stride)).T.astype(np.float32))


def spread_along(values: NDArray, before: NDArray, after: NDArray) -> NDArray[np.float64]:
    """Give what of each row's values, spread evenly between its edges, falls between other edges; the first axis.

    Args:
        values: (row, column).
        before: Where the rows begin, in order, and where the last one ends.
        after: Where the rows of the result begin, and where the last one ends. What lies beyond the others is 0.

    >>> spread_along(np.array([[4.0], [8.0]]), np.array([0, 4, 8]), np.array([2, 6])).tolist()
    [[6.0]]
    """
    sums = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, dtype=np.float64, out=sums[1:])
    place = np.interp(after, before, np.arange(len(before)))
    below = np.minimum(place.astype(int), len(values) - 1)
    share = (place - below)[:, np.newaxis]
    return np.asarray(np.diff(sums[below] * (1 - share) + sums[below + 1] * share, axis=0))


def resize_rows(
    rows: NDArray[np.float32], first: int, shape: tuple[int, int], to: tuple[int, int], wanted: range
) -> NDArray[np.float32]:
    """Give some rows of what :func:`resize` makes of an image, from some of its rows.

    Args:
        rows: Of the image, all that are needed; see :func:`rows_for`.
        first: Number of the first one.
        shape: Of the image.
        to: The shape that the image is resized to.
        wanted: The rows that are wanted.

    >>> image = np.random.default_rng(0).random((50, 40), np.float32)
    >>> part = resize_rows(image[9:31], 9, image.shape, (30, 24), range(6, 18))
    >>> bool(np.allclose(part, resize(image, (30, 24))[6:18], atol=1e-6))
    True
    """
    if shape == to:
        return rows[wanted.start - first : wanted.stop - first]
    shrinks, ratio = math.prod(to) < math.prod(shape), shape[0] / to[0]
    narrow = cv2.resize(
        rows, (to[1], len(rows)), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    ).reshape(len(rows), to[1])
    if shrinks:
        edges = np.minimum(np.arange(wanted.start, wanted.stop + 1) * ratio, shape[0]) - first
        mean = np.empty((len(wanted), to[1]), np.float32)
        for left in range(0, to[1], COLUMNS):  # the sums of a wide image would take much memory
            some = np.s_[:, left : left + COLUMNS]
            mean[some] = spread_along(narrow[some], np.arange(len(rows) + 1), edges) / np.diff(edges)[:, np.newaxis]
        return mean
    place = np.clip((np.arange(wanted.start, wanted.stop) + 0.5) * ratio - 0.5, 0, shape[0] - 1)
    below = np.minimum(place.astype(int), max(shape[0] - 2, 0))
    share = (place - below).astype(np.float32)[:, np.newaxis]
    above = np.minimum(below + 1, shape[0] - 1)
    return np.asarray(narrow[below - first] * (1 - share) + narrow[above - first] * share)


def rows_for(shape: tuple[int, int], to: tuple[int, int], wanted: range) -> range:
    """Give the rows of an image from which some rows of the resized image are made.

    >>> rows_for((50, 40), (30, 24), range(6, 18)), rows_for((30, 24), (50, 40), range(10, 30))
    (range(9, 31), range(5, 19))
    """
    ratio, rows = shape[0] / to[0], shape[0]
    first, last = math.floor(wanted.start * ratio) - 1, math.ceil(wanted.stop * ratio) + 1
    return range(min(max(0, first), rows), min(rows, last))
