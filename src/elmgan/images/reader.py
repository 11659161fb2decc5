"""What reads a file: the protocol of readers, what they say of a file, and the registry by entry point."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from elmgan.images.tile import Tile

GROUP = "elmgan.readers"
"""Of the entry points that register readers."""

START = 512
"""First bytes of a file, by which readers recognise it."""

AXES = "TZCYXS"
"""What axes mean: time, focal plane, channel, row, column, and sample: red, green and blue."""


@dataclass(frozen=True)
class Scene:
    """One image of a file, described without its pixels.

    Attributes:
        axes: One letter of :data:`AXES` per axis, in the order of the file's metadata. Y comes before X, and S, which
            is there for colour alone, is the last. Axes of length 1 are left out, but for Y and X.
        shape: Length of each axis; S has 3.
        dtype: Of the pixels, in this machine's byte order.
        channels: Names of the channels, one per channel; empty where the file names none.
        pixel_size: x, y and z, as far as they are known -> micrometres.
        name: Of the scene, where the file names it.
        note: What was assumed of its axes since the file does not say, as one sentence; empty where nothing was.
        fault: Why this scene cannot be read, while others of the file can; empty where it can. It keeps its place, so
            that the others keep the numbers that people know them by; its axes are YX, its shape (0, 0).
        levels: Rows and columns of smaller copies of its planes that the file holds, the largest first.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    channels: tuple[str, ...] = ()
    pixel_size: Mapping[str, float] = field(default_factory=dict)
    name: str = ""
    note: str = ""
    fault: str = ""
    levels: tuple[tuple[int, int], ...] = ()

    def length(self, axis: str) -> int:
        """Length of an axis; 1 where the scene does not have it."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.length("Y"), self.length("X")


class Reader(Protocol):
    """An open file of one kind. Not for several threads at once: the source takes turns.

    The class is what the entry point names. Opening it reads what describes the pixels, and none of them.
    """

    kind: str
    """Of file, for people: TIFF, ND2."""

    suffixes: frozenset[str]
    """How names of such files end, in lower case with the dot; folders are searched for these."""

    in_parts: bool
    """Whether reading a part of a plane takes no more than that part, and some around it."""

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """Say whether a file is of this kind, by its first :data:`START` bytes, or none for a folder."""
        ...

    def __init__(self, path: Path, axes: str | None) -> None:
        """Open a file; ``axes`` are what the user says of them, for files that do not say so themselves.

        Raises:
            ImageError: It is damaged, or of a sort that cannot be read; without the path.
        """
        ...

    @property
    def scenes(self) -> Sequence[Scene]:
        """What the file holds, at least one."""
        ...

    def read(self, scene: int, *, t: int, z: int, channel: int | None, region: Tile) -> NDArray:
        """Read a part of one plane, as (row, column), or (row, column, 3) for colour.

        A reader of scenes with ``levels`` takes also ``level``: 0, or the number of a smaller copy, from 1, which is
        read then, and which the region is of.

        Args:
            scene: Index of the scene, from 0.
            t: Index along T, from 0; 0 where there is no such axis.
            z: Likewise along Z.
            channel: Likewise along C; of a scene that has S and no C, one of the three samples, or ``None`` for all.
            region: What to read; inside the plane. Only the pages, tiles or chunks that it takes are unpacked.

        Returns:
            Pixels of the scene's dtype, in memory of their own; pixels that the file calls no data are NaN.

        Raises:
            ImageError: Pixels are damaged or lacking; without the path.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


@cache
def readers() -> tuple[type[Reader], ...]:
    """Readers that installed packages register, sorted by their names."""
    found = sorted(entry_points(group=GROUP), key=lambda each: each.name)
    return tuple(each.load() for each in found)


@cache
def endings() -> frozenset[str]:
    """How the names of files that are read end, in lower case with the dot."""
    return frozenset().union(*(reader.suffixes for reader in readers()))
