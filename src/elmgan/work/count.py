"""Count the cells of many images: a table, masks and a report in one folder."""

import csv
import errno
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from elmgan.counting import Failure, Model, Row
from elmgan.counting.row import COLUMNS, DECIMALS, read_table
from elmgan.counting.scaling import check_scale
from elmgan.errors import ImageError, OutputError, UsageError
from elmgan.files import whole_file, write_table, write_text
from elmgan.images import find_images, image_size, read_image, write_labels, write_mask, write_png
from elmgan.light import to_grey
from elmgan.models import shortcoming
from elmgan.report import overlay, run_record, thumbnail
from elmgan.report.counts import MOST_PICTURES, Thumbnails, counts_report
from elmgan.work.names import image_names, output_stems
from elmgan.work.pipeline import cores, in_order

TABLE, FAILED, RECORD, REPORT = "counts.csv", "failed.csv", "run.json", "report.html"
MASKS, LABELS, OVERLAYS = "masks", "labels", "overlays"
PICTURES = {MASKS: ".tif", LABELS: ".tif", OVERLAYS: ".png"}
"""Folder -> how the names of its files end."""
PIXELS_AT_ONCE = 1 << 23
"""Pixels of the images that are worked on at once: two of 2048 x 2048, which take less than 1 GB with all else."""
SAVE_EVERY = 5.0
"""Seconds from one writing of the growing table to the next: what a power cut may cost."""


Picture = tuple[Callable[[Path, Any], None], Path, Any]
"""How to write what to where: a function, the path and the pixels for it."""


@dataclass(frozen=True)
class Counted:
    """What a job did: rows and failures in the order of the images, and the files and folders that now hold it all."""

    rows: list[Row]
    failures: list[Failure]
    written: list[Path]


@dataclass(frozen=True)
class Task:
    """One image to count: its file (absolute), its name in the table, and the files to write for it."""

    source: Path
    image: str
    mask: Path | None
    labels: Path | None
    overlay: Path | None

    @property
    def files(self) -> list[Path]:
        """The files to write."""
        return [path for path in (self.mask, self.labels, self.overlay) if path is not None]

    @property
    def folder(self) -> Path:
        """The folder that the image's name is relative to."""
        return self.source.parents[self.image.count("/")]

    def is_done(self, record: Path) -> bool:
        """Whether every file is there, none older than the image; if there are none, run.json stands for them.

        An empty one is not there: a power cut leaves such files.
        """
        try:
            made = self.source.stat().st_mtime_ns
            there = [path.stat() for path in self.files or [record]]
            return all(file.st_mtime_ns >= made and file.st_size for file in there)
        except OSError:
            return False


@dataclass(frozen=True)
class Earlier:
    """What an earlier count left in a folder: its rows by image, what decided them, and the folders of the images."""

    rows: Mapping[str, Row]
    settings: Mapping[str, Any]
    folders: Sequence[str]


def count_images(
    paths: Sequence[Path],
    out: Path,
    model: Model,
    *,
    channel: int | None = None,
    scale: float = 1,
    labels: bool = False,
    overlays: bool = False,
    resume: bool = False,
    command: str | None = None,
    watch: Callable[[int, Row | Failure], None] = lambda total, outcome: None,
) -> Counted:
    """Count images and write counts.csv, masks, run.json, report.html, and failed.csv if any failed, to a folder.

    An image that cannot be counted does not keep the others from it. Every file appears whole; counts.csv grows with
    the job, so that an interrupted one leaves the table of what is done. What the model did not learn is left out: a
    model of counts alone writes no masks, and in the table of one of masks alone the counts are empty.

    What an earlier count left in ``out`` is removed, the pictures of the images in its table too; other files stay.
    With ``resume`` an earlier row is kept, with its pictures, if they are all there and none is older than its image.
    Images are known by their names, so that they may have moved together.

    Args:
        paths: Images, and folders that are searched for images. What a count wrote in them is passed over.
        out: Folder to write to; made if it is missing.
        model: What counts.
        channel: The channel to count in, from 1, of images that have several.
        scale: The network sees the images resized by this factor; see :meth:`elmgan.Model.count`.
        labels: Whether to write the separated cells as label images too.
        overlays: Whether to draw the separated cells over the images too.
        resume: Keep what an earlier count of these images, with the same program, model, engine, channel and scale,
            wrote to ``out``.
        command: The command line, if there is one, for the record and the report.
        watch: Called with the number of images and each image's outcome, in order; with a failure while its exception
            is handled.

    Raises:
        UsageError: There is no image or no such scale, labels or overlays are asked of a model that gives no masks,
            ``out`` cannot be written to or holds something else than a count, or with ``resume`` a count that cannot be
            resumed; nothing was counted or removed.
        OutputError: The disk is full, or the table cannot be written; what was counted before is kept.
    """
    begun = time.monotonic()
    check_scale(scale)
    if not model.card.segments and (labels or overlays):
        raise UsageError(f"{shortcoming(model.card.learned)}; leave --labels and --overlays out")
    tasks = _plan(paths, out, masks=model.card.segments, labels=labels, overlays=overlays)
    options = {
        "paths": [str(path.resolve()) for path in paths],
        "channel": channel,
        "scale": scale,
        "labels": labels,
        "overlays": overlays,
    }
    record = run_record(model, options, command) | {"folders": sorted({str(task.folder) for task in tasks})}
    earlier = _read_earlier(out)
    rows = _kept_rows(tasks, out, earlier, _settings(record)) if resume else {}
    _begin(tasks, out, earlier, rows, record)

    failures: list[Failure] = []
    saved = time.monotonic()
    todo = [task for task in tasks if task.image not in rows]
    work = partial(_count, model=model, channel=channel, scale=scale)
    try:
        with closing(in_order(work, todo, workers=cores() + 1, size=_pixels, most=PIXELS_AT_ONCE)) as done:
            for task in tasks:
                if task.image not in rows:
                    try:
                        row, pictures = next(done).result()
                        _write(pictures)
                        rows[task.image] = row
                    except Exception as error:  # whatever is wrong with one image, the others are counted
                        _remove(task.files)
                        if _is_disk_full(error):
                            raise
                        failures.append(Failure.of(task.image, error, task.source))
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
    write_text(out / REPORT, counts_report(counted, failures, _thumbnails(tasks, rows, channel), record))
    write_text(out / RECORD, json.dumps(record, indent=2))
    paths_written = [out / name for name in (TABLE, *PICTURES, FAILED, REPORT, RECORD)]
    return Counted(counted, failures, [path for path in paths_written if path.exists()])


def _plan(paths: Sequence[Path], out: Path, *, masks: bool, labels: bool, overlays: bool) -> list[Task]:
    """Name the images and the files to write for them."""
    found = [image for image in find_images(paths) if not _is_written_by_a_count(image.path)]
    if not found:
        raise UsageError("nothing to count: the paths hold only what an earlier count wrote; give the images instead")
    names = image_names(found)
    return [
        Task(
            source=image.path.parent.resolve() / image.path.name,
            image=name,
            mask=out / MASKS / f"{stem}{PICTURES[MASKS]}" if masks else None,
            labels=out / LABELS / f"{stem}{PICTURES[LABELS]}" if labels else None,
            overlay=out / OVERLAYS / f"{stem}{PICTURES[OVERLAYS]}" if overlays else None,
        )
        for image, name, stem in zip(found, names, output_stems(names), strict=True)
    ]


def _is_written_by_a_count(path: Path) -> bool:
    """Whether a file lies in masks, labels or overlays beside a run.json."""
    return any(folder.name in PICTURES and (folder.parent / RECORD).exists() for folder in path.resolve().parents)


def _read_earlier(out: Path) -> Earlier:
    """Read the earlier count that a folder holds, if any; refuse what cannot be known to be one."""
    try:
        there = {path.name for path in out.iterdir()}
    except OSError:  # it is not there; if it cannot be used, writing to it will tell
        there = set()
    present = [name for name in (TABLE, *PICTURES, FAILED, REPORT, RECORD) if name in there]
    if not present:
        return Earlier({}, {}, [])
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        rows = read_table(out / TABLE) if TABLE in there else []
        return Earlier({row.image: row for row in rows}, _settings(record), record["folders"])
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise UsageError(
            f"{out} holds {present[0]} of something else than a count, or of one that was changed since; "
            "choose another folder with -o"
        ) from error


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for two counts to give the same rows, by the names that people know it by."""
    return {
        "model": record["model"],
        "engine, precision or device": record["engine"],
        "channel": record["options"]["channel"],
        "scale": record["options"]["scale"],
        "version of elmgan": record["versions"]["elmgan"],
    }


def _kept_rows(tasks: Sequence[Task], out: Path, earlier: Earlier, settings: Mapping[str, Any]) -> dict[str, Row]:
    """Earlier rows that a resumed count keeps; refuse if any would be lost whose image has not changed or gone."""
    another = [name for name, value in earlier.settings.items() if value != settings[name]]
    if earlier.rows and another:
        raise UsageError(f"the earlier count in {out} used another {another[0]}: leave out --resume to count again")
    folders = {folder for folder in map(Path, earlier.folders) if folder.exists()}  # none if the images have moved
    same = {task.image for task in tasks if task.folder in folders}
    given = {task.source for task in tasks}
    for path in (folder / image for image in earlier.rows if image not in same for folder in folders):
        if path.exists() and path not in given:
            raise UsageError(
                f"the earlier count in {out} has {path}, which is not given now: "
                "give it too, or leave out --resume to count again"
            )
    done = (task for task in tasks if task.image in earlier.rows and task.is_done(out / RECORD))
    return {task.image: earlier.rows[task.image] for task in done}


def _begin(
    tasks: Sequence[Task], out: Path, earlier: Earlier, rows: Mapping[str, Row], record: Mapping[str, Any]
) -> None:
    """Make the folder, prove that it can be written to, and only then remove what is not kept of an earlier count."""
    try:
        with whole_file(out / RECORD, lasting=True) as temporary:
            temporary.write_text(json.dumps(record, indent=2))
            _clear(out, earlier, rows)
        _save(tasks, out, rows)
    except OutputError as error:
        raise UsageError(f"nothing was counted: {error}") from error


def _clear(out: Path, earlier: Earlier, rows: Mapping[str, Row]) -> None:
    """Remove what an earlier count wrote, but for the rows that are kept, their pictures, and what others wrote."""
    stems = zip(earlier.rows, output_stems(list(earlier.rows)), strict=True)
    gone = [stem for image, stem in stems if image not in rows]
    for name, suffix in PICTURES.items():
        folder = out / name
        pictures = [folder / f"{stem}{suffix}" for stem in gone]
        # A table may have been edited: "../a.tif" is no picture of ours.
        _remove(picture for picture in pictures if picture.resolve().is_relative_to(folder.resolve()))
        for emptied, _, _ in os.walk(folder, topdown=False):
            with suppress(OSError):  # it is not empty
                Path(emptied).rmdir()
    for name in (FAILED, REPORT) if rows else (TABLE, FAILED, REPORT):
        (out / name).unlink(missing_ok=True)


def _count(task: Task, model: Model, channel: int | None, scale: float) -> tuple[Row, list[Picture]]:
    """Count one image; give its row and what is to be written for it."""
    begun = time.perf_counter()
    image = read_image(task.source, channel=channel)
    result = model.count(image, scale=scale)
    pictures: list[Picture] = []
    if task.mask is not None and result.mask is not None:
        pictures.append((write_mask, task.mask, result.mask))
    if task.labels is not None:
        pictures.append((write_labels, task.labels, result.labels()))
    if task.overlay is not None:
        text = f"{result.objects} objects" if result.count is None else str(result.count)
        pictures.append((write_png, task.overlay, overlay(to_grey(image), result.labels(), text)))
    row = Row.of(result, image=task.image, shape=image.shape, seconds=0, model=model.version)  # separates the cells
    return row.model_copy(update={"seconds": round(time.perf_counter() - begun, DECIMALS["seconds"])}), pictures


def _write(pictures: Iterable[Picture]) -> None:
    for write, path, pixels in pictures:
        write(path, pixels)


def _pixels(task: Task) -> int:
    """Pixels of an image; 0 if its header cannot be read, which will be said when the image is."""
    with suppress(ImageError):
        rows, columns = image_size(task.source)
        return rows * columns
    return 0


def _save(tasks: Sequence[Task], out: Path, rows: Mapping[str, Row]) -> None:
    """Write the table of what is counted, in the order of the images."""
    write_table(out / TABLE, COLUMNS, (rows[task.image].texts() for task in tasks if task.image in rows))


def _thumbnails(tasks: Sequence[Task], rows: Mapping[str, Row], channel: int | None) -> dict[str, Thumbnails]:
    """Small pictures of the first images, from the files, since a resumed run has nothing else of them."""

    def draw(task: Task) -> Thumbnails:
        grey = to_grey(read_image(task.source, channel=channel))
        return thumbnail(grey), *(() if task.mask is None else (thumbnail(grey, read_image(task.mask)),))

    shown = [task for task in tasks if task.image in rows][:MOST_PICTURES]
    drawn = in_order(draw, shown, workers=cores(), size=_pixels, most=PIXELS_AT_ONCE)
    thumbnails = {}
    for task, future in zip(shown, drawn, strict=True):
        with suppress(ImageError):  # the image is no longer there: the report goes without its picture
            thumbnails[task.image] = future.result()
    return thumbnails


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _is_disk_full(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
