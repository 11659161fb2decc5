"""The cells of each plane for other programs: GeoJSON for QuPath, ROIs for ImageJ and Fiji."""

import io
import zipfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from elmgan.counting import Result, Streamed
from elmgan.errors import OutputError
from elmgan.export import imagej, qupath
from elmgan.files import cannot_write, remove, whole_file
from elmgan.images import Plane
from elmgan.work.cells import Measurer
from elmgan.work.plan import IMAGEJ, QUPATH, Task
from elmgan.work.sinks import Packed


class _Book(Protocol):
    """An open file that planes are added to."""

    def __init__(self, file: BinaryIO) -> None: ...

    def add(self, drawn: bytes) -> None: ...

    def end(self) -> None: ...


class _GeoJson:
    def __init__(self, file: BinaryIO) -> None:
        self._file, self._begun = file, False
        file.write(qupath.HEAD.encode())

    def add(self, drawn: bytes) -> None:
        if drawn:
            self._file.write(qupath.BETWEEN.encode() * self._begun + drawn)
            self._begun = True

    def end(self) -> None:
        self._file.write(qupath.TAIL.encode())


class _RoiSet:
    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file, "w")

    def add(self, drawn: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(drawn)) as plane:
            for member in plane.infolist():
                self._zip.writestr(member, plane.read(member))

    def end(self) -> None:
        self._zip.close()


BOOKS: dict[str, type[_Book]] = {QUPATH: _GeoJson, IMAGEJ: _RoiSet}


class Export:
    """The sink of one format: a file for each scene, which its planes are added to.

    Args:
        name: ``qupath`` or ``imagej``.
        measure: Measures the cells.
    """

    def __init__(self, name: str, measure: Measurer) -> None:
        self.name, self.streams = name, name == QUPATH  # ImageJ opens no plane of that size
        self._measure = measure
        self._open: dict[Path, tuple[ExitStack, _Book]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": {}}  # files stay where they are open

    def draw(self, task: Task, result: Result | Streamed, pixels: NDArray, scratch: Path) -> Packed:
        """Give what is added of a plane, features or a RoiSet of its own, or the whole file of one that is alone."""
        assert task.plane is not None
        if isinstance(result, Streamed):
            return self._draw_streamed(task, result, pixels, scratch)
        if self.name == IMAGEJ:
            return imagej.roi_set(result.outlines(), place=stack_place(task.plane), prefix=_prefix(task))
        z = task.plane.z if isinstance(task.plane.z, int) else 1  # a projection is shown on the first
        cells = self._measure(task, result, pixels)
        features = qupath.features_of(cells, result.outlines(), t=task.plane.t, z=z)
        return (f"{qupath.HEAD}{features}{qupath.TAIL}" if task.pages == (1, 1) else features).encode()

    def _draw_streamed(self, task: Task, streamed: Streamed, pixels: NDArray, scratch: Path) -> Path:
        """Write the features of a plane that is too large for memory, some cells at a time."""
        assert task.plane is not None
        z = task.plane.z if isinstance(task.plane.z, int) else 1
        cells, alone, begun = self._measure(task, streamed, pixels), task.pages == (1, 1), False
        path = scratch / f"{uuid4().hex}.geojson"
        try:
            scratch.mkdir(exist_ok=True)
            with path.open("w", encoding="utf-8") as file:
                file.write(qupath.HEAD if alone else "")
                for piece in streamed.pieces():
                    which = np.searchsorted(cells["cell"], piece.numbers)
                    of = {name: values[which] for name, values in cells.items()}
                    file.write(qupath.BETWEEN if begun else "")
                    file.write(qupath.features_of(of, piece.outlines(), t=task.plane.t, z=z))
                    begun = True
                file.write(qupath.TAIL if alone else "")
        except OSError as error:
            raise cannot_write(path, error) from error
        return path

    def keep(self, task: Task, drawn: Packed) -> None:
        """Add a plane to the file of its scene."""
        path = task.files[self.name]
        if task.pages == (1, 1):
            with whole_file(path) as temporary:
                if isinstance(drawn, Path):
                    drawn.replace(temporary)
                else:
                    temporary.write_bytes(drawn)
            return
        if isinstance(drawn, Path):
            held = drawn
            drawn = held.read_bytes()
            held.unlink()
        try:
            if path not in self._open:
                with ExitStack() as stack:
                    file = stack.enter_context(stack.enter_context(whole_file(path)).open("wb"))
                    book = BOOKS[self.name](file)
                    self._open[path] = (stack.pop_all(), book)
            self._open[path][1].add(drawn)
        except OSError as error:
            raise cannot_write(path, error) from error

    def end_scene(self, task: Task) -> None:
        """Let the scene's file appear."""
        if task.files.get(self.name) in self._open:
            stack, book = self._open.pop(task.files[self.name])
            with stack:
                book.end()

    def drop(self, task: Task) -> None:
        """Remove the file of a scene whose only plane failed; of several planes the others stay in it."""
        if self.name in task.files and task.pages == (1, 1):
            remove([task.files[self.name]])

    def close(self, *, whole: bool) -> None:
        """Give up the files of scenes that did not end."""
        for stack, book in self._open.values():
            with suppress(OSError):
                book.end()
            stack.__exit__(OutputError, OutputError("given up"), None)
        self._open.clear()


def stack_place(plane: Plane) -> imagej.StackPlace:
    """Say where in its image, as ImageJ opens it, a plane is: a stack has one axis more than a picture, others several.

    What was projected along z is shown on each focal plane, and all is shown on each channel.
    """
    scene = plane.described
    t = plane.t if scene.length("T") > 1 else 0
    z = plane.z if isinstance(plane.z, int) and scene.length("Z") > 1 else 0
    if sum(scene.length(axis) > 1 for axis in "CZT") > 1:
        return imagej.StackPlace(z=z, t=t)
    return imagej.StackPlace(plane=t or z)


def _prefix(task: Task) -> str:
    """What tells the cells of a plane from those of others in the same file."""
    assert task.plane is not None
    places = zip(("t", "z"), (task.plane.t, task.plane.z), task.pages, strict=True)
    return "".join(f"{name}{number} " for name, number, pages in places if pages > 1)
