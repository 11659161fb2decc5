"""How times are taken: warmed up, in turns, on a machine that is described.

A benchmark gives a :class:`Measured`: the conditions, and rows of :class:`Times`. All its numbers come from those.
"""

import json
import math
import platform
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import Field

from elmgan import __version__
from elmgan.files import write_text
from elmgan.report.record import machine
from elmgan.strict import Strict

BUSY = 0.1
"""Share of a machine's time that others may take before its times are not to be trusted."""

LOOKED = 0.5
"""Seconds for which a machine is looked at before anything is measured."""

TIMES = Path("/proc/stat")

Name = TypeVar("Name", bound=Hashable)

MATRIX_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")

LIBRARIES = ("torch", "onnxruntime", "openvino")


class Spread(Strict):
    """A number that varies over the rounds."""

    median: float
    low: float = Field(description="lower quartile")
    high: float = Field(description="upper quartile")

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Give the median and the quartiles of values, of which there is one at least.

        >>> Spread.of([1, 2, 3, 4, 50])
        Spread(median=3.0, low=2.0, high=4.0)
        """
        low, median, high = (float(value) for value in np.percentile(list(values), (25, 50, 75)))
        return cls(median=median, low=low, high=high)


class Times(Strict):
    """How long a candidate took."""

    calls: int = Field(ge=1, description="calls of each round")
    seconds: tuple[float, ...] = Field(min_length=1, description="of a call, the mean of each round")

    @property
    def spread(self) -> Spread:
        """Seconds of a call."""
        return Spread.of(self.seconds)

    def over(self, other: "Times") -> Spread:
        """Give how many times longer a call takes than the other's, from the rounds that both took part in.

        >>> Times(calls=1, seconds=(2, 6)).over(Times(calls=5, seconds=(1, 2))).median
        2.5
        """
        return Spread.of(mine / its for mine, its in zip(self.seconds, other.seconds, strict=True))

    @classmethod
    def together(cls, parts: Sequence["Times"]) -> "Times":
        """Add up what is done one after the other.

        >>> Times.together([Times(calls=3, seconds=(1, 2)), Times(calls=5, seconds=(4, 4))])
        Times(calls=3, seconds=(5.0, 6.0))
        """
        rounds = zip(*(part.seconds for part in parts), strict=True)
        return cls(calls=min(part.calls for part in parts), seconds=tuple(sum(seconds) for seconds in rounds))


class Conditions(Strict):
    """On what, with what and how a benchmark was run."""

    command: str
    started: str
    versions: dict[str, str]
    machine: dict[str, str | int | None]
    threads: int = Field(ge=1, description="of every candidate")
    load: float | None = Field(description="share of the processor's time that others took before; null: not told")
    rounds: int = Field(ge=1)
    block: float = Field(ge=0, description="seconds that a candidate was run for, at least, in a round")
    instructions: tuple[str, ...] = Field((), description="of the processor, those that products of matrices can use")

    @classmethod
    def now(cls, *, threads: int, rounds: int, block: float, command: str = "") -> "Conditions":
        """Describe a benchmark that begins now, and that this command line, if any, gives again."""
        installed = {package.metadata["Name"]: package.version for package in metadata.distributions()}
        libraries = {name: installed[name] for name in LIBRARIES if name in installed}
        return cls(
            command=command,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={"elmgan": __version__, "python": platform.python_version(), **libraries},
            machine=machine(),
            threads=threads,
            load=_load(LOOKED),
            rounds=rounds,
            block=block,
            instructions=_instructions(),
        )

    @property
    def warning(self) -> str:
        """Say that the machine had other things to do; nothing if it had not."""
        if self.load is None or self.load <= BUSY:
            return ""
        return f"the machine was busy for {self.load:.0%} of the time before the start, so do not trust these times"


def _load(seconds: float) -> float | None:
    """Look how busy the processor is when this process waits; only Linux tells."""
    if not TIMES.exists():
        return None
    before = _busy_and_all()
    time.sleep(seconds)
    busy, spent = (after - earlier for after, earlier in zip(_busy_and_all(), before, strict=True))
    return round(busy / spent, 2) if spent else None


def _busy_and_all() -> tuple[int, int]:
    """The processor's time since it was started: not idle, and all of it."""
    values = [int(value) for value in TIMES.read_text().splitlines()[0].split()[1:9]]
    return sum(values) - values[3] - values[4], sum(values)


def _instructions() -> tuple[str, ...]:
    """What of MATRIX_INSTRUCTIONS the processor has; only Linux tells."""
    information = Path("/proc/cpuinfo")
    words = set(information.read_text(errors="replace").split()) if information.exists() else set()
    return tuple(name for name in MATRIX_INSTRUCTIONS if name in words)


class Measured(Strict):
    """What a benchmark found: a subclass says which it is and what a row holds."""

    benchmark: str
    conditions: Conditions
    rows: tuple[Strict, ...]

    def write(self, path: Path) -> None:
        """Write it as JSON, with a line for each row.

        Raises:
            OutputError: It cannot be written.
        """
        head = json.dumps(self.model_dump(mode="json", exclude={"rows"}), indent=1)[: -len("\n}")]
        rows = ",\n".join(f"  {row.model_dump_json()}" for row in self.rows)
        write_text(path, f'{head},\n "rows": [\n{rows}\n ]\n}}\n')


def take_turns(
    candidates: Mapping[Name, Callable[[], object]],
    conditions: Conditions,
    *,
    watch: Callable[[], None] = lambda: None,
) -> dict[Name, Times]:
    """Time candidates against each other.

    Each is first run for the time of a block, which warms it up and tells how many calls make one. In every round each
    has one block, forwards in one round and backwards in the next, so that a machine that slows down is unkind to
    all of them. A block begins with a call that is not timed and brings back what the others drove out of the caches;
    not if it has no length: then it is a single call, long enough for that to be nothing.

    Args:
        candidates: Any name -> what is timed; it returns when its work is done.
        conditions: How many rounds, and how long a block is; it has one call at least.
        watch: Called after each round.
    """
    calls = {name: _calls(call, conditions.block) for name, call in candidates.items()}
    seconds: dict[Name, list[float]] = {name: [] for name in candidates}
    for k in range(conditions.rounds):
        for name in list(candidates)[:: 1 if k % 2 == 0 else -1]:
            call = candidates[name]
            if conditions.block:
                call()
            started = time.perf_counter()
            for _ in range(calls[name]):
                call()
            seconds[name].append((time.perf_counter() - started) / calls[name])
        watch()
    return {
        name: Times(calls=calls[name], seconds=tuple(float(f"{value:.4g}") for value in seconds[name]))
        for name in candidates
    }


def _calls(call: Callable[[], object], block: float) -> int:
    """Warm a candidate up, and count the calls that fill a block."""
    call()
    if not block:
        return 1
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < block or not done:
        call()
        done += 1
    return max(1, math.ceil(done * block / passed))
