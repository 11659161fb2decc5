"""The commands with models that learned masks or counts alone."""

import csv
import json
import re
from pathlib import Path

import pytest
import tifffile
from typer.testing import CliRunner, Result

from bundles import squares, write_tiny
from elmgan.apps.cli import app
from elmgan.data.synthetic import write_data_set
from elmgan.models import Learned, shortcoming

KINDS: list[Learned] = [("mask",), ("count",)]


def elmgan(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with 4.tif and 9.tif, which show as many squares."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (4, 9):
        tifffile.imwrite(folder / f"{number}.tif", squares(number))
    return folder


@pytest.mark.parametrize("learned", KINDS)
def test_count(tmp_path: Path, images: Path, learned: Learned) -> None:
    model, out = write_tiny(tmp_path, learned), tmp_path / "out"
    done = elmgan("count", images, "-o", out, "--model", model)
    assert (done.exit_code, done.stderr) == (0, f"{shortcoming(learned)}\n")
    assert "None" not in done.stdout
    footer = next(line.split() for line in done.stdout.splitlines() if "2 images" in line)
    assert footer == ["2", "images", "13"]  # of the counts or of the objects
    with (out / "counts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    known, unknown = {"mask": ("objects", "count"), "count": ("count", "objects")}[learned[0]]
    assert [(row[known], row[unknown]) for row in rows] == [("4", ""), ("9", "")]
    assert (out / "masks").exists() == (learned == ("mask",))
    assert shortcoming(learned).capitalize() in (out / "report.html").read_text(encoding="utf-8")

    done = elmgan("count", images, "-o", out, "--model", model, "--resume", "--json")
    assert done.stderr == f"{shortcoming(learned)}\n"
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line[known], line[unknown]) for line in lines] == [(4, None), (9, None)]
    assert elmgan("count", images, "-o", out, "--model", model, "--quiet").output == ""


@pytest.mark.parametrize("option", ["--labels", "--overlays"])
def test_pictures_of_cells_take_masks(tmp_path: Path, images: Path, option: str) -> None:
    out = tmp_path / "out"
    done = elmgan("count", images, "-o", out, "--model", write_tiny(tmp_path, ("count",)), option)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: {shortcoming(['count'])}; leave {option} out\n"
    assert not out.exists()


@pytest.mark.parametrize("learned", KINDS)
def test_evaluate(tmp_path: Path, learned: Learned) -> None:
    data, model, out = tmp_path / "data", write_tiny(tmp_path, learned), tmp_path / "out"
    write_data_set(data, 3, seed=2, size=(96, 128))
    done = elmgan("evaluate", data, "--model", model, "-o", out)
    assert (done.exit_code, done.stderr) == (0, f"{shortcoming(learned)}\n")
    shown = dict(re.findall(r"^ +(MAE|Dice|F1) +(\S+)", done.stdout, re.MULTILINE))
    assert {name for name, value in shown.items() if value == "–"} == {"mask": {"MAE"}, "count": {"Dice", "F1"}}[
        learned[0]
    ]
    assert len(shown) == 3  # the baseline has them all
    assert "nan" not in done.stdout


@pytest.mark.parametrize("learned", KINDS)
def test_info(tmp_path: Path, learned: Learned) -> None:
    model = write_tiny(tmp_path, learned)
    assert shortcoming(learned) in elmgan("info", model).stdout
    assert json.loads(elmgan("info", model, "--json").stdout)["learned"] == list(learned)
    assert "masks and counts" in elmgan("info", "nuclei").stdout
