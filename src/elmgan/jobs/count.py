"""Count the cells of many images: a table, masks and a report in one folder."""

import csv
import errno
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elmgan.errors import ImageError, OutputError, UsageError
from elmgan.imaging import find_images, read_image, to_grey, write_labels, write_mask, write_png
from elmgan.inference import Model
from elmgan.jobs.names import image_names, output_stems
from elmgan.jobs.report import MOST_PICTURES, Thumbnails, report
from elmgan.jobs.table import COLUMNS, Row, read_table
from elmgan.reporting import Failure, overlay, run_record, thumbnail, write_table, write_text

TABLE, FAILED, RECORD, REPORT = "counts.csv", "failed.csv", "run.json", "report.html"
MASKS, LABELS, OVERLAYS = "masks", "labels", "overlays"
SAVE_EVERY = 5.0
"""Seconds from one writing of the growing table to the next: what a power cut may cost."""


@dataclass(frozen=True)
class Counted:
    """What a job did: rows and failures in the order of the images, and the files and folders it wrote."""

    rows: list[Row]
    failures: list[Failure]
    written: list[Path]


@dataclass(frozen=True)
class Task:
    """One image to count: its file, its name in the table, and the files to write for it."""

    source: Path
    image: str
    mask: Path
    labels: Path | None
    overlay: Path | None

    @property
    def files(self) -> list[Path]:
        """The files to write."""
        return [path for path in (self.mask, self.labels, self.overlay) if path is not None]


def count_images(
    paths: Sequence[Path],
    out: Path,
    model: Model,
    *,
    channel: int | None = None,
    labels: bool = False,
    overlays: bool = False,
    resume: bool = False,
    watch: Callable[[int, Row | Failure], None] = lambda total, outcome: None,
) -> Counted:
    """Count images and write counts.csv, masks, run.json, report.html, and failed.csv if any failed, to a folder.

    An image that cannot be counted does not keep the others from it. Every file appears whole; counts.csv grows with
    the job, so that an interrupted one leaves the table of what is done.

    Args:
        paths: Images, and folders that are searched for images.
        out: Folder to write to; made if it is missing.
        model: What counts.
        channel: The channel to count in, from 1, of images that have several.
        labels: Whether to write the separated cells as label images too.
        overlays: Whether to draw the separated cells over the images too.
        resume: Keep what an earlier run of the same program, model and options wrote to ``out``.
        watch: Called with the number of images and each image's outcome, in order; with a failure while its exception
            is handled.

    Raises:
        UsageError: A path is missing, there is no image, or ``out`` cannot be written to; nothing was counted.
        OutputError: The disk is full, or the table cannot be written; what was counted before is kept.
    """
    begun = time.monotonic()
    tasks = _plan(paths, out, labels=labels, overlays=overlays)
    options = {
        "paths": [str(path.resolve()) for path in paths],
        "channel": channel,
        "labels": labels,
        "overlays": overlays,
    }
    record = run_record(model, options)
    rows = _kept_rows(tasks, out, record) if resume else {}
    _begin(tasks, out, rows, record)

    failures: list[Failure] = []
    saved = time.monotonic()
    try:
        for task in tasks:
            if task.image not in rows:
                try:
                    rows[task.image] = _count(task, model, channel)
                except Exception as error:  # whatever is wrong with one image, the others are counted
                    _remove(task.files)
                    if _is_disk_full(error):
                        raise
                    failures.append(Failure.of(task.image, error))
                    watch(len(tasks), failures[-1])
                    continue
            watch(len(tasks), rows[task.image])
            if time.monotonic() - saved > SAVE_EVERY:
                _save(tasks, out, rows)
                saved = time.monotonic()
    finally:
        _save(tasks, out, rows)

    counted = [rows[task.image] for task in tasks if task.image in rows]
    if failures:
        write_table(out / FAILED, list(Failure.model_fields), [failure.model_dump() for failure in failures])
    record |= {"images": len(tasks), "failed": len(failures), "seconds": round(time.monotonic() - begun, 3)}
    write_text(out / REPORT, report(counted, failures, _thumbnails(tasks, rows, channel), record))
    write_text(out / RECORD, json.dumps(record, indent=2))
    written = {
        TABLE: True,
        MASKS: bool(counted),
        LABELS: counted and labels,
        OVERLAYS: counted and overlays,
        FAILED: bool(failures),
        REPORT: True,
        RECORD: True,
    }
    return Counted(counted, failures, [out / name for name, is_written in written.items() if is_written])


def _plan(paths: Sequence[Path], out: Path, *, labels: bool, overlays: bool) -> list[Task]:
    """Name the images and the files to write for them; pictures that an earlier run wrote are no images to count."""
    written = [(out / folder).resolve() for folder in (MASKS, LABELS, OVERLAYS)]
    found = [
        image
        for image in find_images(paths)
        if not any(image.path.resolve().is_relative_to(folder) for folder in written)
    ]
    if not found:
        raise UsageError(f"nothing to count: {out} holds only what an earlier count wrote")
    names = image_names(found)
    return [
        Task(
            source=image.path,
            image=name,
            mask=out / MASKS / f"{stem}.tif",
            labels=out / LABELS / f"{stem}.tif" if labels else None,
            overlay=out / OVERLAYS / f"{stem}.png" if overlays else None,
        )
        for image, name, stem in zip(found, names, output_stems(names), strict=True)
    ]


def _kept_rows(tasks: Sequence[Task], out: Path, record: Mapping[str, Any]) -> dict[str, Row]:
    """Rows of an earlier run of which every file is there; none if it ran otherwise than this one is to."""
    try:
        earlier = json.loads((out / RECORD).read_text(encoding="utf-8"))
        rows = {row.image: row for row in read_table(out / TABLE)}
        same = all(earlier[key] == record[key] for key in ("model", "options"))
        same = same and earlier["versions"]["elmgan"] == record["versions"]["elmgan"]
    except (OSError, ValueError, LookupError, TypeError, csv.Error):  # no earlier run, or not one of ours
        return {}
    kept = [task.image for task in tasks if task.image in rows and all(path.is_file() for path in task.files)]
    return {image: rows[image] for image in kept} if same else {}


def _begin(tasks: Sequence[Task], out: Path, rows: Mapping[str, Row], record: Mapping[str, Any]) -> None:
    """Make the folder, prove that it can be written to, and clear what would be wrong if this run were interrupted."""
    names = (TABLE, MASKS, LABELS, OVERLAYS, FAILED, REPORT)
    try:
        foreign = [name for name in names if (out / name).exists()]
        if foreign and not (out / RECORD).exists():
            raise UsageError(f"{out} holds {foreign[0]} of something else than a count; choose another folder with -o")
        out.mkdir(parents=True, exist_ok=True)
        for name in (FAILED, REPORT) if rows else (TABLE, FAILED, REPORT):
            (out / name).unlink(missing_ok=True)
        write_text(out / RECORD, json.dumps(record, indent=2))
        _save(tasks, out, rows)
    except (OSError, OutputError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"nothing can be written to {out}: {reason}; choose another folder with -o") from error


def _count(task: Task, model: Model, channel: int | None) -> Row:
    """Count one image and write its files."""
    begun = time.perf_counter()
    image = read_image(task.source, channel=channel)
    result = model.count(image)
    write_mask(task.mask, result.mask)
    if task.labels is not None:
        write_labels(task.labels, result.labels())
    if task.overlay is not None:
        write_png(task.overlay, overlay(to_grey(image), result.labels(), str(result.count)))
    return Row.of(result, image=task.image, seconds=time.perf_counter() - begun, model=model.version)


def _save(tasks: Sequence[Task], out: Path, rows: Mapping[str, Row]) -> None:
    """Write the table of what is counted, in the order of the images."""
    write_table(out / TABLE, COLUMNS, (rows[task.image].texts() for task in tasks if task.image in rows))


def _thumbnails(tasks: Sequence[Task], rows: Mapping[str, Row], channel: int | None) -> dict[str, Thumbnails]:
    """Small pictures of the first images, from the files, since a resumed run has nothing else of them."""
    thumbnails = {}
    for task in [task for task in tasks if task.image in rows][:MOST_PICTURES]:
        with suppress(ImageError):  # the image is no longer there: the report goes without its picture
            grey = to_grey(read_image(task.source, channel=channel))
            thumbnails[task.image] = thumbnail(grey), thumbnail(grey, read_image(task.mask))
    return thumbnails


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _is_disk_full(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
