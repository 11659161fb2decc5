"""An experiment is carried out on a miniature of BBBC005, by the real command; only the process is the test's own."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import run
import table
from elmgan.apps.cli import app
from elmgan.training.config import read_config
from public_data import write_bbbc005

EXPERIMENT = """
data: bbbc005
seeds: [3]
options: --config small --set optimisation.epochs=1 --set optimisation.steps=1 --set discriminator=null
train:
  narrow: --set architecture.width=4 --set architecture.depth=3
unchanged: [nuclei]
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    folder = tmp_path / "experiments" / "narrow-ones"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    return folder


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of elmgan, in this process."""
    asked: list[str] = []

    def elmgan(*arguments: str) -> None:
        asked.append(" ".join(arguments))
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.stderr

    monkeypatch.setattr(run, "elmgan", elmgan)
    return asked


def test_every_run_is_kept_and_none_is_done_twice(experiment: Path, tmp_path: Path, commands: list[str]) -> None:
    public, out = tmp_path / "public", tmp_path / "out"
    write_bbbc005(public / "bbbc005")
    run.main(experiment, public, out)
    assert [command.split()[0] for command in commands] == ["train", "evaluate", "evaluate"]
    kept = {path.relative_to(experiment).as_posix() for path in experiment.glob("*/*")}
    assert kept == {f"narrow-3/{name}" for name in ("config.yaml", "curves.csv", "metrics.json")} | {
        "nuclei/metrics.json"
    }
    assert read_config(experiment / "narrow-3" / "config.yaml").seed == 3
    for results in table.read_results(experiment).values():
        for metrics in results:
            assert {kind: summary.images for kind, summary in metrics.kinds.items()} == {"all": 6, "w1": 3, "w2": 3}
    commands.clear()
    before = table.draw(experiment)
    (experiment / "nuclei/metrics.json").unlink()
    run.main(experiment, public, out)
    assert not commands
    assert table.draw(experiment) == before


def test_an_interrupted_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(run, "elmgan", lambda *arguments: asked.append(arguments))
    begun, finished_one_epoch, done = (tmp_path / name for name in ("begun", "epoch", "done"))
    for folder, file in ((begun, "config.yaml"), (finished_one_epoch, "last.pt"), (done, "model")):
        folder.mkdir()
        (folder / file).touch()
        run.train(tmp_path / "data", folder, "--config", "small")
    always = "train", str(tmp_path / "data"), "-o"
    assert asked == [(*always, str(begun), "--config", "small"), (*always, str(finished_one_epoch), "--resume")]
    assert not begun.exists()


def test_a_command_that_fails_ends_the_experiment(capfd: pytest.CaptureFixture[str]) -> None:
    run.elmgan("--version")
    assert capfd.readouterr().out.startswith("elmgan ")
    with pytest.raises(SystemExit, match=r"elmgan info nowhere failed"):
        run.elmgan("info", "nowhere")
