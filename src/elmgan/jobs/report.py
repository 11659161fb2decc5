"""report.html: one page that shows what was counted; it loads nothing from anywhere."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.jobs.overlay import OUTLINE, for_display, outlines
from elmgan.jobs.table import COLUMNS, Failure, Row

# A report on a large folder must still open in a browser.
MOST_PICTURES = 200
MOST_ROWS = 2000
SIDE = 280
"""Longer side of a thumbnail, in pixels."""

Thumbnails = tuple[str, str]
"""The image, and the image with its mask outlined, as data URIs."""

PAGE = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))


def report(
    rows: Sequence[Row],
    failures: Sequence[Failure],
    thumbnails: Mapping[str, Thumbnails],
    record: Mapping[str, Any],
) -> str:
    """Write the page.

    Args:
        rows: The images that were counted.
        failures: The images that could not be counted.
        thumbnails: Image -> its pictures; of the first MOST_PICTURES images.
        record: The content of run.json.
    """
    cells = sum(row.count for row in rows)
    numbers: dict[str, int | str] = {
        "images counted": len(rows),
        "cells": cells,
        "cells per image": f"{cells / len(rows):.1f}" if rows else "-",
        "images flagged": sum(bool(row.flags) for row in rows),
        "images failed": len(failures),
    }
    facts = [
        f"model {record['model']['version']}",
        f"elmgan {record['versions']['elmgan']}",
        f"{datetime.fromisoformat(record['started']):%Y-%m-%d %H:%M} UTC",
        f"{record['seconds']:.0f} s",
    ]
    return PAGE.substitute(
        facts=escape(" · ".join(facts)) + f"<br><code>{escape(record['command'])}</code>",
        numbers="".join(f"<div><b>{_number(value)}</b>{name}</div>" for name, value in numbers.items()),
        failed=_failed(failures),
        pictures_shown=_shown(len(thumbnails), len(rows), "Pictures of the first"),
        gallery="\n".join(_figure(row, *thumbnails[row.image]) for row in rows if row.image in thumbnails),
        rows_shown=_shown(min(len(rows), MOST_ROWS), len(rows), "The first"),
        table=_table(rows[:MOST_ROWS]),
        columns="".join(
            f'<tr><th class="text">{name}</th><td class="text wide">{escape(str(field.description))}</td></tr>'
            for name, field in Row.model_fields.items()
        ),
    )


def thumbnails_of(grey: NDArray[np.float32], mask: NDArray) -> Thumbnails:
    """Make the small pictures of one image; ``mask`` has its size, 0 = background."""
    scale = min(1, SIDE / max(grey.shape))
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))  # OpenCV's (width, height)
    small = cv2.resize(for_display(grey), size, interpolation=cv2.INTER_AREA)
    covered = cv2.resize((mask != 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    outlined = cv2.cvtColor(small, cv2.COLOR_GRAY2BGR)
    outlined[outlines(covered >= 0.5)] = OUTLINE[::-1]
    return _data_uri(small), _data_uri(outlined)


def _data_uri(picture: NDArray) -> str:
    # Colour at full resolution, or the outlines would fade.
    options = [cv2.IMWRITE_JPEG_QUALITY, 80, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    encoded = cv2.imencode(".jpg", picture, options)[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _number(value: int | str) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else value


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


def _figure(row: Row, image: str, outlined: str) -> str:
    name = escape(row.image)
    return (
        f'<figure><div><img src="{image}" alt="{name}"><img src="{outlined}" alt="{name}, mask outlined"></div>'
        f"<figcaption><span>{name} {_flags(row)}</span><b>{row.count}</b></figcaption></figure>"
    )


def _flags(row: Row) -> str:
    return " ".join(f'<span class="flag">{escape(flag)}</span>' for flag in row.flags)


def _table(rows: Sequence[Row]) -> str:
    most = max((row.count for row in rows), default=0) or 1
    head = "".join(f'<th class="{_kind(column)}">{column}</th>' for column in COLUMNS)
    lines = [f"<tr>{head}</tr>"]
    for row in rows:
        texts = {column: escape(text) for column, text in row.texts().items()} | {"flags": _flags(row)}
        cells = "".join(
            f'<td class="bar" style="--part:{100 * row.count / most:.0f}%">{text}</td>'
            if column == "count"
            else f'<td class="{_kind(column)}">{text}</td>'
            for column, text in texts.items()
        )
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join(lines)


def _kind(column: str) -> str:
    return {"image": "text wide", "flags": "text", "model": "text"}.get(column, "")
