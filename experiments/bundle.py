"""Make a model of a finished training run of `nuclei`, calibrated on all of its held-out images that have a count.

    python experiments/bundle.py RUN DATASET OUT

RUN is the folder of the run, DATASET the prepared data set, OUT gets the model. The best epoch's weights are taken. The
images that chose it calibrate too: a calibration of 57 images promised too narrow intervals of the 62 others, whose
counts are farther off, although they chose the epoch.
"""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from elmgan.data import Sides, group_alike, read_data_set, read_sources
from elmgan.models import ModelCard, TrainingData, read_bundle, write_bundle
from elmgan.training.bundling import Origin, bundle_run
from elmgan.training.config import read_config
from elmgan.training.step import GanStep
from prepare import LARGER


def main(run: Path, data_set: Path, out: Path) -> None:
    """Read the run, and bundle it."""
    config = read_config(run / "config.yaml")
    step = GanStep(config, 1, torch.device("cpu"))
    state = torch.load(run / "best.pt", map_location="cpu", weights_only=True)
    step.restore(state["step"])
    with (run / "split.csv").open(newline="", encoding="utf-8") as lines:
        sides = {row["image"]: row["side"] for row in csv.DictReader(lines)}
    records = group_alike(read_data_set(data_set, view=config.view))
    held_out = [record for record in records if sides[record.name] != "train"]
    counted = [record for record in held_out if record.count is not None and record.kind != LARGER]
    others = [record for record in held_out if record not in counted]
    train = [record for record in records if sides[record.name] == "train"]
    start = ModelCard.model_validate_json((run / "start.json").read_bytes())
    sources = read_sources(data_set, len(records))
    sources.append(TrainingData(name="synthetic cells", licence="made here", images=config.data.synthetic))
    sources += [source for source in start.data if source.name not in {each.name for each in sources}]
    origin = Origin(
        "dsb2018, bbbc039 and bsst265",
        sources,
        Sides(train, others, counted, []),
        ("mask", "count"),
        config.optimisation.epochs,
        int(state["best_epoch"]),
    )
    bundle_run(out, config, step.best_generator, origin, Console())
    bundle = read_bundle(out)
    chose = sum(side == "validation" for side in sides.values())
    said = f"{len(others)} validation and {len(counted)} calibration images, which trained nothing."
    truth = f"{len(held_out)} images, which trained nothing. {chose} of them chose the best epoch."
    parted, calibrated = f"{len(others)} validated, {len(counted)}", f"{chose} chose the best epoch, {len(counted)}"
    text = bundle.readme.replace(said, truth).replace(f"{parted} calibrated.", f"{calibrated} calibrated.")
    write_bundle(out, replace(bundle, readme=text))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
