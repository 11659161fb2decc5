"""Work on many items at once: in threads, in order, within a bound on memory; one that fails stops no other."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from elmgan.counting import Failure
from elmgan.engines.engine import threads

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Processor cores that this process may use, or as many as OMP_NUM_THREADS says."""
    return threads() or os.cpu_count() or 1


def outcomes(
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    named: Callable[[T], tuple[str, Path]],
    workers: int = 1,
    size: Callable[[T], int] = lambda item: 1,
    most: int = 1 << 62,
    fatal: Callable[[BaseException], bool] = lambda error: False,
) -> Generator[tuple[T, R | Failure], None, None]:
    """Do the work on each item, and give each with what came of it, in order; what is wrong with one fails that one.

    Args:
        work: What to do.
        items: Taken one by one when there is room.
        named: Name of an item in tables, and the file that its errors name.
        workers: Threads; see :func:`in_order`, also for the last two.
        size: What an item takes, in the unit of ``most``.
        most: Bound on what is worked on at once.
        fatal: Tells errors that end all work, and are raised.
    """
    with closing(in_order(work, items, workers=workers, size=size, most=most)) as done:
        for item, future in done:
            error = future.exception()
            if error is None:
                yield item, future.result()
            elif isinstance(error, Exception) and not fatal(error):
                yield item, Failure.of(named(item)[0], error, named(item)[1])
            else:
                raise error


def in_order(
    work: Callable[[T], R], items: Iterable[T], *, workers: int, size: Callable[[T], int], most: int
) -> Generator[tuple[T, Future[R]], None, None]:
    """Do the work on each item in a thread, and give each with its future, done, in order.

    Work begins before it is asked for: on at most twice as many items as there are workers, of at most ``most``
    together; a larger item is worked on alone. Closing the generator gives up what has not begun and waits for the
    rest.

    Args:
        work: What to do; its exception is the future's.
        items: Taken one by one when there is room.
        workers: Threads.
        size: What an item takes, in the unit of ``most``.
        most: The bound.

    >>> futures = in_order(len, ["a", "bc", "def"], workers=2, size=len, most=3)
    >>> [(item, future.result()) for item, future in futures]
    [('a', 1), ('bc', 2), ('def', 3)]
    """
    pool = ThreadPoolExecutor(workers)
    begun: deque[tuple[int, T, Future[R]]] = deque()

    def first() -> tuple[T, Future[R]]:
        begun[0][2].exception()  # waits for it; until then it counts
        return begun.popleft()[1:]

    try:
        for item in items:
            taken = size(item)
            while begun and (len(begun) >= 2 * workers or sum(each for each, *_ in begun) + taken > most):
                yield first()
            begun.append((taken, item, pool.submit(work, item)))
        while begun:
            yield first()
    finally:
        pool.shutdown(cancel_futures=True)
