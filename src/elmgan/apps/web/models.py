"""The models of a server: loaded once for all, each network in memory once, and those that a session calibrated."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Lock

from elmgan.apps.web.records import ModelChoice
from elmgan.apps.web.refusal import RefusedError
from elmgan.counting import Model
from elmgan.engines import Engine, open_engine
from elmgan.errors import UsageError
from elmgan.images import View
from elmgan.models import Bundle, find_bundle, read_bundle, shipped, write_bundle
from elmgan.models.bundle import sha256

MOST_NETWORKS = 3
"""Networks that are in memory at a time."""

MOST_OWN = 50
"""Models that a session may save."""


class Models:
    """What counts here, by name: the shipped models, those that were named at the start, those of each session.

    Args:
        paths: Models beside the shipped ones.
        folder: Where calibrated models are saved for all to count with; where they are read from, too. Without it each
            is its session's alone, and gone with the server.
        engine: What runs the networks; see :func:`~elmgan.engines.open_engine`.
        precision: The same.
        device: The same.

    Raises:
        ModelError: A model cannot be read.
        UsageError: Two models have the same name.
    """

    def __init__(
        self,
        paths: Sequence[str | Path] = (),
        folder: Path | None = None,
        *,
        engine: str = "auto",
        precision: str = "auto",
        device: str = "auto",
    ) -> None:
        self._options = {"engine": engine, "precision": precision, "device": device}
        self._folder = folder
        self._lock = Lock()
        self._loading = Lock()
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._shared: dict[str, Bundle] = {name: read_bundle(find_bundle(name)) for name in shipped()}
        self._own: dict[str, dict[str, Bundle]] = {}
        self._recent: tuple[Bundle | None, Model | None] = None, None
        given = [Path(path) for path in paths if str(path) not in shipped()]
        if folder is not None and folder.is_dir():
            given += sorted(
                path for path in folder.iterdir() if path.suffix == ".zip" or (path / "model.json").exists()
            )
        for path in given:
            bundle, name = read_bundle(path), path.stem if path.suffix == ".zip" else path.name
            if name in self._shared:
                raise UsageError(f"two models are called {name}: rename {path}")
            self._shared[name] = bundle

    @property
    def first(self) -> str:
        """Name of the model that counts unless another is chosen."""
        return "nuclei" if "nuclei" in self._shared else next(iter(self._shared))

    def choices(self, session: str) -> list[ModelChoice]:
        """Tell what a session may count with."""
        with self._lock:
            own = dict(self._own.get(session, {}))
            every = {**self._shared, **own}
        told = []
        for name, bundle in every.items():
            card = bundle.card
            across = math.nan if bundle.known is None else bundle.known.diameter
            told.append(
                ModelChoice(
                    name=name,
                    version=bundle.version,
                    description=card.description,
                    counts=card.counts,
                    masks=card.segments,
                    diameter=None if math.isnan(across) else round(across, 1),
                    calibrated=card.calibration is not None,
                    view=(card.view or View()).model_copy(update={"scene": "each", "t": "each"}),
                    own=name in own,
                )
            )
        return sorted(told, key=lambda choice: choice.name != self.first)

    def bundle(self, name: str, session: str) -> Bundle:
        """Give a model by its name.

        Raises:
            RefusedError: The session has none of that name.
        """
        with self._lock:
            found = self._own.get(session, {}).get(name) or self._shared.get(name)
        if found is None:
            raise RefusedError(404, f"there is no model {name!r:.100}: choose one of those that are listed")
        return found

    def get(self, name: str, session: str) -> Model:
        """Give a model that counts; its network is loaded where it is not in memory.

        Raises:
            ModelError: The network cannot be loaded.
            RefusedError: The session has none of that name.
        """
        bundle = self.bundle(name, session)
        with self._lock:
            known, model = self._recent
            if known is bundle and model is not None:
                return model
        model = Model(bundle, self.engine(bundle))  # whose version takes a while
        with self._lock:
            self._recent = bundle, model
        return model

    def engine(self, bundle: Bundle) -> Engine:
        """Give what runs a model's network, the same for all models that have it."""
        key = _digest(bundle.onnx) + (_digest(bundle.int8) if bundle.int8 is not None else "")
        with self._loading:  # the second who wants it waits for the first
            if key not in self._engines:
                self._engines[key] = open_engine(bundle, parallel=True, **self._options)
                while len(self._engines) > MOST_NETWORKS:
                    self._engines.popitem(last=False)
            self._engines.move_to_end(key)
            return self._engines[key]

    def save(self, name: str, bundle: Bundle, session: str) -> None:
        """Keep a calibrated model under a name: in the folder for models, or for its session alone.

        Raises:
            OutputError: It cannot be written.
            RefusedError: There is a model of that name, or the session has too many.
        """
        with self._lock:
            own = self._own.setdefault(session, {})
            if name in self._shared or name in own or (self._folder is not None and (self._folder / name).exists()):
                raise RefusedError(409, f"there is a model {name} already: choose another name")
            if len(own) >= MOST_OWN:
                raise RefusedError(429, f"a session keeps {MOST_OWN} models: download them, and begin a new one")
            own[name] = replace(bundle, card=bundle.card.model_copy(update={"name": name}))
            if self._folder is not None:
                write_bundle(self._folder / name, own[name])
                self._shared[name] = own[name]

    def forget(self, session: str) -> None:
        """Drop the models of a session."""
        with self._lock:
            self._own.pop(session, None)


@lru_cache(maxsize=2 * MOST_NETWORKS)
def _digest(network: bytes) -> str:
    """Give the SHA-256 of a network; of one that was asked for lately, without reading it again."""
    return sha256(network)
