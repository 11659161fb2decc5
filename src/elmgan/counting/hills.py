"""The hills of a mask: the distance to the background, the way up from each pixel, and which hills are one cell."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

# Both were chosen on true masks of training images alone; experiments/separation.py does it again. The choice is not
# delicate: all of 0.75..1.25 with 0.88..0.92 comes within 0.003 of it in mean AP50.
SMOOTHING = 1.0  # standard deviation, in pixels, of the blur that takes the ripples of a contour off the distance
NECK = 0.9  # two parts are one cell where the way between them is wider than this share of the narrower part

# These were chosen with a model's masks and count maps of its training images, by the same program.
WEIGHT = 0.3  # how much more or less NECK is when the count map is sure that two parts are two cells, or one
CRUMB = 0.4  # a part with less of a cell than this is none

FARTHEST = np.float32(256)
"""Pixels; farther from the background none is told from another, so that strips of a mask can be separated."""

BLURRED = 8
"""Rows that the blur reaches, and some."""

HALO = int(FARTHEST) + BLURRED + 1
"""Rows around a strip of a mask that settle how high its pixels are."""

SOME = 2**18  # pixels that are worked on at a time

Indices = NDArray[np.signedinteger]
"""Of pixels in a flattened image, or in a list of those that are to be separated."""


def heights(mask: NDArray[np.bool_], rows: slice) -> NDArray[np.float32]:
    """The distance to the background, smoothed, in some rows of a mask and in those next to them, where the mask is.

    It is 0 elsewhere, also beyond the mask, and in a margin of one pixel, which parts the ends of the rows of the
    flattened image.

    Args:
        mask: (row, column). Rows that are not there are more than ``HALO`` rows away from those asked for, or beyond
            the image.
        rows: Of the mask.

    Returns:
        Of ``rows.stop - rows.start + 2`` rows, the first before and the last after those asked for, and two more
        columns than the mask has.
    """
    first, last = max(rows.start - BLURRED, 0), min(rows.stop + BLURRED, len(mask))
    near = _distance(mask.view(np.uint8))[first:last]
    smooth = cv2.GaussianBlur(near, (0, 0), SMOOTHING)
    found = np.zeros((rows.stop - rows.start + 2, mask.shape[1] + 2), np.float32)
    top, bottom = max(rows.start - 1, 0), min(rows.stop + 1, len(mask))
    inner = found[top - rows.start + 1 :][: bottom - top, 1:-1]
    np.multiply(smooth[top - first : bottom - first], mask[top:bottom], out=inner)
    return found


def _distance(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The distance to the background; OpenCV's differs from call to call in its last bits, but its square is whole."""
    distance = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
    np.square(distance, out=distance)
    np.rint(distance, out=distance)
    np.sqrt(distance, out=distance)
    return np.minimum(distance, FARTHEST, out=distance)


def parted(pixels: Indices) -> Iterator[Indices]:
    """Give pixels some at a time."""
    return (pixels[start : start + SOME] for start in range(0, max(len(pixels), 1), SOME))


def uphill(height: NDArray[np.float32], pixels: Indices, width: int) -> Indices:
    """The highest of each pixel and its eight neighbours; among equals the last, so that no way leads in a circle."""
    best, highest = pixels, np.zeros(len(pixels), np.float32)
    for step in np.add.outer((-width, 0, width), (-1, 0, 1)).ravel().tolist():
        there = height[pixels + step]
        best = np.where(there >= highest, pixels + step, best)
        highest = np.maximum(there, highest)
    return best


def follow(up: Indices) -> Indices:
    """Give where the way of every pixel ends, a pixel that points to itself; each round halves what is left."""
    while True:
        further = up[up]
        if np.array_equal(further, up):
            return up
        up = further


def least_neck(shares: NDArray[np.float64] | None) -> float:
    """Give the share of the narrower part below which a way between two is a neck whatever their shares are."""
    return NECK if shares is None else NECK - WEIGHT


def join_parts(
    ends: Indices, ways: NDArray[np.float32], tops: NDArray[np.float32], shares: NDArray[np.float64] | None
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Join parts with no neck between them; the widest ways are taken first.

    Args:
        ends: Numbers of the parts that ways lead between; (2, way).
        ways: How high each way leads, from the highest down.
        tops: The peak of each part, at its number; 0 is the background.
        shares: Cells in each part; what is joined gets the sum. ``None`` to go by shape alone.

    Returns:
        For each part the highest of those that it is joined with, and which parts are these and hold a cell.
    """
    cell = list(range(len(tops)))
    for one, other, way in zip(*ends.tolist(), ways.tolist(), strict=True):
        low, high = sorted((_top(cell, one), _top(cell, other)), key=tops.__getitem__)
        two = 0.0 if shares is None else min(2 * shares[low] * shares[high] - 1, 1)  # -1 one cell, 1 two
        if low != high and way > (NECK + WEIGHT * two) * tops[low]:
            cell[low] = high
            if shares is not None:
                shares[high] += shares[low]
    found = np.array([_top(cell, each) for each in cell], np.intp)
    kept = found == np.arange(len(found))
    kept[0] = False
    if shares is not None:
        kept &= shares >= CRUMB
    return found, kept


def _top(cell: list[int], part: int) -> int:
    """The last of the parts that a part is joined to."""
    while cell[part] != part:
        part = cell[part]
    return part
