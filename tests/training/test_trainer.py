"""Runs of the trainer on small synthetic data sets."""

import csv
import re
import shutil
import tempfile
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
import yaml
from rich.console import Console

import elmgan
from bundles import knowing_bundle, known, squares, tiny_bundle, write_sized, zoomed
from elmgan.counting import Model, Predictor
from elmgan.data import Example, Record
from elmgan.data.synthetic import write_data_set
from elmgan.errors import ConfigError, DataError, ModelError, TrainingError, UsageError
from elmgan.images import View, read_image
from elmgan.models import Learned, read_bundle
from elmgan.training.bundling import known_of
from elmgan.training.config import TrainingConfig, read_config, shipped_configs
from elmgan.training.material import Material, at_usual_scale, fitted_to
from elmgan.training.step import Batch, GanStep
from elmgan.training.trainer import room_for, starting_from, train

TINY = [
    "architecture.width=4",
    "discriminator.width=4",
    "discriminator.start=0",
    "optimisation.batch=2",
    "optimisation.steps=null",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training") / "data"
    write_data_set(folder, 6, seed=3, size=(96, 128))
    return folder


def tiny(config: str = "base", *settings: str) -> TrainingConfig:
    return read_config(config, [*TINY, *settings])


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "curves.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def four_epochs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run") / "four"
    train(data, run, tiny("base", "optimisation.epochs=4", "samples_every=2"))
    return run


def test_a_run_leaves_what_it_promises(four_epochs: Path, data: Path) -> None:
    curves = rows(four_epochs)
    assert [row["epoch"] for row in curves] == ["1", "2", "3", "4"]
    assert {"mask", "count", "adversarial", "coordination", "discriminator"} <= curves[0].keys()
    assert sorted(path.name for path in (four_epochs / "samples").iterdir()) == [f"epoch_000{k}.png" for k in (1, 3, 4)]
    assert list((four_epochs / "tensorboard").iterdir())
    with (four_epochs / "split.csv").open(encoding="utf-8") as file:
        sides = [row["side"] for row in csv.DictReader(file)]
    assert sides.count("train") == 5
    assert sides.count("validation") == 1
    assert read_config(four_epochs / "config.yaml").optimisation.epochs == 4


def test_its_bundle_counts(four_epochs: Path, data: Path) -> None:
    model = elmgan.load(four_epochs / "model")
    result = model.count(read_image(next((data / "images").iterdir())))
    assert known(result.mask).shape == (96, 128)
    assert result.estimate == pytest.approx(known(result.count_map).sum(), abs=0.01)
    assert model.card.scores["all"]["images"] == 1
    assert model.card.data[0].images == 6


def test_resumed_training_is_the_uninterrupted_one(four_epochs: Path, data: Path, tmp_path: Path) -> None:
    config = tiny("base", "optimisation.epochs=4", "samples_every=2")
    epochs = 0

    def stop_after_two(row: dict[str, float]) -> None:
        nonlocal epochs
        epochs += 1
        if epochs == 2:
            raise KeyboardInterrupt

    train(data, tmp_path / "run", config, on_epoch=stop_after_two)
    assert len(rows(tmp_path / "run")) == 2
    assert (tmp_path / "run/model/model.onnx").exists()
    train(data, tmp_path / "run", config, resume=True)
    whole, parts = (torch.load(run / "last.pt", weights_only=True) for run in (four_epochs, tmp_path / "run"))
    for name, values in whole["step"]["generator"].items():
        torch.testing.assert_close(parts["step"]["generator"][name], values, rtol=0, atol=0, msg=name)
    timed = {"images_per_second"}
    for one, other in zip(rows(four_epochs), rows(tmp_path / "run"), strict=True):
        assert {k: v for k, v in one.items() if k not in timed} == {k: v for k, v in other.items() if k not in timed}


@pytest.mark.parametrize("at_once", [True, False])
def test_a_loss_that_is_not_finite_keeps_the_last_good_epoch(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """Also where it is found out at the end of the epoch alone, as on a GPU."""
    move = GanStep.move

    def breaks_in_epoch_two(self: GanStep, groups: list[Batch], *, adversarial: bool) -> None:
        self.at_once = at_once
        if self.done == 3:
            groups[0].targets.total[:] = np.inf
        move(self, groups, adversarial=adversarial)

    monkeypatch.setattr(GanStep, "move", breaks_in_epoch_two)
    with pytest.raises(TrainingError, match=r"epoch 2: the loss is not finite \(count.*epoch 1 is kept"):
        train(data, tmp_path / "run", tiny())
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)
    assert state["epoch"] == 1
    assert all(torch.isfinite(values).all() for values in state["step"]["generator"].values())


def test_nothing_is_saved_of_a_first_epoch_that_is_stopped_broken(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = GanStep.move

    def breaks_and_is_stopped(self: GanStep, groups: list[Batch], *, adversarial: bool) -> None:
        self.at_once = False
        if self.done == 1:
            raise KeyboardInterrupt
        groups[0].targets.total[:] = np.inf
        move(self, groups, adversarial=adversarial)

    monkeypatch.setattr(GanStep, "move", breaks_and_is_stopped)
    with pytest.raises(TrainingError, match="the loss is not finite"):
        train(data, tmp_path / "run", tiny())
    assert not list((tmp_path / "run").glob("*.pt"))


def assert_same_run(one: Path, other: Path) -> None:
    """That nothing but the speed differs, to the last bit."""
    states = [torch.load(run / "last.pt", weights_only=True)["step"]["generator"] for run in (one, other)]
    for name, values in states[0].items():
        torch.testing.assert_close(states[1][name], values, rtol=0, atol=0, msg=name)
    for row, same in zip(rows(one), rows(other), strict=True):
        assert {**row, "images_per_second": ""} == {**same, "images_per_second": ""}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for all files of a run that do not outlive it."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr("elmgan.training.mapped.FOLDER_OF_MEMORY", folder)
    return folder


@pytest.mark.slow
def test_processes_that_render_change_nothing_and_leave_nothing(
    four_epochs: Path, data: Path, tmp_path: Path, scratch: Path
) -> None:
    """Begun with two processes, stopped, and gone on with by one thread."""

    def stop_after_two(row: dict[str, float]) -> None:
        if row["epoch"] == 2:
            assert len(active_children()) == 2
            raise KeyboardInterrupt

    settings = ["optimisation.epochs=4", "samples_every=2"]
    train(data, tmp_path / "run", tiny("base", *settings, "machine.workers=2"), on_epoch=stop_after_two)
    assert not active_children()
    assert not list(scratch.iterdir())
    train(data, tmp_path / "run", tiny("base", *settings, "machine.workers=0"), resume=True)
    assert_same_run(four_epochs, tmp_path / "run")


def test_a_data_set_beyond_memory_trains_as_one_within(
    four_epochs: Path, data: Path, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory takes two of the six images; none has more than its own when the rest are on disk."""
    monkeypatch.setattr("elmgan.training.trainer.room_for", lambda config: 2.5 * 96 * 128 * 6)
    left: list[int] = []
    move = GanStep.move

    def watched(self: GanStep, groups: list[Batch], *, adversarial: bool) -> None:
        left.append(len(list(scratch.iterdir())))
        move(self, groups, adversarial=adversarial)

    monkeypatch.setattr(GanStep, "move", watched)
    train(data, tmp_path / "run", tiny("base", "optimisation.epochs=4", "samples_every=2"))
    assert_same_run(four_epochs, tmp_path / "run")
    assert set(left) == {0}  # a file that is mapped needs no name, and none is left by whatever ends the run


def test_memory_for_images_is_a_setting_or_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert room_for(tiny("base", "machine.memory=300")) == 300_000_000
    monkeypatch.setattr("elmgan.training.trainer.free_memory", lambda: 8 << 30)
    assert room_for(tiny("base", "machine.memory=auto")) == 4 << 30


@pytest.mark.parametrize("config", shipped_configs())
def test_every_shipped_configuration_trains(config: str, data: Path, tmp_path: Path) -> None:
    settings = ["optimisation.epochs=1", "optimisation.steps=1"]
    if yaml.safe_load(read_text(config)).get("data", {}).get("synthetic"):
        settings += ["data.synthetic=2"]
    train(data, tmp_path / "run", tiny(config, *settings))
    result = elmgan.load(tmp_path / "run/model").count(np.zeros((96, 128), np.uint8))
    assert np.isfinite(known(result.estimate))


def read_text(config: str) -> str:
    from elmgan.training.config import configs

    return str((configs() / f"{config}.yaml").read_text(encoding="utf-8"))


def test_the_pooled_head_refuses_images_of_two_sizes(tmp_path: Path) -> None:
    write_data_set(tmp_path / "data", 2, seed=3, size=(96, 128))
    write_data_set(tmp_path / "other", 1, seed=4, size=(96, 200))
    for folder in ("images", "masks", "labels"):
        (tmp_path / "other" / folder / "synthetic_000.tif").rename(tmp_path / "data" / folder / "wide.tif")
    with (tmp_path / "data/counts.csv").open("a", encoding="utf-8") as file:
        file.write("wide.tif,3\n")
    with pytest.raises(DataError, match="images of 2 sizes"):
        train(tmp_path / "data", tmp_path / "run", tiny("paper"))


def test_the_split_of_the_data_set_is_obeyed(data: Path, tmp_path: Path) -> None:
    """The images for testing are neither read nor learned from: they need not even be readable."""
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    with (data / "counts.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    sides = ["test", "train", "validation", "train", "test", "train"]
    lines = [
        f"{row['image']},{row['count']},{k},{side}" for k, (row, side) in enumerate(zip(table, sides, strict=True))
    ]
    (folder / "counts.csv").write_text("\n".join(["image,count,group,split", *lines]), encoding="utf-8")
    image = folder / "images" / table[4]["image"]
    image.write_bytes(image.read_bytes()[:-50])
    train(folder, tmp_path / "run", tiny("base", "optimisation.epochs=1"))
    with (tmp_path / "run/split.csv").open(encoding="utf-8") as file:
        rows = {row["image"]: (row["group"], row["side"]) for row in csv.DictReader(file)}
    assert rows == {f"synthetic_{k:03d}": (str(k), side) for k, side in enumerate(sides)}
    assert elmgan.load(tmp_path / "run/model").card.data[0].images == 4


def test_notes_on_the_data_are_told(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "[b]data"  # not taken for markup
    shutil.copytree(data, folder)
    with (folder / "counts.csv").open("a") as table:
        table.write("Mean,7\n")
    train(folder, tmp_path / "run", tiny("base", "optimisation.epochs=1"), console=Console(width=400))
    assert f"{folder}/counts.csv, line 8: 'Mean' is left out, as the sum or mean" in capsys.readouterr().out


def test_images_that_chose_nothing_calibrate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    write_data_set(folder, 24, seed=6, size=(64, 64))
    marks = ["train", "train", "validation", "test", *["calibration"] * 20]
    lines = (folder / "counts.csv").read_text().splitlines()
    table = [
        "image,count,split",
        *(",".join([*line.split(",")[:2], side]) for line, side in zip(lines[1:], marks, strict=True)),
    ]
    (folder / "counts.csv").write_text("\n".join(table))
    train(folder, tmp_path / "run", tiny("base", "optimisation.epochs=1"), console=Console(quiet=False))
    assert "no interval" not in capsys.readouterr().out
    bundle = read_bundle(tmp_path / "run/model")
    calibration = bundle.card.calibration
    assert calibration is not None
    assert (calibration.data, calibration.images, calibration.groups) == ("data", 20, 20)
    assert bundle.card.scores["all"].keys() >= {"mae", "coverage"}
    assert "20 calibrated" in bundle.readme
    assert calibration.promise[1:] in bundle.readme
    with (tmp_path / "run/split.csv").open(encoding="utf-8") as file:
        assert [row["side"] for row in csv.DictReader(file)].count("calibration") == 20
    image = read_image(sorted((folder / "images").iterdir())[3])
    result = elmgan.load(tmp_path / "run/model").count(image)
    assert result.interval == calibration.interval(known(result.estimate))


def test_without_enough_images_a_run_says_that_there_is_no_interval(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(data, tmp_path / "run", tiny("base", "optimisation.epochs=1"), console=Console(width=400))
    said = capsys.readouterr().out
    assert "it takes 20 images of different cells with a count that do not train, there are 0; give elmgan" in said
    assert re.search(r"of the images \d+ train, \d+ validate; an epoch has \d+ steps", said)
    assert read_bundle(tmp_path / "run/model").card.calibration is None


def without(data: Path, folder: Path, *missing: str) -> Path:
    """The same data set without some of what is known of its images."""
    shutil.copytree(data, folder, ignore=shutil.ignore_patterns("labels", *missing))
    return folder


def test_totals_alone_teach_to_count(data: Path, tmp_path: Path) -> None:
    folder = without(data, tmp_path / "data", "masks")
    train(folder, tmp_path / "run", tiny("base", "optimisation.epochs=2"))
    model = elmgan.load(tmp_path / "run/model")
    assert model.card.learned == ("count",)
    assert "mae" in model.card.scores["all"]
    assert "dice" not in model.card.scores["all"]
    assert rows(tmp_path / "run")[1].keys() >= {"count", "validation_mae", "score"}
    assert "validation_dice" not in rows(tmp_path / "run")[1]
    assert float(rows(tmp_path / "run")[1]["mask"]) == 0


def test_totals_alone_are_not_held_to_a_mask_that_nothing_teaches(
    four_epochs: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, start = without(data, tmp_path / "data", "masks"), read_bundle(four_epochs / "model")
    config = starting_from(start, tiny("base", "optimisation.epochs=1"))
    train(folder, tmp_path / "run", config, start=start, console=Console(width=400))
    assert "batch norms are fixed after 60% of the steps" in capsys.readouterr().out
    for path, head in ((four_epochs, "map"), (tmp_path / "run", "free")):
        assert read_bundle(path / "model").card.architecture.count_head == head


@pytest.mark.parametrize(
    ("start", "taught", "asked", "taken"),
    [
        ("nuclei@0", ("count",), 0.1, 0.6),
        ("nuclei@0", ("count",), 0.8, 0.8),
        ("nuclei@0", ("mask", "count"), 0.1, 0.1),
        ("", ("count",), 0.1, 0.1),
    ],
)
def test_batch_norms_follow_totals_alone_for_longer_where_a_model_starts_from_another(
    start: str, taught: Learned, asked: float, taken: float
) -> None:
    config = tiny("base", f"optimisation.fix_norm={asked}").model_copy(update={"start": start})
    material = Material(train=[], synthetic=[], validation=[], taught=taught, learned=taught)
    assert fitted_to(config, material).optimisation.fix_norm == taken


def test_masks_alone_teach_to_segment_and_the_model_says_that_it_cannot_count(data: Path, tmp_path: Path) -> None:
    folder = without(data, tmp_path / "data", "*.csv")
    train(folder, tmp_path / "run", tiny("base", "optimisation.epochs=2"))
    bundle = read_bundle(tmp_path / "run/model")
    assert bundle.card.learned == ("mask",)
    assert "dice" in bundle.card.scores["all"]
    assert "mae" not in bundle.card.scores["all"]
    assert "cannot count" in bundle.readme
    assert "discriminator" in rows(tmp_path / "run")[1]


@pytest.mark.parametrize("setting", ["data.pixels=8192", "augmentation.mosaic=1"])
def test_images_beyond_memory_and_mosaics_are_learned_from(setting: str, data: Path, tmp_path: Path) -> None:
    """An image has 96 x 128 pixels: more than go through the network at once, or two to a mosaic."""
    settings = ["architecture.depth=3", "optimisation.epochs=2", "optimisation.fix_norm=1", setting]
    train(data, tmp_path / "run", tiny("base", *settings))
    curves = rows(tmp_path / "run")
    assert float(curves[1]["mask"]) < float(curves[0]["mask"])
    assert ("adversarial" in curves[0]) == setting.startswith("augmentation")


def test_what_is_learned_must_be_validated(data: Path, tmp_path: Path) -> None:
    folder = without(data, tmp_path / "data")
    table = ["image,count,split"]
    for k, mask in enumerate(sorted((folder / "masks").iterdir())):
        table.append(f"{mask.name},{'' if k < 4 else 3},{'train' if k < 4 else 'validation'}")
        if k >= 4:
            mask.unlink()
    (folder / "counts.csv").write_text("\n".join(table))
    with pytest.raises(DataError, match="train on teach masks alone, those to validate on have counts alone"):
        train(folder, tmp_path / "run", tiny())
    assert not (tmp_path / "run").exists()


def test_the_best_epoch_is_chosen_by_the_score_that_is_named(data: Path, tmp_path: Path) -> None:
    settings = ["optimisation.epochs=4", "optimisation.choose_by=mae", "optimisation.learning_rate=0.01"]
    train(data, tmp_path / "run", tiny("base", *settings))
    errors = [float(row["validation_mae"]) for row in rows(tmp_path / "run")]
    best = torch.load(tmp_path / "run/best.pt", weights_only=True)
    assert best["epoch"] == best["best_epoch"] == 1 + errors.index(min(errors))
    assert best["best_score"] == pytest.approx(-min(errors), rel=1e-4)


def test_a_score_that_cannot_be_had_is_refused(data: Path, tmp_path: Path) -> None:
    folder = without(data, tmp_path / "data", "*.csv")
    with pytest.raises(ConfigError, match="choose_by is mae, but no count is known"):
        train(folder, tmp_path / "run", tiny("base", "optimisation.choose_by=mae"))
    assert not (tmp_path / "run").exists()


def test_training_stops_when_nothing_improves(data: Path, tmp_path: Path) -> None:
    """Weights that hardly move leave the averaged network as it was: only the first epoch is an improvement."""
    settings = ["optimisation.epochs=9", "optimisation.patience=2", "optimisation.learning_rate=1e-12"]
    config = tiny("base", *settings, "optimisation.fix_norm=0", "discriminator=null")
    train(data, tmp_path / "run", config)
    scores = [float(row["score"]) for row in rows(tmp_path / "run")]
    best = 1 + scores.index(max(scores))
    assert len(scores) == best + 2 < 9
    before = rows(tmp_path / "run")
    train(data, tmp_path / "run", config, resume=True)  # there is nothing to go on with
    assert rows(tmp_path / "run") == before


def test_the_last_epoch_is_kept_when_nothing_chooses(data: Path, tmp_path: Path) -> None:
    config = tiny("base", "optimisation.epochs=3", "optimisation.choose_by=last", "discriminator=null")
    train(data, tmp_path / "run", config)
    card = read_bundle(tmp_path / "run/model")
    assert "those of epoch 3 of 3; it is the last." in card.readme
    assert [float(row["score"]) for row in rows(tmp_path / "run")] == [0, 0, 0]


def test_a_run_is_not_overwritten(four_epochs: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a run already"):
        train(data, four_epochs, tiny())
    with pytest.raises(UsageError, match="another configuration"):
        train(data, four_epochs, tiny("base", "seed=9"), resume=True)
    with pytest.raises(UsageError, match="no run to resume"):
        train(data, tmp_path / "none", tiny(), resume=True)


def test_images_with_a_mask_or_a_count_only_are_learned_from(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder, ignore=shutil.ignore_patterns("labels"))
    masks = sorted((folder / "masks").iterdir())
    for mask in masks[:3]:
        mask.unlink()
    table = (folder / "counts.csv").read_text().splitlines()
    (folder / "counts.csv").write_text("\n".join([*table[:4], *(f"{line.split(',')[0]}," for line in table[4:])]))
    train(folder, tmp_path / "run", tiny("base", "optimisation.epochs=2", "optimisation.batch=1"))
    curves = rows(tmp_path / "run")
    assert all(np.isfinite(float(row[name])) for row in curves for name in ("mask", "count", "discriminator", "score"))
    assert {"validation_dice", "validation_mae"} <= curves[0].keys()  # one of either sort is held out


def test_training_from_a_model_keeps_its_view() -> None:
    bundle = tiny_bundle()
    card = bundle.card.model_copy(update={"view": View(channel=2, z="mean")})
    kept = starting_from(replace(bundle, card=card), TrainingConfig())
    assert kept.view == View(channel=2, z="mean")
    assert starting_from(bundle, TrainingConfig()).view == TrainingConfig().view


@pytest.mark.parametrize(
    ("side", "view", "told"),
    [
        (20, View(), ""),
        (90, View(), "cells are about 88 pixels across, 5.1 times those that tiny knows: give --scale 0.2"),
        (
            *(4, View(scale=0.5)),
            "cells are about 9 pixels across, 4 at scale 0.5, 0.25 times those that tiny knows: give --scale 2",
        ),
    ],
)
def test_cells_of_another_size_than_the_model_knows_are_told(side: int, view: View, told: str) -> None:
    mask = np.asarray(cv2.circle(np.zeros((120, 120), np.uint16), (60, 60), side // 2, 1, cv2.FILLED), np.uint16)
    example = Example("a", "", np.zeros(mask.shape, np.float32), mask, None, 1)
    material = Material([example], [], [], ("mask",), ("mask",))
    start = tiny_bundle().card.model_copy(update={"training": {"diameter": (10, 30)}})
    assert material.of_another_size(start, view) == told
    assert material.of_another_size(tiny_bundle().card, view) == ""


def test_training_is_at_the_scale_that_shows_known_cells(tmp_path: Path) -> None:
    start, console = knowing_bundle(tmp_path / "known"), Console(record=True, quiet=True)
    records = []
    for k in range(4):
        tifffile.imwrite(tmp_path / f"{k}.tif", zoomed(squares(8 + 3 * k), 3))
        records.append(Record(f"{k}", tmp_path / f"{k}.tif", None, None, 8 + 3 * k, f"{k}", ""))
    found = at_usual_scale(TrainingConfig(), start, records, console).view
    assert found.factor == pytest.approx(1 / 3, rel=0.45)
    given = TrainingConfig(view=View(scale=2))
    assert at_usual_scale(given, start, records, console) is given
    for k in range(4):
        noise = np.random.default_rng(k).normal(500, 200, (96, 120)).astype(np.float32)
        tifffile.imwrite(tmp_path / f"{k}.tif", noise)
    assert at_usual_scale(TrainingConfig(), start, records, console).view == View(), "none looks like known ones"


def test_the_scale_that_was_found_is_kept(four_epochs: Path, data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    half = View(scale=0.5)
    monkeypatch.setattr(
        "elmgan.training.trainer.at_usual_scale",
        lambda config, *_: config.model_copy(update={"view": half}),
    )
    start = read_bundle(four_epochs / "model")
    config = starting_from(start, tiny("small", "optimisation.epochs=1", "optimisation.learning_rate=1e-9"))
    train(data, tmp_path / "run", config, start=start)
    assert read_config(tmp_path / "run" / "config.yaml").view == half
    tuned = elmgan.load(tmp_path / "run" / "model")
    assert tuned.view == half
    assert tuned.count(read_image(next((data / "images").iterdir()))).scale == 0.5


def test_the_pixel_size_is_learned_where_images_tell_it(tmp_path: Path) -> None:
    records = []
    for k in range(3):
        write_sized(tmp_path / f"{k}.tif", squares(8 + k), 0.5)
        records.append(Record(f"{k}", tmp_path / f"{k}.tif", None, None, 8 + k, f"{k}", "", view=View(scale=0.5)))
    model = Model(tiny_bundle())
    assert known(known_of(model, records)).pixel_size == 1
    tifffile.imwrite(tmp_path / "0.tif", squares(8))
    write_sized(tmp_path / "1.tif", squares(9), 5)
    assert known(known_of(model, records)).pixel_size is None


def test_training_starts_from_a_model(four_epochs: Path, data: Path, tmp_path: Path) -> None:
    start = read_bundle(four_epochs / "model")
    config = starting_from(start, tiny("small", "optimisation.epochs=1", "optimisation.learning_rate=1e-9"))
    assert config.architecture == start.card.architecture
    assert config.start == start.version
    train(data, tmp_path / "run", config, start=start)
    # So small a learning rate moves nothing: what is bundled counts as the model that training started from.
    tuned = read_bundle(tmp_path / "run/model")
    assert [source.name for source in tuned.card.data] == ["data"]  # the same images again, so named once
    image = read_image(next((data / "images").iterdir()))
    before, after = (elmgan.load(folder / "model").count(image) for folder in (four_epochs, tmp_path / "run"))
    np.testing.assert_allclose(known(after.probability), known(before.probability), atol=0.02)


def test_a_resumed_fine_tuning_is_the_uninterrupted_one(four_epochs: Path, data: Path, tmp_path: Path) -> None:
    """Down to its card, which names the data of both; of masks alone, whose model still counts as it did before."""
    start = read_bundle(four_epochs / "model")
    folder = without(data, tmp_path / "other")
    table = (folder / "counts.csv").read_text().splitlines()
    sides = ["train"] * 5 + ["validation"]
    lines = [
        f"{line.split(',')[0]},{line.split(',')[1] if side == 'validation' else ''},{side}"
        for line, side in zip(table[1:], sides, strict=True)
    ]
    (folder / "counts.csv").write_text("\n".join(["image,count,split", *lines]))
    config = starting_from(start, tiny("small", "optimisation.epochs=2"))

    def stop(row: dict[str, float]) -> None:
        raise KeyboardInterrupt

    train(folder, tmp_path / "parts", config, start=start, on_epoch=stop)
    train(folder, tmp_path / "parts", config, resume=True)
    train(folder, tmp_path / "whole", config, start=start)
    whole, parts = (read_bundle(tmp_path / run / "model").card for run in ("whole", "parts"))
    assert whole.learned == ("mask", "count")
    assert [source.name for source in whole.data] == ["other", "data"]
    same = {"created": "", "hashes": {}}
    assert parts.model_copy(update=same) == whole.model_copy(update=same)
    assert torch.load(tmp_path / "whole/best.pt")["best_score"] == torch.load(tmp_path / "parts/best.pt")["best_score"]


def test_a_run_goes_on_with_its_own_images_alone(data: Path, tmp_path: Path) -> None:
    folder = without(data, tmp_path / "data")
    train(folder, tmp_path / "run", tiny("base", "optimisation.epochs=1"))
    (folder / "images/synthetic_002.tif").rename(folder / "images/other.tif")
    (folder / "masks/synthetic_002.tif").rename(folder / "masks/other.tif")
    table = folder / "counts.csv"
    table.write_text(table.read_text().replace("synthetic_002", "other"))
    before = (tmp_path / "run/split.csv").read_bytes()
    with pytest.raises(UsageError, match="not the one that the run began with"):
        train(folder, tmp_path / "run", tiny("base", "optimisation.epochs=1"), resume=True)
    assert (tmp_path / "run/split.csv").read_bytes() == before


def test_counts_that_are_not_finite_are_no_good_score(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = np.zeros((96, 128), np.float32)
    monkeypatch.setattr(Predictor, "__call__", lambda self, image: (nothing, nothing * np.nan))
    with pytest.raises(TrainingError, match=r"epoch 1: the counts of validation images are not finite"):
        train(data, tmp_path / "run", tiny())
    assert not (tmp_path / "run/best.pt").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_in_a_line(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="GPU 1 is asked for, and PyTorch finds 0"):
        train(data, tmp_path / "run", tiny(), device="cuda")


def test_a_configuration_that_does_not_fit_the_model_is_told_by_its_key(four_epochs: Path) -> None:
    start = read_bundle(four_epochs / "model")
    card = start.card.model_copy(update={"architecture": start.card.architecture.model_copy(update={"depth": 7})})
    with pytest.raises(ConfigError, match=r"does not fit model@.*data\.tile must be a multiple of 128, is 192"):
        starting_from(replace(start, card=card), tiny("nuclei", "data.tile=192"))


def test_weights_of_another_network_are_refused(four_epochs: Path, data: Path, tmp_path: Path) -> None:
    start = read_bundle(four_epochs / "model")
    with pytest.raises(ModelError, match=r"has no mask_head"):
        train(data, tmp_path / "run", tiny("base", "architecture.mask_head=paper"), start=start)
