"""Label images as OME-Zarr: a folder of chunks, with smaller copies for viewers."""

import math
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import OutputError, UsageError
from elmgan.files import cannot_write, whole_folder

CHUNK = 1024
"""Rows and columns of a chunk."""

SMALLEST = 512
"""Rows and columns of the smallest copy, at most."""

LABELS_AT = "labels/elmgan"
"""Where the label image is in the folder, and belongs in that of the image."""


def check_zarr() -> None:
    """Refuse to write OME-Zarr where that cannot be.

    Raises:
        UsageError: The library is missing.
    """
    try:
        import zarr  # noqa: F401
    except ImportError:
        raise UsageError("--export zarr needs zarr: pip install zarr") from None


def zarr_format(path: Path) -> int:
    """Give the format of the chunks that suits an image: that of an OME-Zarr image, 2 (OME-Zarr 0.4) of others."""
    return 3 if (path / "zarr.json").is_file() else 2


class ZarrLabels:
    """The label images of planes that share a scene, which come in any order; the folder appears when it is closed.

    ``labels/elmgan`` in it is a label image of the specification OME-Zarr 0.4 or 0.5, with axes t, z, y, x as far as
    there are several. It can be copied into the image's own folder. The folder itself is an image, too, whose pixels
    are the labels, so that every program opens it.

    Args:
        path: Folder to write.
        times: Number of time points.
        depths: Number of focal planes.
        shape: Rows and columns.
        pixel_size: x, y and z -> micrometres, as far as they are known.
        version: 2 for OME-Zarr 0.4, 3 for 0.5.
        name: Of the image, for viewers.

    Raises:
        OutputError: The folder cannot be written; from the methods too.
    """

    def __init__(
        self,
        path: Path,
        *,
        times: int,
        depths: int,
        shape: tuple[int, int],
        pixel_size: Mapping[str, float] | None = None,
        version: int = 2,
        name: str = "",
    ) -> None:
        import zarr

        self._path, self._version, self._shape, self._name = path, version, shape, name
        self._lengths = [("t", times)] * (times > 1) + [("z", depths)] * (depths > 1)
        self._pixel_size = pixel_size or {}
        try:
            with ExitStack() as stack:
                temporary = stack.enter_context(whole_folder(path))
                self._root = zarr.open_group(str(temporary), mode="w", zarr_format=2 if version == 2 else 3)
                self._labels = self._root.create_group(LABELS_AT)
                self._levels = [self._level(0, shape)]
                self._stack = stack.pop_all()
        except OSError as error:
            raise cannot_write(path, error) from error

    def _level(self, number: int, shape: tuple[int, int]) -> Any:
        kind: dict[str, Any]
        if self._version == 2:
            kind = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        else:
            kind = {"dimension_names": [name for name, _ in self._axes]}
        lengths = [length for _, length in self._lengths]
        return self._labels.create_array(
            str(number),
            shape=(*lengths, *shape),
            chunks=(*(1 for _ in lengths), *(min(CHUNK, side) for side in shape)),
            dtype="uint32",
            **kind,
        )

    @property
    def _axes(self) -> list[tuple[str, int]]:
        return [*self._lengths, ("y", self._shape[0]), ("x", self._shape[1])]

    def write(self, rows: Iterable[NDArray[np.uint32]], *, t: int, z: int) -> None:
        """Write the label image of one plane, some rows at a time, from top to bottom; t and z are indices from 0."""
        at = [{"t": t, "z": z}[name] for name, _ in self._lengths]
        waiting, top = np.zeros((0, self._shape[1]), np.uint32), 0
        try:
            for some in rows:
                waiting = np.concatenate([waiting, some]) if len(waiting) else some
                last = top + len(waiting) == self._shape[0]
                whole = len(waiting) if last else len(waiting) // CHUNK * CHUNK  # each chunk is packed once
                if whole:
                    self._levels[0][(*at, slice(top, top + whole))] = waiting[:whole]
                    waiting, top = waiting[whole:], top + whole
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def close(self, *, keep: bool = True) -> None:
        """Write the smaller copies and let the folder appear, or with ``keep=False`` give it up."""
        if not keep:
            self._stack.__exit__(OutputError, OutputError("given up"), None)
            return
        try:
            with self._stack:
                while max(self._levels[-1].shape[-2:]) > SMALLEST:
                    self._halve()
                self._describe()
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def _halve(self) -> None:
        """Add a level of every second row and column of the last one, a chunk at a time."""
        larger = self._levels[-1]
        rows, columns = (math.ceil(side / 2) for side in larger.shape[-2:])
        level = self._level(len(self._levels), (rows, columns))
        corners = (range(0, side, CHUNK) for side in (rows, columns))
        for *at, top, left in product(*(range(length) for _, length in self._lengths), *corners):
            part = larger[(*at, slice(2 * top, 2 * (top + CHUNK)), slice(2 * left, 2 * (left + CHUNK)))]
            level[(*at, slice(top, top + CHUNK), slice(left, left + CHUNK))] = part[::2, ::2]
        self._levels.append(level)

    def _describe(self) -> None:
        self._say(self._labels, {**self._multiscale(""), "image-label": {"source": {"image": "../../"}}})
        self._say(self._root["labels"], {"labels": [LABELS_AT.rpartition("/")[2]]})
        self._say(self._root, self._multiscale(f"{LABELS_AT}/"))  # last: a folder without it is not whole

    def _say(self, group: Any, content: dict[str, Any]) -> None:
        """Write metadata where the version has them: at the top, or under ``ome``."""
        if self._version == 2:
            if "image-label" in content:
                content["image-label"]["version"] = "0.4"
            group.attrs.update(content)
        else:
            group.attrs.update({"ome": {"version": "0.5", **content}})

    def _multiscale(self, inside: str) -> dict[str, Any]:
        """Say which levels there are and how large their pixels are; ``inside`` is put before their names."""
        known = {name: size for name, size in self._pixel_size.items() if {"x", "y"} <= self._pixel_size.keys()}
        kinds = {"t": "time", "z": "space", "y": "space", "x": "space"}
        axes = [
            {"name": name, "type": kinds[name]} | ({"unit": "micrometer"} if name in known else {})
            for name, _ in self._axes
        ]
        levels = []
        for number in range(len(self._levels)):
            smaller = {"y": 2**number, "x": 2**number}
            scale = [float(known.get(name, 1) * smaller.get(name, 1)) for name, _ in self._axes]
            transformations = [{"type": "scale", "scale": scale}]
            levels.append({"path": f"{inside}{number}", "coordinateTransformations": transformations})
        version = {"version": "0.4"} if self._version == 2 else {}
        return {"multiscales": [{**version, "name": self._name, "axes": axes, "datasets": levels}]}


def is_whole_zarr(path: Path) -> bool:
    """Tell whether a folder that was written as OME-Zarr is whole."""
    return (path / ".zattrs").is_file() or (path / "zarr.json").is_file()
