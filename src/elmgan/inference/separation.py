"""The cells of a mask, told apart by their shape and by how many the count map says they are."""

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.inference.region import pixels_in_blocks
from elmgan.models import STRIDE

# Both were chosen on true masks of training images alone; experiments/separation.py does it again. The choice is not
# delicate: all of 0.75..1.25 with 0.88..0.92 comes within 0.003 of it in mean AP50.
SMOOTHING = 1.0  # standard deviation, in pixels, of the blur that takes the ripples of a contour off the distance
NECK = 0.9  # two parts are one cell where the way between them is wider than this share of the narrower part

# These were chosen with a model's masks and count maps of its training images, by the same program.
WEIGHT = 0.2  # how much more or less NECK is when the count map is sure that two parts are two cells, or one
CRUMB = 0.3  # a part with less of a cell than this is none

MARGIN = 16  # rows around a strip that settle how high its pixels are: those that the blur reaches, and their distance

WHOLE = 2**22
"""Larger masks are separated in strips of this many pixels, whose arrays are near at hand for the processor."""


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

    >>> mask = np.zeros((20, 40), np.uint8)
    >>> for column in (10, 26):
    ...     mask = cv2.circle(mask, (column, 10), 9, 1, cv2.FILLED)
    >>> separate(mask > 0)[10, [10, 26, 39]].tolist()
    [1, 2, 0]
    """
    density = None
    if count_map is not None:
        density = np.divide(count_map, np.maximum(pixels_in_blocks(mask, STRIDE), 1), dtype=np.float32)
    if mask.size <= WHOLE:
        return _cells(mask, _hills(mask), density)
    return _in_strips(mask, density)


def _in_strips(mask: NDArray[np.bool_], density: NDArray[np.float32] | None) -> NDArray[np.uint32]:
    """Separate a large mask; what hangs together is separated as a whole, in the strip where it begins."""
    height = max(1, WHOLE // mask.shape[1] // STRIDE) * STRIDE
    _, pieces, boxes, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8))
    begin, end = boxes[:, cv2.CC_STAT_TOP], boxes[:, cv2.CC_STAT_TOP] + boxes[:, cv2.CC_STAT_HEIGHT]
    begin[0] = -1  # the background
    number = 0
    for top in range(0, len(mask), height):
        here = (top <= begin) & (begin < top + height)
        if not here.any():
            continue
        bottom = int(end[here].max())
        rest = pieces[top:bottom]
        own = here[np.maximum(rest, 0)]
        blocks = slice(top // STRIDE, -(-bottom // STRIDE))
        cells = _cells(own, _hills(mask, top, bottom), None if density is None else density[blocks])
        found = int(cells.max(initial=0))
        cells[cells > 0] += np.uint32(number)
        rest[own] = -cells[own].astype(np.int32)  # in place of the pieces, below 0 to be told from those still to come
        number += found
    return _renumbered(np.negative(pieces, out=pieces).view(np.uint32), number)


def _hills(mask: NDArray[np.bool_], top: int = 0, bottom: int | None = None) -> NDArray[np.float32]:
    """The distance to the background in some of a mask's rows, smoothed; 0 on the background."""
    bottom = len(mask) if bottom is None else bottom
    first = max(top - MARGIN, 0)
    seen = mask[first : bottom + MARGIN]
    distance = cv2.distanceTransform(seen.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    smooth = np.multiply(cv2.GaussianBlur(distance, (0, 0), SMOOTHING), seen, dtype=np.float32)
    return smooth[top - first : bottom - first]


def _cells(
    mask: NDArray[np.bool_], hills: NDArray[np.float32], density: NDArray[np.float32] | None
) -> NDArray[np.uint32]:
    """Separate what hangs together, given how high its pixels are and how many cells there are per pixel."""
    # From here on a pixel is its index in the flattened image, whose margin of background parts the ends of the rows.
    height = np.pad(hills * mask, 1).ravel()
    pixels = np.flatnonzero(np.pad(mask, 1))
    width = mask.shape[1] + 2
    peak = np.zeros(height.size, np.intp)  # of every pixel of the mask; 0, which is a pixel of the margin, elsewhere
    peak[pixels] = _uphill(height, pixels, width)
    _follow(peak, pixels)
    shares = None if density is None else _shares(peak, pixels, mask, density)
    _join(peak, pixels, height, width, shares)
    _follow(peak, pixels)
    if shares is not None:
        pixels = pixels[shares[peak[pixels]] >= CRUMB]
    return _in_reading_order(peak, pixels).reshape(-1, width)[1:-1, 1:-1].copy()


def _uphill(height: NDArray[np.float32], pixels: NDArray[np.intp], width: int) -> NDArray[np.intp]:
    """The highest of each pixel and its eight neighbours; among equals the last, so that no way leads in a circle."""
    best, highest = pixels, np.zeros(len(pixels), np.float32)
    for step in np.add.outer((-width, 0, width), (-1, 0, 1)).ravel():
        there = height[pixels + step]
        best = np.where(there >= highest, pixels + step, best)
        highest = np.maximum(there, highest)
    return best


def _follow(target: NDArray[np.intp], pixels: NDArray[np.intp]) -> None:
    """Let every pixel point to where its way ends, a pixel that points to itself; each round halves what is left."""
    while np.any((further := target[target[pixels]]) != target[pixels]):
        target[pixels] = further


def _shares(
    peak: NDArray[np.intp], pixels: NDArray[np.intp], mask: NDArray[np.bool_], density: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Cells in each part, at the index of its peak, given those per pixel of the mask, one value for 4 x 4 pixels."""
    rows, columns = mask.shape
    weights = density.repeat(STRIDE, axis=0).repeat(STRIDE, axis=1)[:rows, :columns][mask]
    return np.asarray(np.bincount(peak[pixels], weights, minlength=len(peak)), np.float64)


def _join(
    peak: NDArray[np.intp],
    pixels: NDArray[np.intp],
    height: NDArray[np.float32],
    width: int,
    shares: NDArray[np.float64] | None,
) -> None:
    """Let peaks with no neck between them point to the highest of their cell; the widest ways are taken first.

    What is joined has the sum of the shares.
    """
    here = peak[pixels]
    pairs, ways = [], []
    for step in (1, width - 1, width, width + 1):
        there = peak[pixels + step]
        touch = np.flatnonzero((here != there) & (there > 0))
        pairs.append(np.stack([here[touch], there[touch]]))
        ways.append(np.minimum(height[pixels[touch]], height[pixels[touch] + step]))
    ends, neck = np.concatenate(pairs, axis=1), np.concatenate(ways)
    least = NECK if shares is None else NECK - WEIGHT
    wide = np.flatnonzero(neck > least * height[ends].min(axis=0))  # the others stay necks: joining only lifts peaks
    wide = wide[np.argsort(-neck[wide], kind="stable")]
    for one, other, way in zip(*ends[:, wide].tolist(), neck[wide].tolist(), strict=True):
        low, high = sorted((_top(peak, one), _top(peak, other)), key=height.__getitem__)
        two = 0.0 if shares is None else min(2 * shares[low] * shares[high] - 1, 1)  # -1 one cell, 1 two
        if low != high and way > (NECK + WEIGHT * two) * height[low]:
            peak[low] = high
            if shares is not None:
                shares[high] += shares[low]


def _top(peak: NDArray[np.intp], pixel: int) -> int:
    """The end of a pixel's way."""
    while peak[pixel] != pixel:
        pixel = int(peak[pixel])
    return pixel


def _in_reading_order(peak: NDArray[np.intp], pixels: NDArray[np.intp]) -> NDArray[np.uint32]:
    """Labels 1..n of the pixels that share a peak, in the order of their first pixels; 0 elsewhere."""
    peaks, first = np.unique(peak[pixels], return_index=True)
    labels = np.zeros(len(peak), np.uint32)
    labels[peaks[np.argsort(first)]] = np.arange(1, len(peaks) + 1)  # of the peaks
    labels[pixels] = labels[peak[pixels]]
    return labels


def _renumbered(labels: NDArray[np.uint32], number: int) -> NDArray[np.uint32]:
    """Number the cells anew in the order of their first pixels; what was given is overwritten."""
    flat = labels.reshape(-1)
    first = np.zeros(number + 1, np.intp)
    for end in range(flat.size, 0, -WHOLE):
        start = max(end - WHOLE, 0)
        first[flat[start:end][::-1]] = np.arange(end - 1, start - 1, -1)  # what is written last stays
    new = np.zeros(number + 1, np.uint32)
    new[np.argsort(first[1:]) + 1] = np.arange(1, number + 1)
    for start in range(0, flat.size, WHOLE):
        flat[start : start + WHOLE] = new[flat[start : start + WHOLE]]
    return labels
