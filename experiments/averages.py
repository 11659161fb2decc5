"""See what of the count error is chance: average counts over turned and mirrored views, and over models.

    python experiments/averages.py DATASET SPLIT OUT MODEL...

DATASET is a data set folder with instance labels, SPLIT the split.csv of a run, of which the images that validated or
calibrated are counted by each MODEL, a bundled one or a folder. OUT gets a JSON file and the terminal what it holds:
the mean absolute error of each model's counts, of their means over the eight views, and of the models' means.
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elmgan import Model, load
from elmgan.data import read_data_set, read_grey, read_labels
from elmgan.report.record import machine

HELD_OUT = {"validation", "calibration"}


def views(image: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Give the image in its eight positions, as it is first."""
    for turned in (np.rot90(image, k) for k in range(4)):
        yield np.ascontiguousarray(turned)
        yield np.ascontiguousarray(turned[:, ::-1])


def counts(model: Model, images: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Count every view of the images: (image, view)."""
    return np.array([[model.count(view).estimate for view in views(image)] for image in images], np.float64)


def main(data_set: Path, split: Path, out: Path, names: list[str]) -> None:
    """Count, compare with the labels, show and write."""
    with split.open(newline="", encoding="utf-8") as lines:
        held_out = {row["image"] for row in csv.DictReader(lines) if row["side"] in HELD_OUT}
    records = [record for record in read_data_set(data_set) if record.name in held_out and record.labels is not None]
    truth = np.array([read_labels(record.labels).max() for record in records if record.labels is not None], np.float64)
    images = [read_grey(record) for record in records]
    models = [load(name) for name in names]
    counted = {model.version: counts(model, images) for model in models}

    def error(values: NDArray[np.float64]) -> float:
        return round(float(np.abs(values - truth).mean()), 3)

    found = {
        "images": len(records),
        "precision": models[0].runtime.precision,
        "models": {
            version: {"as it is": error(values[:, 0]), "mean of eight views": error(values.mean(axis=1))}
            for version, values in counted.items()
        },
        "mean of the models": error(np.mean([values[:, 0] for values in counted.values()], axis=0)),
        "mean of the models and views": error(np.mean([values.mean(axis=1) for values in counted.values()], axis=0)),
    }
    text = json.dumps({"machine": machine()} | found, indent=1) + "\n"
    print(text, end="")
    out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 5:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
