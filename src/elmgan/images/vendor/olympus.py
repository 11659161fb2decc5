"""OIB and OIF of Olympus' FluoView: one scene of many small TIFF files, in one container or in a folder beside.

An OIF file is a text; its pixels lie in the folder that is called as the file with ``.files`` behind it. No other
file is opened.
"""

import math
import re
from collections.abc import Generator, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import ImageError
from elmgan.images.damage import damage_told
from elmgan.images.reader import START, Scene
from elmgan.images.scenes import SAVE_AS_TIFF, describe_scene
from elmgan.images.tile import Tile

if TYPE_CHECKING:
    from oiffile import CompoundFile

COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # any file of this container
UTF_16 = b"\xff\xfe[\0"

PLANE_NAME = re.compile(r"s_((?:[A-Z]\d+)+)\.tif", re.IGNORECASE)
"""Names of planes, such as s_C001Z005T012.tif."""

NANOMETRES = {"nm": 1.0, "um": 1000.0, "mm": 1e6}


class OlympusReader:
    """An open OIB or OIF file."""

    kind = "OIB/OIF"
    suffixes = frozenset({".oib", ".oif"})
    in_parts = False

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """Say whether a file is OIB or OIF."""
        text = start.startswith((UTF_16, b"[")) and path.suffix.lower() == ".oif"
        return start.startswith(COMPOUND) or text

    def __init__(self, path: Path, axes: str | None) -> None:
        with path.open("rb") as file:
            start = file.read(START)
        with damage_told():
            self._files: _Container | _Folder = _Container(path) if start.startswith(COMPOUND) else _Folder(path)
            try:
                self._describe(self._files.settings)
            except BaseException:
                self._files.close()
                raise

    def _describe(self, settings: dict[str, Any]) -> None:
        self._planes: dict[tuple[int, ...], str] = {}
        self._axes = ""
        for name in self._files.names:
            if found := PLANE_NAME.fullmatch(PurePosixPath(name).name):
                numbers = re.findall(r"([A-Z])(\d+)", found[1].upper())
                letters = "".join(letter for letter, _ in numbers)
                if self._planes and letters != self._axes:
                    raise ImageError(f"has planes of axes {self._axes} and {letters}; {SAVE_AS_TIFF}")
                self._axes = letters
                self._planes[tuple(int(number) for _, number in numbers)] = name
        if not self._planes:
            raise ImageError("holds no image, or its planes are not beside it; copy the folder of its files too")
        order = settings["Axis Parameter Common"]["AxisOrder"]
        if not order.startswith("XY"):
            raise ImageError(f"is a scan along {order[:2]} instead of rows and columns; such scans are not counted")
        self._numbers = dict(
            zip(self._axes, (sorted(set(column)) for column in zip(*self._planes, strict=True)), strict=True)
        )
        lengths = [len(numbers) for numbers in self._numbers.values()]
        if math.prod(lengths) != len(self._planes):
            raise ImageError(f"lacks planes: axes {self._axes} of {lengths} have {len(self._planes)}; copy it again")
        from tifffile import TiffFile

        with self._files.open(next(iter(self._planes.values()))) as file, TiffFile(file) as tiff:
            page = tiff.pages.first
            self._shape, dtype = page.shape, page.dtype
        if dtype is None or len(self._shape) != 2:
            raise ImageError(f"has planes of shape {self._shape}; {SAVE_AS_TIFF}")
        sizes = dict(zip(self._axes, lengths, strict=True)) | {"Y": self._shape[0], "X": self._shape[1]}
        scene, self._time = describe_scene(
            sizes,
            dtype,
            channels=[
                str(settings.get(f"Channel {number} Parameters", {}).get("CH Name", ""))
                for number in self._numbers.get("C", [1])
            ],
            pixel_size=_pixel_size(settings),
        )
        self.scenes: Sequence[Scene] = (scene,)

    def read(self, scene: int, *, t: int, z: int, channel: int | None, region: Tile) -> NDArray:
        """Read a part of one plane."""
        from tifffile import TiffFile

        where = {"Z": z, "C": channel or 0} | {self._time: t}
        name = self._planes[tuple(numbers[where.get(axis, 0)] for axis, numbers in self._numbers.items())]
        with damage_told(), self._files.open(name) as file, TiffFile(file) as tiff:
            page = tiff.pages.first
            if (page.shape, page.dtype) != (self._shape, self.scenes[0].dtype):
                raise ImageError(f"has a plane {name} of another shape or type than the first one; {SAVE_AS_TIFF}")
            ends = [start + size for start, size in zip(page.dataoffsets, page.databytecounts, strict=True)]
            if not all(page.databytecounts) or max(ends, default=math.inf) > tiff.filehandle.size:
                raise ImageError(f"lacks pixels of its plane {name}, as after a broken copy; copy it again")
            return np.array(region.of(page.asarray()), dtype=self.scenes[0].dtype)

    def close(self) -> None:
        """Close the file."""
        self._files.close()


def _pixel_size(settings: dict[str, Any]) -> dict[str, float]:
    found = {}
    reference = settings.get("Reference Image Parameter", {})
    for side, word in (("x", "Width"), ("y", "Height")):
        if reference.get(f"{word}Unit") == "um":
            found[side] = reference.get(f"{word}ConvertValue", 0)
    for section, values in settings.items():
        if section.startswith("Axis ") and values.get("AxisCode") == "Z":
            found["z"] = abs(values.get("Interval", 0)) * NANOMETRES.get(values.get("PixUnit"), 0) / 1000
    return found


class _Folder:
    """A text file, and the files in the folder beside it."""

    def __init__(self, path: Path) -> None:
        from oiffile import SettingsFile

        self._folder = path.with_name(path.name + ".files")
        if not self._folder.is_dir():
            raise ImageError(f"needs the folder {self._folder.name} beside it, with its pixels; copy that too")
        self.names = sorted(file.name for file in self._folder.iterdir())
        self.settings = SettingsFile(path)

    def open(self, name: str) -> BinaryIO:
        return (self._folder / name).open("rb")

    def close(self) -> None:
        """Nothing is kept open."""


class _Container:
    """A file that holds others."""

    def __init__(self, path: Path) -> None:
        from oiffile import SettingsFile

        self._file = _bounded()(path)
        try:
            inner = {PurePosixPath(name).name: name for name in self._file.files()}
            if "OibInfo.txt" not in inner:
                raise ImageError(f"is a container of another program than FluoView; {SAVE_AS_TIFF}")
            info = SettingsFile(self._file.open_file(inner["OibInfo.txt"]), "OibInfo.txt")["OibSaveInfo"]
            self._streams = {
                str(name): inner[key] for key, name in info.items() if key.startswith("Stream") and key in inner
            }
            self.names = sorted(self._streams)
            self.settings = SettingsFile(self.open(info[info["MainFileName"]]), "main")
        except BaseException:
            self._file.close()
            raise

    def open(self, name: str) -> BinaryIO:
        return self._file.open_file(self._streams[name])

    def close(self) -> None:
        self._file.close()


@cache
def _bounded() -> type["CompoundFile"]:
    """Oiffile's container, whose chains of sectors cannot go on for ever, as those of a damaged file would."""
    from oiffile import CompoundFile

    class Bounded(CompoundFile):
        def __init__(self, path: Path) -> None:
            self._size = self._left = path.stat().st_size  # bytes; no sector belongs to two chains
            super().__init__(path)

        def _sec_read(self, secid: int, /) -> bytes:
            self._left -= self.sec_size
            if self._left < 0:
                raise ValueError("a chain of its sectors has no end")
            return super()._sec_read(secid)

        def _mini_sec_chain(self, secid: int, /) -> Generator[bytes, None, None]:
            for count, sector in enumerate(super()._mini_sec_chain(secid)):
                if count * self.short_sec_size > self._size:
                    raise ValueError("a chain of its sectors has no end")
                yield sector

        def open_file(self, filename: str, /) -> BytesIO:
            self._left = self._size
            return super().open_file(filename)

    return Bounded
