"""counts.csv: what a data set says of its images in a table."""

import csv
import math
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from elmgan.data.faults import Faults
from elmgan.images import readers

SIDES = ("train", "validation", "calibration", "test")
NAMED = f"{', '.join(SIDES[:-1])} or {SIDES[-1]}"


@dataclass(frozen=True)
class Row:
    """What the table says of an image, as in its record; ``None`` or empty where it says nothing."""

    count: float | None
    group: str
    kind: str
    split: str


def read_table(path: Path, images: Container[str], faults: Faults) -> dict[str, Row]:
    """Read counts.csv, as written by hand or by a spreadsheet of any country: separated by comma, semicolon or tab.

    Args:
        path: The file.
        images: Names that its rows may have.
        faults: Takes what is wrong with it.

    Returns:
        Name of an image -> its row.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            separator = max(",;\t", key=file.readline().count)
            file.seek(0)
            table = csv.DictReader(file, delimiter=separator, skipinitialspace=True)
            columns = table.fieldnames or []
            lines = [(table.line_num, row) for row in table if any(row.values())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        faults.add("table", f"{path}: cannot be read ({error}); save it as CSV in UTF-8")
        return {}
    if not {"image", "count"} <= set(columns):
        faults.add("table", f"{path}: expected the columns image and count, found {', '.join(columns) or 'none'}")
        return {}
    rows: dict[str, Row] = {}
    endings = set().union(*(reader.suffixes for reader in readers()))
    for line, row in lines:
        place = f"{path}, line {line}"
        given, written, split = row["image"] or "", row["count"] or "", (row.get("split") or "").strip()
        image = PurePosixPath(given.replace("\\", "/"))
        name = str(image.with_suffix("") if image.suffix.lower() in endings else image)
        count = number(written) if written else None
        if name not in images:
            faults.add("row", f"{place}: there is no image {given!r}; correct the name, or remove the row")
        elif name in rows:
            faults.add("twice", f"{place}: {given!r} has a row already; remove one")
        elif any(row.get(None, [])):
            faults.add("values", f"{place}: more values than columns; write decimals with a point")
        elif count is not None and not 0 <= count < math.inf:
            faults.add("count", f"{place}: the count of {given!r} is {written!r}; write a number such as 12 or 12.5")
        elif split and split not in SIDES:
            faults.add("split", f"{place}: the split of {given!r} is {split!r}; write {NAMED}")
        rows[name] = Row(count, row.get("group") or "", row.get("kind") or "", split)
    return rows


def number(text: str) -> float:
    """Give the number in a text, or NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
