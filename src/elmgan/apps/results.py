"""What the commands print of counts, scores and calibrations."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table

from elmgan.apps.terminal import console, many
from elmgan.scores import BASELINE, SCORES, interval_shown, shown
from elmgan.work import METRICS, Calibrated, Counted, Evaluated

ROWS_SHOWN = 30
"""Rows of the table on the terminal; counts.csv has all."""

IN_SHORT = ("mae", "dice", "ap50")
"""Scores that the terminal shows of each kind of images; the report has all."""


def print_counted(counted: Counted) -> None:
    """Print the table of counts and the names of what was written."""
    terminal = console()
    rows = counted.rows
    if rows:
        table = Table(box=SIMPLE_HEAD, show_footer=True)
        more = len(rows) - ROWS_SHOWN
        table.add_column("image", many(len({row.image for row in rows}), "image"), overflow="fold")
        table.add_column("count", sum_shown(row.count for row in rows), justify="right")
        columns = ["image", "count"]
        for place, column in enumerate(("scene", "t", "z")):
            if len({row.place[place] for row in rows}) > 1:
                table.add_column(column, justify="right")
                columns.append(column)
        if any(row.low is not None for row in rows):
            table.add_column("low", justify="right")
            table.add_column("high", justify="right")
            columns += ["low", "high"]
        table.add_column("objects", sum_shown(row.objects for row in rows), justify="right")
        table.add_column("foreground", justify="right")
        table.add_column("flags")
        for row in rows[:ROWS_SHOWN]:
            texts = row.texts()
            table.add_row(*(texts[column] for column in (*columns, "objects", "foreground", "flags")))
        if more > 0:
            table.add_row(f"... and {more} more in counts.csv")
        terminal.print(table)
    if counted.failures:
        terminal.out(f"{many(len(counted.failures), 'image')} could not be counted; failed.csv says why")
    for path in counted.written:
        terminal.out(f"wrote {path}")


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
