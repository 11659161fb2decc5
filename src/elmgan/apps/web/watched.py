"""A model that is watched while it counts: its results are kept, and it takes no more memory than there is room for."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from numpy.typing import ArrayLike

from elmgan.counting import Model, Result
from elmgan.errors import ImageError
from elmgan.images import Plane


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
    """A model whose results are looked at as planes are counted; it counts no more than there is room for."""

    _keep: Callable[[Plane, Result], None]
    _room: Room
    _stop: threading.Event

    @classmethod
    def of(cls, model: Model, keep: Callable[[Plane, Result], None], room: Room, stop: threading.Event) -> Self:
        """Return a model as one that is watched; the network is the same."""
        watched = cls.__new__(cls)
        vars(watched).update(vars(model), _keep=keep, _room=room, _stop=stop)
        return watched

    def count(self, image: ArrayLike | Plane, **options: Any) -> Result:
        """Count as the model does."""
        if not isinstance(image, Plane):
            return super().count(image, **options)
        with self._room.taken(image.shape[0] * image.shape[1]):
            if self._stop.is_set():
                raise ImageError("was not counted: the job was stopped")
            result = super().count(image, **options)
        self._keep(image, result)
        return result
