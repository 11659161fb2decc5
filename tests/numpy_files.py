"""A reader of NumPy files, as another package could register one: what sources do is tested apart from file formats."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elmgan.images import Scene, Tile


class NpyReader:
    """A file NAME.AXES.npy holds an array of these axes; each further file NAME.AXES.npy.1 and so on is a scene."""

    kind = "NumPy"
    suffixes = frozenset({".npy"})
    channels: tuple[str, ...] = ()
    closed = 0

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        return start.startswith(b"\x93NUMPY")

    def __init__(self, path: Path, axes: str | None) -> None:
        more = sorted(path.parent.glob(f"{path.name}.*"))
        self._arrays = [np.load(each, mmap_mode="r") for each in (path, *more)]
        self._axes = axes or path.name.split(".")[-2]
        self.reads: list[tuple[int, int, int, int | None, Tile]] = []

    @property
    def scenes(self) -> Sequence[Scene]:
        axes = self._axes
        return [Scene(axes, array.shape, array.dtype, self.channels, {"x": 0.5, "y": 0.5}) for array in self._arrays]

    def read(self, scene: int, *, t: int, z: int, channel: int | None, region: Tile) -> NDArray:
        self.reads.append((scene, t, z, channel, region))
        array = self._arrays[scene]
        at = {"T": t, "Z": z, "C": channel}
        if channel is not None and "C" not in self._axes:
            at["S"] = channel
        rows, columns = region.top + region.height, region.left + region.width
        window = {"Y": slice(region.top, rows), "X": slice(region.left, columns)}
        index = tuple(window.get(axis, at.get(axis, slice(None))) for axis in self._axes)
        return np.array(array[index])

    def close(self) -> None:
        type(self).closed += 1
