"""What is made of a job's cells when it is downloaded: cells.csv, regions.csv, files for QuPath and for ImageJ."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np

from elmgan.apps.web.job import Job
from elmgan.apps.web.pictures import page_of
from elmgan.counting import Failure, Result, is_streamed
from elmgan.errors import ImageError
from elmgan.work.cells import CellsSink, Measurer
from elmgan.work.count import PIXELS_AT_ONCE
from elmgan.work.exports import Export
from elmgan.work.pipeline import cores, outcomes
from elmgan.work.plan import MASKS, Plan, Task
from elmgan.work.planes import Outcome
from elmgan.work.regions import RegionFiles, RegionsSink
from elmgan.work.sinks import Sink, Sinks, is_disk_full


def regions_of(job: Job, folder: Path, names: Sequence[str]) -> RegionFiles:
    """Read the regions of a job's images: one file for all of them, or one for each by its name.

    Args:
        job: The job.
        folder: Where the files are.
        names: Their names there.

    Raises:
        UsageError: They cannot be read, or are of no image.
    """
    stems = {_stem(name) for name in names}
    named = [item for item in job.items if _stem(item.image) in stems]
    of_all = len(names) == 1 and not named
    files = RegionFiles(folder / names[0] if of_all else folder, {item.image: item.source for item in job.items})
    for item in named:
        files.number(item.image)  # which reads them
    return files


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").name


def write_extras(
    job: Job, out: Path, *, measure: bool, exports: Sequence[str], regions: RegionFiles | None, most_pixels: int | None
) -> list[str]:
    """Write the files of a job's cells to a folder; the cells are those of its masks and count maps.

    Args:
        job: The job.
        out: The folder.
        measure: Whether cells.csv is wanted.
        exports: Programs whose files are wanted.
        regions: Regions whose cells are counted, in regions.csv.
        most_pixels: Larger planes are refused.

    Returns:
        What is missing, and what is to be told of the regions.

    Raises:
        OutputError: They cannot be written.
    """
    with job.lock:
        items = {number: job.items[number] for number, rows in sorted(job.rows.items()) if rows}
        runs = {number: run for number in items if (run := job.run_of(number)) is not None}
    images, measured = [item.image for item in items.values()], Measurer()
    sinks: list[Sink] = [Export(name, measured) for name in exports]
    of_regions = None
    if measure:
        sinks.append(CellsSink(out, measured, images=images, kept=[], excel=False))
    if regions is not None:
        of_regions = RegionsSink(out, regions, measured, images=images, kept=[], excel=False)
        sinks.append(of_regions)
    plans = {
        items[number].image: Plan([items[number]], {}, out, exports, view=run.view, most_pixels=most_pixels)
        for number, run in runs.items()
    }
    notes = []
    with ExitStack() as stack:
        for plan in plans.values():
            stack.callback(plan.close)
        every = stack.enter_context(Sinks(sinks, out))
        done = outcomes(
            partial(_drawn, job, {item.image: number for number, item in items.items()}, every),
            chain.from_iterable(plans.values()),
            named=lambda task: task.named,
            workers=cores() + 1,
            size=lambda task: task.pixels,
            most=PIXELS_AT_ONCE,
            fatal=is_disk_full,
        )
        for task, outcome in stack.enter_context(closing(done)):
            kept = every.keep(task, outcome)
            plans[task.item.image].finish(task)
            if isinstance(kept, Failure):
                notes.append(job.told(f"{kept.image} is missing in what was made of cells: {kept.error}"))
    return notes + ([] if of_regions is None else of_regions.notes)


def _drawn(job: Job, numbers: Mapping[str, int], sinks: Sinks, task: Task) -> Outcome:
    if task.plane is None:
        raise task.error or ImageError("has no planes")
    if is_streamed(task.plane):
        raise ImageError("is too large for it here: elmgan count measures and exports planes of this size")
    number, place = numbers[task.item.image], task.plane.place
    with job.lock:
        row = next((row for row in job.rows.get(number, []) if row.place == place), None)
    written = job.written(number, place, MASKS)
    if row is None or (row.objects is not None and (written is None or not written[0].exists())):
        raise ImageError("was not counted")
    mask = page_of(*written) != 0 if written is not None and row.objects is not None else None
    try:
        count_map = np.load(job.map_of(number, place))
    except FileNotFoundError:
        count_map = None
    calibration, doubt = job.judged.get((number, place), (None, 0.0))
    result = Result(
        task.plane.shape,
        row.estimate,
        mask,
        None,
        count_map,
        row.flags,
        calibration=calibration,
        doubt=doubt,
    )
    return [], sinks.draw(task, result, task.plane.read())
