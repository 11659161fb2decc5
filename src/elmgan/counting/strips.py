"""Separation of a mask that comes in rows from top to bottom, in memory that does not grow with its rows.

Each strip of rows is parted into hills by itself. A hill that goes on in another strip has a number in each; those are
linked when the next strip comes. What is joined is decided once, at the end, for all hills together, so that
the cells are those of the whole mask, whatever its strips. Only runs of numbers are kept of a strip meanwhile.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile

import numpy as np
from numpy.typing import NDArray

from elmgan.counting.hills import HALO, Indices, follow, heights, join_parts, least_neck, parted, uphill
from elmgan.models import STRIDE

IN_MEMORY = 2**27
"""Bytes of runs that are not put on the disk."""

Numbers = NDArray[np.int32]


@dataclass(frozen=True)
class _Ways:
    """Ways between hills that touch.

    Attributes:
        ends: Numbers of the two hills; (2, way).
        neck: How high the way leads.
        place: By which ways that lead as high are taken in order: first by direction, then by pixel.
    """

    ends: NDArray[np.int32]
    neck: NDArray[np.float32]
    place: NDArray[np.int64]

    @classmethod
    def together(cls, parts: Sequence["_Ways"]) -> "_Ways":
        return cls(
            np.concatenate([part.ends for part in parts], axis=1),
            np.concatenate([part.neck for part in parts]),
            np.concatenate([part.place for part in parts]),
        )

    def between(self, link: Numbers) -> "_Ways":
        """Give the ways with the numbers that theirs are linked to, without those that lead nowhere."""
        ends = link[self.ends]
        lead = ends[0] != ends[1]
        return _Ways(ends[:, lead], self.neck[lead], self.place[lead])

    def widest(self) -> "_Ways":
        """Leave the highest way between each two hills: where that is a neck, the others are."""
        pair = (self.ends.min(axis=0).astype(np.int64) << 32) + self.ends.max(axis=0)
        order = np.lexsort((self.place, -self.neck, pair))
        first = order[np.diff(pair[order], prepend=-1) != 0]
        return _Ways(self.ends[:, first], self.neck[first], self.place[first])


class Strips:
    """The cells of a mask, separated as it comes; see :func:`~elmgan.counting.separation.separate`.

    Args:
        width: Columns of the mask.
        counts: Whether there is a count map.
        pixels: Of a strip, about; with it come those of the halo.
        scratch: Folder for what does not fit memory; by default the system's for temporary files.
    """

    def __init__(self, width: int, *, counts: bool, pixels: int, scratch: Path | None = None) -> None:
        self._width, self._counts = width, counts
        self._rows = max(1, pixels // max(1, width) // STRIDE) * STRIDE
        self._mask = np.zeros((0, width), np.bool_)
        self._density = np.zeros((0, -(-width // STRIDE)), np.float32)
        self._first = 0  # row of the image that is the first of the mask here
        self._done = 0  # rows that are parted into hills
        self._blocks = 0  # rows of the count map that have been let go of
        self._above = np.zeros(width, np.int32)  # numbers of the last row that is done
        self._number = 0
        self._tops: list[NDArray[np.float32]] = [np.zeros(1, np.float32)]
        self._links: list[tuple[Numbers, Numbers]] = []
        self._open: tuple[NDArray[np.intp], Numbers] = (np.zeros(0, np.intp), np.zeros(0, np.int32))
        self._sums: list[tuple[Numbers, NDArray[np.float64]]] = []
        self._ways: list[_Ways] = []
        self._found: tuple[Numbers, int] | None = None
        self._runs: list[tuple[int, int]] = []  # rows and runs of each strip
        self._kept = SpooledTemporaryFile(IN_MEMORY, dir=None if scratch is None else str(scratch))  # noqa: SIM115  # closed by close()

    def add(self, mask: NDArray[np.bool_], density: NDArray[np.float32] | None = None) -> None:
        """Take the next rows.

        Args:
            mask: (row, column), true where there is a cell. But for the last time, a multiple of four rows.
            density: Cells per pixel of the mask, one value for 4 x 4 pixels; ``None`` to go by shape alone.

        Raises:
            OSError: There is no room on the disk for what does not fit memory.
        """
        self._mask = np.concatenate([self._mask, mask]) if len(self._mask) else mask
        if density is not None:
            self._density = np.concatenate([self._density, density]) if len(self._density) else density
        while self._first + len(self._mask) >= self._done + self._rows + HALO:
            self._part(self._done + self._rows)

    def labels(self) -> Iterator[NDArray[np.uint32]]:
        """Give the labels of all rows, from top to bottom, some at a time; after the last rows were added.

        Numbers are 1..n in the order in which the first pixels of the cells are met row by row; 0 is no cell. May be
        called again.
        """
        names, number = self._names()
        order, met = np.zeros(number + 1, np.uint32), 0
        for rows, lengths, numbers in self._read():
            values = names[numbers]
            found, first = np.unique(values, return_index=True)
            new = (order[found] == 0) & (found > 0)
            found = found[new][np.argsort(first[new])]
            order[found] = np.arange(met + 1, met + 1 + len(found))
            met += len(found)
            yield np.repeat(order[values], lengths).reshape(rows, self._width)

    def masks(self) -> Iterator[NDArray[np.bool_]]:
        """Give the mask again, as :meth:`labels` gives the labels; what is no cell by the count is in it, too."""
        self._names()
        for rows, lengths, numbers in self._read():
            yield np.repeat(numbers > 0, lengths).reshape(rows, self._width)

    def _read(self) -> Iterator[tuple[int, Numbers, Numbers]]:
        """Give the rows of each strip, the lengths of its runs, and their numbers."""
        place = 0
        for rows, runs in self._runs:
            self._kept.seek(place)
            starts, numbers = np.frombuffer(self._kept.read(8 * runs), np.int32).reshape(2, runs)
            place += 8 * runs
            yield rows, np.diff(starts, append=np.int32(rows * self._width)), numbers

    @property
    def number(self) -> int:
        """Of cells; after the last rows were added."""
        return self._names()[1]

    def close(self) -> None:
        """Let go of what was kept."""
        self._kept.close()

    def _part(self, end: int) -> None:
        """Part the rows that are not done, up to ``end``, into hills."""
        rows = slice(self._done - self._first, end - self._first)
        top = max(0, rows.start - HALO)
        hills = heights(self._mask[top : rows.stop + HALO], slice(rows.start - top, rows.stop - top))
        width, height = hills.shape[1], hills.ravel()
        pixels = np.flatnonzero(height).astype(np.int32)
        one, last = np.searchsorted(pixels, [width, height.size - width])  # before and after: rows of other strips
        image = np.zeros(height.size, np.int32)
        image[pixels] = np.arange(len(pixels), dtype=np.int32)
        up = np.arange(len(pixels), dtype=np.int32)
        up[one:last] = np.concatenate([image[uphill(height, some, width)] for some in parted(pixels[one:last])])
        peak = follow(up)
        del up
        part = self._numbered(pixels, height, peak, one, last)
        if self._counts:
            self._share(pixels[one:last], part[one:last], width)
        image[pixels] = part
        image[pixels[last:]] = 0
        self._ways.append(self._touching(image, pixels, height, width, (one, last)))
        inner = image.reshape(-1, width)[1:-1, 1:-1]
        self._above = inner[-1].copy()
        self._keep(inner)
        self._done = end
        cut = max(0, self._done - HALO - self._first)
        self._mask, self._first = self._mask[cut:], self._first + cut
        if self._counts:
            gone = self._done // STRIDE - self._blocks
            self._density, self._blocks = self._density[gone:], self._blocks + gone

    def _numbered(
        self, pixels: Indices, height: NDArray[np.float32], peak: Indices, one: int, last: int
    ) -> NDArray[np.int32]:
        """Give each pixel the number of its hill: of a peak here, of the row above, or of one that is still to come."""
        numbers = np.zeros(len(pixels), np.int32)
        numbers[:one] = self._above[pixels[:one] - 1]
        peaks = np.flatnonzero(peak[one:last] == np.arange(one, last, dtype=np.int32)) + one
        numbers[peaks] = np.arange(self._number + 1, self._number + 1 + len(peaks))
        self._number += len(peaks)
        below = np.unique(peak[one:last][peak[one:last] >= last])
        numbers[below] = np.arange(self._number + 1, self._number + 1 + len(below))
        self._number += len(below)
        self._tops += [height[pixels[peaks]], np.zeros(len(below), np.float32)]
        part = numbers[peak]
        part[:one] = numbers[:one]
        columns, opened = self._open
        if len(columns):  # hills of the strip above that go on in the first row of this one
            first = np.zeros(self._width, np.int32)
            row = pixels[one:last] < 2 * (self._width + 2)
            first[pixels[one:last][row] - (self._width + 2) - 1] = part[one:last][row]
            self._links.append((opened, first[columns]))
        self._open = (pixels[below] % (self._width + 2) - 1, numbers[below])
        return part

    def _share(self, pixels: Indices, part: Numbers, width: int) -> None:
        """Add up the cells in each hill."""
        flat, across = self._density.ravel(), self._density.shape[1]
        offset = self._done - self._blocks * STRIDE
        least = int(part.min(initial=0))
        sums = np.zeros(self._number + 1 - least)
        for some, parts in zip(parted(pixels), parted(part), strict=True):
            row, column = np.divmod(some, width)
            block = (row - 1 + offset) // STRIDE * across + (column - 1) // STRIDE
            sums += np.bincount(parts - least, flat[block], minlength=len(sums))
        found = np.flatnonzero(sums)
        self._sums.append(((found + least).astype(np.int32), sums[found]))

    def _touching(
        self, image: Numbers, pixels: Indices, height: NDArray[np.float32], width: int, within: tuple[int, int]
    ) -> "_Ways":
        """Find the ways between hills: along the strip's rows, and from each row, and the one above, to the next."""
        one, last = within
        bottom = int(np.searchsorted(pixels, height.size - 2 * width))  # the last row's way down is the next strip's
        tops = np.concatenate(self._tops)
        self._tops = [tops]
        least = least_neck(np.zeros(0) if self._counts else None)
        found = []
        for k, step in enumerate((1, width - 1, width, width + 1)):
            for some in parted(pixels[one:last] if step == 1 else pixels[:bottom]):
                here, there = image[some], image[some + step]
                touch = np.flatnonzero((here != there) & (there > 0))
                ends, pixel = np.stack([here[touch], there[touch]]), some[touch]
                neck = np.minimum(height[pixel], height[pixel + step])
                wide = neck > least * tops[ends].min(axis=0)  # the others stay necks: joining only lifts peaks
                row = pixel[wide] // width - 1 + self._done
                place = (k << 58) + row.astype(np.int64) * width + pixel[wide] % width
                found.append(_Ways(ends[:, wide], neck[wide], place))
        return _Ways.together(found).widest()

    def _keep(self, numbers: Numbers) -> None:
        flat = numbers.reshape(-1)
        starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1).astype(np.int32)
        self._kept.seek(0, 2)
        self._kept.write(starts.tobytes())
        self._kept.write(flat[starts].tobytes())
        self._runs.append((len(numbers), len(starts)))

    def _names(self) -> tuple[Numbers, int]:
        """Give each number its cell, 0 for none, and the number of cells."""
        if self._first + len(self._mask) > self._done:
            self._part(self._first + len(self._mask))
            self._mask = self._mask[:0]
        if self._found is None:
            link = np.arange(self._number + 1, dtype=np.int32)
            for number, to in self._links:
                link[number] = to
            link = follow(link)
            shares = None
            if self._counts:
                numbers, sums = (np.concatenate(each) for each in zip(*self._sums, strict=True))
                shares = np.bincount(link[numbers], sums, minlength=self._number + 1).astype(np.float64)
            ways = self._ways[0] if len(self._ways) == 1 else _Ways.together(self._ways).between(link).widest()
            order = np.lexsort((ways.place, -ways.neck))
            cell, kept = join_parts(ways.ends[:, order], ways.neck[order], np.concatenate(self._tops), shares)
            kept &= link == np.arange(len(link))
            self._found = np.where(kept, np.cumsum(kept), 0)[cell[link]].astype(np.int32), int(kept.sum())
            self._ways.clear()
        return self._found
