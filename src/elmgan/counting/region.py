"""Parts of an image: which pixels they hold, and how much of each value of a map of blocks they cover."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elmgan.errors import UsageError
from elmgan.images import Tile
from elmgan.models import STRIDE

FARTHEST = 1e9
"""Pixels from the image at which a vertex may as well be."""

OUTSIDE, PARTLY_OUTSIDE, EMPTY, CROSSING = "outside", "partly-outside", "empty", "self-crossing"
"""Remarks on regions: all or some of one lies beyond the image, it holds the centre of no pixel, its line crosses
itself, so that what it goes round twice is not inside."""


@dataclass(frozen=True, eq=False)
class RegionPixels:
    """Some pixels of an image: those of ``inside``, which lies in the image as ``box`` says."""

    box: Tile
    inside: NDArray[np.bool_]
    remarks: tuple[str, ...] = ()

    @property
    def area(self) -> int:
        """Its pixels."""
        return int(np.count_nonzero(self.inside))

    def holds(self, rows: NDArray, columns: NDArray) -> NDArray[np.bool_]:
        """Say which pixels of the image, by their rows and columns, are in it."""
        down, right = rows - self.box.top, columns - self.box.left
        near = (down >= 0) & (down < self.box.height) & (right >= 0) & (right < self.box.width)
        found = np.zeros(len(near), np.bool_)
        found[near] = self.inside[down[near], right[near]]
        return found


@dataclass(frozen=True, eq=False)
class Region:
    """A region that somebody drew, in pixels from the upper left corner of an image; it may lie beyond it.

    Attributes:
        name: What tells it from others; may be empty.
        kind: Its class; may be empty.
        rings: Lines round it and round its holes, each (vertex, 2), row and column; the even-odd rule says what is
            inside.
        t: The time point that it was drawn on, from 1; None for all.
        z: The focal plane that it was drawn on, from 1; None for all.
        index: In place of both: its place in the stack, from 1, channels counting first, then z, then t.
    """

    name: str
    kind: str
    rings: Sequence[NDArray[np.float64]]
    t: int | None = None
    z: int | None = None
    index: int | None = None

    def part(self, shape: tuple[int, int]) -> RegionPixels:
        """Give its pixels in an image of this shape; a pixel is inside if its centre is."""
        box = self.box(shape)
        inside, crosses = self.pixels_in(box)
        return RegionPixels(box, inside, self.remarks(shape, empty=not inside.any(), crosses=crosses))

    def box(self, shape: tuple[int, int]) -> Tile:
        """Give the part of an image of this shape in which it lies, out to the ends of the values of the count map."""
        return _box(np.concatenate(self.rings), shape)

    def pixels_in(self, box: Tile) -> tuple[NDArray[np.bool_], bool]:
        """Tell which pixels of a part of an image are inside, and whether its line crosses itself there."""
        inside, crosses = np.zeros((box.height, box.width), np.bool_), False
        for ring in self.rings:
            winding = _winding(ring, box)
            inside ^= (winding & 1).view(np.bool_)
            low, high = int(winding.min(initial=0)), int(winding.max(initial=0))
            crosses = crosses or high - low > 1
        return inside, crosses

    def remarks(self, shape: tuple[int, int], *, empty: bool, crosses: bool) -> tuple[str, ...]:
        """Remark on it in an image of this shape, given whether it has no pixel there and whether its line crosses."""
        corners = np.concatenate(self.rings)
        if not empty:
            beyond = (corners < -1).any() or (corners > np.add(shape, 1)).any()
            remark = PARTLY_OUTSIDE if beyond else ""
        else:
            away = (corners.max(axis=0) <= 0).any() or (corners.min(axis=0) >= shape).any()
            remark = OUTSIDE if away else EMPTY
        return tuple(filter(None, (remark, CROSSING if crosses else "")))


def part_of(region: ArrayLike | RegionPixels | Region, shape: tuple[int, int]) -> RegionPixels:
    """Give the pixels of a region of an image of this shape.

    Args:
        region: A region, or what :func:`pixels_of` takes.
        shape: Rows and columns of the image.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(region, RegionPixels):
        return region
    if isinstance(region, Region):
        return region.part(shape)
    return RegionPixels(Tile(0, 0, *shape), pixels_of(region, shape))


def pixels_of(region: ArrayLike, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Give the pixels of a region of an image of this shape, true inside; (row, column).

    Args:
        region: A boolean array of the image's shape, or the vertices of a polygon, ``(vertex, 2)``, each (row, column)
            in pixels. The image's corners are (0, 0) and its shape, so that pixel (0, 0) has its centre at (0.5, 0.5);
            a pixel belongs to the polygon if its centre lies inside, by the even-odd rule. What lies beyond the image
            holds no pixels.
        shape: Rows and columns of the image.

    Raises:
        UsageError: It is neither.

    >>> pixels_of([(0, 0), (0, 2), (1, 2), (1, 0)], (2, 3)).astype(int)
    array([[1, 1, 0],
           [0, 0, 0]])
    """
    given = np.asarray(region)
    if given.dtype == np.bool_:
        if given.shape != shape:
            raise UsageError(f"the region has the shape {given.shape}, the image {shape}: both must be the same")
        return given
    if not np.issubdtype(given.dtype, np.number) or given.ndim != 2 or given.shape[1] != 2 or len(given) < 3:
        raise UsageError(
            f"a region is a boolean array of the image's shape {shape}, or three or more (row, column) vertices of a "
            f"polygon; found type {given.dtype} and shape {given.shape}"
        )
    vertices = given.astype(np.float64)
    if not np.isfinite(vertices).all():
        raise UsageError("a vertex of the region is NaN or infinite; give (row, column) in pixels")
    return (_winding(vertices, Tile(0, 0, *shape)) & 1).view(np.bool_)


def _box(corners: NDArray[np.float64], shape: tuple[int, int]) -> Tile:
    """The part of an image in which a region lies, out to the ends of the values of the count map."""
    begin = np.clip(np.floor(corners.min(axis=0) / STRIDE) * STRIDE, 0, shape).astype(int)
    end = np.clip(np.ceil(corners.max(axis=0) / STRIDE) * STRIDE, begin, shape).astype(int)
    return Tile(int(begin[0]), int(begin[1]), int(end[0] - begin[0]), int(end[1] - begin[1]))


def _winding(vertices: NDArray[np.float64], box: Tile) -> NDArray[np.int8]:
    """Say how often a line goes round each pixel of a part of an image: each edge adds to the pixels right of it.

    A pixel is where its centre is. How often is even or odd is right even where it is more than int8 holds.
    """
    corner = np.array([box.top, box.left])
    begin = np.clip(vertices, -FARTHEST, FARTHEST) - corner
    end = np.roll(begin, -1, axis=0)
    # From top to bottom, so that two polygons that share an edge round it alike and leave no pixel out.
    upwards = (begin[:, 0] > end[:, 0]) | ((begin[:, 0] == end[:, 0]) & (begin[:, 1] > end[:, 1]))
    upper, lower = np.where(upwards[:, np.newaxis], (end, begin), (begin, end))
    first, last = (np.clip(np.ceil(side[:, 0] - 0.5), 0, box.height).astype(np.intp) for side in (upper, lower))
    crossed = last - first
    edge = np.repeat(np.arange(len(begin)), crossed)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(crossed) - crossed, crossed) + first[edge]
    (top, left), (bottom, right) = upper[edge].T, lower[edge].T
    crossing = left + (right - left) * ((row + 0.5 - top) / (bottom - top))
    column = np.ceil(np.clip(crossing - 0.5, 0, box.width)).astype(np.intp)
    turns = np.zeros((box.height, box.width + 1), np.int8)
    np.add.at(turns, (row, column), np.where(upwards[edge], -1, 1).astype(np.int8))
    return np.cumsum(turns[:, :-1], axis=1, dtype=np.int8)


def covered_share(region: NDArray[np.bool_], stride: int) -> NDArray[np.float32]:
    """Give the share of each ``stride`` x ``stride`` block of pixels that is true, 0..1; a cut block's of what is left.

    >>> covered_share(np.array([[True, False, True], [True, False, True]]), stride=2)
    array([[0.5, 1. ]], dtype=float32)
    """
    heights, widths = (np.diff(np.append(np.arange(0, side, stride), side)) for side in region.shape)
    return np.asarray(pixels_in_blocks(region, stride) / np.outer(heights, widths), np.float32)


def pixels_in_blocks(region: NDArray[np.bool_], stride: int) -> NDArray[np.float32]:
    """Count the pixels of each ``stride`` x ``stride`` block that are true.

    >>> pixels_in_blocks(np.array([[True, False, True], [True, False, True]]), stride=2)
    array([[2., 2.]], dtype=float32)
    """
    missing = [(0, -side % stride) for side in region.shape]
    whole = np.pad(region, missing) if any(end for _, end in missing) else region
    numbers = whole.astype(np.uint8 if stride**2 < 2**8 else np.uint32)
    for axis in (0, 1):
        numbers = np.moveaxis(numbers, axis, 0)
        numbers = np.moveaxis(reduce(np.add, (numbers[k::stride] for k in range(stride))), 0, axis)
    return numbers.astype(np.float32)
