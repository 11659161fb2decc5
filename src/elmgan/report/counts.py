"""report.html: one page that shows what was counted; it loads nothing from anywhere."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from elmgan.counting import Failure, Place, Row
from elmgan.counting.row import COLUMNS
from elmgan.report.page import facts_of, number_cards, page
from elmgan.trust import ADVICE

# A report on a large folder must still open in a browser.
MOST_PICTURES = 200
MOST_ROWS = 2000
Pictures = tuple[str, ...]
"""The plane and, if there is a mask, the plane with it outlined, as data URIs."""

Thumbnails = Mapping[tuple[str, Place], Pictures]
"""Image and place of a plane -> its pictures."""


def counts_report(
    rows: Sequence[Row],
    failures: Sequence[Failure],
    thumbnails: Thumbnails,
    record: Mapping[str, Any],
) -> str:
    """Write the page.

    Args:
        rows: The planes that were counted.
        failures: What could not be counted.
        thumbnails: Pictures of the first planes, about MOST_PICTURES.
        record: The content of run.json.
    """
    counts, masks = (what in record["model"]["learned"] for what in ("count", "mask"))
    things = "cells" if counts else "objects"
    total = sum((row.count if counts else row.objects) or 0 for row in rows)
    numbers = {
        "images counted" if counts else "images segmented": _number(len(rows)),
        things: _number(total),
        f"{things} per image": f"{total / len(rows):.1f}" if rows else "-",
        "images flagged": _number(sum(bool(row.flags) for row in rows)),
        "images failed": _number(len(failures)),
    }
    planes = Counter(row.image for row in rows)
    shown = [(row, thumbnails[row.image, row.place]) for row in rows if (row.image, row.place) in thumbnails]
    gallery = "\n".join(_figure(row, pictures, several=planes[row.image] > 1) for row, pictures in shown)
    columns = "".join(
        f'<tr><th class="text">{name}</th><td class="text wide">{escape(str(field.description))}</td></tr>'
        for name, field in Row.model_fields.items()
    )
    body = f"""{number_cards(numbers)}
{_failed(failures)}
{_notes(record.get("notes", []))}
{_advice(rows)}
<h2>Images</h2>
<p>{"Left the image, stretched for display; right the same with the cell mask outlined." if masks else ""}
{_shown(len(thumbnails), len(rows), "Pictures of the first")}</p>
<section class="gallery">{gallery}</section>
<h2>Table</h2>
<p>{_shown(min(len(rows), MOST_ROWS), len(rows), "The first")}</p>
<div class="scroll"><table>{_table(rows[:MOST_ROWS])}</table></div>
<h2>What the columns say</h2>
<div class="scroll"><table>{columns}</table></div>"""
    return page("Cell counts", facts_of(record), body)


def _notes(notes: Sequence[str]) -> str:
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<h2>To know</h2><ul>{lines}</ul>" if notes else ""


def _advice(rows: Sequence[Row]) -> str:
    found = Counter(flag for row in rows for flag in row.flags)
    lines = "".join(
        f'<tr><td class="text"><span class="flag">{escape(flag)}</span></td><td>{number}</td>'
        f'<td class="text wide">{escape(ADVICE.get(flag, ""))}</td></tr>'
        for flag, number in found.most_common()
    )
    head = '<tr><th class="text">flag</th><th>planes</th><th class="text">what to do</th></tr>'
    told = "<p>The counts of flagged images should not be trusted without a look.</p>"
    return f'<h2>Flags</h2>{told}<div class="scroll"><table>{head}{lines}</table></div>' if found else ""


def _number(value: int) -> str:
    return f"{value:,}".replace(",", " ")


def _shown(shown: int, total: int, what: str) -> str:
    return "" if shown == total else f"{what} {shown} of {total} images; counts.csv has all."


def _failed(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    lines = "".join(
        f'<tr><td class="text wide">{escape(failure.image)}</td><td class="text wide">{escape(failure.error)}</td></tr>'
        for failure in failures[:MOST_ROWS]
    )
    shown = _shown(min(len(failures), MOST_ROWS), len(failures), "The first").replace("counts.csv", "failed.csv")
    return f'<h2>Not counted</h2><p>{shown}</p><div class="scroll"><table>{lines}</table></div>'


def _figure(row: Row, pictures: Pictures, *, several: bool) -> str:
    place = " ".join(f"{axis} {number}" for axis, number in zip(("scene", "t", "z"), row.place, strict=True))
    name = escape(f"{row.image}, {place}" if several else row.image)
    shown = zip(pictures, ("", ", mask outlined"), strict=False)  # there may be no mask
    images = "".join(f'<img src="{picture}" alt="{name}{what}">' for picture, what in shown)
    number = f"{row.objects} objects" if row.count is None else f"{row.count}"
    if row.low is not None and row.high is not None:
        number += f" <small>{math.floor(row.low)} to {math.ceil(row.high)}</small>"
    return (
        f"<figure><div>{images}</div><figcaption><span>{name} {_flags(row)}</span><b>{number}</b></figcaption></figure>"
    )


def _flags(row: Row) -> str:
    return " ".join(f'<span class="flag">{escape(flag)}</span>' for flag in row.flags)


def _table(rows: Sequence[Row]) -> str:
    most = max((row.count or 0 for row in rows), default=0) or 1
    head = "".join(f'<th class="{_kind(column)}">{column}</th>' for column in COLUMNS)
    lines = [f"<tr>{head}</tr>"]
    for row in rows:
        texts = {column: escape(text) for column, text in row.texts().items()} | {"flags": _flags(row)}
        cells = "".join(
            f'<td class="bar" style="--part:{100 * (row.count or 0) / most:.0f}%">{text}</td>'
            if column == "count"
            else f'<td class="{_kind(column)}">{text}</td>'
            for column, text in texts.items()
        )
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join(lines)


def _kind(column: str) -> str:
    return {"image": "text wide", "flags": "text", "unlike": "text wide", "model": "text"}.get(column, "")
