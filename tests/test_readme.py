"""The README's commands do what it says, on small data."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from elmgan.apps.cli import app
from elmgan.data.synthetic import write_data_set

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
FASTER = [
    *("--set", "optimisation.epochs=1", "--set", "optimisation.steps=1"),
    *("--set", "architecture.width=4", "--set", "discriminator.width=4"),
]


def test_its_commands_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_data_set(Path("my-data"), 3, seed=1, size=(96, 96))
    write_data_set(Path("my-counts"), 20, seed=2, size=(64, 64))
    (tmp_path / "images").symlink_to("my-data/images")
    commands = re.findall(r"^\$ elmgan (.+)$", README, re.MULTILINE)
    commands += re.findall(r"`elmgan (synth .+?|info .+?)`", README)
    for command in commands:
        arguments = shlex.split(command) + (FASTER if command.startswith("train") else [])
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, f"{command}: {done.stderr}"
    assert {command.split()[0] for command in commands} == {"count", "train", "calibrate", "evaluate", "synth", "info"}
    for named in re.findall(r"`((?:counted|my-run|checked)/[\w./-]+)`", README):
        assert (tmp_path / named).exists() or named == "counted/failed.csv", named


def test_no_text_names_an_entry_of_a_package_index() -> None:
    """There is no elmgan there, and somebody else could take the name."""
    root = Path(__file__).parents[1]
    texts = [*root.glob("*.md"), *root.glob("docs/*.md"), *root.rglob("src/elmgan/**/*.py"), root / "Makefile"]
    assert len(texts) > 50
    named = re.compile(r"elmgan\[|pip install [^`\n]*\belmgan\b")
    found = [path.name for path in texts if named.search(path.read_text(encoding="utf-8"))]
    assert not [name for name in found if name != "read.py"]


def test_its_python_runs() -> None:
    blocks = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        names: dict[str, object] = {"image": np.zeros((64, 64), np.uint8)}
        exec(block, names)
        assert "result" in names
