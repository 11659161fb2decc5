import csv
import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from elmgan.apps.cli import app
from elmgan.data.synthetic import write_data_set

TINY = ("architecture.width=4", "discriminator.width=4", "optimisation.epochs=1", "optimisation.steps=1")


def elmgan(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    write_data_set(folder, 3, seed=5, size=(96, 96))
    return folder


def test_train_then_count(tmp_path: Path, data: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    settings = [part for setting in TINY for part in ("--set", setting)]
    done = elmgan("train", data, "-o", run, *settings, "--json")
    assert done.exit_code == 0, done.stderr
    epoch, end = (json.loads(line) for line in done.stdout.splitlines())
    assert epoch["epoch"] == 1
    assert Path(end["model"]) == run / "model"
    counted = elmgan("count", data / "images", "-o", out, "--model", run / "model")
    assert counted.exit_code == 0, counted.stderr
    with (out / "counts.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert {row["model"].partition("@")[0] for row in rows} == {"run"}  # named after the run's folder


def test_faults_of_the_configuration_are_told_together(tmp_path: Path, data: Path) -> None:
    faults = ("optimisation.epochs=none", "loss.mask=-1", "losses.mask=1", "seed")
    settings = [part for setting in faults for part in ("--set", setting)]
    done = elmgan("train", data, "-o", tmp_path / "run", *settings)
    assert done.exit_code == 2
    for named in ("optimisation.epochs", "loss.mask", "losses", "--set seed"):
        assert named in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_folder_without_images_is_no_data_set(tmp_path: Path) -> None:
    done = elmgan("train", tmp_path, "-o", tmp_path / "run")
    assert done.exit_code == 2
    assert "is not a data set" in done.stderr
    assert not (tmp_path / "run").exists()


def test_resume_takes_the_runs_own_configuration(tmp_path: Path, data: Path) -> None:
    done = elmgan("train", data, "-o", tmp_path / "run", "--resume", "--set", "seed=3")
    assert done.exit_code == 2
    assert "leave --config, --from, and --set of all but machine.KEY out" in done.stderr
    done = elmgan("train", data, "-o", tmp_path / "run", "--resume", "--set", "machine.workers=0")
    assert "leave --config" not in done.stderr


def test_a_run_that_is_not_there_cannot_be_resumed(tmp_path: Path, data: Path) -> None:
    done = elmgan("train", data, "-o", tmp_path / "run", "--resume")
    assert done.exit_code == 2
    assert "holds no run to resume; leave --resume out to begin one" in done.stderr


def test_without_torch_the_extra_is_named(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("elmgan.training", "elmgan.nn"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("elmgan.training", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    done = elmgan("train", data, "-o", tmp_path / "run")
    assert done.exit_code == 2
    assert "pip install torch" in done.stderr
