"""Compiled steps: for sizes that come often, with the same losses, and without where the compiler fails."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from elmgan.training import compiling
from elmgan.training.compiling import MOST_SIZES, OFTEN, Compiler
from elmgan.training.config import read_config
from elmgan.training.step import GanStep, collate
from elmgan.training.windows import UNKNOWN, Window

CPU = torch.device("cpu")


def steps(count: int, told: list[str], *settings: str) -> tuple[GanStep, list[dict[str, float]]]:
    """Take steps on windows of 64 x 64, and one, at the end, of another size."""
    tiny = ["architecture={width: 4, depth: 3}", "discriminator=null", "optimisation.precision=fp32"]
    torch.manual_seed(0)
    one = GanStep(read_config("small", [*tiny, *settings]), 20, CPU, tell=told.append)
    terms = []
    for k in range(count):
        rng = np.random.default_rng(k)
        shape = (64, 64) if k < count - 1 else (64, 96)
        mask = (rng.random(shape) < 0.3).astype(np.float32)
        seen = np.ones_like(mask)
        window = Window(mask + rng.standard_normal(shape, np.float32), mask, seen, seen, 5.0 + k, UNKNOWN)
        terms.append(one([collate([window] * 2, CPU)], adversarial=False))
    return one, terms


def fails(function: Callable, **options: object) -> Callable:
    def compiled(*args: object) -> None:
        raise RuntimeError("no compiler\nand a long story")

    return compiled


def test_without_a_compiler_steps_are_the_same_and_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    one, expected = steps(OFTEN + 2, told)
    monkeypatch.setattr(torch, "compile", fails)
    other, found = steps(OFTEN + 2, told, "machine.compile=on")
    assert told == ["steps are not compiled, and as fast as before: RuntimeError: no compiler"]
    assert found == expected
    for name, values in one.generator.state_dict().items():
        assert torch.equal(values, other.generator.state_dict()[name]), name


def test_a_rehearsal_that_works_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout, which draws numbers, and norms, which follow what they see: first moving, then fixed."""
    calls: list[bool] = []

    def watched(function: Callable, **options: object) -> Callable:
        def compiled(*args: object) -> object:
            (one,) = made
            calls.append(one.generator.get_submodule("encoder.1.1").training)
            return function(*args)

        return compiled

    told: list[str] = []
    settings = ["architecture.dropout=0.5", "optimisation.fix_norm=0.9"]
    expected = steps(OFTEN + 2, told, *settings)[1]
    monkeypatch.setattr(torch, "compile", watched)
    torch.manual_seed(0)
    built = GanStep.__init__

    def init(self: GanStep, *args: object, **options: object) -> None:
        made.append(self)
        built(self, *args, **options)  # type: ignore[arg-type]

    made: list[GanStep] = []
    monkeypatch.setattr(GanStep, "__init__", init)
    found = steps(OFTEN + 2, told, *settings, "machine.compile=on")[1]
    assert found == expected
    assert calls == [True, False, True, True]  # twice in rehearsal; the last step has a size that has not come before
    assert not told


def test_sizes_that_come_often_are_compiled_and_no_more_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: lambda *args: ("compiled", *args))
    compiler = Compiler(lambda *args: args, "on", CPU, print)
    due = []
    for size in [k for k in range(MOST_SIZES + 1) for _ in range(OFTEN + 3)] + [99]:
        if compiler.due(size):
            due.append(size)
            compiler.prepare(size, lambda: None)
    assert due == list(range(MOST_SIZES))
    assert compiler(0, "a") == ("compiled", "a")
    assert compiler(MOST_SIZES, "a") == compiler(99, "a") == ("a",)


@pytest.mark.parametrize(
    ("wanted", "device", "processes", "expected", "words"),
    [
        ("auto", "cpu", 1, False, ""),
        ("auto", "cuda", 1, True, ""),
        ("auto", "cuda", 2, False, ""),
        ("on", "cpu", 1, True, ""),
        ("off", "cuda", 1, False, ""),
        ("on", "cuda", 2, False, "steps are not compiled where several processes train together"),
    ],
)
def test_where_steps_are_compiled(
    monkeypatch: pytest.MonkeyPatch, wanted: str, device: str, processes: int, expected: bool, words: str
) -> None:
    told: list[str] = []
    monkeypatch.setattr(compiling, "OFTEN", 1)
    monkeypatch.setattr(compiling, "launch", lambda: type("Launch", (), {"processes": processes})())
    compiler: Compiler = Compiler(len, wanted, torch.device(device), told.append)  # type: ignore[arg-type]
    assert compiler.due("size") is expected
    assert told == ([words] if words else [])


COMPILED = """
import sys
from functools import partial
sys.path.insert(0, {tests!r})
import pytest
import torch
from test_compiling import OFTEN, steps
torch.compile = partial(torch.compile, backend="aot_eager")
told = []
expected = steps(OFTEN + 3, told)[1]
one, found = steps(OFTEN + 3, told, "machine.compile=on")
assert not told, told
assert len(one.look._sizes) == 1
assert torch._dynamo.utils.counters["frames"]["ok"] == 1  # for one size and form of the norms, once
for terms, others in zip(expected, found, strict=True):
    assert terms == pytest.approx(others, rel=1e-3), (terms, others)
"""


@pytest.mark.slow
def test_compiled_steps_have_the_same_losses() -> None:
    """As PyTorch takes the step apart and derives it, without the minute in which a compiler of C++ translates that.

    In a process of its own, where no types are checked while it runs.
    """
    script = COMPILED.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
