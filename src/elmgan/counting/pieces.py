"""The cells of a plane that is too large for memory, some whole ones at a time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elmgan.counting.cells import measured
from elmgan.counting.outlines import Polygon, outlines_of
from elmgan.counting.scaling import edges_of, spread_along
from elmgan.errors import ImageError
from elmgan.images import Tile
from elmgan.models import STRIDE

IN_MEMORY = 1 << 26
"""Bytes of a count map that are not put on the disk."""

PIECE_PIXELS = 1 << 24
"""Pixels of the rows of which the cells are taken at a time."""

CELL_PIXELS = 1 << 28
"""Pixels of the rows of one cell, at most."""


class KeptMap:
    """The count map of a part of a plane, which comes in rows and is read again, some rows at a time.

    Args:
        box: The part, of the plane or of the smaller copy that was looked at.
        shape: Of the plane.
        scratch: Folder for what does not fit memory; by default the system's for temporary files.
        reductions: How many pixels of the plane one of the copy stands for along rows and columns.
    """

    def __init__(
        self, box: Tile, shape: tuple[int, int], scratch: Path | None, reductions: tuple[float, float] = (1, 1)
    ) -> None:
        self._box, self._shape, self._reductions = box, shape, reductions
        self._across = -(-box.width // STRIDE)
        self._kept = SpooledTemporaryFile(IN_MEMORY, dir=None if scratch is None else str(scratch))  # noqa: SIM115  # closed by close()

    def add(self, count_map: NDArray[np.float32]) -> None:
        """Take the next rows.

        Raises:
            OSError: There is no room on the disk.
        """
        self._kept.seek(0, 2)
        self._kept.write(np.ascontiguousarray(count_map, np.float32).tobytes())

    def rows(self, rows: range) -> NDArray[np.float32]:
        """Give the count map of whole rows of the plane: one value for 4 x 4 pixels, from the first of these rows on.

        What begins elsewhere than the part's own values is made of shares of them.
        """
        box, sides = self._box, zip(self._reductions, self._shape, strict=True)
        begins = box.top + edges_of(box.height, STRIDE), box.left + edges_of(box.width, STRIDE)
        down, across = (np.minimum(each * ratio, side) for each, (ratio, side) in zip(begins, sides, strict=True))
        first = min(max(0, int(np.searchsorted(down, rows.start, "right")) - 1), len(down) - 2)
        end = min(max(first + 1, int(np.searchsorted(down, rows.stop))), len(down) - 1)
        self._kept.seek(4 * first * self._across)
        values = np.frombuffer(self._kept.read(4 * (end - first) * self._across), np.float32).reshape(-1, self._across)
        wanted = rows.start + edges_of(len(rows), STRIDE)
        found = spread_along(values, down[first : end + 1], wanted)
        return np.ascontiguousarray(spread_along(found.T, across, edges_of(self._shape[1], STRIDE)).T, np.float32)

    def close(self) -> None:
        """Let go of it."""
        self._kept.close()


@dataclass(frozen=True, eq=False)
class Piece:
    """Some whole rows of a plane, and those of its cells that come with them.

    Attributes:
        tile: The rows. Cells of other pieces lie in them too.
        numbers: The cells' numbers in the label image of the plane.
        labels: Which pixels are theirs, 1..n in the order of their numbers.
        count_map: Of the rows; None without one.
    """

    tile: Tile
    numbers: NDArray[np.uint32]
    labels: NDArray[np.uint32]
    count_map: NDArray[np.float32] | None

    def cells(
        self,
        channels: Mapping[str, ArrayLike],
        *,
        pixel_size: Mapping[str, float] | None = None,
    ) -> dict[str, NDArray]:
        """Measure the cells, as :meth:`elmgan.Result.cells` does.

        Args:
            channels: Name -> the rows of that channel.
            pixel_size: x and y -> micrometres, where they are known.
        """
        cells = measured(self.labels, channels, count_map=self.count_map, pixel_size=pixel_size)
        return {**cells, "cell": self.numbers[cells["cell"] - 1], "row": cells["row"] + self.tile.top}

    def outlines(self) -> list[list[Polygon]]:
        """Give the polygons of each cell; see :meth:`elmgan.Result.outlines`."""
        down = np.array([self.tile.top, 0], np.int32)
        return [[[ring + down for ring in polygon] for polygon in of] for _, of in outlines_of(self.labels)]


def pieces_of(rows: Iterable[NDArray[np.uint32]], shape: tuple[int, int], count_map: KeptMap | None) -> Iterator[Piece]:
    """Cut a label image into pieces, in each of which are the cells that end there; each cell is in one.

    Args:
        rows: Of the label image, from top to bottom.
        shape: Of the image.
        count_map: Of the image.

    Raises:
        ImageError: A cell is so large that its rows do not fit memory.

    >>> labels = np.array([[1, 0], [1, 2], [0, 2], [3, 0]], np.uint32)
    >>> pieces = list(pieces_of(labels.reshape(4, 1, 2), (4, 2), None))
    >>> [(piece.tile.top, piece.tile.height, piece.numbers.tolist()) for piece in pieces]
    [(0, 4, [1, 2, 3])]
    """
    height, width = shape
    held, first = np.zeros((0, width), np.uint32), 0
    for some in rows:
        held = np.concatenate([held, some]) if len(held) else some
        end = first + len(held)
        if end < height and held.size < PIECE_PIXELS:
            continue
        known = np.zeros(int(held.max(initial=0)) + 1, np.uint32)  # number -> 1 if it ends here, 2 if it goes on
        known[held] = 1
        if end < height:
            known[held[-1]] = 2
        known[0] = 0
        numbers = np.flatnonzero(known == 1)
        here = np.zeros(len(known), np.uint32)
        here[numbers] = np.arange(1, len(numbers) + 1)
        if len(numbers):
            of = None if count_map is None else count_map.rows(range(first, end))
            yield Piece(Tile(first, 0, len(held), width), numbers.astype(np.uint32), here[held], of)
        goes_on = known[held] == 2
        there = np.flatnonzero(goes_on.any(axis=1))
        # With a row in front, so that no cell touches the first one, and where a value of the count map begins.
        cut = max(0, (int(there[0]) if len(there) else len(held)) - 1) // STRIDE * STRIDE
        held, first = np.where(goes_on[cut:], held[cut:], np.uint32(0)), first + cut
        if held.size > CELL_PIXELS:
            raise ImageError(
                f"has a cell of {len(there)} rows, which is too large to be measured: look at the mask, or leave "
                "--measure, --export and --regions out"
            )
