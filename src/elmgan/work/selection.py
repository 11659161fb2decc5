"""Which images of a data set are meant: the ones that a file names."""

import csv
from collections.abc import Sequence
from pathlib import Path

from elmgan.data import Record
from elmgan.errors import UsageError


def chosen(records: Sequence[Record], only: Path, *, sides: Sequence[tuple[str, ...]]) -> list[Record]:
    """Keep the images that a file names, in the order of the data set.

    Args:
        records: Of the data set.
        only: The split.csv of a run, or a text file with one image per line, as in counts.csv or the stem alone.
        sides: Sides of a split.csv that are taken together; the first of these that have images are meant.

    Raises:
        UsageError: The file cannot be read, or names nothing, or what is not there.
    """
    try:
        names = _side(only, sides) if only.suffix.lower() == ".csv" else _lines(only)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{only} cannot be read ({error}): give a text file with one image per line") from error
    known = {record: {record.name, record.file_name, record.image.stem} & names for record in records}
    absent = sorted(names.difference(*known.values()))
    if absent or not names:
        found = f"{len(absent)} that the data set does not have, such as {absent[0]!r}" if names else "no image"
        raise UsageError(f"{only} names {found}: give the split.csv of a run on this data set, or one image per line")
    return [record for record in records if known[record]]


def _lines(file: Path) -> set[str]:
    return {line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()} - {""}


def _side(split: Path, sides: Sequence[tuple[str, ...]]) -> set[str]:
    """Images on the first of some sides that have any."""
    with split.open(newline="", encoding="utf-8-sig") as file:
        rows = [(row.get("side"), row.get("image") or "") for row in csv.DictReader(file)]
    return next((names for together in sides if (names := {name for side, name in rows if side in together})), set())
