"""What an image and its cells look like, in a few numbers by which images are compared with those of a training."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.light.normalise import DETAIL_GAIN, Grey, GridSample, step_of, surrounded

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
    measuring = Measuring(GridSample.of(grey, data), stretch, grey.shape)
    if mask is not None:
        measuring.add(grey, mask, data, slice(0, len(grey)))
    pixels = grey.size if data is None else int(np.count_nonzero(data))
    return measuring.appearance(cells, pixels, scale=scale)


class Measuring:
    """Measures an image from its rows, which come from top to bottom; see :func:`appearance_of`.

    Args:
        taken: The sample of the image, as it is looked at.
        stretch: Gives grey values as the network sees them.
        shape: Of the image.
    """

    def __init__(
        self, taken: GridSample, stretch: Callable[[Grey], NDArray[np.float32]], shape: tuple[int, int]
    ) -> None:
        self._taken, self._stretch, self._step = taken, stretch, step_of(shape)
        self._top = 0
        self.held = 0
        """Pixels with data, of the rows that were added."""
        self._sums = dict.fromkeys(("inside", "outside", "core", "rim"), (0.0, 0))  # of grey values, and pixels
        self._depth = 0.0
        self._seen: list[tuple[NDArray, NDArray]] = []  # the mask and what is far from it, sampled
        self._masked = False

    def add(self, grey: Grey, mask: NDArray[np.bool_], data: NDArray[np.bool_] | None, rows: slice) -> None:
        """Take the next rows.

        Args:
            grey: Rows of the image, those that are next, and ``RIM`` more on each side, as far as the image has them.
            mask: Likewise, and ``REACH`` more on each side.
            data: Likewise; ``None`` if all of them hold data.
            rows: Which of them are next.
        """
        self._masked = True
        first = max(0, rows.start - RIM)
        around = slice(first, min(len(mask), rows.stop + RIM))
        own = slice(rows.start - first, rows.stop - first)
        inside = np.ascontiguousarray(mask[around]).view(np.uint8)
        held = None if data is None else np.ascontiguousarray(data[around]).view(np.uint8)
        outside = 1 - inside if held is None else held - inside
        grown = cv2.dilate(inside, DISC)
        parts = {
            "inside": inside,
            "outside": outside,
            "core": inside - cv2.erode(inside, DISC),
            "rim": grown - inside if held is None else cv2.bitwise_and(grown, outside),
        }
        near = np.ascontiguousarray(grey[around][own])
        for name, part in parts.items():
            here = np.ascontiguousarray(part[own])
            number = int(cv2.countNonZero(here))
            total, before = self._sums[name]
            self._sums[name] = total + (number * _mean(near, here) if number else 0), before + number
        self.held += near.size if held is None else int(cv2.countNonZero(np.ascontiguousarray(held[own])))
        self._depth += _depth(mask, rows)
        still = 1 - grown
        if data is not None:
            still = cv2.bitwise_and(still, surrounded(data)[around].view(np.uint8))
        sampled = slice(own.start + -self._top % self._step, own.stop, self._step)
        chosen = (sampled, slice(None, None, self._step))
        self._seen.append((inside[chosen].copy(), still[chosen].copy()))  # a view would keep all rows in memory
        self._top += rows.stop - rows.start

    def blank(self) -> "Measuring":
        """Give one of the same image with a mask that has no foreground."""
        other = Measuring(self._taken, self._stretch, (1, 1))
        other._masked = True
        return other

    def appearance(self, cells: float | None, pixels: int, *, scale: float = 1) -> Appearance:
        """Give the measures, once the last rows were added, or none, where there is no mask.

        Args:
            cells: See :func:`appearance_of`.
            pixels: With data.
            scale: See :func:`appearance_of`.
        """
        measured: dict[Measure, float] = {}
        taken = self._taken
        if cells is not None:
            measured["density"] = cells / (pixels * scale**2) * 1e6
        foreground, background = self._sums["inside"][1], self._sums["outside"][1]
        if self._masked and not foreground:
            return measured
        normalised = self._stretch(taken.grey)
        counted = None if taken.data is None else np.ascontiguousarray(taken.data.view(np.uint8))
        stands_out = normalised if counted is None else normalised[counted > 0]
        below, above = (int(np.count_nonzero(each)) for each in (stands_out < -STANDS_OUT, stands_out > STANDS_OUT))
        if below or above:
            measured["darkness"] = (above if _falls(taken.grey, normalised) else below) / (below + above)
        if not self._masked or not background:
            return measured
        measured["diameter"] = _diameter(self._depth / foreground) * scale
        of_seen, still = (np.concatenate(each) for each in zip(*self._seen, strict=True))
        share, deviation = cv2.mean(of_seen, counted)[0], cv2.meanStdDev(normalised, mask=counted)[1].item()
        if deviation == 0:
            return measured
        others = 1 - of_seen if counted is None else counted - of_seen
        difference = _mean(normalised, of_seen) - _mean(normalised, others)
        measured["agreement"] = abs(difference) * (share * (1 - share)) ** 0.5 / deviation
        step = self._average("inside") - self._average("outside")
        if step == 0:
            return measured
        measured["sharpness"] = (self._average("core") - self._average("rim")) / RIM / step / scale
        noise = cv2.meanStdDev(taken.detail, mask=np.ascontiguousarray(still))[1].item() / DETAIL_GAIN
        if 0 < noise < math.inf:  # neither without noise nor beyond float32, where pixels without data are -3.4e38
            measured["contrast"] = abs(step) / noise
        return measured

    def _average(self, part: str) -> float:
        total, pixels = self._sums[part]
        return total / pixels if pixels else 0.0


def diameter_of(regions: NDArray) -> float:
    """Give the diameter of a typical cell of a mask, or of labels, in pixels: that of a disc of its mean depth.

    Labels that touch are parted by a line of pixels, so that they are measured one by one. Cells of a mask that touch
    are measured like single ones as long as necks part them.

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
    return _diameter(_depth(mask, slice(0, len(mask))) / int(np.count_nonzero(mask)))


def _diameter(depth: float) -> float:
    return 6 * (depth - 0.5)  # from the centres of pixels, half a pixel inside the edge


def _depth(mask: NDArray[np.bool_], rows: slice) -> float:
    """Add up the distances of the foreground in some rows to its edge, in pixels.

    A band at a time, whose distances fit memory.
    """
    total, inside = 0.0, mask.view(np.uint8)
    for top in range(rows.start, rows.stop, BAND):
        first, end = max(top - REACH, 0), min(top + BAND, rows.stop)
        distance = cv2.distanceTransform(inside[first : end + REACH], cv2.DIST_L2, cv2.DIST_MASK_5)
        total += cv2.sumElems(distance[top - first : end - first])[0]
    return float(total)


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
