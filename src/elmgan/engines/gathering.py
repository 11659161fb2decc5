"""An engine that runs in one batch what several threads ask of it at once, as a graphics card likes it."""

from dataclasses import dataclass
from threading import Condition

import numpy as np
from numpy.typing import NDArray

from elmgan.engines.engine import Engine, Runtime

MOST_GATHERED = 1 << 24
"""Pixels of a batch, at most, unless one caller brings more: 64 tiles of 512 x 512."""

Predicted = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(eq=False)
class _Asked:
    """What a thread asks, and what came of it."""

    images: NDArray[np.float32]
    predicted: Predicted | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.predicted is not None or self.error is not None


class Gathered:
    """Runs an engine for several threads; see :class:`~elmgan.engines.Engine`.

    Whoever comes while a batch is run waits for its end. Those who wait by then, with images of one size, are the next
    batch. So nobody waits for company, and one who is alone is run at once. The results differ from those of each alone
    by rounding, as the engine's do between batches.

    Args:
        engine: What runs the batches, one at a time.
        most: Pixels of a batch, at most, unless one caller brings more.
    """

    def __init__(self, engine: Engine, most: int = MOST_GATHERED) -> None:
        self._engine = engine
        self._most = most
        self._changed = Condition()
        self._waiting: list[_Asked] = []
        self._running = False

    @property
    def runtime(self) -> Runtime:
        """See Engine."""
        return self._engine.runtime

    def predict(self, images: NDArray[np.float32]) -> Predicted:
        """See Engine. What is wrong with one caller's images is raised to that one."""
        asked = _Asked(images)
        with self._changed:
            self._waiting.append(asked)
            while self._running and not asked.done:
                self._changed.wait()
            if not asked.done:
                batch = self._next(asked)
                self._running = True
        if not asked.done:
            try:
                self._run(batch)
            finally:
                with self._changed:
                    self._running = False
                    # Of a batch that was broken off, say by Ctrl-C in this thread, the others are still asked for.
                    self._waiting += [each for each in batch if each is not asked and not each.done]
                    self._changed.notify_all()
        if asked.error is not None:
            raise asked.error
        assert asked.predicted is not None
        return asked.predicted

    def _next(self, first: _Asked) -> list[_Asked]:
        """Take one and, as far as there is room, others of its size from those who wait."""
        batch, pixels = [first], first.images.size
        for each in self._waiting:
            if each is not first and each.images.shape[1:] == first.images.shape[1:]:
                if (pixels := pixels + each.images.size) > self._most:
                    break
                batch.append(each)
        self._waiting = [each for each in self._waiting if each not in batch]
        return batch

    def _run(self, batch: list[_Asked]) -> None:
        try:
            results = self._engine.predict(
                batch[0].images if len(batch) == 1 else np.concatenate([each.images for each in batch])
            )
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
            else:  # one of them is at fault, or they are too many together
                for each in batch:
                    self._run([each])
            return
        ends = np.cumsum([len(each.images) for each in batch])
        for each, stop in zip(batch, ends, strict=True):
            start = stop - len(each.images)
            probability, count_map = (result[start:stop] for result in results)
            each.predicted = probability, count_map
