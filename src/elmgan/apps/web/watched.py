"""A model that is watched while it counts, so that its results are kept, and what bounds the memory of all jobs."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from numpy.typing import ArrayLike

from elmgan.counting import Model, Result, Streamed
from elmgan.errors import ImageError
from elmgan.images import Plane
from elmgan.work.pipeline import cores


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


class WatchedModel(Model):
    """A model whose results are looked at as planes are counted."""

    _keep: Callable[[Plane, Result | Streamed], None]
    _stop: threading.Event
    _room: Room

    @classmethod
    def of(
        cls,
        model: Model,
        *,
        keep: Callable[[Plane, Result | Streamed], None],
        stop: threading.Event,
        room: Room,
    ) -> Self:
        """Return a model as one that is watched."""
        watched = cls.__new__(cls)
        vars(watched).update(vars(model), _keep=keep, _stop=stop, _room=room)
        return watched

    def at_scales_of(self, planes: Iterable[Plane], **options: Any) -> Self:
        """Look at a sample as the model does, once there is room for it."""
        planes = list(planes)
        largest = max((plane.shape[0] * plane.shape[1] * plane.samples for plane in planes), default=0)
        with self._room.taken(largest * min(cores(), len(planes))):
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
