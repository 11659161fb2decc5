"""What is written of each plane: drawn where it is counted, kept in the order of the planes."""

import errno
import math
import shutil
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from elmgan.counting import Failure, Result, Row, Streamed
from elmgan.errors import ImageError, OutputError
from elmgan.files import cannot_write, remove, whole_file
from elmgan.images import Pages, as_grey, packed_png, packed_tiff, write_tiles
from elmgan.light import plane_grey
from elmgan.report import overlay
from elmgan.work.plan import LABELS, MASKS, OVERLAYS, Task

FAST = 1
"""Level of compression of what is unpacked again at once."""

Packed = bytes | Path
"""What a sink drew: the content of a file, or a file in the scratch folder."""

Drawn = Mapping[str, Packed]
"""Name of a sink -> what it drew of a plane."""

SCRATCH = ".elmgan-scratch"
"""Folder in that of a count for what does not fit memory; it is gone when the count ends."""


class Sink(Protocol):
    """One kind of output.

    :meth:`draw` runs where the plane was counted, in any thread or process: only bytes and a row leave there. The
    other methods run in the order of the planes, in one thread. A copy in another process only draws.
    """

    name: str
    """Of the sink, and of its folder or file."""

    streams: bool
    """Whether it can draw planes that are too large for memory."""

    def draw(self, task: Task, result: Result | Streamed, pixels: NDArray, scratch: Path) -> Packed:
        """Give what is to be kept of a plane.

        Args:
            task: Its plane is there.
            result: What was counted; of a plane that is too large for memory, some rows at a time.
            pixels: As read; of such a plane, every so many rows and columns.
            scratch: Folder for a file that does not fit memory either.

        Raises:
            OutputError: That cannot be written.
        """
        ...

    def keep(self, task: Task, drawn: Packed) -> None:
        """Write what was drawn of a plane.

        Raises:
            OutputError: It cannot be written.
        """
        ...

    def end_scene(self, task: Task) -> None:
        """Finish what the planes of a scene share, after its last plane, whether that was counted or failed.

        Raises:
            OutputError: It cannot be written.
        """
        ...

    def drop(self, task: Task) -> None:
        """Remove what was kept of a plane that failed, or of an earlier one of its name."""
        ...

    def close(self, *, whole: bool) -> None:
        """End, after the last plane, or with ``whole=False`` because of an error: what is unfinished is given up."""
        ...


class PictureSink:
    """A file for each plane, or one that the planes of a scene share.

    Args:
        name: ``masks``, ``labels`` or ``overlays``.
    """

    streams = True

    def __init__(self, name: str) -> None:
        self.name = name
        self._open: dict[Path, Pages] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "_open": {}}  # files stay where they are open

    def draw(self, task: Task, result: Result | Streamed, pixels: NDArray, scratch: Path) -> Packed:
        """Give a whole file, or the pixels of a page."""
        assert task.plane is not None
        if self.name == OVERLAYS:
            objects = "" if result.objects is None else f"{result.objects} outlined"
            text = objects if result.count is None else f"{result.count} cells, {objects}"
            return packed_png(overlay(plane_grey(task.plane, pixels), _small_labels(result, pixels.shape), text))
        if isinstance(result, Streamed):
            return self._draw_streamed(task, result, scratch)
        page: NDArray = result.labels() if self.name == LABELS else as_grey(_mask_of(result))
        if task.pages != (1, 1):
            return zlib.compress(np.ascontiguousarray(page).data, FAST)
        return packed_tiff(page, task.plane.described.pixel_size)

    def _draw_streamed(self, task: Task, result: Streamed, scratch: Path) -> Path:
        assert task.plane is not None
        rows = result.labels() if self.name == LABELS else (as_grey(rows) for rows in result.masks())
        path = scratch / f"{uuid4().hex}.tif"
        try:
            scratch.mkdir(exist_ok=True)
            if task.pages == (1, 1):
                write_tiles(path, rows, result.shape, self._dtype, task.plane.described.pixel_size)
                return path
            with path.open("wb") as file:
                for some in rows:
                    file.write(np.ascontiguousarray(some, self._dtype).data)
        except OSError as error:
            raise cannot_write(path, error) from error
        return path

    def keep(self, task: Task, drawn: Packed) -> None:
        """Write the file, or the page."""
        path = task.files[self.name]
        if task.pages == (1, 1) or self.name == OVERLAYS:
            with whole_file(path) as temporary:
                if isinstance(drawn, Path):
                    drawn.replace(temporary)
                else:
                    temporary.write_bytes(drawn)
            return
        assert task.plane is not None
        if path not in self._open:
            times, depths = task.pages
            self._open[path] = Pages(
                path,
                times=times,
                depths=depths,
                shape=task.plane.shape,
                dtype=self._dtype,
                pixel_size=task.plane.described.pixel_size,
            )
        page = drawn if isinstance(drawn, Path) else zlib.decompress(drawn)
        self._open[path].write(page, t=task.page[0], z=task.page[1])
        if isinstance(drawn, Path):
            drawn.unlink()

    @property
    def _dtype(self) -> np.dtype:
        return np.dtype(np.uint32 if self.name == LABELS else np.uint8)

    def end_scene(self, task: Task) -> None:
        """Let the file that the scene's planes share appear."""
        pages = self._open.pop(task.files[self.name], None) if self.name in task.files else None
        if pages is not None:
            pages.close()

    def drop(self, task: Task) -> None:
        """Remove the plane's file; a page that did not come is empty."""
        if self.name in task.files and (task.pages == (1, 1) or self.name == OVERLAYS):
            remove([task.files[self.name]])

    def close(self, *, whole: bool) -> None:
        """Give up the files of scenes that did not end."""
        for pages in self._open.values():
            pages.close(keep=False)
        self._open.clear()


def pictures(*, masks: bool, labels: bool, overlays: bool) -> list[Sink]:
    """Give the sinks of the pictures that are wanted."""
    wanted = {MASKS: masks, LABELS: labels, OVERLAYS: overlays}
    return [PictureSink(name) for name, want in wanted.items() if want]


class Sinks:
    """All sinks of a count, as one; use it in a ``with`` block.

    Args:
        sinks: Each of them.
        out: Folder of the count.
    """

    def __init__(self, sinks: Sequence[Sink], out: Path) -> None:
        self._sinks = tuple(sinks)
        self.scratch = out / SCRATCH
        """Folder for what does not fit memory, which is made when it is needed."""

    def draw(self, task: Task, result: Result | Streamed, pixels: NDArray) -> Drawn:
        """Draw a plane for each sink; see :meth:`Sink.draw`."""
        return {sink.name: sink.draw(task, result, pixels, self.scratch) for sink in self._sinks}

    def check_streamed(self) -> None:
        """Refuse a plane that is too large for memory if a sink cannot draw such planes.

        Raises:
            ImageError: One cannot.
        """
        unable = [sink.name for sink in self._sinks if not sink.streams]
        if unable:
            raise ImageError(f"is too large for {' and '.join(unable)} (--export): leave that out")

    def keep(self, task: Task, outcome: tuple[list[Row], Drawn] | Failure) -> list[Row] | Failure:
        """Keep what was drawn of a plane; give its rows, or why it has none.

        Raises:
            OutputError: The disk is full.
        """
        try:
            if isinstance(outcome, Failure):
                for sink in self._sinks:
                    sink.drop(task)
            else:
                for sink in self._sinks:
                    if sink.name in outcome[1]:  # not of what was counted before
                        sink.keep(task, outcome[1][sink.name])
            if task.last[0] and not task.kept:
                for sink in self._sinks:
                    sink.end_scene(task)
        except OutputError as error:
            for sink in self._sinks:
                sink.drop(task)
            remove(task.files.values())
            if is_disk_full(error):
                raise
            outcome = Failure.of(task.item.image, error, task.item.source)
        if isinstance(outcome, Failure):
            return outcome.at(task.plane.told) if task.plane else outcome
        return outcome[0]

    def __enter__(self) -> Self:
        shutil.rmtree(self.scratch, ignore_errors=True)  # of a count that was killed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as stack:  # one that cannot be closed does not keep the others open
            stack.callback(shutil.rmtree, self.scratch, ignore_errors=True)
            for sink in self._sinks:
                stack.callback(sink.close, whole=error is None)


def _mask_of(result: Result) -> NDArray[np.bool_]:
    assert result.mask is not None, "asked for, and checked"
    return result.mask


def _small_labels(result: Result | Streamed, shape: tuple[int, ...]) -> NDArray:
    """Give the labels at the pixels of a picture of this shape, which shows every so many rows and columns."""
    if isinstance(result, Result):
        return result.labels()
    step, top, found = math.ceil(result.shape[0] / shape[0]), 0, []
    for rows in result.labels():
        found.append(rows[-top % step :: step, ::step].copy())  # a view would keep all rows in memory
        top += len(rows)
    return np.concatenate(found)


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error is that of a full disk, so that nothing else can be written either."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
