"""What all commands share: the terminal, its errors, its progress, and the options that each has."""

import json
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from elmgan.errors import ElmganError, OutputError, TrainingError, UsageError, one_line
from elmgan.launch import launch

SOME_FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130

Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per result line.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where in the program an error arose.")]


@contextmanager
def torch_needed(doing: str) -> Iterator[None]:
    """Say how to install what only some commands need, if it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(f"{doing} needs {error.name}: pip install {error.name}") from error


class SpeedColumn(ProgressColumn):
    """How many images are done in a second."""

    def render(self, task: Task) -> Text:
        """Write it, once it is known."""
        return Text("" if task.speed is None else f"{task.speed:.3g}/s", style="progress.data.speed")


class Advance:
    """Moves a bar on: called with the number of images whenever one more of them is done."""

    def __init__(self, bars: Progress, bar: TaskID) -> None:
        self._bars, self._bar = bars, bar
        self._done, self._total = 0, 1

    def __call__(self, total: int) -> None:
        """Say that one more of so many images is done."""
        self._done, self._total = self._done + 1, total
        self._bars.update(self._bar, total=total, completed=self._done)

    def part(self, share: float) -> None:
        """Say which share of the next image is done."""
        self._bars.update(self._bar, total=self._total, completed=self._done + min(share, 0.999))


class Told:
    """Tells programs how far it is, as :class:`Advance` shows people: a line of JSON to standard error, now and then.

    Each has the number of images that are ``done`` (of a large one the share), ``of`` how many as far as that is known,
    images ``per_second`` since the start, and ``seconds_left``.

    Args:
        clock: Gives seconds.
        every: Seconds between two lines, at least.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, every: float = 1) -> None:
        self._clock, self._every = clock, every
        self._begun = self._told = clock()
        self._done, self._total = 0, 1

    def __call__(self, total: int) -> None:
        """Say that one more of so many images is done."""
        self._done, self._total = self._done + 1, total
        self.part(0)

    def part(self, share: float) -> None:
        """Say which share of the next image is done."""
        now, done = self._clock(), self._done + min(share, 0.999)
        if now - self._told < self._every or done == 0:
            return
        self._told = now
        rate = done / (now - self._begun)
        left = max(0.0, self._total - done) / rate
        told = {"done": round(done, 3), "of": self._total, "per_second": round(rate, 3), "seconds_left": round(left, 1)}
        console(stderr=True).out(json.dumps({"progress": told}))


@contextmanager
def progress(doing: str, quiet: bool, as_json: bool = False) -> Iterator[tuple[Console, Advance | Told]]:
    """Show a bar on a terminal, or with ``as_json`` tell the program that reads.

    Gives the bar's console, and what moves the bar on.
    """
    terminal = console(stderr=True)
    if as_json and not quiet and not terminal.is_terminal:
        yield terminal, Told()
        return
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), SpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, transient=True, disable=quiet or not terminal.is_terminal) as bars:
        bar = bars.add_task(doing, total=None)
        yield terminal, Advance(bars, bar)


@contextmanager
def errors_told(debug: bool, if_stopped: str = "") -> Iterator[None]:
    """End the command with one line and the right code if the block raises; ``if_stopped`` midway, that is added."""
    try:
        yield
    except KeyboardInterrupt:
        tell(f"interrupted{if_stopped}", debug=False)
        raise typer.Exit(INTERRUPTED) from None
    except (OutputError, TrainingError) as error:
        tell(f"error: {error}{if_stopped}", debug)
        raise typer.Exit(SOME_FAILED) from None
    except ElmganError as error:
        tell(f"error: {error}", debug)
        raise typer.Exit(WRONG_USAGE) from None
    except Exception as error:
        tell(f"error: unexpected {type(error).__name__}: {one_line(error)}; see --debug", debug)
        raise typer.Exit(SOME_FAILED) from None


def tell(message: str, debug: bool, terminal: Console | None = None, trace: str = "") -> None:
    """Print to standard error; with ``debug`` also where in the program the error arose.

    That is ``trace``, or where the exception that is being handled arose.

    Only the console of a progress bar can print above the bar: ``terminal``, while there is one. Of several processes
    that torchrun started, the first speaks for all.
    """
    if not launch().first:
        return
    if debug:
        (terminal or console(stderr=True)).out(trace or traceback.format_exc())
    (terminal or console(stderr=True)).out(message)


def notes_told(quiet: bool, terminal: Console | None = None) -> Callable[[str], None]:
    """Give what tells notes on a data set: nothing where only errors are told."""
    return (lambda line: None) if quiet else (lambda line: tell(line, False, terminal))


def print_json(content: dict[str, Any], terminal: Console | None = None) -> None:
    """Print a line to standard output; above the progress bar of ``terminal``, if that is the same screen."""
    if terminal is None or terminal.quiet or not (sys.stdout.isatty() and sys.stderr.isatty()):
        terminal = console()
    terminal.out(json.dumps(content))


def console(*, stderr: bool = False) -> Console:
    """Return the terminal; [bold] in a file's name means nothing to it."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def command_line() -> str:
    """Write the command line that started this process, so that it can be given again."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name  # python -m elmgan
    return shlex.join([name, *sys.argv[1:]])


def many(number: int, thing: str) -> str:
    """Write a number of things.

    >>> many(1, "image"), many(2, "image")
    ('1 image', '2 images')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
