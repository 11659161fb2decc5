"""Compare counts and masks of the bundled models in OpenVINO's bf16 with those in ONNX Runtime's fp32.

    python experiments/precisions.py OUT DATASET...

DATASET is a data set folder, of which all images are counted. OUT gets a JSON file and the terminal what it holds: per
model, how far counts, masks and separated cells are apart. The processor must compute in bf16.
"""

import json
import sys
from pathlib import Path

import numpy as np

from elmgan import load
from elmgan.data import read_data_set
from elmgan.images import read_image
from elmgan.models import shipped
from elmgan.report.record import machine

MOST_OF_COUNT, MOST_CELLS, MOST_OF_MASK = 0.005, 0.1, 0.002
"""What the tests allow: share of the count or cells, whichever is more, and share of the pixels."""

MANY = 20
"""Cells from which on a relative difference says something."""


def compared(name: str, paths: list[Path]) -> dict[str, object]:
    """Count images twice, and say how far the results are apart."""
    low, full = load(name, engine="openvino", precision="bf16"), load(name, engine="onnxruntime")
    counts, masks, objects = [], [], 0
    for path in paths:
        image = read_image(path)
        one, other = low.count(image), full.count(image)
        counts.append((float(one.estimate or 0), float(other.estimate or 0)))
        masks.append(float(np.mean(one.mask != other.mask)))
        objects += one.objects != other.objects
    ours, theirs = np.array(counts).T
    apart = np.abs(ours - theirs)
    many = theirs > MANY
    return {
        "model": low.version,
        "images": len(paths),
        "counts apart by more than allowed": int(np.sum(apart > np.maximum(MOST_OF_COUNT * theirs, MOST_CELLS))),
        "largest relative difference above 20 cells": round(float(np.max(apart[many] / theirs[many])), 5),
        "mean relative difference above 20 cells": round(float(np.mean((ours - theirs)[many] / theirs[many])), 5),
        "masks apart in more pixels than allowed": int(np.sum(np.array(masks) > MOST_OF_MASK)),
        "largest share of pixels apart": round(max(masks), 5),
        "images with another number of separated cells": int(objects),
    }


def main(out: Path, data_sets: list[Path]) -> None:
    """Compare every bundled model, show and write."""
    paths = [record.image for data_set in data_sets for record in read_data_set(data_set)]
    found = [compared(name, paths) for name in shipped()]
    text = json.dumps({"machine": machine(), "models": found}, indent=1) + "\n"
    print(text, end="")
    out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
