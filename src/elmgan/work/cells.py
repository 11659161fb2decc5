"""The separated cells of each plane, measured: cells.csv."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from elmgan.counting import Piece, Place, Result, Row, Streamed
from elmgan.images import COLOUR_SAMPLES, Plane, Tile
from elmgan.work.earlier import CELLS_TABLE
from elmgan.work.plan import Task
from elmgan.work.plane_table import PlaneRows, rows_by_plane
from elmgan.work.table_sink import TableSink

FORMATS = {
    "cell": "%d",
    "row": "%.2f",
    "column": "%.2f",
    "area_px": "%d",
    "perimeter_px": "%.2f",
    "diameter_px": "%.2f",
    "area_um2": "%.3f",
    "perimeter_um": "%.3f",
    "diameter_um": "%.3f",
    "eccentricity": "%.4f",
    "solidity": "%.4f",
    "share": "%.3f",
    "touches_border": "%d",
}
"""Columns that every table of cells has -> how their numbers are written."""

WHOLE_NUMBER, FRACTION = "%d", "%.7g"
"""How the brightness of cells is written."""


class Measurer:
    """Measures the cells of a plane, once for all that ask: in the channels of its image, and its pixel size."""

    def __init__(self) -> None:
        self._found: WeakKeyDictionary[Result | Streamed, Mapping[str, NDArray]] = WeakKeyDictionary()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]  # in another process it begins anew

    def __call__(self, task: Task, result: Result | Streamed, pixels: NDArray) -> Mapping[str, NDArray]:
        """Give the measures of the cells of a plane; see :meth:`elmgan.Result.cells`."""
        assert task.plane is not None
        with self._lock:
            found = self._found.get(result)
        if found is None:
            size = task.plane.described.pixel_size
            if isinstance(result, Result):
                found = result.cells(Channels(task.plane, pixels), pixel_size=size)
            else:
                found = _joined([_cells_of(piece, task.plane, size) for piece in result.pieces()])
            with self._lock:
                self._found[result] = found
        return found


class Channels(Mapping[str, NDArray]):
    """The channels of a plane's image by their names, or numbers, each read when it is asked for.

    A grey image has one, without a name; of colour they are red, green and blue.

    Args:
        plane: Its scene, t and z are those of the channels.
        pixels: Of the plane, which were read before.
        tile: The part of the plane that they are of; by default all of it.
    """

    def __init__(self, plane: Plane, pixels: NDArray, tile: Tile | None = None) -> None:
        scene = plane.described
        self._plane, self._pixels, self._tile = plane, pixels, tile
        if "C" in scene.axes:
            number = scene.length("C")
            named = scene.channels if len(set(scene.channels)) == number else [str(k + 1) for k in range(number)]
        else:
            named = COLOUR_SAMPLES if "S" in scene.axes else [""]
        self._names = {name: k for k, name in enumerate(named)}

    def __getitem__(self, name: str) -> NDArray:
        index = self._names[name]
        if self._plane.samples > 1:
            return self._pixels[:, :, index]
        if len(self._names) == 1 or index == self._plane.index:
            return self._pixels
        return replace(self._plane, channel=name, index=index).read(self._tile)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _cells_of(piece: Piece, plane: Plane, pixel_size: Mapping[str, float]) -> Mapping[str, NDArray]:
    return piece.cells(Channels(plane, plane.read(piece.tile), piece.tile), pixel_size=pixel_size)


def _joined(parts: Sequence[Mapping[str, NDArray]]) -> Mapping[str, NDArray]:
    """Put the measures of all cells of a plane together, in the order of their numbers."""
    if not parts:
        return {"cell": np.zeros(0, np.intp)}
    order = np.argsort(np.concatenate([part["cell"] for part in parts]))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}


class CellsSink(TableSink):
    """The sink of cells.csv.

    Args:
        out: Folder to write to.
        measure: Measures the cells.
        images: Names of the images, in the order of the table.
        kept: Those whose rows of an earlier count stay.
        excel: Whether the table is for a spreadsheet whose decimal sign is a comma.
    """

    def __init__(
        self, out: Path, measure: Measurer, *, images: Sequence[str], kept: Collection[str], excel: bool
    ) -> None:
        super().__init__(out, CELLS_TABLE, list(FORMATS), images=images, kept=kept, excel=excel)
        self._measure = measure

    def _rows(self, task: Task, plane: Plane, result: Result | Streamed, pixels: NDArray) -> PlaneRows:
        return written(self._measure(task, result, pixels), excel=self._excel)


def has_all_cells(out: Path, rows: Mapping[str, Sequence[Row]], *, excel: bool) -> set[str]:
    """Say of which images an earlier table of cells has all that the rows of their planes count as objects."""
    found = {key: block.rows for key, block in rows_by_plane(out / CELLS_TABLE, excel=excel).items()}
    wanted: dict[str, list[tuple[Place, int]]] = {
        image: [(row.place, row.objects or 0) for row in of] for image, of in rows.items()
    }
    return {image for image, of in wanted.items() if all(found.get((image, place), 0) == n for place, n in of)}


def written(cells: Mapping[str, NDArray], *, excel: bool = False) -> PlaneRows:
    """Write measured cells as lines of a table; what is not known is empty.

    >>> written({"cell": np.array([1, 2]), "row": np.array([0.5, 2]), "share": np.array([np.nan, 1])}).lines
    ['1,0.50,,,,,,,,,,,', '2,2.00,,,,,,,,,,1.000,']
    """
    brightness = [name for name in cells if name.startswith(("mean", "min", "max", "sum"))]
    columns = [*FORMATS, *brightness]
    formats, values = [], []
    for name in columns:
        if name not in cells:
            formats.append("")
            continue
        of = cells[name]
        whole = name in brightness and np.isfinite(of).all() and (of == np.rint(of)).all()
        formats.append(FORMATS.get(name, WHOLE_NUMBER if whole and not name.startswith("mean") else FRACTION))
        values.append(of.tolist())
    separator = ";" if excel else ","
    pattern = separator.join(formats)
    lines = [(pattern % row).replace("nan", "") for row in zip(*values, strict=True)]
    return PlaneRows(columns, [line.replace(".", ",") for line in lines] if excel else lines)
