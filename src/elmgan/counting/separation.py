"""The cells of a mask, told apart by their shape and by how many the count map says they are."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.counting.region import pixels_in_blocks
from elmgan.models import STRIDE

# Both were chosen on true masks of training images alone; experiments/separation.py does it again. The choice is not
# delicate: all of 0.75..1.25 with 0.88..0.92 comes within 0.003 of it in mean AP50.
SMOOTHING = 1.0  # standard deviation, in pixels, of the blur that takes the ripples of a contour off the distance
NECK = 0.9  # two parts are one cell where the way between them is wider than this share of the narrower part

# These were chosen with a model's masks and count maps of its training images, by the same program.
WEIGHT = 0.3  # how much more or less NECK is when the count map is sure that two parts are two cells, or one
CRUMB = 0.4  # a part with less of a cell than this is none

MARGIN = 16  # rows around a strip that settle how high its pixels are: those that the blur reaches, and their distance

PIXELS_OF_A_STRIP = 2**22
"""Larger masks are separated in strips of this many pixels, whose arrays are near at hand for the processor."""

SOME = 2**18  # pixels that are worked on at a time

Indices = NDArray[np.signedinteger]
"""Of pixels in a flattened image, or in a list of those that are to be separated."""


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
    if mask.size <= PIXELS_OF_A_STRIP:
        return _cells(_hills(mask, mask), density)[0].astype(np.uint32)
    return _in_strips(mask, density)


def _in_strips(mask: NDArray[np.bool_], density: NDArray[np.float32] | None) -> NDArray[np.uint32]:
    """Separate a large mask; what hangs together is separated as a whole, in the strip where it begins."""
    height = max(1, PIXELS_OF_A_STRIP // mask.shape[1] // STRIDE) * STRIDE
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
        own = here.take(rest, mode="clip")  # what is below 0 is done, and like the background
        blocks = slice(top // STRIDE, -(-bottom // STRIDE))
        cells, found = _cells(_hills(mask, own, top), None if density is None else density[blocks])
        np.add(cells, number, out=cells, where=cells > 0)
        np.copyto(rest, np.negative(cells, out=cells), where=own)  # below 0 to be told from those still to come
        number += found
    return _renumbered(np.negative(pieces, out=pieces).view(np.uint32), number)


def _hills(mask: NDArray[np.bool_], own: NDArray[np.bool_], top: int = 0) -> NDArray[np.float32]:
    """The distance to the background in rows of a mask from `top` on, smoothed, where there is what is to be separated.

    It is 0 elsewhere, and in a margin of one pixel, which parts the ends of the rows of the flattened image.
    """
    first = max(top - MARGIN, 0)
    seen = mask[first : top + len(own) + MARGIN].view(np.uint8)
    smooth = cv2.GaussianBlur(_distance(seen), (0, 0), SMOOTHING)
    hills = np.zeros((own.shape[0] + 2, own.shape[1] + 2), np.float32)
    np.multiply(smooth[top - first :][: len(own)], own, out=hills[1:-1, 1:-1])
    return hills


def _distance(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The distance to the background; OpenCV's differs from call to call in its last bits, but its square is whole."""
    distance = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
    np.square(distance, out=distance)
    np.rint(distance, out=distance)
    return np.sqrt(distance, out=distance)


def _cells(hills: NDArray[np.float32], density: NDArray[np.float32] | None) -> tuple[Indices, int]:
    """Separate what hangs together, given how high its pixels are and how many cells there are per pixel.

    Returns:
        Labels without the margin of the hills, in the order in which their first pixels are met, and their number.
    """
    # From here on a pixel is its place in the list of those that are to be separated, which is short, or its index in
    # the flattened image. A large image is a single strip where all of it hangs together, so indices are as small as
    # may be, and what takes several arrays is computed for some pixels at a time.
    width, height = hills.shape[1], hills.ravel()
    index: type[np.signedinteger] = np.int32 if height.size < 2**31 else np.int64
    pixels = np.flatnonzero(height).astype(index)
    image = np.zeros(height.size, index)
    image[pixels] = np.arange(len(pixels), dtype=index)
    up = np.concatenate([image[_uphill(height, some, width)] for some in _parted(pixels)])
    peak = _follow(up)
    del up
    peaks = np.flatnonzero(peak == np.arange(len(pixels), dtype=index))
    number = len(peaks)
    numbers = np.zeros(len(pixels), index)
    numbers[peaks] = np.arange(1, number + 1, dtype=index)
    part = numbers[peak]
    del numbers, peak
    shares = None if density is None else _shares(part, number, pixels, width, density)
    image[pixels] = part
    cell = _join(image, part, pixels, height, width, np.append(np.float32(0), height[pixels[peaks]]), shares)
    kept = cell == np.arange(number + 1)
    kept[0] = False  # the background
    if shares is not None:
        kept &= shares >= CRUMB
    names = _in_order(np.where(kept, np.cumsum(kept), 0)[cell].astype(index), part, int(kept.sum()))
    image[pixels] = names[part]
    return image.reshape(-1, width)[1:-1, 1:-1], int(kept.sum())


def _parted(pixels: Indices) -> Iterator[Indices]:
    """Give pixels some at a time."""
    return (pixels[start : start + SOME] for start in range(0, max(len(pixels), 1), SOME))


def _uphill(height: NDArray[np.float32], pixels: Indices, width: int) -> Indices:
    """The highest of each pixel and its eight neighbours; among equals the last, so that no way leads in a circle."""
    best, highest = pixels, np.zeros(len(pixels), np.float32)
    for step in np.add.outer((-width, 0, width), (-1, 0, 1)).ravel().tolist():
        there = height[pixels + step]
        best = np.where(there >= highest, pixels + step, best)
        highest = np.maximum(there, highest)
    return best


def _follow(up: Indices) -> Indices:
    """Give where the way of every pixel ends, a pixel that points to itself; each round halves what is left."""
    while True:
        further = up[up]
        if np.array_equal(further, up):
            return up
        up = further


def _shares(
    part: Indices, number: int, pixels: Indices, width: int, density: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Cells in each part, at its number, given those per pixel of the mask, one value for 4 x 4 pixels."""
    shares = np.zeros(number + 1)
    flat = density.ravel()
    for some, parts in zip(_parted(pixels), _parted(part), strict=True):
        row, column = np.divmod(some, width)
        block = (row - 1) // STRIDE * density.shape[1] + (column - 1) // STRIDE
        shares += np.bincount(parts, flat[block], minlength=number + 1)
    return shares


def _in_order(names: Indices, part: Indices, number: int) -> Indices:
    """Number the names of parts anew in the order in which they are met; 0 stays."""
    first = np.zeros(number + 1, np.intp)
    for end in range(len(part), 0, -SOME):
        start = max(end - SOME, 0)
        first[names[part[start:end][::-1]]] = np.arange(end - 1, start - 1, -1)  # what is written last stays
    new = np.zeros(number + 1, names.dtype)
    new[np.argsort(first[1:]) + 1] = np.arange(1, number + 1)
    return np.asarray(new[names])


def _join(
    image: Indices,
    part: Indices,
    pixels: Indices,
    height: NDArray[np.float32],
    width: int,
    tops: NDArray[np.float32],
    shares: NDArray[np.float64] | None,
) -> NDArray[np.intp]:
    """Give each part the highest of those with no neck between them, its cell; the widest ways are taken first.

    What is joined has the sum of the shares.
    """
    least = NECK if shares is None else NECK - WEIGHT
    pairs, ways = [np.zeros((2, 0), part.dtype)], [np.zeros(0, np.float32)]
    for step in (1, width - 1, width, width + 1):
        for some, here in zip(_parted(pixels), _parted(part), strict=True):
            there = image[some + step]
            touch = np.flatnonzero((here != there) & (there > 0))
            ends, pixel = np.stack([here[touch], there[touch]]), some[touch]
            neck = np.minimum(height[pixel], height[pixel + step])
            wide = neck > least * tops[ends].min(axis=0)  # the others stay necks: joining only lifts peaks
            pairs.append(ends[:, wide])
            ways.append(neck[wide])
    ends, neck = np.concatenate(pairs, axis=1), np.concatenate(ways)
    order = np.argsort(-neck, kind="stable")
    cell = list(range(len(tops)))
    for one, other, way in zip(*ends[:, order].tolist(), neck[order].tolist(), strict=True):
        low, high = sorted((_top(cell, one), _top(cell, other)), key=tops.__getitem__)
        two = 0.0 if shares is None else min(2 * shares[low] * shares[high] - 1, 1)  # -1 one cell, 1 two
        if low != high and way > (NECK + WEIGHT * two) * tops[low]:
            cell[low] = high
            if shares is not None:
                shares[high] += shares[low]
    return np.array([_top(cell, each) for each in cell], np.intp)


def _top(cell: list[int], part: int) -> int:
    """The last of the parts that a part is joined to."""
    while cell[part] != part:
        part = cell[part]
    return part


def _rename(labels: NDArray[np.integer], names: NDArray[np.integer]) -> None:
    """Put other names in place of the labels in a flat image."""
    for start in range(0, labels.size, SOME):
        labels[start : start + SOME] = names[labels[start : start + SOME]]


def _renumbered(labels: NDArray[np.uint32], number: int) -> NDArray[np.uint32]:
    """Number the cells anew in the order of their first pixels; what was given is overwritten."""
    flat = labels.reshape(-1)
    first = np.zeros(number + 1, np.intp)
    for end in range(flat.size, 0, -SOME):
        start = max(end - SOME, 0)
        first[flat[start:end][::-1]] = np.arange(end - 1, start - 1, -1)  # what is written last stays
    new = np.zeros(number + 1, np.uint32)
    new[np.argsort(first[1:]) + 1] = np.arange(1, number + 1)
    _rename(flat, new)
    return labels
