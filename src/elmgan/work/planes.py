"""One plane of a count: its row, and what is to be kept of it."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace

from elmgan.counting import Bands, Model, Result, Row, Streamed, is_streamed
from elmgan.counting.row import DECIMALS
from elmgan.errors import ImageError
from elmgan.files import cannot_write
from elmgan.work.plan import Task
from elmgan.work.sinks import Drawn, Sinks

MakeRoom = Callable[[int], AbstractContextManager[object]]
"""Gives what is entered while so many pixels are in memory: it may wait until there is room for them."""

Outcome = tuple[list[Row], Drawn]
"""Rows, and what the sinks drew."""


def count_plane(
    task: Task,
    model: Model,
    sinks: Sinks,
    *,
    quick: bool = False,
    part: Callable[[float], None] = lambda share: None,
    bands: Bands | None = None,
    room: MakeRoom = lambda pixels: nullcontext(),
) -> Outcome:
    """Count one plane; give its row and what is to be kept of it. What was counted before is passed on.

    Args:
        task: The plane, of an open source.
        model: What counts.
        sinks: What draws.
        quick: See :meth:`~elmgan.Model.count`.
        part: Told the share that is done, of a plane that is too large for memory.
        bands: Runs the network on such a plane elsewhere; see :meth:`~elmgan.Model.stream`.
        room: Entered with the values that are read of the plane, while there is anything of it in memory.

    Raises:
        ImageError: The plane cannot be read or counted.
        ModelError: The network cannot run on it.
        OutputError: There is no room for what does not fit memory.
    """
    if task.kept:
        return list(task.kept), {}
    if task.plane is None:
        raise task.error or ImageError("has no planes")
    with ExitStack() as stack:
        stack.enter_context(room(task.pixels))
        begun, plane = time.perf_counter(), task.plane
        found: Result | Streamed
        if is_streamed(plane):
            sinks.check_streamed()
            try:
                sinks.scratch.mkdir(exist_ok=True)
                found = model.stream(plane, quick=quick, scratch=sinks.scratch, watch=part, bands=bands)
            except OSError as error:
                raise cannot_write(sinks.scratch, error) from error
            stack.callback(found.close)
            pixels = found.preview
        else:
            pixels = plane.read()
            found = replace(model.count(plane, pixels=pixels, quick=quick), probability=None)  # no sink wants it
        row = Row.of(found, plane, image=task.item.image, seconds=0, model=model.version)  # separates the cells
        row = row.model_copy(update={"seconds": round(time.perf_counter() - begun, DECIMALS["seconds"])})
        return [row], sinks.draw(task, found, pixels)
