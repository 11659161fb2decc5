"""See which cells the count misses: how much of a cell the count map gives to true cells of each size.

    python experiments/sizes.py DATASET SPLIT MODEL OUT

DATASET is a data set folder with instance labels, SPLIT the split.csv of a run, of which the images that validated or
calibrated are counted by MODEL. To a cell belongs what the count map has on it and within 4 pixels around it, where no
other cell is nearer. OUT gets a JSON file and the terminal what it holds: per source of images and size of cells their
number, the cells that the count map gives to one of them, and the share of its pixels that the mask has, on average.
"""

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import expand_labels

from elmgan import load
from elmgan.counting import Result
from elmgan.data import read_data_set, read_labels
from elmgan.images import read_image
from elmgan.models import STRIDE

HELD_OUT = {"validation", "calibration"}
AROUND = 4
SIZES = (0, 40, 60, 100, 300, 1000)
"""Where a class of sizes begins, in pixels."""


def of_each(labels: NDArray, result: Result) -> NDArray[np.float64]:
    """Give size, cells and share in the mask of each true cell: (cell, 3)."""
    assert result.count_map is not None
    assert result.mask is not None
    density = np.kron(result.count_map, np.full((STRIDE, STRIDE), STRIDE**-2, np.float32))
    density = density[: labels.shape[0], : labels.shape[1]]
    grown = np.asarray(expand_labels(labels, AROUND))  # type: ignore[no-untyped-call]
    number = int(labels.max()) + 1
    sizes, found = (np.bincount(labels.ravel(), weights, number) for weights in (None, result.mask.ravel()))
    cells = np.bincount(grown.ravel(), density.ravel(), number)
    there = sizes > 0
    there[0] = False
    return np.stack([sizes, cells, found / np.maximum(sizes, 1)], axis=1)[there]


def main(data_set: Path, split: Path, name: str, out: Path) -> None:
    """Count, look at each true cell, show and write."""
    with split.open(newline="", encoding="utf-8") as lines:
        held_out = {row["image"] for row in csv.DictReader(lines) if row["side"] in HELD_OUT}
    model = load(name)
    cells: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for record in read_data_set(data_set):
        if record.name in held_out and record.labels is not None:
            result = model.count(read_image(record.image))
            cells[record.kind.split("/")[0]].append(of_each(read_labels(record.labels), result))
    found: dict[str, Any] = {"model": model.version}
    for source, of_images in sorted(cells.items()):
        of_all = np.concatenate(of_images)
        classes = np.digitize(of_all[:, 0], SIZES) - 1
        found[source] = {
            "images": len(of_images),
            "median size": float(np.median(of_all[:, 0])),
            "from pixels": {
                str(SIZES[k]): dict(
                    zip(("cells", "counted", "in the mask"), [int((classes == k).sum()), *means], strict=True)
                )
                for k in np.unique(classes)
                if (means := of_all[classes == k, 1:].mean(axis=0).round(3).tolist())
            },
        }
    text = json.dumps(found, indent=1) + "\n"
    print(text, end="")
    out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
