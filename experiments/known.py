"""Measure the images that trained a model, and give the model their places: numbers, no pixels.

    python experiments/known.py DATASET SPLIT MODEL OUT

DATASET is a prepared data set folder, SPLIT the split.csv of the training run on it, MODEL the model. OUT gets the
model with its known.json, and in its model.json how cells clump in these images. `elmgan train` does the same at the
end of a run; this is for models of before.
"""

import csv
import sys
from dataclasses import replace
from pathlib import Path

from elmgan.counting import Model
from elmgan.data import read_data_set
from elmgan.models import find_bundle, read_bundle, write_bundle
from elmgan.training.bundling import clumps_in, known_of


def main(data_set: Path, split: Path, name: str, out: Path) -> None:
    """Measure and write."""
    with split.open(newline="", encoding="utf-8") as lines:
        trained = {row["image"] for row in csv.DictReader(lines) if row["side"] == "train"}
    bundle = read_bundle(find_bundle(name))
    records = [record for record in read_data_set(data_set) if record.name in trained]
    known = known_of(Model(bundle), records)
    if known is None:
        sys.exit(f"{name} does not give both masks and counts")
    training = bundle.card.training | clumps_in(Model(bundle), records)
    card = bundle.card.model_copy(update={"training": training})
    write_bundle(out, replace(bundle, known=known, card=card))
    print(f"{name}: {len(known.images)} images, near up to {known.near:.2f}, far from {known.far:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
