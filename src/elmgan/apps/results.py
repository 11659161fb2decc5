"""What the commands print of counts, scores and calibrations."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from elmgan.apps.terminal import console, many
from elmgan.counting import Row
from elmgan.scores import BASELINE, SCORES, interval_shown, shown
from elmgan.trust import ADVICE
from elmgan.work import METRICS, Calibrated, Counted, Evaluated

ROWS_SHOWN = 30
"""Rows of the table on the terminal; counts.csv has all."""

REASONS = 3
"""Ways of being unlike training that are told of a table."""

IN_SHORT = ("mae", "dice", "ap50")
"""Scores that the terminal shows of each kind of images; the report has all."""


def print_counted(counted: Counted) -> None:
    """Print the table of counts and the names of what was written."""
    terminal = console()
    rows = counted.rows
    if rows:
        table = Table(box=SIMPLE_HEAD, show_footer=True, pad_edge=False, collapse_padding=True)
        more = len(rows) - ROWS_SHOWN
        images = many(len({row.image for row in rows}), "image")
        table.add_column("image", images, overflow="ellipsis", no_wrap=True, max_width=max(20, terminal.width - 50))
        table.add_column("count", sum_shown(row.count for row in rows), justify="right", no_wrap=True)
        places = [axis for axis in ("scene", "t", "z") if len({getattr(row, axis) for row in rows}) > 1]
        for axis in places:
            table.add_column(axis, justify="right", no_wrap=True)
        interval = any(row.low is not None for row in rows)
        if interval:
            table.add_column("90 %", justify="right", no_wrap=True)
        table.add_column("objects", sum_shown(row.objects for row in rows), justify="right", no_wrap=True)
        table.add_column("flags", overflow="fold")
        for row in rows[:ROWS_SHOWN]:
            texts = row.texts()
            ends = "" if row.low is None or row.high is None else f"{math.floor(row.low)} to {math.ceil(row.high)}"
            values = [row.image, texts["count"], *(texts[axis] for axis in places), *([ends] if interval else [])]
            table.add_row(*values, texts["objects"], " ".join(row.doubts))
        if more > 0:
            table.add_row(f"... and {more} more in counts.csv")
        terminal.print(table)
        for line in flags_told(rows):
            terminal.out(line)
    if counted.failures:
        terminal.out(f"{many(len(counted.failures), 'image')} could not be counted; failed.csv says why")
    for path in counted.written:
        terminal.out(f"wrote {path}")


def flags_told(rows: Sequence[Row]) -> list[str]:
    """Say how many planes are flagged, by what, and what to do; the commonest flags first."""
    of_all = Counter(flag for row in rows for flag in row.flags if flag not in row.doubts)
    lines = [f"all are {flag}: {ADVICE[flag]}" for flag in of_all]
    found = Counter(flag for row in rows for flag in row.doubts)
    if not found:
        return lines
    flagged = sum(bool(row.doubts) for row in rows)
    lines.append(f"{flagged} of {len(rows)} flagged: do not trust their counts without a look")
    for flag, number in found.most_common():
        lines.append(f"  {flag} ({number}): {ADVICE[flag]}")
        if flag == "unlike-training":
            why = Counter(row.unlike for row in rows if row.unlike)
            lines += [f"    {words} ({times})" for words, times in why.most_common(REASONS)]
    return lines


def print_evaluated(evaluated: Evaluated) -> None:
    """Print the scores of all images, some of each kind, and the names of what was written."""
    metrics, terminal = evaluated.metrics, console()
    if metrics.kinds:
        everything = metrics.kinds["all"]
        images = many(everything.images, "image")
        terminal.out(f"model {metrics.run['model']['version']} on {images}, and the baseline {BASELINE}")
        table = Table("score", box=SIMPLE_HEAD)
        for heading in ("model", "95 % interval", "baseline", "95 % interval"):
            table.add_column(heading, justify="right")
        for name in everything.scored:
            pair = everything.model.get(name), everything.baseline.get(name)
            texts = (text(name, value) for value in pair for text in (shown, interval_shown))
            table.add_row(SCORES[name].heading, *texts)
        terminal.print(table)
    if len(metrics.kinds) > 1:
        names = [name for name in IN_SHORT if any(name in summary.scored for summary in metrics.kinds.values())]
        table = Table(box=SIMPLE_HEAD)
        table.add_column("kind", overflow="fold")
        for heading in ("images", *(f"{SCORES[name].heading} (baseline)" for name in names)):
            table.add_column(heading, justify="right")
        for kind, summary in metrics.kinds.items():
            pairs = ((shown(name, each.get(name)) for each in (summary.model, summary.baseline)) for name in names)
            table.add_row(kind, str(summary.images), *(f"{ours} ({theirs})" for ours, theirs in pairs))
        terminal.print(table)
    if metrics.failed:
        terminal.out(f"{many(len(metrics.failed), 'image')} could not be scored; {METRICS} says why")
    for path in evaluated.written:
        terminal.out(f"wrote {path}")


def print_calibrated(before: str, after: str, done: Calibrated) -> None:
    """Print what a calibration changed, and what the interval promises."""
    terminal, learned = console(), done.calibration
    terminal.out(f"calibrated on {many(learned.images, 'image')} in {many(learned.groups, 'group')}, cross-validated")
    table = Table("score", box=SIMPLE_HEAD)
    for version in (before, after):
        table.add_column(version, justify="right")
    for row in done.rows():
        table.add_row(*row)
    terminal.print(table)
    for said in (learned.correction, learned.promise):
        terminal.out(said)


def sum_shown(numbers: Iterable[int | None]) -> str:
    """Write a sum; nothing where the numbers are not known.

    >>> sum_shown([1, 2]), sum_shown([None, None])
    ('3', '')
    """
    known = [number for number in numbers if number is not None]
    return str(sum(known)) if known else ""
