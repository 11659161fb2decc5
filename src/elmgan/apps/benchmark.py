"""What the benchmark commands print."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from elmgan.benchmark.texts import Sheet


def print_sheets(console: Console, sheets: "Sequence[Sheet]") -> None:
    """Print the tables of a benchmark."""
    for sheet in sheets:
        table = Table(box=SIMPLE_HEAD, title=sheet.title, title_justify="left")
        for k, column in enumerate(sheet.columns):
            table.add_column(column, justify="right" if k else "left", overflow="fold")
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
