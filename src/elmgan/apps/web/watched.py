"""A model that is watched while it counts, so that its results are kept, and what bounds the memory of all jobs."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elmgan.counting import Model, Predictor, Result, Streamed
from elmgan.engines import Engine, Runtime
from elmgan.errors import ImageError
from elmgan.images import Plane

MOST_REMEMBERED = 64 << 20
"""Bytes of answers that an engine remembers for one job."""


class Room:
    """Lets in work up to a size at a time, in the order in which it comes; what is larger is let in alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Wait until there is room, and take it for the block."""
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + size <= self._most)
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()


class RememberingEngine:
    """Runs a network, and not again on what it was run on while it remembered; each answer is given again once.

    Images of which a sample was looked at for the scale are counted next: of a small job these are all.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._answers: dict[bytes, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        self._size = 0
        self._remembers = False

    @property
    def runtime(self) -> Runtime:
        """As of the engine."""
        return self._engine.runtime

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Remember what is answered in the block."""
        self._remembers = True
        try:
            yield
        finally:
            self._remembers = False

    def predict(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Answer as the engine does."""
        if not self._remembers and not self._answers:
            return self._engine.predict(images)
        key = blake2b(images.data, digest_size=16).digest() + str(images.shape).encode()
        if not self._remembers:
            with self._lock:
                found = self._answers.pop(key, None)
            if found is not None:
                return found
        answer = self._engine.predict(images)
        size = sum(array.nbytes for array in answer)
        with self._lock:
            if self._remembers and self._size + size <= MOST_REMEMBERED:
                self._answers[key] = answer
                self._size += size
        return answer


class WatchedModel(Model):
    """A model whose results are looked at as planes are counted."""

    _keep: Callable[[Plane, Result | Streamed], None]
    _stop: threading.Event
    _engine: RememberingEngine

    @classmethod
    def of(
        cls,
        model: Model,
        engine: Engine,
        *,
        keep: Callable[[Plane, Result | Streamed], None],
        stop: threading.Event,
    ) -> Self:
        """Return a model, whose network this engine runs, as one that is watched."""
        watched, remembering = cls.__new__(cls), RememberingEngine(engine)
        predict = Predictor(model.card.architecture, remembering)
        vars(watched).update(vars(model), _predict=predict, _engine=remembering, _keep=keep, _stop=stop)
        return watched

    def at_scales_of(self, planes: Iterable[Plane], **options: Any) -> Self:
        """Look at a sample as the model does."""
        with self._engine.remembering():
            return super().at_scales_of(planes, **options)

    def stream(self, plane: Plane, **options: Any) -> Streamed:
        """Count a plane that is too large for memory, as the model does."""
        found = super().stream(plane, **options)
        self._keep(plane, found)
        return found

    def count(self, image: ArrayLike | Plane, **options: Any) -> Result:
        """Count as the model does."""
        if not isinstance(image, Plane):
            return super().count(image, **options)
        if self._stop.is_set():
            raise ImageError("was not counted: the job was stopped")
        result = super().count(image, **options)
        self._keep(image, result)
        return result
