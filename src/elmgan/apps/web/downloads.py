"""What can be downloaded of a job: its results, and its images with the counts by eye as a data set."""

import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from elmgan.apps.web.job import UPLOADS, Job
from elmgan.apps.web.records import Wish
from elmgan.apps.web.refusal import RefusedError
from elmgan.counting import Failure
from elmgan.counting.row import COLUMNS, FRACTIONS
from elmgan.files import write_table
from elmgan.work.earlier import FAILED, REPORT, TABLE
from elmgan.work.plan import RECORD, picture_files

FRESH = 300.0
"""Seconds for which a link to a download holds."""

OWN_TABLE = "counted-by-eye.csv"


Ticket = tuple[float, Job | None, Wish, str]
"""Until when a link is good, and for what: a part of a job, or a model."""

NONE: Ticket = (0.0, None, "results", "")


class Tickets:
    """Links to downloads that are good once: who has one needs nothing else."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, Ticket] = {}

    def issue(self, job: Job, part: Wish, model: str) -> str:
        """Give a new ticket."""
        ticket = secrets.token_urlsafe(24)
        with self._lock:
            now = time.monotonic()
            self._open = {key: value for key, value in self._open.items() if value[0] > now}
            self._open[ticket] = (now + FRESH, job, part, model)
        return ticket

    def take(self, ticket: str) -> tuple[Job, Wish, str]:
        """Give what a ticket is for; it is used up.

        Raises:
            RefusedError: It is not good, or no longer.
        """
        with self._lock:
            until, job, part, model = self._open.pop(ticket, NONE)
        if job is None or job.gone or until < time.monotonic():
            raise RefusedError(404, "the link is used up: press the button again")
        return job, part, model


def results_of(job: Job) -> Iterator[tuple[str, Path | bytes]]:
    """Give the files of a job's results: name in the zip, and file or content."""
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
    if notes:
        yield "notes.txt", "".join(f"{note}\n" for note in notes).encode()
    for number, run in runs.items():
        if run is None or number not in run.stems:
            continue
        written = picture_files(run.out, run.stems[number], places[number])
        named = picture_files(Path(), job.items[number].stem, places[number])
        for folder, paths in written.items():
            pairs = dict(zip((path.as_posix() for path in named[folder]), paths, strict=True))
            yield from ((name, path) for name, path in pairs.items() if path.exists())
    if main is not None:
        yield from ((name, main.out / name) for name in (REPORT, RECORD))
    for number, run in single.items():
        stem = job.items[number].stem
        yield from ((f"recounted/{stem}/{name}", run.out / name) for name in (REPORT, RECORD))


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
