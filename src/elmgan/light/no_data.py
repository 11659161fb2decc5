"""Pixels that hold no data: those that are no finite number, and the margin that stitching or rotation left."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.light.normalise import Grey, densest, sample

LEAST_RUN, SHARE_OF_SIDE = 24, 0.2
"""A margin has its value along the image's border for so many pixels, and for this share of the shorter side."""

LAG = 8
"""Pixels to both sides of a place on a margin's edge, between which the edge is compared with a straight line."""

BULGE, BAY = 1, 3
"""Pixels that an edge may lie off it: in favour of the margin, and of the image, as around a round field of view."""

ROUGH = 0.18
"""Share of an edge that lies farther off. Of 1429 public images 36 have a long stretch of one value at the border;

there it is 0.24 at least. Straight margins that were made have none in the median, round ones 0.11.
"""

INTERPOLATED = 0.95
"""Where the edge's step is steeper than this share of what it comes to a pixel farther in, nothing was interpolated."""

SQUARE = np.ones((3, 3), np.uint8)

COMPRESSED = 8
"""Pixels over which JPEG mixes a margin with the image: one block."""

NONE_VALUES = (-9999.0, -99999.0, -32768.0, -32767.0, -2147483648.0, -3.4028235e38, -1e30, -1e20)
"""What programs write into floating-point images where there is no data."""

# How many pixels a margin goes in from one side, at each place along that side.
Profile = NDArray[np.intp]


def data_of(grey: Grey) -> NDArray[np.bool_] | None:
    """Tell which pixels hold data; ``None`` where all do.

    Pixels that are NaN or infinite hold none. Nor does a margin: pixels of exactly one value at the image's border, as
    they are filled in when images are stitched, registered, rotated or padded. What tells a margin from a dark
    background that is clipped to one value is its edge. Cells and noise make that ragged, a margin's is straight, or
    the arc of a round field of view. That of a saturated cell bends the other way.

    Args:
        grey: A whole image, (row, column); of floating point it may have NaN and infinite pixels.

    >>> image = np.pad(np.random.default_rng(0).normal(100, 5, (60, 90)), ((0, 0), (7, 0)))
    >>> data = data_of(image.astype(np.float32))
    >>> int(data[:, :7].sum()), bool(data[:, 7:].all())
    (0, True)
    """
    finite = np.isfinite(grey) if grey.dtype.kind == "f" else np.ones((), bool)
    if grey.dtype.kind == "f":
        finite &= ~_none_values(grey)
    margins = [margin for value in _border_values(grey) if (margin := _margin(grey, value)) is not None]
    if not margins:
        return None if finite.all() else finite
    within = finite & ~np.logical_or.reduce(margins)
    return within if within.any() else None


def _none_values(grey: Grey) -> NDArray[np.bool_]:
    """Find pixels of a value that programs write for no data, if all others are far above it."""
    lowest = grey.min(initial=np.inf, where=np.isfinite(grey))
    none: NDArray[np.bool_] = np.isin(grey, np.array(NONE_VALUES, np.float32))
    if lowest not in np.array(NONE_VALUES, np.float32):
        return np.zeros(grey.shape, bool)
    rest = grey[~none & np.isfinite(grey)]
    if not rest.size or rest.min() - lowest <= np.ptp(rest):
        return np.zeros(grey.shape, bool)
    return none


def _border_values(grey: Grey) -> list[float]:
    """Find the values that the border has for long without a change."""
    least = _least_run(grey)
    runs = [_runs(line) for line in (grey[0], grey[-1], grey[:, 0], grey[:, -1])]
    found = {float(value) for values, lengths in runs for value in values[lengths >= least]}
    return sorted(value for value in found if math.isfinite(value))


def _least_run(grey: Grey) -> float:
    return max(float(LEAST_RUN), SHARE_OF_SIDE * float(min(grey.shape)))


def _runs(line: NDArray) -> tuple[NDArray, NDArray[np.intp]]:
    """Give the value and the length of each stretch without a change."""
    first = np.concatenate([[0], np.flatnonzero(line[1:] != line[:-1]) + 1])  # NaN differs from NaN
    return line[first], np.diff(first, append=len(line))


def _margin(grey: Grey, value: float) -> NDArray[np.bool_] | None:
    """Find the margin of a value that the border has for long; None if it is none."""
    seen = sample(grey)
    rest = np.sort(seen[(seen != value) & np.isfinite(seen)].astype(np.float32))
    if not rest.size or rest[0] == rest[-1]:  # a drawing of two values
        return None
    exact = grey == value
    margin = _whole_lines(exact, _least_run(grey))
    if margin is not None:
        return margin
    half = abs(densest(rest, 0.25, 0) - value) / 2
    nearer = exact | (cv2.absdiff(grey, np.full_like(grey, value)) < half)  # to the margin than to the background
    sharp, blurred = ([_profile(np.rot90(pixels, turn)) for turn in range(4)] for pixels in (exact, nearer))
    if _is_smooth(sharp, grey.shape):
        profiles = sharp
    elif _is_smooth(blurred, grey.shape) and _mixed(sharp, blurred) <= COMPRESSED:
        profiles = [np.minimum(wide, narrow + COMPRESSED) for narrow, wide in zip(sharp, blurred, strict=True)]
    else:
        return None
    margin = np.zeros(grey.shape, bool)
    for turn, depth in enumerate(profiles):
        turned = np.rot90(margin, turn)  # a view
        turned |= np.arange(len(turned))[:, np.newaxis] < np.where(_long(depth > 0), depth, 0)
    once, twice = (cv2.dilate(margin.view(np.uint8), SQUARE, iterations=times).view(np.bool_) for times in (1, 2))
    # Where the margin's neighbours are more like it than theirs, interpolation has mixed them with it.
    steps = [float(np.nanmean(np.abs(grey[ring] - np.float32(value)))) for ring in (once & ~margin, twice & ~once)]
    return once if steps[0] < INTERPOLATED * steps[1] else margin


def _whole_lines(exact: NDArray[np.bool_], least: float) -> NDArray[np.bool_] | None:
    """Find whole rows and columns of one value, if what they enclose has it nowhere along its sides for long."""
    rows, columns = (np.flatnonzero(~exact.all(axis=axis)) for axis in (1, 0))
    within = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inner = exact[within]
    if inner.shape == exact.shape:
        return None
    for line in (inner[0], inner[-1], inner[:, 0], inner[:, -1]):
        alike, runs = _runs(line)
        if runs[alike].max(initial=0) >= min(least, len(line)):
            return None
    margin = np.ones(exact.shape, bool)
    margin[within] = False
    return margin


def _profile(pixels: NDArray[np.bool_]) -> Profile:
    """Count the pixels from the top of each column to the first that is false."""
    return np.where(pixels.all(axis=0), len(pixels), np.argmin(pixels, axis=0))


def _is_smooth(profiles: list[Profile], shape: tuple[int, int]) -> bool:
    """Tell whether an edge seen from four sides is hardly anywhere off a straight line, or the arc of a wide hole."""
    bends = []
    for turn, depth in enumerate(profiles):
        edge = (depth > 0) & (depth < shape[turn % 2])
        before, here, after = (slice(start, len(depth) - 2 * LAG + start) for start in (0, LAG, 2 * LAG))
        bend = depth[before] - 2 * depth[here] + depth[after]
        bends.append(bend[edge[before] & edge[here] & edge[after]])
    found = np.concatenate(bends)
    return bool(found.size and ((found < -BULGE) | (found > BAY)).mean() <= ROUGH)


def _mixed(sharp: list[Profile], blurred: list[Profile]) -> float:
    """Give the median width of the edge, in pixels."""
    widths = [wide[narrow > 0] - narrow[narrow > 0] for narrow, wide in zip(sharp, blurred, strict=True)]
    return float(np.median(np.concatenate(widths)))


def _long(places: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out stretches that are too short for an edge to be seen."""
    row = places[np.newaxis].astype(np.uint8)
    opened: NDArray[np.bool_] = cv2.morphologyEx(row, cv2.MORPH_OPEN, np.ones((1, 2 * LAG + 1), np.uint8))[0] > 0
    return opened
