"""Label images as OME-Zarr, one folder for each scene."""

import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from elmgan.counting import Result, Streamed
from elmgan.files import cannot_write, remove, whole_folder
from elmgan.images import ZarrLabels, zarr_format
from elmgan.work.plan import PICTURES, ZARR, Task
from elmgan.work.sinks import FAST, Packed

_ROWS = 1024
"""That are read at a time from a file of labels."""


class ZarrSink:
    """Writes the separated cells of each scene as OME-Zarr; see :class:`~elmgan.images.ZarrLabels`."""

    name = ZARR
    streams = True

    def __init__(self) -> None:
        self._open: dict[Path, ZarrLabels] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_open": {}}  # folders stay where they are open

    def draw(self, task: Task, result: Result | Streamed, pixels: NDArray, scratch: Path) -> Packed:
        """Give the pixels of a plane, or of a large one a file of them, or its folder where it is alone."""
        if isinstance(result, Result):
            return zlib.compress(np.ascontiguousarray(result.labels(), np.uint32).data, FAST)
        try:
            scratch.mkdir(exist_ok=True)
            if task.pages == (1, 1):
                path = scratch / f"{uuid4().hex}.zarr"
                labels = self._folder(path, task)
                try:
                    labels.write(result.labels(), t=0, z=0)
                except BaseException:
                    labels.close(keep=False)
                    raise
                labels.close()
                return path
            path = scratch / f"{uuid4().hex}.labels"
            with path.open("wb") as file:
                for some in result.labels():
                    file.write(np.ascontiguousarray(some, np.uint32).data)
        except OSError as error:
            raise cannot_write(path, error) from error
        return path

    def _folder(self, path: Path, task: Task) -> ZarrLabels:
        assert task.plane is not None
        times, depths = task.pages
        return ZarrLabels(
            path,
            times=times,
            depths=depths,
            shape=task.plane.shape,
            pixel_size=task.plane.described.pixel_size,
            version=zarr_format(task.item.source),
            name=task.files[self.name].name.removesuffix(PICTURES[ZARR]),
        )

    def keep(self, task: Task, drawn: Packed) -> None:
        """Write the pixels of a plane, or put its folder where it belongs."""
        assert task.plane is not None
        path = task.files[self.name]
        if isinstance(drawn, Path) and drawn.is_dir():
            with whole_folder(path) as temporary:
                drawn.replace(temporary)
            return
        if path not in self._open:
            self._open[path] = self._folder(path, task)
        self._open[path].write(_rows(drawn, task.plane.shape), t=task.page[0], z=task.page[1])
        if isinstance(drawn, Path):
            drawn.unlink()

    def end_scene(self, task: Task) -> None:
        """Let the scene's folder appear."""
        labels = self._open.pop(task.files[self.name], None) if self.name in task.files else None
        if labels is not None:
            labels.close()

    def drop(self, task: Task) -> None:
        """Remove the folder of a scene whose only plane failed; of several planes the others stay in it."""
        if self.name in task.files and task.pages == (1, 1):
            labels = self._open.pop(task.files[self.name], None)
            if labels is not None:
                labels.close(keep=False)
            remove([task.files[self.name]])

    def close(self, *, whole: bool) -> None:
        """Give up the folders of scenes that did not end."""
        for labels in self._open.values():
            with suppress(OSError):
                labels.close(keep=False)
        self._open.clear()


def _rows(drawn: Packed, shape: tuple[int, int]) -> Iterator[NDArray[np.uint32]]:
    """Give the rows of a plane that was drawn."""
    if isinstance(drawn, bytes):
        yield np.frombuffer(zlib.decompress(drawn), np.uint32).reshape(shape)
        return
    with drawn.open("rb") as file:
        for top in range(0, shape[0], _ROWS):
            rows = min(_ROWS, shape[0] - top)
            yield np.fromfile(file, np.uint32, rows * shape[1]).reshape(rows, shape[1])
