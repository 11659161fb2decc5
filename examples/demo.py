"""Make synthetic images of cells with a known number in each, count them, and set truth and count side by side."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

OUT = Path("demo-out")
IMAGES = 8
SEED = 1

console = Console()


def elmgan(*arguments: str) -> None:
    """Run the command ``elmgan`` with these arguments, and stop with its exit code if it fails."""
    console.print(f"[bold]$ elmgan {' '.join(arguments)}", highlight=False, soft_wrap=True)
    code = subprocess.run([sys.executable, "-m", "elmgan", *arguments], check=False).returncode
    if code:
        sys.exit(code)


def counts(path: Path) -> dict[str, int]:
    """Read the cells per image from the table at ``path``."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["image"]: int(row["count"]) for row in csv.DictReader(file)}


def row(image: str, truth: int, count: int) -> tuple[str, str, str, str]:
    """Give the cells of one row of the table."""
    return image, str(truth), str(count), f"{count - truth:+d}" if count != truth else "0"


if OUT.exists():
    shutil.rmtree(OUT)
cells, counted = OUT / "cells", OUT / "counted"
elmgan("synth", str(cells), "--images", str(IMAGES), "--seed", str(SEED), "--quiet")
elmgan("count", str(cells / "images"), "-o", str(counted), "--labels", "--overlays", "--quiet")

truth, found = counts(cells / "counts.csv"), counts(counted / "counts.csv")
total = row("total", sum(truth.values()), sum(found.values()))
table = Table("image", show_footer=True)
table.columns[0].footer = total[0]
for header, footer in zip(("truth", "count", "difference"), total[1:], strict=True):
    table.add_column(header, footer, justify="right")
for image in truth:
    table.add_row(*row(image, truth[image], found[image]))
console.print(table)
console.print(f"The cells as they were counted: {counted / 'overlays'}", highlight=False)
console.print(f"The report, for a browser:      {counted / 'report.html'}", highlight=False)
