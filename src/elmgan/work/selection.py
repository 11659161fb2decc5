"""Which images of a data set are meant: the ones that a file names."""

import csv
from collections.abc import Sequence
from pathlib import Path

from elmgan.data import Names, Record
from elmgan.data.table import decoded
from elmgan.errors import UsageError


def chosen(records: Sequence[Record], only: Path, *, sides: Sequence[tuple[str, ...]]) -> list[Record]:
    """Keep the images that a file names, in the order of the data set.

    Args:
        records: Of the data set.
        only: The split.csv of a run, which names images in full, or a text file with one image per line, named as in
            counts.csv: see :class:`~elmgan.data.Names`.
        sides: Sides of a split.csv that are taken together; the first of these that have images are meant.

    Raises:
        UsageError: The file cannot be read, or names nothing, what is not there, or what may be several images.
    """
    try:
        if only.suffix.lower() == ".csv":
            written, names = _side(only, sides), None  # of a run, which writes names in full
        else:
            written, names = _lines(only), Names(record.name for record in records)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{only} cannot be read ({error}): give a text file with one image per line") from error
    in_full = {text: [record.name] for record in records for text in (record.name, record.file_name)}
    meant = {text: names.meant(text) if names else in_full.get(text, []) for text in written}
    absent = sorted(text for text, fitting in meant.items() if not fitting)
    if absent or not written:
        found = f"{len(absent)} that the data set does not have, such as {absent[0]!r}" if absent else "no image"
        raise UsageError(f"{only} names {found}: give the split.csv of a run on this data set, or one image per line")
    for text, fitting in meant.items():
        if len(fitting) > 1:
            raise UsageError(f"{only}: {text!r} fits {' and '.join(sorted(fitting))}: write the one that is meant")
    kept = {fitting[0] for fitting in meant.values()}
    return [record for record in records if record.name in kept]


def _lines(file: Path) -> set[str]:
    return {line.strip() for line in decoded(file.read_bytes()).splitlines()} - {""}


def _side(split: Path, sides: Sequence[tuple[str, ...]]) -> set[str]:
    """Images on the first of some sides that have any."""
    with split.open(newline="", encoding="utf-8-sig") as file:
        rows = [(row.get("side"), row.get("image") or "") for row in csv.DictReader(file)]
    return next((names for together in sides if (names := {name for side, name in rows if side in together})), set())
