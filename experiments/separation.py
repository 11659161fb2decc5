"""Choose the two constants of `elmgan.inference.separation` on true masks, and score the choice on other images.

    python experiments/separation.py DATASET SPLIT OUT

DATASET is a prepared data set folder with labels, SPLIT the split.csv of a training run on it. The constants are
tried on at most 50 images a group, of the training side only. OUT gets a JSON file with the grid and, for the best
pair and for the constants in the program, the AP50 of the validation side. Groups (bbbc039, fluorescence, other)
weigh alike.
"""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.data import read_labels
from elmgan.evaluation import average_precision
from elmgan.inference import separation

SMOOTHINGS = (0.5, 0.75, 1.0, 1.25, 1.5)
NECKS = (0.85, 0.88, 0.9, 0.91, 0.92, 0.94)
MOST = 50
SEED = 0

Groups = dict[str, list[NDArray[np.uint16]]]
Separate = Callable[[NDArray[np.bool_]], NDArray]


def group_of(kind: str) -> str:
    """Put the rare kinds of dsb2018 together."""
    name = kind.split("/")[-1]
    return name if name in ("bbbc039", "fluorescence") else "other"


def read(dataset: Path, split: Path, side: str, most: int) -> Groups:
    """Read the labels of one side, at most so many a group, drawn by seed."""
    names: dict[str, list[str]] = defaultdict(list)
    with split.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["side"] == side:
                names[group_of(row["kind"])].append(row["image"])
    rng = np.random.default_rng(SEED)
    drawn = {group: [members[k] for k in rng.permutation(len(members))[:most]] for group, members in names.items()}
    return {
        group: [read_labels(dataset / "labels" / f"{name}.tif") for name in members] for group, members in drawn.items()
    }


def ap50(groups: Groups, separate: Separate = separation.separate) -> dict[str, float]:
    """Give the mean AP50 of each group with the constants as they are set, and the groups' mean."""
    scores = {
        group: float(np.mean([average_precision(separate(labels > 0), labels) for labels in members]))
        for group, members in sorted(groups.items())
    }
    return {name: round(score, 4) for name, score in (scores | {"mean": float(np.mean(list(scores.values())))}).items()}


def components(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Give plain connected components, to compare with."""
    return cv2.connectedComponents(mask.astype(np.uint8))[1].astype(np.int32)


def main(dataset: Path, split: Path, out: Path) -> None:
    """Search the grid and write what came out."""
    train, validation = read(dataset, split, "train", MOST), read(dataset, split, "validation", sys.maxsize)
    shipped = separation.SMOOTHING, separation.NECK
    grid: list[tuple[float, float, dict[str, float]]] = []
    for smoothing, neck in product(SMOOTHINGS, NECKS):
        separation.SMOOTHING, separation.NECK = smoothing, neck
        grid.append((smoothing, neck, ap50(train)))
        print(*grid[-1], flush=True)
    best = max(grid, key=lambda row: row[2]["mean"])[:2]
    results: dict[str, object] = {
        "seed": SEED,
        "images": {
            side: {group: len(members) for group, members in sorted(groups.items())}
            for side, groups in (("train", train), ("validation", validation))
        },
        "train": [{"smoothing": smoothing, "neck": neck, "ap50": scores} for smoothing, neck, scores in grid],
    }
    for name, (smoothing, neck) in (("best", best), ("shipped", shipped)):
        separation.SMOOTHING, separation.NECK = smoothing, neck
        results[name] = {"smoothing": smoothing, "neck": neck, "validation": ap50(validation)}
    results["components"] = {"validation": ap50(validation, components)}
    out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print({name: results[name] for name in ("best", "shipped", "components")})


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*map(Path, sys.argv[1:]))
