"""Processes that render windows: as a thread does, several at once, each a step of its own."""

import os
import shutil
import signal
import traceback
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import torch

from elmgan.errors import ElmganError, TrainingError, one_line
from elmgan.launch import launch
from elmgan.training.config import TrainingConfig
from elmgan.training.feed import AHEAD, Renderer, Step
from elmgan.training.mapped import ImageShelf, Span, mapped_folder, opened, put, take
from elmgan.training.memory import freed_memory_kept
from elmgan.training.windows import Windows

FEWEST_CORES, MOST_WORKERS = 4, 8
"""Of a machine with a GPU: cores for which processes render by themselves, and how many do at most."""

MOST_WAITING = 2 << 30
"""Bytes of windows that wait for their turn, at most, unless two steps are more."""

WORKER_PATIENCE = 10.0
"""Seconds that a process has to end when it is asked to."""

WorkerAnswer = tuple[str, Span] | Exception
"""What a process says of a step: the file that holds its windows and where they are in it, or what went wrong."""


def workers_for(config: TrainingConfig, device: torch.device) -> int:
    """Say how many processes render: as many as were asked for, or as suit the machine."""
    if config.machine.workers is not None:
        return config.machine.workers
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = allowed // launch().processes
    return min(MOST_WORKERS, cores // 2) if device.type == "cuda" and cores >= FEWEST_CORES else 0


class Renderers:
    """Renders steps in several processes, which are started with it and end with it.

    The processes take the steps of an epoch in turn, so that all come in order. The examples are mapped from the file
    on the shelf, which may be removed afterwards; the windows of a step come in a file of their own. A process that is
    left alone, since this one was killed, removes these files and ends.

    Args:
        number: Of the processes.
        config: Windows and their changes.
        shelf: Holds the examples, in a file.

    Raises:
        OutputError: There is no room for files.
        TrainingError: A process cannot be started.
    """

    def __init__(self, number: int, config: TrainingConfig, shelf: ImageShelf) -> None:
        spawn = get_context("spawn")
        self._folder = mapped_folder(in_memory=True)
        self._workers: list[SpawnProcess] = []
        self._ends: list[Connection] = []
        self._largest = 0
        try:
            for _ in range(number):
                end, other = spawn.Pipe()
                arguments = (other, config, shelf.path, shelf.places, Path(self._folder.name))
                worker = spawn.Process(target=_render, args=arguments, daemon=True)
                with _signals_held():
                    worker.start()
                other.close()  # so that the end of the process is the end of the pipe
                self._workers.append(worker)
                self._ends.append(end)
            for k in range(number):
                if isinstance(error := self._heard(k), Exception):
                    raise error
        except BaseException:
            self.close()
            raise

    def __call__(self, steps: Iterable[Step]) -> Generator[list[Windows], None, None]:
        """Render steps, before they are asked for.

        Raises:
            TrainingError: Of a process that has ended or cannot render.
        """
        turns = cycle(range(len(self._ends)))
        waiting: deque[int] = deque()
        done = False
        try:
            for step in steps:
                waiting.append(next(turns))
                self._send(waiting[-1], step)
                while len(waiting) > self._ahead():
                    yield self._windows(self._heard(waiting.popleft()))
            while waiting:
                yield self._windows(self._heard(waiting.popleft()))
            done = True
        finally:
            if not done:  # what is still to come would be taken for that of other steps
                self.close()

    def _ahead(self) -> int:
        """Steps that are waited for when one is given out; few until it is known how large one is."""
        return min(AHEAD * len(self._ends), max(AHEAD, MOST_WAITING // self._largest)) if self._largest else AHEAD

    def _send(self, k: int, step: Step) -> None:
        try:
            self._ends[k].send(step)
        except OSError:
            raise self._ended(k) from None

    def _heard(self, k: int) -> WorkerAnswer | None:
        try:
            return self._ends[k].recv()  # type: ignore[no-any-return]
        except (EOFError, OSError):
            raise self._ended(k) from None

    def _ended(self, k: int) -> TrainingError:
        self._workers[k].join(WORKER_PATIENCE)
        code = self._workers[k].exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        return TrainingError(
            f"a process that renders windows {how}: take fewer with machine.workers if memory is short, or 0; a script "
            'that trains must do so under if __name__ == "__main__"'
        )

    def _windows(self, told: WorkerAnswer | None) -> list[Windows]:
        if not isinstance(told, tuple):
            raise told or TrainingError("a process that renders windows said nothing")
        path, place = Path(self._folder.name, told[0]), told[1]
        self._largest = max(self._largest, place.stop)
        try:
            mapped = opened(path, writable=True)  # as PyTorch likes its arrays
        except OSError as error:
            raise TrainingError(f"windows of {path.parent} are gone ({error.strerror}); --resume goes on") from error
        with suppress(OSError):  # Windows keeps it until nobody has it mapped
            path.unlink()
        return take(place, mapped)  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the processes and remove the files."""
        for end in self._ends:
            end.close()
        for worker in self._workers:
            worker.join(WORKER_PATIENCE)
            if worker.is_alive():
                worker.kill()
                worker.join()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Keep the signals that terminals and schedulers send to all processes from one that is started meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _render(end: Connection, config: TrainingConfig, path: Path, places: Sequence[Span], folder: Path) -> None:
    """Render steps as they come, until there is nobody left to send any; then remove what is left of the files."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides what Ctrl-C means
    signal.signal(signal.SIGTERM, _leave)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            mapped = opened(path)
        except OSError as error:
            end.send(TrainingError(f"the decoded images cannot be read: {one_line(error)}"))
            return
        render, number = Renderer(config, [take(place, mapped) for place in places]), 0
        with freed_memory_kept(), suppress(EOFError, OSError):  # when the other end is gone
            end.send(None)
            while True:
                step = end.recv()
                number += 1
                end.send(_rendered(render, step, folder / f"{os.getpid()}-{number}"))
    finally:
        for each in (folder, path.parent):
            shutil.rmtree(each, ignore_errors=True)


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)  # as shells tell it


def _rendered(render: Renderer, step: Step, path: Path) -> WorkerAnswer:
    try:
        windows = render(step)
        with path.open("wb") as file:
            return path.name, put(windows, file)
    except ElmganError as error:
        return error
    except Exception as error:
        told = TrainingError(f"windows cannot be rendered: {type(error).__name__}: {one_line(error)}")
        told.add_note(traceback.format_exc())
        return told
