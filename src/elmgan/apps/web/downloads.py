"""What can be downloaded of a job: its results, and its images with the counts by eye as a data set."""

import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from elmgan.apps.web.extras import regions_of, write_extras
from elmgan.apps.web.job import REGIONS, UPLOADS, Job, OneCount
from elmgan.apps.web.records import Wanted
from elmgan.apps.web.refusal import RefusedError
from elmgan.counting import Failure
from elmgan.counting.row import COLUMNS, FRACTIONS
from elmgan.errors import ElmganError, one_line
from elmgan.files import write_table
from elmgan.work.count import write_counts_report
from elmgan.work.earlier import FAILED, REPORT, TABLE
from elmgan.work.plan import RECORD, picture_files

FRESH = 300.0
"""Seconds for which a link to a download holds."""

OWN_TABLE = "counted-by-eye.csv"


Ticket = tuple[float, Job | None, Wanted]
"""Until when a link is good, and for what of a job."""

NONE: Ticket = (0.0, None, Wanted(part="results"))


class Tickets:
    """Links to downloads that are good once: who has one needs nothing else."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, Ticket] = {}

    def issue(self, job: Job, wanted: Wanted) -> str:
        """Give a new ticket."""
        ticket = secrets.token_urlsafe(24)
        with self._lock:
            now = time.monotonic()
            self._open = {key: value for key, value in self._open.items() if value[0] > now}
            self._open[ticket] = (now + FRESH, job, wanted)
        return ticket

    def take(self, ticket: str) -> tuple[Job, Wanted]:
        """Give what a ticket is for; it is used up.

        Raises:
            RefusedError: It is not good, or no longer.
        """
        with self._lock:
            until, job, wanted = self._open.pop(ticket, NONE)
        if job is None or job.gone or until < time.monotonic():
            raise RefusedError(404, "the link is used up: press the button again")
        return job, wanted


def results_of(job: Job, wanted: Wanted, most_pixels: int | None) -> Iterator[tuple[str, Path | bytes]]:
    """Give the files of a job's results: name in the zip, and file or content; the last is what is to be told of them.

    Args:
        job: The job.
        wanted: What is made of its cells beside what was written when it was counted.
        most_pixels: Larger planes are refused.
    """
    with job.lock:
        numbers = range(len(job.items))
        rows = [row for number in numbers for row in job.rows.get(number, [])]
        failures = [failure for number in numbers for failure in job.failures.get(number, [])]
        places = {number: list(job.places.get(number, [])) for number in numbers}
        runs = {number: job.run_of(number) for number in numbers}
        main, single, own, notes = job.main, dict(job.single), dict(job.own), list(job.notes)
    tables = job.folder / "tables"
    for name, excel in ((TABLE, False), ("counts-excel.csv", True)):
        write_table(tables / name, COLUMNS, (row.texts() for row in rows), excel=excel, decimals=FRACTIONS)
        yield name, tables / name
    if failures:
        columns = list(Failure.model_fields)
        write_table(tables / FAILED, columns, [failure.model_dump(include=set(columns)) for failure in failures])
        yield FAILED, tables / FAILED
    if own:
        yield OWN_TABLE, own_table(job, tables / OWN_TABLE)
    if single:
        told = [f"{job.items[number].image} ({run.view.told or 'default'})" for number, run in single.items()]
        notes.append(f"counted again on their own: {', '.join(told)}; report.html shows them as before")
    for number, run in runs.items():
        if run is None or number not in run.stems:
            continue
        written = picture_files(run.out, run.stems[number], places[number])
        named = picture_files(Path(), job.items[number].stem, places[number])
        for folder, paths in written.items():
            pairs = dict(zip((path.as_posix() for path in named[folder]), paths, strict=True))
            yield from ((name, path) for name, path in pairs.items() if path.exists())
    if main is not None:
        _write_report(main, [job.folder / UPLOADS], most_pixels, notes)
        yield from ((name, main.out / name) for name in (REPORT, RECORD))
    for number, run in single.items():
        _write_report(run, [job.items[number].source], most_pixels, notes)
        stem = job.items[number].stem
        yield from ((f"recounted/{stem}/{name}", run.out / name) for name in (REPORT, RECORD))
    yield from _extras_of(job, wanted, most_pixels, notes)
    if notes:
        yield "notes.txt", "".join(f"{job.told(note)}\n" for note in notes).encode()


def _write_report(run: OneCount, paths: Sequence[Path], most_pixels: int | None, notes: list[str]) -> None:
    """Write the report of a count of these paths, at the first download of its results."""
    if not (run.out / REPORT).exists():
        try:
            write_counts_report(paths, run.out, view=run.view, most_pixels=most_pixels)
        except ElmganError as error:  # the zip has begun: it tells
            notes.append(f"there is no report: {one_line(error)}")


def _extras_of(
    job: Job, wanted: Wanted, most_pixels: int | None, notes: list[str]
) -> Iterator[tuple[str, Path | bytes]]:
    """Give the files that are made of a job's cells, as long as they are asked for; notes say what is missing."""
    if not (wanted.measure or wanted.exports or job.regions):
        return
    made = job.folder / f"made-{secrets.token_hex(8)}"
    try:
        notes += write_extras(
            job,
            made,
            measure=wanted.measure,
            exports=wanted.exports,
            regions=regions_of(job, job.folder / REGIONS, job.regions) if job.regions else None,
            most_pixels=most_pixels,
        )
        yield from ((path.relative_to(made).as_posix(), path) for path in sorted(made.rglob("*")) if path.is_file())
    except ElmganError as error:  # the zip has begun: it tells
        notes.append(f"nothing was made of cells: {one_line(error)}")
    finally:
        shutil.rmtree(job.folder if job.gone else made, ignore_errors=True)


def own_table(job: Job, path: Path) -> Path:
    """Write the counts by eye of a job as a table, as data sets have it."""
    with job.lock:
        counts = {job.items[number].image: count for number, count in sorted(job.own.items())}
    rows = [{"image": image, "count": f"{count:.10g}"} for image, count in counts.items()]
    write_table(path, ["image", "count"], rows)
    return path


def data_set_of(job: Job) -> Iterator[tuple[str, Path | bytes]]:
    """Give the files of a data set folder: the images with a count by eye, and these counts."""
    with job.lock:
        chosen = [job.items[number] for number in sorted(job.own)]
        model, view = job.model, job.view
    yield "data/counts.csv", own_table(job, job.folder / "tables" / "data-set.csv")
    options = "".join(
        f" --{name} {value}" for name, value in view.model_dump(exclude_defaults=True).items() if name != "scale"
    )
    if view.scale != "auto":
        options += f" --scale {view.scale:g}"
    yield (
        "README.txt",
        (
            "Images and counts by eye, as a data set.\n"
            f"Train a model on them:  elmgan train data -o run --from {model}{options}\n"
            f"Fit a model's counts:   elmgan calibrate {model} data -o my-model{options}\n"
        ).encode(),
    )
    root = (job.folder / UPLOADS).resolve()
    for item in chosen:
        beside = item.source.with_name(f"{item.source.name}.files")  # of an OIF
        for path in (item.source, beside):
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            for file in files:
                if file.is_file():
                    yield f"data/images/{file.relative_to(root).as_posix()}", file
