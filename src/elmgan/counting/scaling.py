"""Images that the network sees smaller or larger than they are, and what it says of them at their own size again."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.errors import UsageError
from elmgan.images import Tile

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
        count_map, [(_edges(was, stride) * (side / was), side) for was, side in zip(scaled, shape, strict=True)], stride
    )


def placed(count_map: NDArray[np.float32], tile: Tile, shape: tuple[int, int], stride: int) -> NDArray[np.float32]:
    """Give the count map of a part of an image for the whole of it, which has nothing else; the sum stays the same.

    >>> placed(np.array([[4, 8]], np.float32), Tile(0, 2, height=4, width=8), (4, 12), stride=4)
    array([[2., 6., 4.]], dtype=float32)
    """
    begins, sides = (tile.top, tile.left), (tile.height, tile.width)
    edges = [begin + _edges(side, stride) for begin, side in zip(begins, sides, strict=True)]
    return _spread(count_map, list(zip(edges, shape, strict=True)), stride)


def _edges(side: int, stride: int) -> NDArray[np.signedinteger]:
    """Where the values of a map begin along a side, and where the last one ends."""
    return np.append(np.arange(0, side, stride), side)


def _spread(count_map: NDArray[np.float32], axes: Sequence[tuple[NDArray, int]], stride: int) -> NDArray[np.float32]:
    """Add up the values of a map, given where they begin and end along each axis, in a map of other sides."""
    down, across = (_shares(edges, _edges(side, stride)) for edges, side in axes)
    return np.asarray(down @ count_map @ across.T)


def _shares(before: NDArray, after: NDArray) -> NDArray[np.float32]:
    """Share of each value between edges along a side that falls on each value between others; (after, before)."""
    first, last = np.maximum.outer(after[:-1], before[:-1]), np.minimum.outer(after[1:], before[1:])
    shares: NDArray[np.float32] = (np.clip(last - first, 0, None) / np.diff(before)).astype(np.float32)
    return shares
