"""What an earlier count left in a folder: known for what it is, kept where it still holds, removed where not."""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elmgan.counting import Place, Row
from elmgan.counting.row import read_table
from elmgan.errors import UsageError
from elmgan.files import remove
from elmgan.images import is_whole_zarr
from elmgan.work.journal import JOURNAL, read_journal
from elmgan.work.names import output_stems
from elmgan.work.plan import PICTURES, RECORD, Item, picture_files
from elmgan.work.plane_table import journal_of

TABLE, FAILED, REPORT = "counts.csv", "failed.csv", "report.html"
CELLS_TABLE, REGIONS_TABLE = PLANE_TABLES = "cells.csv", "regions.csv"
"""Tables that have several rows for a plane."""


@dataclass(frozen=True)
class Earlier:
    """What an earlier count left in a folder.

    Attributes:
        rows: Image -> its rows.
        settings: What decided them.
        folders: The folders of the images.
        stamps: Image -> size and time of its file when it was counted.
        scales: That suited the images, the most frequent first.
        regions: By what the regions were known; empty without any.
    """

    rows: Mapping[str, Sequence[Row]]
    settings: Mapping[str, Any]
    folders: Sequence[str]
    stamps: Mapping[str, Any]
    scales: Sequence[float] = ()
    regions: str = ""


def read_earlier(out: Path) -> Earlier:
    """Read the earlier count that a folder holds, if any.

    Raises:
        UsageError: It holds what cannot be known to be one.
    """
    try:
        there = {path.name for path in out.iterdir()}
    except OSError:  # it is not there; if it cannot be used, writing to it will tell
        there = set()
    present = [name for name in (TABLE, JOURNAL, *PICTURES, *PLANE_TABLES, FAILED, REPORT, RECORD) if name in there]
    if not present:
        return Earlier({}, {}, [], {})
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        found: dict[str, dict[Place, Row]] = defaultdict(dict)
        for row in [*(read_table(out / TABLE) if TABLE in there else []), *read_journal(out / JOURNAL)]:
            found[row.image][row.place] = row.small()
        rows = {image: list(of.values()) for image, of in found.items()}
        return Earlier(
            rows,
            settings_of(record),
            record["folders"],
            dict(record["files"]),
            record.get("scales") or [1.0],
            str(record.get("regions") or ""),
        )
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise UsageError(
            f"{out} holds {present[0]} of something else than a count, or of one that was changed since; "
            "choose another folder with -o"
        ) from error


def settings_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Say what must be the same for two counts to give the same rows, by the names that people know it by."""
    view = {name: value for name, value in record["view"].items() if name not in ("scene", "t")}
    return {
        "model": record["model"],
        "engine, precision or device": record["engine"],
        "axes": record["options"]["axes"],
        "quick": record["options"].get("quick", False),
        **{name: record["view"][name] for name in ("scene", "t")},
        **view,
        "version of elmgan": record["versions"]["elmgan"],
    }


def kept_rows(
    items: Sequence[Item], out: Path, earlier: Earlier, settings: Mapping[str, Any], folders: Sequence[str]
) -> dict[str, Sequence[Row]]:
    """Give the earlier rows that a resumed count keeps, by image.

    Raises:
        UsageError: Rows would be lost whose image has not changed or gone, or were made otherwise.
    """
    another = [name for name, value in earlier.settings.items() if value != settings[name]]
    if earlier.rows and another:
        raise UsageError(f"the earlier count in {out} used another {another[0]}: leave out --resume to count again")
    before = {folder for folder in map(Path, earlier.folders) if folder.exists()}  # none if the images have moved
    same = {item.image for item in items if item.folder in before}
    given = {item.source for item in items}
    for path in (folder / image for image in earlier.rows if image not in same for folder in before):
        if path.exists() and path not in given:
            raise UsageError(
                f"the earlier count in {out} has {path}, which is not given now: "
                "give it too, or leave out --resume to count again"
            )
    return {
        item.image: earlier.rows[item.image]
        for item in items
        if item.image in earlier.rows
        and item.stamp is not None
        and earlier.stamps.get(item.image) == item.stamp
        and all(_is_written(path) for path in pictures_of(out, item.stem, earlier.rows[item.image], folders))
    }


def clear(out: Path, earlier: Earlier, kept: Iterable[str], tables: Collection[str] = PLANE_TABLES) -> None:
    """Remove what an earlier count wrote, but for the images that are kept, and for what others wrote.

    Args:
        out: The folder.
        earlier: The earlier count.
        kept: Images whose rows and pictures stay.
        tables: Tables of several rows for a plane that are written again, from their earlier rows too.
    """
    kept = set(kept)
    for image, stem in zip(earlier.rows, output_stems(list(earlier.rows)), strict=True):
        if image not in kept:
            # A table may have been edited: "../a.tif" is no picture of ours.
            remove(path for path in pictures_of(out, stem, earlier.rows[image]) if _is_inside(path, out))
    for name in PICTURES:
        for emptied, _, _ in os.walk(out / name, topdown=False):
            with suppress(OSError):  # it is not empty
                Path(emptied).rmdir()
    for name in (FAILED, REPORT) if kept else (TABLE, JOURNAL, FAILED, REPORT):
        (out / name).unlink(missing_ok=True)
    for name in PLANE_TABLES:
        if not kept or name not in tables:
            remove([out / name, journal_of(out / name)])


def pictures_of(out: Path, stem: str, rows: Sequence[Row], folders: Iterable[str] = tuple(PICTURES)) -> set[Path]:
    """Name the pictures that rows of one image had written, in some of the folders."""
    files = picture_files(out, stem, [row.place for row in rows])
    return {path for folder in folders for path in files[folder]}


def _is_written(path: Path) -> bool:
    """Whether a picture is there; an empty one is not: a power cut leaves such files."""
    if path.is_dir():
        return is_whole_zarr(path)
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _is_inside(path: Path, out: Path) -> bool:
    folder = out / path.relative_to(out).parts[0]
    return path.resolve().is_relative_to(folder.resolve())
