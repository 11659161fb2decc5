"""Work on many items at once: in threads, in order, with a bound on what is in memory."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from elmgan.engines.engine import threads

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Processor cores that this process may use, or as many as OMP_NUM_THREADS says."""
    return threads() or os.cpu_count() or 1


def in_order(
    work: Callable[[T], R], items: Iterable[T], *, workers: int, size: Callable[[T], int], most: int
) -> Generator[Future[R], None, None]:
    """Do the work on each item in a thread, and give the futures, done, in the order of the items.

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
    >>> [future.result() for future in futures]
    [1, 2, 3]
    """
    pool = ThreadPoolExecutor(workers)
    begun: deque[tuple[int, Future[R]]] = deque()

    def first() -> Future[R]:
        begun[0][1].exception()  # waits for it; until then it counts
        return begun.popleft()[1]

    try:
        for item in items:
            taken = size(item)
            while begun and (len(begun) >= 2 * workers or sum(each for each, _ in begun) + taken > most):
                yield first()
            begun.append((taken, pool.submit(work, item)))
        while begun:
            yield first()
    finally:
        pool.shutdown(cancel_futures=True)
