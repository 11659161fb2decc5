"""Two runs on one folder: the second is refused, and one that died holds nothing."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from elmgan import holding
from elmgan.errors import UsageError
from elmgan.holding import LOCK, held

HOLDING = """
import sys
from pathlib import Path
from elmgan.holding import held
with held(Path(sys.argv[1])):
    print("holds", flush=True)
    sys.stdin.read()
"""


def other_run(folder: Path) -> "subprocess.Popen[str]":
    """A process that holds a folder until its input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


def test_a_second_run_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    with other_run(tmp_path) as process:
        who = rf"is being written to by process {process.pid} on .*\(since 20"
        with pytest.raises(UsageError, match=who), held(tmp_path):
            pass
        assert (tmp_path / LOCK).exists()
        process.communicate()
    with held(tmp_path) as told:
        assert not told
    assert not list(tmp_path.iterdir())


def test_a_second_run_of_the_same_process_is_refused(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(UsageError, match="is being written to by process"), held(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_is_taken_over_from_a_run_that_died(tmp_path: Path) -> None:
    with other_run(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert json.loads((tmp_path / LOCK).read_text())["process"] == process.pid
        with held(tmp_path) as told:
            assert f"was taken over from process {process.pid} on" in told
            assert "ended without finishing" in told
    with held(tmp_path) as told:
        assert not told


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"process": "a"}'])
def test_what_the_file_says_is_for_people_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK).write_text(content)
    with held(tmp_path) as told:
        assert not told


def test_a_folder_into_which_nothing_was_put_is_gone_again(tmp_path: Path) -> None:
    with held(tmp_path / "new" / "out"):
        assert (tmp_path / "new" / "out").is_dir()
    assert not (tmp_path / "new").exists()
    with held(tmp_path / "new" / "out"):
        (tmp_path / "new" / "out" / "counts.csv").touch()
    assert [path.name for path in (tmp_path / "new" / "out").iterdir()] == ["counts.csv"]


def test_what_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"nothing was done: .* cannot be written"), held(tmp_path / "file" / "out"):
        pass


def test_a_lock_file_that_is_removed_while_it_is_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run ends between the two steps of this one."""
    lock = holding._lock
    files: list[int] = []

    def removed_at_first(file: BinaryIO) -> None:
        if not files:
            (tmp_path / LOCK).unlink()
        files.append(file.fileno())
        lock(file)

    monkeypatch.setattr(holding, "_lock", removed_at_first)
    with held(tmp_path):
        assert len(files) == 2
        monkeypatch.undo()
        with pytest.raises(UsageError, match="is being written to by process"), held(tmp_path):
            pass


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing was done"), held(tmp_path / ("a" * 5000)):
        pass
