"""Quantise the network of a model again, as training does now, and score it again on what it never trained on.

    python experiments/requantise.py MODEL DATASET SPLIT OUT

MODEL is a bundled model or one's folder, DATASET the prepared data set that it was trained on, SPLIT the file that says
which of its images trained, OUT gets the model. Weights, the images that it knows and its calibration stay as they are.
"""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from elmgan.counting import Model
from elmgan.data import group_alike, read_data_set
from elmgan.models import find_bundle, read_bundle, write_bundle
from elmgan.scores import summarise
from elmgan.training.bundling import score_table
from elmgan.training.quantisation import in_single, quantised, tiles_to_see
from elmgan.work import score_image


def main(name: str, data_set: Path, split: Path, out: Path) -> None:
    """Quantise, score and write."""
    bundle = read_bundle(find_bundle(name))
    card = bundle.card
    with split.open(newline="", encoding="utf-8") as lines:
        sides = {row["image"]: row["side"] for row in csv.DictReader(lines)}
    records = group_alike(read_data_set(data_set, view=card.view))
    train = [record for record in records if sides[record.name] == "train"]
    held_out = [record for record in records if sides[record.name] != "train"]
    tiles = tiles_to_see(train, card.normalisation, rng=np.random.default_rng(card.seed))
    bundle = replace(bundle, int8=quantised(in_single(bundle.onnx), tiles))
    model = Model(bundle, "onnxruntime", precision="int8")
    scores = summarise([score_image(model, record) for record in held_out])
    for kind, row in scores.items():
        changes = {name: round(value - card.scores[kind][name], 4) for name, value in row.items()}
        print(kind, {name: change for name, change in changes.items() if change})
    readme = bundle.readme.replace(score_table(card.scores), score_table(scores))
    assert readme != bundle.readme, "the table of scores was not found"
    write_bundle(out, replace(bundle, card=card.model_copy(update={"scores": scores}), readme=readme))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(sys.argv[1], *map(Path, sys.argv[2:]))
