"""Processes that render windows: the windows of a thread, what goes wrong in them, and that they leave nothing."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch

from elmgan.data import Example
from elmgan.errors import TrainingError
from elmgan.training.config import TrainingConfig, read_config
from elmgan.training.feed import Draw, Feed
from elmgan.training.mapped import ImageShelf
from elmgan.training.renderers import Renderers, workers_for
from elmgan.training.windows import Windows

pytestmark = pytest.mark.slow

CONFIG = read_config("nuclei", ["architecture={width: 4, depth: 4}", "optimisation.steps=9", "data.synthetic=0"])


def examples() -> list[Example]:
    """Three in tiles, and two of which no more than the total is known, seen whole."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(5):
        image = rng.standard_normal((90 + 40 * k, 150), np.float32)
        regions = rng.integers(0, 9, image.shape).astype(np.uint16) if k < 3 else None
        shares = np.linspace(0, 0.01, 9, dtype=np.float32) if k < 3 else None
        found.append(Example(str(k), "", image, regions, shares, float(k)))
    return found


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("elmgan.training.mapped.FOLDER_OF_MEMORY", tmp_path)
    return tmp_path


@pytest.fixture
def renderers(scratch: Path) -> Iterator[Renderers]:
    shelf = ImageShelf(0)
    shelf.keep(examples())
    shelf.examples()
    with Renderers(2, CONFIG, shelf) as started:
        shelf.close()
        yield started
    assert not active_children()
    assert not list(scratch.iterdir())


def arrays(steps: list[list[Windows]]) -> list[list[tuple[bytes, ...]]]:
    names = ("image", "mask", "seen", "core", "total", "squares", "masked")
    return [[tuple(getattr(group, name).tobytes() for name in names) for group in step] for step in steps]


def test_windows_are_those_of_a_thread_and_errors_are_told(renderers: Renderers, scratch: Path) -> None:
    thread, processes = (Feed(CONFIG, examples(), [], render=render) for render in (None, renderers))
    for seed in range(2):
        expected, found = (list(feed.epoch(np.random.default_rng(seed))) for feed in (thread, processes))
        assert arrays(found) == arrays(expected)
        assert [[group.known for group in step] for step in found] == [
            [group.known for group in step] for step in expected
        ]
    assert len(list(scratch.iterdir())) == 1
    assert not list(scratch.glob("*/*"))  # each file is gone as soon as it is mapped
    steps = [[[Draw(0, None, 1)]], [[Draw(99, None, 1)]], [[Draw(0, None, 2)]]]
    rendered = renderers(steps)
    assert len(next(rendered)) == 1
    with pytest.raises(TrainingError, match="windows cannot be rendered: IndexError: list index out of range") as told:
        next(rendered)
    assert "in window" in told.value.__notes__[0]


def test_a_process_that_is_killed_ends_the_run(renderers: Renderers) -> None:
    rendered = renderers([[[Draw(0, None, seed)]] for seed in range(50)])
    next(rendered)
    victim = active_children()[0].pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(
        TrainingError, match="a process that renders windows was killed by signal 9: take fewer"
    ) as told:
        list(rendered)
    assert "\n" not in str(told.value)


RUN = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_renderers import CONFIG, Draw, Renderers, ImageShelf, examples
if __name__ == "__main__":
    from elmgan.training import mapped
    mapped.FOLDER_OF_MEMORY = Path({scratch!r})
    shelf = ImageShelf(0)
    shelf.keep(examples())
    shelf.examples()
    renderers = Renderers(2, CONFIG, shelf)
    print(*(worker.pid for worker in renderers._workers), flush=True)
    for step in renderers([[[Draw(0, None, seed)]] for seed in range(10**6)]):
        pass
"""


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked for in /proc")
@pytest.mark.parametrize("all_of_them", [False, True])
def test_processes_whose_run_is_killed_end_and_remove_its_files(tmp_path: Path, all_of_them: bool) -> None:
    """The run alone, or by a signal to all of them, as a scheduler sends."""
    scratch, script = tmp_path / "scratch", tmp_path / "run.py"
    scratch.mkdir()
    script.write_text(RUN.format(tests=str(Path(__file__).parent), scratch=str(scratch)), encoding="utf-8")
    environment = os.environ | {"TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True) as run:
        assert run.stdout is not None
        workers = [int(each) for each in run.stdout.readline().split()]
        assert len(workers) == 2
        assert len(list(scratch.iterdir())) == 2
        if all_of_them:
            os.killpg(run.pid, signal.SIGTERM)
        else:
            run.kill()
    limit = time.monotonic() + 30
    while time.monotonic() < limit and not (all(map(gone, workers)) and not list(scratch.iterdir())):
        time.sleep(0.05)
    assert all(map(gone, workers))
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    ("device", "cores", "asked", "expected"),
    [
        *(("cpu", 16, None, 0), ("cuda", 16, None, 8), ("cuda", 6, None, 3), ("cuda", 64, None, 8)),
        *(("cuda", 2, None, 0), ("cpu", 2, 3, 3), ("cuda", 16, 0, 0)),
    ],
)
def test_as_many_processes_as_suit_the_machine(
    monkeypatch: pytest.MonkeyPatch, device: str, cores: int, asked: int | None, expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)), raising=False)
    config = TrainingConfig.model_validate({"machine": {"workers": asked}})
    assert workers_for(config, torch.device(device)) == expected
