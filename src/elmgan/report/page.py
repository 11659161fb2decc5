"""The page that every report is: its style, its head, and the numbers that come first; it loads nothing."""

from collections.abc import Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from elmgan.models import shortcoming
from elmgan.trust import Calibration

PAGE = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))


def page(title: str, facts: str, body: str) -> str:
    """Put a report together from its title, as text, and its facts and body, as HTML."""
    return PAGE.substitute(title=escape(title), facts=facts, body=body)


def facts_of(record: Mapping[str, Any]) -> str:
    """Write what a finished run's record says of it as HTML.

    That is the model and what it lacks, what its interval promises, the program, the time, and the command, if any.
    """
    facts = [
        f"model {record['model']['version']}",
        f"elmgan {record['versions']['elmgan']}",
        f"{datetime.fromisoformat(record['started']):%Y-%m-%d %H:%M} UTC",
        f"{record['seconds']:.0f} s",
    ]
    lines = [escape(" · ".join(facts))]
    if record["command"] is not None:
        lines.append(f"<code>{escape(record['command'])}</code>")
    if lacks := shortcoming(record["model"]["learned"]):
        lines.append(f"<strong>{escape(lacks.capitalize())}.</strong>")
    if calibration := record["model"]["calibration"]:
        learned = Calibration.model_validate(calibration)
        lines.append(escape(f"{learned.correction.capitalize()}; {learned.promise}."))
    return "<br>".join(lines)


def number_cards(numbers: Mapping[str, str]) -> str:
    """Write the numbers to see first, name -> number as text, as HTML."""
    cards = (f"<div><b>{escape(value)}</b>{escape(name)}</div>" for name, value in numbers.items())
    return f'<section class="numbers">{"".join(cards)}</section>'
