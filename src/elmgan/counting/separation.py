"""The cells of a mask, told apart by their shape and by how many the count map says they are."""

from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from elmgan.counting.region import pixels_in_blocks
from elmgan.counting.strips import Strips
from elmgan.models import STRIDE

STRIP_PIXELS = 2**24
"""Pixels of the strips in which large masks are separated."""


def separate(mask: NDArray[np.bool_], count_map: NDArray[np.float32] | None = None) -> NDArray[np.uint32]:
    """Split the touching cells of a mask at their necks, so that their number agrees with the count map.

    The distance to the background makes every cell a hill. Each pixel belongs to the peak where its steepest way up
    ends, which parts the mask as a watershed does. Then neighbouring parts are joined again, unless the way from one to
    the other leads through a neck: a distance clearly below the lower one of their peaks. This is relative, so that one
    rule serves cells of every size.

    With a count map each part has a share of it, the sum over its pixels. Let two parts have a and b cells. As one they
    miss one cell by (a + b - 1)^2, as two by (a - 1)^2 + (b - 1)^2, which is more by 1 - 2ab: that much less of a neck
    joins them, or more. A part that has hardly any share, once all are joined, is no cell.

    Args:
        mask: (row, column), true where there is a cell.
        count_map: Cells per 4 x 4 pixels; ``None`` to go by shape alone.

    Returns:
        Labels of the mask's shape: 0 where the mask is false, or no cell by the count map, and the cells 1..n in the
        order in which their first pixels are met row by row.

    >>> import cv2
    >>> mask = np.zeros((20, 40), np.uint8)
    >>> for column in (10, 26):
    ...     mask = cv2.circle(mask, (column, 10), 9, 1, cv2.FILLED)
    >>> separate(mask > 0)[10, [10, 26, 39]].tolist()
    [1, 2, 0]
    """
    density = None
    if count_map is not None:
        density = np.divide(count_map, np.maximum(pixels_in_blocks(mask, STRIDE), 1), dtype=np.float32)
    with closing(Strips(mask.shape[1], counts=density is not None, pixels=STRIP_PIXELS)) as strips:
        strips.add(mask, density)
        some = strips.labels()
        first = next(some)
        if len(first) == len(mask):
            return first
        labels = np.empty(mask.shape, np.uint32)
        labels[: len(first)] = first
        top = len(first)
        for rows in some:
            labels[top : top + len(rows)] = rows
            top += len(rows)
        return labels
