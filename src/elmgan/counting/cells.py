"""The separated cells of an image, measured: where each is, how large, of which shape, and how bright."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import pi, sqrt

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from elmgan.errors import UsageError
from elmgan.models import STRIDE

PerCell = NDArray[np.float64]
"""One per cell, or per run of pixels."""

SOME_PIXELS = 2**20
"""Pixels of an image that are worked on at a time."""

SQUARE_WITHIN = 0.01
"""A pixel is square whose sides differ by at most this share; the perimeter is known in micrometres then."""

BESIDE, DIAGONAL = 2, 10  # what a neighbour on the rim adds to a pixel's code
RIM_LENGTHS: PerCell = np.zeros(BESIDE * 4 + DIAGONAL * 4 + 2)
"""Code of a pixel on the rim -> how much it adds to the perimeter, by Benkrid and Crookes as in scikit-image."""
RIM_LENGTHS[[5, 7, 15, 17, 25, 27]] = 1
RIM_LENGTHS[[21, 33]] = sqrt(2)
RIM_LENGTHS[[13, 23]] = (1 + sqrt(2)) / 2


def measured(
    labels: NDArray[np.uint32],
    channels: Mapping[str, ArrayLike] | None = None,
    *,
    count_map: NDArray[np.float32] | None = None,
    pixel_size: Mapping[str, float] | None = None,
) -> dict[str, NDArray]:
    """Measure the cells of a label image.

    The measures are those of scikit-image's ``regionprops``. A pixel without data (NaN, infinite) is left out of the
    brightness of its cell, which is NaN where none is left.

    Args:
        labels: (row, column), cells 1..n, 0 = background; not every number needs to be there.
        channels: Name -> (row, column) image of the same size, whose values in each cell are summed up; the name is
            added to the columns, ``mean_DAPI``, and may be empty. Each is asked for once, when its turn comes.
        count_map: Cells per 4 x 4 pixels.
        pixel_size: x and y -> micrometres, where they are known.

    Returns:
        Column -> one value per cell that is there, in the order of their numbers:

        - ``cell``: its number in the label image
        - ``row``, ``column``: its centre in pixels, the upper left pixel of the image being (0, 0)
        - ``area_px``: pixels; ``perimeter_px``: length of the line through the centres of its outermost pixels;
          ``diameter_px``: of a circle of that area
        - ``eccentricity``: 0 for a circle, towards 1 for a line; ``solidity``: its share of its convex hull
        - ``share``: the sum of the count map over its pixels; NaN without one
        - ``touches_border``: whether it reaches the border of the image
        - ``area_um2``, ``perimeter_um``, ``diameter_um`` where x and y are known; the perimeter is NaN where they
          differ
        - ``mean_NAME``, ``min_NAME``, ``max_NAME``, ``sum_NAME`` of each channel

    Raises:
        UsageError: A channel has another size than the labels.

    >>> cells = measured(np.array([[1, 1, 0, 2], [1, 1, 0, 0]], np.uint32), {"": [[5, 7, 0, 9], [1, 3, 0, 0]]})
    >>> {name: values.tolist() for name, values in cells.items() if name in ("area_px", "column", "mean", "solidity")}
    {'column': [0.5, 3.0], 'area_px': [4, 1], 'solidity': [1.0, 1.0], 'mean': [4.0, 9.0]}
    """
    number = int(labels.max(initial=0)) + 1
    perimeter = np.zeros(number)
    runs = []
    for rows in _strips(labels.shape):
        runs.append(_runs(labels[rows], rows.start))
        perimeter += _perimeters(labels, rows, number)
    strips = [(rows, of) for rows, of in zip(_strips(labels.shape), runs, strict=True) if len(of.label)]
    share = np.full(number, np.nan)
    if count_map is not None:
        share = np.zeros(number)
        for _, of in strips:
            share += np.bincount(of.label, _cells_in(of, count_map, labels.shape), number)
    brightness = {}
    for name in channels or {}:
        image = np.asarray((channels or {})[name])
        if image.shape != labels.shape:
            raise UsageError(
                f"channel {name or '1'} has the shape {image.shape}, the labels {labels.shape}: both must be the same"
            )
        brightness[name] = _Brightness(number)
        for rows, of in strips:
            brightness[name].add(of, image[rows].ravel()[of.pixels(rows.start, labels.shape[1])])
    shape = _Shapes(_Runs.joined([_Runs.none(), *runs]), number)
    there = np.flatnonzero(shape.area)
    columns = {
        "cell": there,
        "row": shape.row,
        "column": shape.column,
        "area_px": shape.area,
        "perimeter_px": perimeter,
        "diameter_px": np.sqrt(4 * shape.area / pi),
        "eccentricity": shape.eccentricity,
        "solidity": shape.solidity,
        "share": share,
        "touches_border": shape.touches(labels.shape),
        **_in_micrometres(shape.area, perimeter, pixel_size or {}),
    }
    for name, values in brightness.items():
        columns |= {f"{what}_{name}".rstrip("_"): of for what, of in values.columns().items()}
    return {name: values if name == "cell" else values[there] for name, values in columns.items()}


def _strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of an image, some at a time; they begin where values of the count map do."""
    height = max(1, SOME_PIXELS // max(shape[1], 1) // STRIDE) * STRIDE
    return (slice(top, min(top + height, shape[0])) for top in range(0, shape[0], height))


@dataclass(frozen=True)
class _Runs:
    """Pixels of one cell beside each other in a row: label, row, first column, and number of each run."""

    label: NDArray[np.intp]
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    length: NDArray[np.intp]

    @classmethod
    def none(cls) -> "_Runs":
        return cls(*(np.zeros(0, np.intp) for _ in range(4)))

    @classmethod
    def joined(cls, runs: "list[_Runs]") -> "_Runs":
        return cls(*(np.concatenate([vars(each)[name] for each in runs]) for name in vars(cls.none())))

    @property
    def begins(self) -> NDArray[np.intp]:
        """Where each run begins among the pixels of all cells."""
        return np.cumsum(self.length) - self.length

    def pixels(self, top: int, width: int) -> NDArray[np.intp]:
        """Index of each pixel in the flattened rows of an image from ``top`` on."""
        first = (self.row - top) * width + self.column - self.begins
        return np.repeat(first, self.length) + np.arange(int(self.length.sum()))


def _runs(strip: NDArray[np.uint32], top: int) -> _Runs:
    height, width = strip.shape
    flat = np.zeros((height, width + 1), strip.dtype)  # the last column parts the rows
    flat[:, :-1] = strip
    flat = flat.ravel()
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    begins = np.concatenate([[0], ends])
    label = flat[begins].astype(np.intp)
    kept = label > 0  # the last is of the last column
    row, column = np.divmod(begins[kept], width + 1)
    return _Runs(label[kept], row + top, column, np.diff(begins, append=flat.size)[kept])


class _Brightness:
    """Sum, least and greatest value of each cell in one channel."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._known, self._sum = np.zeros(number), np.zeros(number)
        self._least, self._most = np.full(number, np.nan), np.full(number, np.nan)

    def add(self, runs: _Runs, values: NDArray) -> None:
        """Add the pixels of runs, one after the other."""
        counted, lights, begins = runs.length, values, runs.begins
        if values.dtype.kind == "f" and not (known := np.isfinite(values)).all():
            counted = np.add.reduceat(known, begins, dtype=np.intp)
            values, lights = np.where(known, values, np.nan), np.where(known, values, 0)
        self._known += np.bincount(runs.label, counted, self._number)
        self._sum += np.bincount(runs.label, np.add.reduceat(lights, begins, dtype=np.float64), self._number)
        np.fmin.at(self._least, runs.label, np.fmin.reduceat(values, begins))
        np.fmax.at(self._most, runs.label, np.fmax.reduceat(values, begins))

    def columns(self) -> dict[str, PerCell]:
        """The brightness of the cells."""
        total = np.where(self._known > 0, self._sum, np.nan)
        return {"mean": total / np.maximum(self._known, 1), "min": self._least, "max": self._most, "sum": total}


def _cells_in(runs: _Runs, count_map: NDArray[np.float32], shape: tuple[int, ...]) -> PerCell:
    """Cells in each run: its share of the values of the count map that it covers."""
    rows, columns = shape
    upto = np.zeros((count_map.shape[0], count_map.shape[1] + 1))
    np.cumsum(count_map, axis=1, dtype=np.float64, out=upto[:, 1:])
    block = runs.row // STRIDE
    ends = []
    for column in (runs.column, runs.column + runs.length):
        inside = np.minimum(column // STRIDE, count_map.shape[1] - 1)
        wide = np.minimum(STRIDE, columns - inside * STRIDE)
        part = count_map[block, inside] * ((column - inside * STRIDE) / wide)
        ends.append(upto[block, inside] + part)
    return np.asarray((ends[1] - ends[0]) / np.minimum(STRIDE, rows - block * STRIDE))


def _perimeters(labels: NDArray[np.uint32], rows: slice, number: int) -> PerCell:
    """What the rims of cells in some rows of an image add to their perimeters."""
    first, last = max(rows.start - 2, 0), min(rows.stop + 2, len(labels))
    height, width = rows.stop - rows.start, labels.shape[1]
    around = np.zeros((height + 4, width + 2), labels.dtype)
    around[first - rows.start + 2 : last - rows.start + 2, 1:-1] = labels[first:last]
    flat, wide = around.ravel(), width + 2
    here, rim = flat[wide:-wide], np.zeros(flat.size, np.bool_)
    outer = flat[: -2 * wide] != here
    for step in (2 * wide, wide - 1, wide + 1):
        outer |= flat[step : step + here.size] != here
    np.logical_and(outer, here, out=rim[wide:-wide])
    pixels = np.flatnonzero(rim[2 * wide : (height + 2) * wide]) + 2 * wide
    label = flat[pixels]
    code = np.ones(len(pixels), np.uint8)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if down or right:
                step, beside = down * wide + right, np.uint8(DIAGONAL if down and right else BESIDE)
                code += beside * (rim[pixels + step] & (flat[pixels + step] == label))
    return np.asarray(np.bincount(label.astype(np.intp), RIM_LENGTHS[code], number), np.float64)


class _Shapes:
    """Area, centre, box, eccentricity and solidity of each cell, from its runs."""

    def __init__(self, runs: _Runs, number: int) -> None:
        self._runs, self._number = runs, number
        label, length = runs.label, runs.length
        far = np.iinfo(np.intp).max
        self._top, self._left = np.full(number, far), np.full(number, far)
        self._bottom, self._right = np.full(number, -1), np.full(number, -1)
        np.minimum.at(self._top, label, runs.row)
        np.maximum.at(self._bottom, label, runs.row)
        np.minimum.at(self._left, label, runs.column)
        np.maximum.at(self._right, label, runs.column + length - 1)
        self.area = np.bincount(label, length, number).astype(np.intp)
        # Sums are of whole numbers counted from the box, and exact.
        row, column = runs.row - self._top[label], runs.column - self._left[label]
        in_row = length * column + length * (length - 1) // 2
        squares = length * column**2 + column * length * (length - 1) + (length - 1) * length * (2 * length - 1) // 6
        area = np.maximum(self.area, 1)
        down, across = self._sum(length * row) / area, self._sum(in_row) / area
        self.row, self.column = down + self._top, across + self._left
        rows = np.maximum(self._sum(length * row**2) / area - down**2, 0)
        columns = np.maximum(self._sum(squares) / area - across**2, 0)
        both = self._sum(row * in_row) / area - down * across
        middle, reach = (rows + columns) / 2, np.sqrt(((rows - columns) / 2) ** 2 + both**2)
        longest, shortest = middle + reach, np.maximum(middle - reach, 0)
        flat = np.divide(shortest, longest, out=np.ones(number), where=longest > 0)
        self.eccentricity: PerCell = np.sqrt(1 - np.minimum(flat, 1))

    def _sum(self, values: NDArray) -> PerCell:
        return np.asarray(np.bincount(self._runs.label, values, self._number), np.float64)

    def touches(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Say which cells reach the border of an image of this shape."""
        at_end = (self._bottom == shape[0] - 1) | (self._right == shape[1] - 1)
        return np.asarray((self._top == 0) | (self._left == 0) | at_end)

    @property
    def solidity(self) -> PerCell:
        """Share of the pixels of the convex hull; of each pixel the hull takes the middles of its four sides."""
        there = np.flatnonzero(self.area)
        heights = np.where(self.area > 0, self._bottom - self._top + 1, 0)
        first = np.cumsum(heights) - heights  # of each cell's rows, among those of all
        runs = self._runs
        line = first[runs.label] + runs.row - self._top[runs.label]
        total = int(heights.sum())
        left, right = np.full(total, np.iinfo(np.int32).max, np.int32), np.full(total, -1, np.int32)
        column = (runs.column - self._left[runs.label]).astype(np.int32)
        np.minimum.at(left, line, column)
        np.maximum.at(right, line, column + runs.length.astype(np.int32) - 1)
        own = np.repeat(np.arange(self._number), heights)
        row = (np.arange(total) - first[own]).astype(np.int32)
        kept = right >= 0
        # Twice the coordinates, so that the middles of sides are whole numbers too.
        y, low, high = 2 * row[kept], 2 * left[kept], 2 * right[kept]
        points = np.stack(
            [
                np.stack([low - 1, y], 1),
                np.stack([high + 1, y], 1),
                *(np.stack([x, y + side], 1) for x in (low, high) for side in (1, -1)),
            ],
            axis=1,
        )
        ends = np.searchsorted(own[kept], there, side="right").tolist()
        hulls = [cv2.convexHull(points[a:b].reshape(-1, 2)) for a, b in zip([0, *ends], ends, strict=False)]
        solidity = np.ones(self._number)
        if hulls:
            in_hull = _lattice_points(hulls, first[there], total)
            solidity[there] = self.area[there] / np.bincount(own, in_hull, self._number)[there]
        return solidity


def _lattice_points(hulls: list[NDArray], first: NDArray[np.intp], total: int) -> NDArray[np.intp]:
    """Count the pixels in each row of convex polygons whose coordinates are twice those of pixels.

    Args:
        hulls: (vertex, 1, 2), x and y, as OpenCV gives them.
        first: Index of the first row of each, among those of all.
        total: Rows of all.
    """
    begin = np.concatenate(hulls)[:, 0].astype(np.int64)
    sizes = np.array([len(hull) for hull in hulls])
    onward, last = np.arange(1, len(begin) + 1), np.cumsum(sizes) - 1
    onward[last] = last + 1 - sizes
    end = begin[onward]
    above = np.repeat(first, sizes)
    flip = begin[:, 1] > end[:, 1]
    begin[flip], end[flip] = end[flip], begin[flip]
    lowest, highest = -(-begin[:, 1] // 2), end[:, 1] // 2  # rows whose middles the side crosses or touches
    crossed = highest - lowest + 1
    side = np.repeat(np.arange(len(begin)), crossed)
    row = np.arange(len(side)) - np.repeat(np.cumsum(crossed) - crossed, crossed) + lowest[side]
    x, y = begin[side, 0], begin[side, 1]
    wide, high = end[side, 0] - x, end[side, 1] - y  # no level side is at the middle of a row
    place = x * high + wide * (2 * row - y)
    left, right = np.full(total, np.iinfo(np.int64).max), np.full(total, -1)
    np.minimum.at(left, above[side] + row, -(-place // (2 * high)))
    np.maximum.at(right, above[side] + row, place // (2 * high))
    return np.asarray(right - left + 1)


def _in_micrometres(area: NDArray[np.intp], perimeter: PerCell, pixel_size: Mapping[str, float]) -> dict[str, PerCell]:
    if not {"x", "y"} <= pixel_size.keys():
        return {}
    x, y = pixel_size["x"], pixel_size["y"]
    side = sqrt(x * y) if abs(x - y) <= SQUARE_WITHIN * max(x, y) else np.nan
    return {
        "area_um2": area * (x * y),
        "perimeter_um": perimeter * side,
        "diameter_um": np.sqrt(4 * area * (x * y) / pi),
    }
