"""Whether this process is one of several: only torchrun's whole set of variables says so."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from elmgan.apps.cli import app
from elmgan.data.synthetic import write_data_set
from elmgan.launch import TORCHRUN, Launch, launch

OF_TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "MASTER_ADDR": "node7",
    "MASTER_PORT": "29500",
    "WORLD_SIZE": "4",
    "RANK": "3",
    "LOCAL_RANK": "1",
}


def test_torchrun_is_recognised() -> None:
    assert OF_TORCHRUN.keys() == set(TORCHRUN)
    assert launch(OF_TORCHRUN | {"HOME": "/home/me"}) == Launch(rank=3, local_rank=1, processes=4)
    assert not launch(OF_TORCHRUN).first
    assert launch(OF_TORCHRUN | {"RANK": "0"}).first


@given(st.sets(st.sampled_from(TORCHRUN), max_size=len(TORCHRUN) - 1))
def test_some_of_its_variables_are_not_torchrun(names: set[str]) -> None:
    alone = launch({name: OF_TORCHRUN[name] for name in names})
    assert alone == Launch()
    assert alone.first


SCHEDULERS = {"RANK": "1", "LOCAL_RANK": "5", "WORLD_SIZE": "2"}


@pytest.fixture
def of_a_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that some clusters give every job."""
    for name, value in SCHEDULERS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("of_a_scheduler")
def test_errors_are_told_whatever_a_scheduler_sets(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["count", str(tmp_path / "absent.tif"), "-o", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "absent.tif" in done.stderr


@pytest.mark.usefixtures("of_a_scheduler")
def test_training_ends_with_a_model_whatever_a_scheduler_sets(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    write_data_set(data, 3, seed=5, size=(96, 96))
    settings = ("architecture.width=4", "discriminator=null", "optimisation.epochs=1", "optimisation.steps=1")
    command = ["train", str(data), "-o", str(run), *(part for setting in settings for part in ("--set", setting))]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.stderr
    assert (run / "model" / "model.json").exists()
    assert "wrote" in done.stdout
