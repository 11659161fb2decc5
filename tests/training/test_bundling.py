"""The bundle that a run ends with, of models that learned masks, counts or both."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from rich.console import Console

from bundles import glued, known, tiny_bundle, tiny_onnx
from elmgan.counting import Model
from elmgan.data import Record, Sides, read_data_set
from elmgan.data.synthetic import write_data_set
from elmgan.light import Normalisation, Ranges
from elmgan.models import Architecture, Learned, TrainingData, read_bundle
from elmgan.nn.generator import Generator
from elmgan.training.bundling import Origin, bundle_run, clumps_in, ranges_in
from elmgan.training.config import TrainingConfig

MASK, COUNT = {"dice", "ap50"}, {"mean_count", "mae", "rmse", "bias"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundling") / "data"
    write_data_set(folder, 2, seed=1, size=(64, 64))
    return folder


def test_training_images_are_measured_with_their_true_masks_and_totals(data: Path) -> None:
    records = read_data_set(data)
    ranges = ranges_in(records, Normalisation())
    densities = [known(record.count) * 1e6 / 64**2 for record in records]
    assert ranges["density"] == pytest.approx(np.percentile(densities, (1, 99)), rel=1e-3)
    limits: Ranges = {"darkness": (0, 1), "agreement": (0, 1), "diameter": (1, 64)}
    for measure, (low, high) in limits.items():
        assert low <= ranges[measure][0] <= ranges[measure][1] <= high
    alone = [replace(record, mask=None, labels=None) for record in records]
    assert ranges_in(alone, Normalisation()).keys() == {"density", "darkness"}


def test_clumps_are_measured_in_counted_images_as_the_model_sees_them(tmp_path: Path) -> None:
    records = []
    for k in range(2):
        tifffile.imwrite(tmp_path / f"{k}.tif", glued(3 + 3 * k))
        records.append(Record(f"{k}", tmp_path / f"{k}.tif", None, None, 12.0, f"{k}", ""))
    model = Model(tiny_bundle())
    low, high = clumps_in(model, records)["clumped"]
    assert 0.2 < low < 0.35 < 0.45 < high < 0.6
    assert clumps_in(model, [replace(record, count=None) for record in records]) == {}


@pytest.mark.parametrize(
    ("learned", "scores", "told", "headings"),
    [
        (("mask",), MASK, "This model learned masks alone and cannot count: ", "images | Dice | AP50"),
        (("count",), COUNT, "This model learned counts alone: it gives no masks", "mean count | MAE | RMSE | bias"),
        (("mask", "count"), MASK | COUNT, "trained on masks and counts.\n\n|", "bias | Dice | AP50"),
    ],
)
def test_the_card_says_what_was_learned(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    learned: Learned,
    scores: set[str],
    told: str,
    headings: str,
) -> None:
    monkeypatch.setattr("elmgan.training.bundling.to_onnx", lambda generator: tiny_onnx())  # exporting takes seconds
    config = TrainingConfig(architecture=Architecture(width=2, depth=3))
    source = TrainingData(name="synthetic", licence="made here", images=2)
    records = read_data_set(data)
    origin = Origin("synthetic", [source], Sides(records[:1], records, [], []), learned, 3, 2)
    bundle_run(tmp_path / "model", config, Generator(config.architecture), origin, Console(quiet=True))
    bundle = read_bundle(tmp_path / "model")
    assert bundle.card.learned == learned
    measured = ranges_in(records[:1], config.normalisation)
    clumped = bundle.card.training.keys() - measured.keys()
    assert {name: bundle.card.training[name] for name in measured} == measured
    assert clumped == ({"clumped"} if len(learned) == 2 else set())
    assert bundle.card.scores["all"].keys() == {"images", *scores}
    assert told in bundle.readme
    assert f"{headings} |\n" in bundle.readme
    assert ("in cells" in bundle.readme, "Dice compares" in bundle.readme) == ("count" in learned, "mask" in learned)
