import csv
import importlib.util
import json
import re
import shutil
from argparse import Namespace
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import ArrayLike
from typer.testing import CliRunner

from bundles import AREA, knowing_bundle, known, squares, tiny_bundle, write_tiny
from elmgan.apps.cli import app
from elmgan.counting import Failure, Model, Result
from elmgan.data import read_data_set
from elmgan.errors import DataError, ModelError, UsageError
from elmgan.files import write_table
from elmgan.images import Plane, View, write_png
from elmgan.scores import SCORES, Metrics, Score, Summary, Value
from elmgan.work import evaluate_model, score_image
from elmgan.work.evaluate import SCORE_COLUMNS
from pages import Links

MODEL = Model(tiny_bundle())
COUNTED = {"mae", "rmse", "bias", "relative_error", "r2", "pearson"}
MASKED = {"dice", "iou", "psnr", "ssim", "ap50", "ap50_95", "f1"}
KINDS = {1: "bright", 4: "bright/few", 9: "bright/many", 16: "bright/many"}


def data_set(folder: Path) -> Path:
    """A data set of images with as many squares as their names say; of two the count is off by one."""
    rows = []
    for number, kind in KINDS.items():
        image = squares(number)
        labels = cv2.connectedComponents((image > 1000).astype(np.uint8))[1].astype(np.uint16)
        for name, pixels in (("images", image), ("masks", (labels > 0).astype(np.uint8)), ("labels", labels)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(folder / name / f"{number}.tif", pixels)
        rows.append({"image": f"{number}.tif", "count": str(number + (number > 5)), "group": "", "kind": kind})
    (folder / "labels" / "4.tif").unlink()
    write_table(folder / "counts.csv", ("image", "count", "group", "kind"), rows)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return data_set(tmp_path / "data")


def table(out: Path) -> list[dict[str, str]]:
    with (out / "images.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_flags_stand_beside_the_error(tmp_path: Path) -> None:
    data = data_set(tmp_path / "data")
    image = next((data / "images").iterdir())
    pixels = tifffile.imread(image)
    tifffile.imwrite(image, np.where(pixels > pixels.mean(), 65535, pixels).astype(np.uint16))
    done = evaluate_model(data, tmp_path / "out", MODEL, seed=0)
    flags = {row["image"]: row["flags"] for row in table(tmp_path / "out")}
    assert flags.pop(image.name) == "saturated"
    assert set(flags.values()) == {""}
    assert '<span class="flag">saturated</span>' in done.written[2].read_text(encoding="utf-8")


def test_what_is_unlike_and_cells_of_another_size_are_told(tmp_path: Path, data: Path) -> None:
    bundle, told = knowing_bundle(tmp_path / "known"), list[str]()
    for name in ("9", "16"):
        for folder in ("images", "labels", "masks"):
            path = data / folder / f"{name}.tif"
            tifffile.imwrite(path, np.repeat(np.repeat(tifffile.imread(path), 4, 0), 4, 1))
    view = View(scale=1)
    done = evaluate_model(data, tmp_path / "out", Model(bundle), seed=0, view=view, tell=told.append)
    by_name = {row["image"]: row for row in table(tmp_path / "out")}
    assert "cells" in by_name["9.tif"]["unlike"]
    assert float(by_name["9.tif"]["diameter"]) == pytest.approx(4 * float(by_name["4.tif"]["diameter"]), rel=0.1)
    assert by_name["4.tif"]["unlike"] == by_name["4.tif"]["flags"] == ""
    flags, size = done.metrics.run["notes"]
    assert re.search(r"3 of 4 images are flagged, .*unlike-training \(3; .*\); MAE [\d.]+, of the others 0\.\d", flags)
    across = "of 2 of 4 images, cells are about 40 pixels across, 3.9 times those that"
    assert size == f"{across} {bundle.version} knows: give --scale 0.25"
    assert told == [f"{data}: {note}" for note in (flags, size)]
    found = evaluate_model(data, tmp_path / "auto", Model(bundle), seed=0).metrics
    assert found.run["scales"] == [0.25]
    assert not [note for note in found.run["notes"] if note.startswith("of 2 of 4")], "their scale was found"
    assert {row["image"]: float(row["scale"]) for row in table(tmp_path / "auto")}["16.tif"] < 0.5


def test_a_data_set_is_evaluated(tmp_path: Path, data: Path) -> None:
    watched: list[tuple[int, Score | Failure]] = []
    done = evaluate_model(data, tmp_path / "deep" / "out", MODEL, seed=5, watch=lambda *seen: watched.append(seen))
    out = tmp_path / "deep" / "out"
    assert done.written == [out / "metrics.json", out / "images.csv", out / "report.html"]
    assert set(done.written) == set(out.iterdir())
    assert [total for total, _ in watched] == [4] * 4

    metrics = Metrics.model_validate_json((out / "metrics.json").read_bytes())
    assert metrics == done.metrics
    assert (metrics.seed, metrics.failed, metrics.run["model"]["version"]) == (5, [], MODEL.version)
    assert metrics.run["model"]["hashes"] == MODEL.card.hashes
    sizes = {kind: (each.images, each.counted, each.masks, each.labelled) for kind, each in metrics.kinds.items()}
    assert sizes == {
        "all": (4, 4, 4, 3),
        "bright": (4, 4, 4, 3),
        "bright/few": (1, 1, 1, 0),
        "bright/many": (2, 2, 2, 2),
    }
    assert metrics.kinds["bright"] == metrics.kinds["all"]
    scores = [outcome for _, outcome in watched if isinstance(outcome, Score)]
    everything = metrics.kinds["all"]
    assert everything.mean_count == 8
    assert everything.model["mae"].value == pytest.approx(
        np.mean([abs(known(s.estimate) - known(s.truth)) for s in scores])
    )
    assert everything.model["ap50"].value == everything.baseline["f1"].value == 1
    assert everything.baseline["mae"].value == 0.5
    for name, value in everything.model.items():
        assert value.low is not None, name
        assert value.high is not None, name
        assert value.low <= value.value <= value.high, name
    alone = metrics.kinds["bright/few"].model
    assert "r2" not in alone
    assert "ap50" not in alone
    assert (alone["mae"].low, alone["mae"].high) == (None, None)


@pytest.mark.parametrize(("what", "scores"), [("mask", MASKED), ("count", COUNTED)])
def test_a_model_is_scored_for_what_it_learned(
    tmp_path: Path, data: Path, what: Literal["mask", "count"], scores: set[str]
) -> None:
    done = evaluate_model(data, tmp_path / "out", Model(tiny_bundle(learned=(what,))), seed=0)
    whole = evaluate_model(data, tmp_path / "whole", MODEL, seed=0).metrics.kinds
    for kind, summary in done.metrics.kinds.items():
        assert summary.model == {name: value for name, value in whole[kind].model.items() if name in scores}
        assert summary.model_copy(update={"model": whole[kind].model}) == whole[kind]  # what is of the data, and Otsu's
    row = table(tmp_path / "out")[0]
    assert (row["estimate"] == "", row["dice"] == "", row["baseline_estimate"] == "") == (
        what == "mask",
        what == "count",
        False,
    )
    assert row["true"]
    read = Links((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert read.text.count(f"This model learned {what}s alone") == 1
    assert ("svg" in read.tags) == (what == "count")
    assert "Otsu + watershed" in read.text
    assert not re.search(r"\b(nan|None)\b", read.text)


@pytest.fixture
def dots(tmp_path: Path) -> Path:
    """The squares as VGG's cells are published: totals alone."""
    folder = tmp_path / "dots"
    folder.mkdir()
    for number in KINDS:
        image = (squares(number) // 20).astype(np.uint8)
        centres = cv2.connectedComponentsWithStats((image > 50).astype(np.uint8))[3][1:].astype(int)
        spots = np.zeros((*image.shape, 3), np.uint8)
        spots[centres[:, 1], centres[:, 0], 0] = 255
        write_png(folder / f"{number:03}cell.png", image)
        write_png(folder / f"{number:03}dots.png", spots)
    return folder


@pytest.fixture
def masks(tmp_path: Path, data: Path) -> Path:
    """The squares with masks alone."""
    for folder in ("images", "masks"):
        shutil.copytree(data / folder, tmp_path / "masks" / folder)
    return tmp_path / "masks"


def test_totals_alone_and_masks_alone(tmp_path: Path, dots: Path, masks: Path) -> None:
    for folder, scores in ((dots, COUNTED), (masks, MASKED - {"ap50", "ap50_95", "f1"})):
        done = evaluate_model(folder, tmp_path / "out", MODEL, seed=0).metrics.kinds["all"]
        assert done.model.keys() == done.baseline.keys() == scores
        read = Links((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
        assert ("svg" in read.tags) == (folder is dots)
        assert not re.search(r"\b(nan|None)\b", read.text)


def test_a_model_and_data_with_nothing_in_common(tmp_path: Path, dots: Path, masks: Path) -> None:
    for folder, what, lacks in ((dots, "mask", "masks"), (masks, "count", "counts")):
        told = rf"{folder} has no {lacks}, and tiny@\w+ learned {lacks} alone: add {lacks}, or evaluate another model"
        with pytest.raises(DataError, match=told):
            evaluate_model(folder, tmp_path / "out", Model(tiny_bundle(learned=(what,))), seed=0)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_the_table_has_every_image(tmp_path: Path, data: Path) -> None:
    done = evaluate_model(data, tmp_path / "out", MODEL, seed=0)
    rows = table(tmp_path / "out")
    assert set(rows[0]) == set(SCORE_COLUMNS)
    assert sorted(row["image"] for row in rows) == ["1.tif", "16.tif", "4.tif", "9.tif"]
    by_name = {row["image"]: row for row in rows}
    assert (by_name["4.tif"]["true"], by_name["4.tif"]["kind"], by_name["4.tif"]["ap50"]) == ("4", "bright/few", "")
    assert by_name["9.tif"]["baseline_estimate"] == "9"
    assert all(row["low"] == row["high"] == "" for row in rows)
    for name, value in done.metrics.kinds["all"].model.items():
        if name in SCORE_COLUMNS:
            assert np.mean([float(row[name]) for row in rows if row[name]]) == pytest.approx(value.value, rel=1e-4)


def test_the_same_seed_gives_the_same_file(tmp_path: Path, data: Path) -> None:
    first, again, other = (
        evaluate_model(data, tmp_path / name, MODEL, seed=seed) for name, seed in zip("abc", (1, 1, 2), strict=True)
    )
    assert first.metrics.kinds == again.metrics.kinds
    assert first.metrics.kinds["all"].model["mae"].value == other.metrics.kinds["all"].model["mae"].value
    assert (tmp_path / "a" / "images.csv").read_bytes() == (tmp_path / "c" / "images.csv").read_bytes()


class Fragile(Model):
    """A model that cannot count images of as many squares as named; without any, none at all."""

    def __init__(self, *numbers: int) -> None:
        super().__init__(tiny_bundle())
        self.numbers = numbers

    def count(self, image: ArrayLike | Plane, **how: Any) -> Result:
        pixels = image.read() if isinstance(image, Plane) else image
        found = np.count_nonzero(np.asarray(pixels) > 1000)
        if not self.numbers or found in [AREA * number for number in self.numbers]:
            raise ModelError("model.onnx cannot run on this")
        return super().count(image, **how)


def test_an_image_that_fails_is_named_and_the_others_are_scored(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    metrics = evaluate_model(data, out, Fragile(1, 4), seed=0).metrics
    assert [failure.image for failure in metrics.failed] == ["1.tif", "4.tif"]
    assert metrics.failed[0].error == "model.onnx cannot run on this"
    assert [row["image"] for row in table(out)] == ["16.tif", "9.tif"]
    assert "Not scored" in (out / "report.html").read_text(encoding="utf-8")


def test_nothing_can_be_scored(tmp_path: Path, data: Path) -> None:
    metrics = evaluate_model(data, tmp_path / "out", Fragile(), seed=0).metrics
    assert metrics.kinds == {}
    assert len(metrics.failed) == 4
    assert table(tmp_path / "out") == []


def test_only_some_images(tmp_path: Path, data: Path) -> None:
    only = tmp_path / "validation.txt"
    only.write_text("9.tif\n\n  4\n")
    metrics = evaluate_model(data, tmp_path / "out", MODEL, seed=0, only=only).metrics
    assert [row["image"] for row in table(tmp_path / "out")] == ["4.tif", "9.tif"]
    assert metrics.run["options"]["only"] == str(only)
    split = tmp_path / "split.csv"
    for sides, expected in [
        ({"1": "train", "4": "validation", "9": "validation", "16": "test"}, ["16.tif"]),
        ({"1": "train", "4": "validation", "9": "calibration", "16": "train"}, ["4.tif", "9.tif"]),
    ]:
        write_table(split, ("image", "side"), ({"image": image, "side": side} for image, side in sides.items()))
        evaluate_model(data, tmp_path / "out", MODEL, seed=0, only=split)
        assert [row["image"] for row in table(tmp_path / "out")] == expected
    out = tmp_path / "none"
    split.write_text("stem,fold\n1,2\n")
    with pytest.raises(UsageError, match=r"split\.csv names no image"):
        evaluate_model(data, out, MODEL, seed=0, only=split)
    for text, told in [("9\n8\n7\n", "names 2 that the data set does not have, such as '7'"), ("\n", "names no image")]:
        only.write_text(text)
        with pytest.raises(UsageError, match=told):
            evaluate_model(data, out, MODEL, seed=0, only=only)
    with pytest.raises(UsageError, match="cannot be read"):
        evaluate_model(data, out, MODEL, seed=0, only=tmp_path / "absent.txt")
    assert not out.exists()


def test_an_earlier_evaluation_is_replaced_and_nothing_else(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    evaluate_model(data, out, MODEL, seed=0)
    (out / "notes.txt").write_text("mine")
    before = json.loads((out / "metrics.json").read_bytes())
    assert evaluate_model(data, out, MODEL, seed=1).metrics.seed == 1 != before["seed"]
    assert (out / "notes.txt").read_text() == "mine"
    (out / "metrics.json").unlink()
    with pytest.raises(UsageError, match=r"out holds images\.csv of something else than an evaluation"):
        evaluate_model(data, out, MODEL, seed=1)
    (out / "metrics.json").write_text('{"accuracy": 1}')
    with pytest.raises(UsageError, match=r"out holds metrics\.json of something else than an evaluation"):
        evaluate_model(data, out, MODEL, seed=1)
    assert (out / "metrics.json").read_text() == '{"accuracy": 1}'


def test_an_interrupted_evaluation_leaves_nothing_that_misleads(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    evaluate_model(data, out, MODEL, seed=0)

    def interrupted(image: np.ndarray, **_: Any) -> Result:
        raise KeyboardInterrupt

    model = Model(tiny_bundle())
    monkeypatch.setattr(model, "count", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate_model(data, out, model, seed=0)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/out", "locked"])
def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").write_text("")

    def refuse(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    if place == "locked":
        monkeypatch.setattr("elmgan.work.evaluate.TemporaryFile", refuse)
    with pytest.raises(UsageError, match=r"nothing (was done: .* cannot be written|can be written to)"):
        evaluate_model(data, tmp_path / place, MODEL, seed=0)


@pytest.fixture
def independent(shared_data: Path) -> ModuleType:
    """The program that scores `elmgan count` without the project's own evaluation."""
    path = shared_data.parent / "tools" / "score.py"
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    specification = importlib.util.spec_from_file_location("independent_score", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_it_agrees_with_an_independent_program(
    independent: ModuleType,
    shared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, model = tmp_path / "data", write_tiny(tmp_path)
    images = [*list(independent.bbbc039(shared_data))[::64], *list(independent.dsb2018(shared_data))[10::200]]
    rows = []
    for image, truth in images:
        count, _, labels = truth()
        source = Path(image)
        for folder in ("images", "labels"):
            (data / folder).mkdir(parents=True, exist_ok=True)
        (data / "images" / source.name).symlink_to(source)
        tifffile.imwrite(data / "labels" / f"{source.stem}.tif", labels.astype(np.uint16))
        rows.append({"image": source.name, "count": str(count)})
    write_table(data / "counts.csv", ("image", "count"), rows)

    def run(command: list[str], **_: Any) -> CompletedProcess[str]:
        done = CliRunner().invoke(app, command[1:])
        return CompletedProcess(command, done.exit_code, done.stdout, done.stderr)

    monkeypatch.setattr(independent.subprocess, "run", run)
    independent.score("set", images, Namespace(model=str(model), mae=None, dice=None, ap=None, cover=None))
    told = re.findall(r"[+-]?\d+\.\d+", capsys.readouterr().out.partition("interval")[0])
    mean_count, *expected = (float(number) for number in told)
    found = evaluate_model(data, tmp_path / "out", Model(tiny_bundle()), seed=0).metrics.kinds["all"]
    assert found.mean_count == pytest.approx(mean_count, abs=0.05)
    for name, value, rounding in zip(
        ("mae", "rmse", "bias", "dice", "ap50"), expected, (0.011, 0.011, 0.011, 6e-5, 6e-4), strict=True
    ):
        assert found.model[name].value == pytest.approx(value, abs=rounding), name
    assert 0 < found.model["ap50"].value < 1


def test_a_record_is_scored_in_the_same_way_alone(data: Path, tmp_path: Path) -> None:
    watched: list[Score] = []
    evaluate_model(data, tmp_path / "out", MODEL, seed=0, watch=lambda _, score: watched.append(score))  # type: ignore[arg-type]
    assert [score_image(MODEL, record) for record in read_data_set(data)] == watched


def test_the_documentation_names_every_score_and_field() -> None:
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    fields = [name for model in (Metrics, Summary, Value) for name in model.model_fields]
    assert not [name for name in (*fields, *set(SCORES) - {"images"}) if f"`{name}`" not in text]
