"""The bundle that a run ends with, of models that learned masks, counts or both."""

from pathlib import Path

import pytest
from rich.console import Console

from bundles import tiny_onnx
from elmgan.data import read_data_set
from elmgan.data.synthetic import write_data_set
from elmgan.models import Architecture, Learned, TrainingData, read_bundle
from elmgan.nn import Generator
from elmgan.training.bundling import Origin, bundle_run
from elmgan.training.config import TrainingConfig

MASK, COUNT = {"dice", "ap50"}, {"mean_count", "mae", "rmse", "bias"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundling") / "data"
    write_data_set(folder, 2, seed=1, size=(64, 64))
    return folder


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
    origin = Origin([source], 0, read_data_set(data), learned, 3, 2)
    bundle_run(tmp_path / "model", config, Generator(config.architecture), origin, Console(quiet=True))
    bundle = read_bundle(tmp_path / "model")
    assert bundle.card.learned == learned
    assert bundle.card.scores["all"].keys() == {"images", *scores}
    assert told in bundle.readme
    assert f"{headings} |\n" in bundle.readme
    assert ("in cells" in bundle.readme, "Dice compares" in bundle.readme) == ("count" in learned, "mask" in learned)
