"""What an image and its cells look like, in a few numbers by which images are compared with those of a training."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.light.normalise import DETAIL_GAIN, Grey, sample, second_differences, surrounded

Measure = Literal["density", "darkness", "diameter", "agreement", "sharpness", "contrast", "clumped"]
Appearance = Mapping[Measure, float]
"""Measure -> its value; without those that an image has none of, for want of a mask, of foreground or of a count."""

Ranges = dict[Measure, tuple[float, float]]
"""Measure -> where most images of a set lie: its 1st and its 99th percentile."""

STANDS_OUT = 0.3
"""Normalised grey values this far from the background are no noise."""

RIM = 2
"""Pixels on either side of a cell's edge, between which its steepness is measured."""

BAND, REACH = 1024, 64
"""Rows whose distances to the edge are measured at once, and rows around them: cells are no larger than twice that."""

DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RIM + 1, 2 * RIM + 1))


def appearance_of(
    grey: Grey,
    stretch: Callable[[Grey], NDArray[np.float32]],
    mask: NDArray[np.bool_] | None,
    cells: float | None,
    *,
    scale: float = 1,
    data: NDArray[np.bool_] | None = None,
) -> Appearance:
    """Measure an image, its foreground and its number of cells.

    - ``density``: cells per million pixels.
    - ``darkness``: of the pixels that normalisation puts farther than 0.3 from the background at 0, the share that is
      darker than it, 0..1. Bright cells on a dark background give nearly 0, dark ones on a bright background nearly 1.
    - ``diameter``: of a typical cell, in pixels: 6 times the mean distance of the foreground to its edge, which is the
      diameter of a disc. Cells that touch are measured like single ones as long as necks part them.
    - ``agreement``: how well the mask explains the normalised image: the size of the correlation of the two, 0..1.
    - ``sharpness``: of the step from all background to all foreground, the share that is taken per pixel at the mask's
      edge, from the two pixels outside to the two inside. Its inverse is the width of an edge in pixels.
    - ``contrast``: the step from background to foreground, in standard deviations of the background's noise.

    Args:
        grey: The image, finite; (row, column).
        stretch: Gives grey values as the network sees them; it rises or falls throughout.
        mask: Its foreground; ``None`` if it is not known.
        cells: Their number; ``None`` if it is not known.
        scale: The network sees the image resized by this factor. Pixels are those that it sees.
        data: Which pixels hold data: no others are measured, and none of them is foreground. ``None`` if all do.

    >>> image = np.zeros((40, 60), np.float32)
    >>> mask = cv2.circle(np.zeros(image.shape, np.uint8), (30, 20), 12, 1, cv2.FILLED) > 0
    >>> {name: round(value, 1) for name, value in appearance_of(image + mask, np.positive, mask, cells=1).items()}
    {'density': 416.7, 'darkness': 0.0, 'diameter': 22.6, 'agreement': 1.0, 'sharpness': 0.5}
    """
    measured: dict[Measure, float] = {}
    if cells is not None:
        pixels = grey.size if data is None else np.count_nonzero(data)
        measured["density"] = cells / (pixels * scale**2) * 1e6
    if mask is not None and not mask.any():
        return measured
    seen = sample(grey)
    normalised = stretch(seen)
    counted = None if data is None else np.ascontiguousarray(sample(data).view(np.uint8))
    stands_out = normalised if counted is None else normalised[counted > 0]
    below, above = (int(np.count_nonzero(each)) for each in (stands_out < -STANDS_OUT, stands_out > STANDS_OUT))
    if below or above:
        measured["darkness"] = (above if _falls(seen, normalised) else below) / (below + above)
    if mask is None or (mask if data is None else mask[data]).all():
        return measured
    inside = mask.view(np.uint8)
    outside = 1 - inside if data is None else data.view(np.uint8) - inside
    measured["diameter"] = cell_diameter(mask) * scale
    of_seen = np.ascontiguousarray(sample(inside))
    share, deviation = cv2.mean(of_seen, counted)[0], cv2.meanStdDev(normalised, mask=counted)[1].item()
    if deviation == 0:
        return measured
    difference = _mean(normalised, of_seen) - _mean(normalised, np.ascontiguousarray(sample(outside)))
    measured["agreement"] = abs(difference) * (share * (1 - share)) ** 0.5 / deviation
    step = _mean(grey, inside) - _mean(grey, outside)
    if step == 0:
        return measured
    grown = cv2.dilate(inside, DISC)
    rim = grown - inside if data is None else cv2.bitwise_and(grown, outside)
    slope = (_mean(grey, inside - cv2.erode(inside, DISC)) - _mean(grey, rim)) / RIM
    measured["sharpness"] = slope / step / scale
    still = 1 - grown
    if data is not None:
        still = cv2.bitwise_and(still, surrounded(data).view(np.uint8))
    noise = cv2.meanStdDev(second_differences(grey), mask=np.ascontiguousarray(sample(still)))[1].item() / DETAIL_GAIN
    if 0 < noise < math.inf:  # neither without noise nor beyond float32, where pixels without data are -3.4e38
        measured["contrast"] = abs(step) / noise
    return measured


def cell_diameter(mask: NDArray[np.bool_]) -> float:
    """Give the diameter of a typical cell of a mask with foreground, in pixels: that of a disc of its mean depth.

    Cells that touch are measured like single ones as long as necks part them.

    Args:
        mask: (row, column), with foreground.

    >>> mask = cv2.circle(np.zeros((40, 60), np.uint8), (30, 20), 12, 1, cv2.FILLED) > 0
    >>> round(cell_diameter(mask), 1)
    22.6
    """
    return 6 * (_depth(mask.view(np.uint8)) - 0.5)  # from the centres of pixels, half a pixel inside the edge


def diameter_of(regions: NDArray) -> float:
    """Give the diameter of a typical cell of a mask, or of labels, in pixels; see :func:`cell_diameter`.

    Labels that touch are parted by a line of pixels, so that they are measured one by one.

    Args:
        regions: (row, column), with foreground; 0 is background.

    >>> labels = np.zeros((40, 60), np.uint8)
    >>> for number, column in ((1, 18), (2, 42)):
    ...     labels = cv2.circle(labels, (column, 20), 12, number, cv2.FILLED)
    >>> round(diameter_of(labels), 1)
    22.6
    """
    mask = regions != 0
    for axis in range(2):
        ahead, behind = (np.moveaxis(regions, axis, 0)[part] for part in (slice(1, None), slice(-1)))
        np.moveaxis(mask, axis, 0)[1:] &= (ahead == behind) | (behind == 0)
    return cell_diameter(mask)


def _depth(inside: NDArray[np.uint8]) -> float:
    """Mean distance of the foreground to its edge, in pixels; a band of rows at a time, whose distances fit memory."""
    total = 0.0
    for top in range(0, len(inside), BAND):
        first = max(top - REACH, 0)
        seen = inside[first : top + BAND + REACH]
        distance = cv2.distanceTransform(seen, cv2.DIST_L2, cv2.DIST_MASK_5)
        total += cv2.sumElems(distance[top - first : top - first + BAND])[0]
    return float(total / cv2.countNonZero(inside))


def _falls(grey: NDArray, normalised: NDArray) -> bool:
    """Tell whether normalisation turned dark into bright."""
    (left, top), (right, bottom) = cv2.minMaxLoc(normalised)[2:]
    return bool(grey[top, left] > grey[bottom, right])


def _mean(image: NDArray, mask: NDArray) -> float:
    return float(cv2.mean(image, mask)[0])


def ranges_of(appearances: Iterable[Appearance]) -> Ranges:
    """Give the range of each measure that any of the images has, to four significant digits.

    >>> ranges_of([{"diameter": 10.0, "density": 0.0}, {"diameter": 20.0}])
    {'diameter': (10.1, 19.9), 'density': (0.0, 0.0)}
    """
    values: dict[Measure, list[float]] = {}
    for appearance in appearances:
        for measure, value in appearance.items():
            values.setdefault(measure, []).append(value)
    return {
        measure: (float(f"{low:.4g}"), float(f"{high:.4g}"))
        for measure, (low, high) in ((each, np.percentile(found, (1, 99))) for each, found in values.items())
    }
