"""Data sets of stacks that do not say what their axes are."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

from bundles import squares, write_tiny
from elmgan.apps.cli import app
from elmgan.files import write_table

IMAGES = 12


def elmgan(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    """Stacks of three planes, of which each shows some of the squares, in files without a word on it."""
    folder, rows = tmp_path / "stacks", []
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for k in range(1, IMAGES + 1):
        image = squares(k + 3)
        left, right = image.copy(), image.copy()
        left[:, 60:], right[:, :60] = 200, 200
        planes = np.stack([left, np.full_like(image, 200), right])
        tifffile.imwrite(folder / "images" / f"{k}.tif", planes, photometric="minisblack", metadata=None)
        tifffile.imwrite(folder / "masks" / f"{k}.tif", (image > 1000).astype(np.uint8))
        rows.append({"image": f"{k}.tif", "count": str(k + 3), "group": f"cells {k}"})
    write_table(folder / "counts.csv", ("image", "count", "group"), rows)
    return folder


def commands(stacks: Path, tmp_path: Path) -> dict[str, list[object]]:
    model = write_tiny(tmp_path)
    tiny = ("architecture.width=4", "discriminator=null", "optimisation.epochs=1", "optimisation.steps=1")
    return {
        "info": [stacks],
        "evaluate": [stacks, "-o", tmp_path / "scores", "--model", model],
        "calibrate": [model, stacks, "-o", tmp_path / "model2"],
        "train": [stacks, "-o", tmp_path / "run", *(part for key in tiny for part in ("--set", key))],
    }


@pytest.mark.parametrize("command", ["info", "evaluate", "calibrate", "train"])
def test_every_command_takes_the_axes(command: str, stacks: Path, tmp_path: Path) -> None:
    arguments = commands(stacks, tmp_path)[command]
    without = elmgan(command, *arguments)
    assert without.exit_code == 2
    assert "name it with --t, or give --axes ZYX if they are one stack" in without.stderr
    done = elmgan(command, *arguments, "--axes", "zyx")
    assert done.exit_code == 0, done.stderr
    wrong = elmgan(command, *arguments, "--axes", "XYZ")
    assert wrong.exit_code == 2


def test_a_stack_is_scored_as_its_maximum(stacks: Path, tmp_path: Path) -> None:
    done = elmgan("evaluate", *commands(stacks, tmp_path)["evaluate"], "--axes", "ZYX", "--json")
    assert done.exit_code == 0, done.stderr
    assert '"mae": {"value": 0.' in done.stdout
    with (tmp_path / "scores" / "images.csv").open() as table:
        assert len(table.readlines()) == IMAGES + 1
