"""The page that every report is: its style and head, and the parts that reports share; it loads nothing."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elmgan.models import shortcoming
from elmgan.trust import ADVICE, Calibration

if TYPE_CHECKING:
    from jinja2 import Environment

SCRIPT = "table.js"
"""Sorts and filters tables; a page without it shows the same."""


def page(template: str, **values: Any) -> str:
    """Fill in a page. Every value is escaped where it is not a drawing of this folder.

    Args:
        template: Name of a template in this folder.
        values: What it shows.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # on demand: other commands start faster
    from markupsafe import Markup

    folder = Path(__file__).parent
    script = (folder / SCRIPT).read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {"script": Markup(script), "digest": digest, "advice": ADVICE}
    environment.filters["grouped"] = grouped
    return environment


def grouped(number: int) -> str:
    r"""Write a whole number with its thousands apart.

    >>> grouped(1234567)
    '1\xa0234\xa0567'
    """
    return f"{number:,}".replace(",", "\u00a0")


def facts_of(record: Mapping[str, Any]) -> list[str]:
    """Say what the first lines of a page have of a run: model, program and time, what the model lacks or promises."""
    told = [
        " · ".join(
            [
                f"model {record['model']['version']}",
                f"elmgan {record['versions']['elmgan']}",
                f"{datetime.fromisoformat(record['started']):%Y-%m-%d %H:%M} UTC",
                f"{record['seconds']:.0f} s",
            ]
        )
    ]
    if lacks := shortcoming(record["model"]["learned"]):
        told.append(f"{lacks[0].upper()}{lacks[1:]}.")
    if calibration := record["model"]["calibration"]:
        learned = Calibration.model_validate(calibration)
        told.append(f"{learned.correction.capitalize()}; {learned.promise}.")
    return told


def parameters_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Say how a run came about: name -> value, for the end of its page."""
    model, engine, machine = (record[what] for what in ("model", "engine", "machine"))
    values = {
        "command": record["command"],
        "view": _pairs(record.get("view", {})),
        "scales": ", ".join(f"{scale:g}" for scale in record.get("scales", [])),
        "options": _pairs({name: value for name, value in record["options"].items() if name != "paths"}),
        "model": model["version"],
        "learned": ", ".join(model["learned"]),
        "normalisation": _pairs(model["normalisation"]),
        "threshold of the mask": f"{model['threshold']:g}",
        "engine": f"{engine['name']}, {engine['precision']}, {engine['device']}",
        "versions": _pairs(record["versions"]),
        "machine": ", ".join(str(machine[name]) for name in ("platform", "processor")) + f", {machine['cores']} cores",
        "started": record["started"],
        "seconds": f"{record['seconds']:.1f}",
    }
    return {name: value for name, value in values.items() if value}


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def flags_found(flags: Iterable[Iterable[str]]) -> list[tuple[str, int, str]]:
    """Count the flags of images: flag, how many have it, and what to do; the commonest first."""
    found = Counter(flag for of in flags for flag in of)
    return [(flag, number, ADVICE.get(flag, "")) for flag, number in found.most_common()]
