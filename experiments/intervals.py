"""Check how many counts lie in their interval, over random re-splits of an evaluation's images.

    python experiments/intervals.py CHECKED/images.csv

CHECKED is what `elmgan evaluate` wrote of images that trained nothing. Prints a table in Markdown with a row for all
images and one for each data set and kind: the coverage when those calibrate themselves, and when all do together.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from elmgan.trust import FEWEST, cross_validate, resplits

FEW = 5
"""Cells of an image that has hardly any."""

HEAD = (
    "images of",
    "images",
    "groups",
    "MAE before",
    "after",
    "width",
    "coverage alone",
    "with all",
    f"0 to {FEW} cells",
)


def draw(table: Path) -> str:
    """Write the table of an evaluation's images.csv."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["true"]]
    estimates, totals = (np.array([float(row[name]) for row in rows]) for name in ("estimate", "true"))
    kinds, groups = (np.array([row[name] for row in rows]) for name in ("kind", "group"))
    together = resplits(estimates, totals, groups.tolist(), rng=np.random.default_rng(0))
    lines = [HEAD, ["---"] * len(HEAD)]
    for kind in ("all", *sorted({kind.split("/")[0] for kind in kinds} | set(kinds))):
        of = np.array([kind in ("all", each, each.split("/")[0]) for each in kinds])
        names = groups[of].tolist()
        number = len(set(names))
        alone = mae = width = "–"
        if number >= 2 * FEWEST:
            inside = resplits(estimates[of], totals[of], names, rng=np.random.default_rng(0))
            checked = cross_validate(estimates[of], totals[of], names, interval=True)
            alone, mae, width = f"{np.nanmean(inside):.3f}", f"{checked.mae:.2f}", f"{checked.width:.1f}"
        few = together[:, of & (totals <= FEW)]
        lines.append(
            [
                kind,
                str(of.sum()),
                str(number),
                f"{np.abs(estimates - totals)[of].mean():.2f}",
                mae,
                width,
                alone,
                f"{np.nanmean(together[:, of]):.3f}",
                f"{np.nanmean(few):.3f} of {few.shape[1]}" if few.size else "–",
            ]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(draw(Path(sys.argv[1])))
