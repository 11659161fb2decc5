"""What the info command prints of a data set."""

from collections.abc import Sequence

from rich.bar import Bar
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from elmgan.data import Survey

LISTED_AT_MOST = 6
"""Sizes, kinds and the like that are named; of more, only how many there are."""

TOUCHING = "; in masks, cells that touch make it larger"

BAR_WIDTH = 40
"""Of the longest bar, in characters."""


def print_survey(console: Console, what: str, found: Survey) -> None:
    """Print what a data set holds, and a histogram of its counts."""
    table = Table(box=None, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    for name, fact in facts(found).items():
        table.add_row(name, fact)
    console.out(what)
    console.print(table)
    if found.histogram:
        bars = Table("cells from", "images", "", box=SIMPLE_HEAD)
        most = max(images for _, _, images in found.histogram)
        for low, _, images in found.histogram:
            bars.add_row(f"{low:g}", str(images), Bar(most, 0, images, width=BAR_WIDTH))
        for column in bars.columns[:2]:
            column.justify = "right"
        console.print(bars)


def facts(found: Survey) -> dict[str, str]:
    """Say the numbers of a data set in words."""
    cells = found.cells
    alike = "".join(f"; alike: {' and '.join(names)}" for names in found.alike[:LISTED_AT_MOST])
    return {
        "images": str(found.images),
        "sizes": with_numbers(found.sizes),
        "pixels": with_numbers(found.types),
        "masks": str(found.masks) + (f", {found.labels} of them from labels" if found.labels else ""),
        "foreground": f"{span_shown(found.foreground, '.2g')} of an image" if found.foreground else "not known",
        "cell size": (
            f"{span_shown(found.diameter[::2], '.0f')} pixels across, median {found.diameter[1]:.0f}"
            + (TOUCHING if found.labels < found.masks else "")
            if found.diameter
            else "not known"
        ),
        "mask values": span_shown(found.values, "d") or "no masks are used",
        "counts": str(found.counts) + (f"; {found.dots} images have dots" if found.dots else ""),
        "cells": (
            f"{cells['least']:g} to {cells['most']:g} an image, median {cells['median']:g}, {cells['all']:.0f} in all"
            if cells
            else "not known"
        ),
        "kinds": with_numbers(found.kinds) or "not named",
        "groups": f"{found.groups}{alike}",
        "split": with_numbers(found.splits) or "not given; training draws one",
    }


def span_shown(values: Sequence[float], form: str) -> str:
    """Write the least and the greatest of some values, or both as one.

    >>> span_shown((0.02, 0.31), ".2f"), span_shown((2, 2), "d"), span_shown((), "d")
    ('0.02 to 0.31', '2', '')
    """
    return " to ".join(dict.fromkeys(f"{value:{form}}" for value in values))


def with_numbers(numbers: dict[str, int]) -> str:
    """List names with their numbers, long lists cut short.

    >>> with_numbers({"uint8": 7, "uint16": 2})
    'uint8 (7), uint16 (2)'
    """
    texts = [f"{name} ({number})" for name, number in numbers.items()]
    more = len(texts) - LISTED_AT_MOST
    return ", ".join(texts[:LISTED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
