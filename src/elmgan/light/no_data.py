"""Pixels that hold no data: those that are no finite number, and the margin that stitching or rotation left."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.images import Tile
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

STRIP = 1024
"""Rows around whose margin is looked at a time."""

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
    seen = sample(grey)
    lines = Lines.of(grey)
    lowest = _least(grey)
    searches = [Search(value, half, grey.shape) for value, half in candidates(lines, seen)]
    for search in searches:
        search.add(0, grey)
    margins = [margin for search in searches if (margin := search.found(lambda tile: tile.of(grey))) is not None]
    none = no_value(lowest, seen)
    within = holding(grey, none, margins, Tile(0, 0, *grey.shape))
    return within if within is not None and within.any() else None


@dataclass(frozen=True)
class Lines:
    """The border of an image: its first and last row, its first and last column."""

    top: NDArray
    bottom: NDArray
    left: NDArray
    right: NDArray

    @classmethod
    def of(cls, grey: Grey) -> "Lines":
        """Give the border of a whole image."""
        return cls(grey[0], grey[-1], grey[:, 0], grey[:, -1])


def candidates(lines: Lines, seen: Grey) -> list[tuple[float, float]]:
    """Find values that the border has for long without a change, each with half its distance to the background.

    Args:
        lines: The border.
        seen: A sample of the image.
    """
    least = _least_run((len(lines.left), len(lines.top)))
    runs = [_runs(line) for line in (lines.top, lines.bottom, lines.left, lines.right)]
    values = sorted({float(value) for values, lengths in runs for value in values[lengths >= least]})
    found = []
    for value in values:
        rest = np.sort(seen[(seen != value) & np.isfinite(seen)].astype(np.float32))
        if math.isfinite(value) and rest.size and rest[0] < rest[-1]:  # no drawing of two values
            found.append((value, abs(densest(rest, 0.25, 0) - value) / 2))
    return found


def no_value(lowest: float, seen: Grey) -> float | None:
    """Give the value that programs write for no data, if the lowest of an image is one and all others are far above it.

    Args:
        lowest: Of the finite values of the image.
        seen: A sample of it.
    """
    if seen.dtype.kind != "f" or np.float32(lowest) not in np.array(NONE_VALUES, np.float32):
        return None
    rest = seen[np.isfinite(seen) & (seen != lowest)]
    return lowest if rest.size and rest.min() - lowest > np.ptp(rest) else None


def holding(grey: Grey, none: float | None, margins: Sequence["Margin"], tile: Tile) -> NDArray[np.bool_] | None:
    """Tell which pixels of a part of an image hold data; ``None`` where all do.

    Args:
        grey: The part.
        none: The value of those that hold none; see :func:`no_value`.
        margins: Of the whole image.
        tile: Where the part is.
    """
    held = np.isfinite(grey) if grey.dtype.kind == "f" else np.ones(grey.shape if margins else (), bool)
    if none is not None:
        held &= grey != np.float32(none)
    for margin in margins:
        held &= ~margin.rows(tile.top, tile.height)[:, tile.left : tile.left + tile.width]
    return None if held.all() else held


def _least(grey: Grey) -> float:
    """Give the lowest finite value; 0 of whole numbers, of which none stands for no data."""
    return float(grey.min(initial=np.inf, where=np.isfinite(grey))) if grey.dtype.kind == "f" else 0.0


def _least_run(shape: tuple[int, int]) -> float:
    return max(float(LEAST_RUN), SHARE_OF_SIDE * float(min(shape)))


def _runs(line: NDArray) -> tuple[NDArray, NDArray[np.intp]]:
    """Give the value and the length of each stretch without a change."""
    first = np.concatenate([[0], np.flatnonzero(line[1:] != line[:-1]) + 1])  # NaN differs from NaN
    return line[first], np.diff(first, append=len(line))


@dataclass(frozen=True)
class Margin:
    """A margin without data.

    Attributes:
        shape: Rows and columns of the image.
        sides: How far it goes in from the top and the bottom of each column, from the left and the right of each row.
        grown: Whether it takes the pixels next to it, which interpolation has mixed with it.
    """

    shape: tuple[int, int]
    sides: tuple[Profile, Profile, Profile, Profile]
    grown: bool = False

    def rows(self, top: int, height: int, *, around: int = 0) -> NDArray[np.bool_]:
        """Tell which pixels of some rows belong to it, or with ``around`` to it and so many pixels more."""
        around += self.grown
        if not around:
            return self._rows(top, top + height)
        first, last = max(0, top - around), min(self.shape[0], top + height + around)
        wide = cv2.dilate(self._rows(first, last).view(np.uint8), SQUARE, iterations=around)
        return wide[top - first :][:height].view(np.bool_)

    def _rows(self, first: int, last: int) -> NDArray[np.bool_]:
        above, below, left, right = self.sides
        rows, columns = np.arange(first, last)[:, np.newaxis], np.arange(self.shape[1])
        found = (rows < above) | (self.shape[0] - 1 - rows < below)
        found |= columns < left[first:last, np.newaxis]
        found |= self.shape[1] - 1 - columns < right[first:last, np.newaxis]
        return np.asarray(found)


class Search:
    """Looks for the margin of a value, in rows that come from top to bottom.

    Args:
        value: That the border has for long.
        half: Pixels that are nearer to it than this may be the margin's.
        shape: Of the image.
    """

    def __init__(self, value: float, half: float, shape: tuple[int, int]) -> None:
        self._value, self._half, self._shape = value, half, shape
        self._sharp, self._blurred = _Profiles(shape), _Profiles(shape)

    def add(self, top: int, grey: Grey) -> None:
        """Take the next rows."""
        exact = grey == self._value
        self._sharp.add(top, exact)
        near = cv2.absdiff(grey, np.full_like(grey, self._value)) < self._half
        self._blurred.add(top, exact | near)  # nearer to the margin than to the background

    def found(self, read: Callable[[Tile], Grey]) -> Margin | None:
        """Give the margin, after the last rows; None if it is none.

        Args:
            read: Gives a part of the image.
        """
        lines = self._whole_lines(read)
        if lines is not None:
            return lines
        sharp, blurred = self._sharp.sides, self._blurred.sides
        if _is_smooth(sharp, self._shape):
            sides = sharp
        elif _is_smooth(blurred, self._shape) and _mixed(sharp, blurred) <= COMPRESSED:
            sides = [np.minimum(wide, narrow + COMPRESSED) for narrow, wide in zip(sharp, blurred, strict=True)]
        else:
            return None
        above, below, left, right = (np.where(_long(depth > 0), depth, 0) for depth in sides)
        margin = Margin(self._shape, (above, below, left, right))
        # Where the margin's neighbours are more like it than theirs, interpolation has mixed them with it.
        near, far = self._steps(margin, read)
        return replace(margin, grown=near < INTERPOLATED * far)

    def _steps(self, margin: Margin, read: Callable[[Tile], Grey]) -> list[float]:
        """Give the mean difference to the value of the pixels around a margin, and of those around these."""
        sums, numbers = [0.0, 0.0], [0, 0]
        rows, columns = self._shape
        for top in range(0, rows, STRIP):
            height = min(STRIP, rows - top)
            inside, once, twice = (margin.rows(top, height, around=around) for around in (0, 1, 2))
            if not twice.any() or inside.all():
                continue
            off = np.abs(read(Tile(top, 0, height, columns)) - np.float32(self._value))
            for k, ring in enumerate((once & ~inside, twice & ~once)):
                held = off[ring]
                held = held[~np.isnan(held)]
                sums[k] += float(held.sum(dtype=np.float64))
                numbers[k] += held.size
        return [total / number if number else math.nan for total, number in zip(sums, numbers, strict=True)]

    def _whole_lines(self, read: Callable[[Tile], Grey]) -> Margin | None:
        """Find whole rows and columns of the value, if what they enclose has it nowhere along its sides for long."""
        height, width = self._shape
        above, _, left, _ = self._sharp.sides
        rows, columns = np.flatnonzero(left < width), np.flatnonzero(above < height)
        inner = Tile(int(rows[0]), int(columns[0]), int(rows[-1] + 1 - rows[0]), int(columns[-1] + 1 - columns[0]))
        if (inner.height, inner.width) == self._shape:
            return None
        ends = inner.top + inner.height - 1, inner.left + inner.width - 1
        for line in (
            Tile(inner.top, inner.left, 1, inner.width),
            Tile(ends[0], inner.left, 1, inner.width),
            Tile(inner.top, inner.left, inner.height, 1),
            Tile(inner.top, ends[1], inner.height, 1),
        ):
            exact = (read(line) == self._value).ravel()
            alike, runs = _runs(exact)
            if runs[alike].max(initial=0) >= min(_least_run(self._shape), len(exact)):
                return None
        depths = inner.top, height - 1 - ends[0], inner.left, width - 1 - ends[1]
        sides = [np.full(length, depth) for length, depth in zip((width, width, height, height), depths, strict=True)]
        return Margin(self._shape, (sides[0], sides[1], sides[2], sides[3]))


class _Profiles:
    """How many pixels are true without a gap from each side of an image, in rows that come from top to bottom."""

    def __init__(self, shape: tuple[int, int]) -> None:
        rows, columns = shape
        self._above, self._below, self._going_on = (
            np.zeros(columns, int),
            np.zeros(columns, int),
            np.ones(columns, bool),
        )
        self._left, self._right = np.zeros(rows, int), np.zeros(rows, int)

    def add(self, top: int, pixels: NDArray[np.bool_]) -> None:
        """Take the next rows."""
        height = len(pixels)
        whole = pixels.all(axis=0)
        self._above += np.where(self._going_on, _run(pixels), 0)
        self._going_on &= whole
        self._below = np.where(whole, self._below + height, _run(pixels[::-1]))
        rows = slice(top, top + height)
        self._left[rows], self._right[rows] = _run(pixels.T), _run(pixels[:, ::-1].T)

    @property
    def sides(self) -> list[Profile]:
        """From the top and the bottom of each column, from the left and the right of each row."""
        return [self._above, self._below, self._left, self._right]


def _run(pixels: NDArray[np.bool_]) -> Profile:
    """Count the pixels from the top of each column to the first that is false."""
    return np.where(pixels.all(axis=0), len(pixels), np.argmin(pixels, axis=0))


def _is_smooth(profiles: Sequence[Profile], shape: tuple[int, int]) -> bool:
    """Tell whether an edge seen from four sides is hardly anywhere off a straight line, or the arc of a wide hole."""
    bends = []
    for depth, side in zip(profiles, (shape[0], shape[0], shape[1], shape[1]), strict=True):
        edge = (depth > 0) & (depth < side)
        before, here, after = (slice(start, len(depth) - 2 * LAG + start) for start in (0, LAG, 2 * LAG))
        bend = depth[before] - 2 * depth[here] + depth[after]
        bends.append(bend[edge[before] & edge[here] & edge[after]])
    found = np.concatenate(bends)
    return bool(found.size and ((found < -BULGE) | (found > BAY)).mean() <= ROUGH)


def _mixed(sharp: Sequence[Profile], blurred: Sequence[Profile]) -> float:
    """Give the median width of the edge, in pixels."""
    widths = [wide[narrow > 0] - narrow[narrow > 0] for narrow, wide in zip(sharp, blurred, strict=True)]
    return float(np.median(np.concatenate(widths)))


def _long(places: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out stretches that are too short for an edge to be seen."""
    row = places[np.newaxis].astype(np.uint8)
    opened: NDArray[np.bool_] = cv2.morphologyEx(row, cv2.MORPH_OPEN, np.ones((1, 2 * LAG + 1), np.uint8))[0] > 0
    return opened
