"""OME-Zarr 0.1 to 0.5: a folder with one image, or with several that are scenes, in chunks of their own.

The largest of the levels of an image are its pixels; the others are told as smaller copies of them. What the metadata
name is looked for inside the folder alone.
"""

import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import ImageError
from elmgan.images.damage import damage_told
from elmgan.images.reader import AXES, Scene
from elmgan.images.scenes import checked_scenes, describe_scene, unreadable
from elmgan.images.tile import Tile, reduction_of
from elmgan.images.units import MICROMETRES

OLD_AXES = "TCZYX"
"""Of images from before version 0.4, which do not name them."""


# What unpacks chunks. Others, pickle among them, could run what a file says.
COMPRESSIONS = {"blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"}
FILTERS = {"bitround", "delta", "fixedscaleoffset", "quantize", "shuffle"}
CODECS = {"blosc", "bytes", "crc32c", "gzip", "sharding_indexed", "transpose", "zstd"}

LARGEST_CHUNK = 2**29
"""Bytes of a chunk, which is unpacked whole."""

SMALLEST_CHUNK = 1024
"""Pixels of a chunk in a plane that has more; smaller ones would take hours."""

MOST_CHUNKS = 2**24
"""In a shard, whose index is read whole."""

MOST_EMPTY = 2**16
"""Chunks that a level lacks, if it is read."""

LARGEST_TEXT = 2**26
"""Bytes of a file of metadata."""

_OPENING = Lock()

ChunkAt = tuple[int, ...]
"""Of a file of a chunk in the grid of all, along each axis."""


class OmeZarrReader:
    """An open OME-Zarr folder."""

    kind = "OME-Zarr"
    suffixes = frozenset({".zarr"})
    in_parts = True

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """Say whether a folder is OME-Zarr."""
        return not start and path.is_dir() and any((path / mark).is_file() for mark in MARKS)

    def __init__(self, path: Path, axes: str | None) -> None:
        try:
            import zarr  # noqa: F401
        except ImportError:
            raise ImageError("is OME-Zarr, and reading it needs zarr: pip install zarr") from None
        with damage_told():
            self._images = [_Image(folder, name, axes) for folder, name in _images(path.resolve())]
            self.scenes: Sequence[Scene] = checked_scenes([image.scene for image in self._images])

    def read(self, scene: int, *, t: int, z: int, channel: int | None, region: Tile, level: int = 0) -> NDArray:
        """Read a part of one plane, or of a smaller copy of it."""
        with damage_told():
            return self._images[scene].read(t, z, channel, region, level)

    def close(self) -> None:
        """Nothing is kept open."""


MARKS = (".zattrs", "zarr.json", "data.zarr/.zattrs")
"""Files of which an OME-Zarr folder has one; the last is bioformats2raw's first layout."""


def _images(folder: Path) -> Iterator[tuple[Path, str]]:
    """The folders of the images in a folder, and their names."""
    if not any((folder / mark).is_file() for mark in MARKS[:2]):
        yield from _numbered(folder / "data.zarr", folder / "METADATA.ome.xml")
        return
    attributes = _attributes(folder)
    if "multiscales" in attributes:
        yield folder, ""
    elif "plate" in attributes:
        yield from _fields(folder, attributes["plate"])
    elif "bioformats2raw.layout" in attributes or (folder / "OME").is_dir():
        yield from _numbered(folder, folder / "OME" / "METADATA.ome.xml")
    else:
        raise ImageError("is Zarr without the metadata of an OME image; save it as OME-Zarr or OME-TIFF")


def _numbered(folder: Path, description: Path) -> Iterator[tuple[Path, str]]:
    """Images that bioformats2raw has numbered; those of a plate are in its wells."""
    attributes = _attributes(folder)
    if "plate" in attributes:
        yield from _fields(folder, attributes["plate"])
        return
    named = []
    if description.is_file():
        root = ElementTree.fromstring(_text(description))
        named = [image.get("Name", "") for image in root.iterfind("{*}Image")]
    count = 0
    while (folder / str(count)).is_dir():
        yield folder / str(count), named[count] if count < len(named) else ""
        count += 1


def _fields(folder: Path, plate: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """The fields of a plate, well by well."""
    found = set()
    for well in plate["wells"]:
        path = _inside(folder, well["path"])
        for field in _attributes(path)["well"]["images"]:
            image = _inside(path, field["path"])
            if image in found:
                raise ImageError(f"names {well['path']}/{field['path']} twice")
            found.add(image)
            yield image, f"{well['path']}/{field['path']}"


def _inside(folder: Path, name: object) -> Path:
    """Join a path that metadata name, which must not lead out of the folder."""
    parts = PurePosixPath(str(name)).parts
    path = folder.joinpath(*parts)
    if not parts or ".." in parts or "\\" in str(name) or not path.resolve().is_relative_to(folder.resolve()):
        raise ImageError(f"names {str(name)!r}, which is not inside its folder")
    return path


def _text(path: Path) -> str:
    if path.stat().st_size > LARGEST_TEXT:
        raise ImageError(f"has metadata of more than {LARGEST_TEXT >> 20} MB in {path.name}")
    return path.read_text(encoding="utf-8")


def _attributes(folder: Path) -> dict[str, Any]:
    """What a group says of itself, in either version of Zarr."""
    if (folder / "zarr.json").is_file():
        attributes = json.loads(_text(folder / "zarr.json")).get("attributes", {})
        found = attributes.get("ome", attributes)
    else:
        found = json.loads(_text(folder / ".zattrs"))
    if not isinstance(found, dict):
        raise ImageError("has metadata that are no OME-Zarr")
    return found


@dataclass(frozen=True)
class _Array:
    """A level, and what it says of itself."""

    path: Path
    version: Literal[2, 3]
    shape: tuple[int, ...]
    dtype: np.dtype
    chunk: tuple[int, ...]
    stored: tuple[int, ...]
    """Shape of what is in a file: a chunk, or a shard of several."""

    @classmethod
    def of(cls, level: Path) -> "_Array":
        """Read the metadata, and refuse what should not be unpacked."""
        in_version_3 = (level / "zarr.json").is_file()
        if in_version_3:
            found = json.loads(_text(level / "zarr.json"))
            codecs, chunk = found["codecs"], found["chunk_grid"]["configuration"]["chunk_shape"]
            stored = chunk
            for codec in codecs:
                if codec["name"] == "sharding_indexed":
                    shard, chunk = chunk, codec["configuration"]["chunk_shape"]
                    if math.prod(shard) > MOST_CHUNKS * math.prod(chunk):
                        raise ImageError(f"has shards of {tuple(shard)} in chunks of {tuple(chunk)}; save it anew")
            names = _codecs(codecs) - CODECS
            dtype = np.dtype(found["data_type"])
        else:
            found = json.loads(_text(level / ".zarray"))
            compression = {found["compressor"]["id"]} if found["compressor"] else set()
            names = (compression - COMPRESSIONS) | ({each["id"] for each in found["filters"] or ()} - FILTERS)
            dtype, chunk = np.dtype(found["dtype"]), found["chunks"]
            stored = chunk
        if names:
            raise ImageError(f"is packed with {', '.join(sorted(names))}, which is not unpacked; save it with zstd")
        shape, chunk, stored = (tuple(int(length) for length in each) for each in (found["shape"], chunk, stored))
        if len(chunk) != len(shape) or not 0 < math.prod(chunk) * dtype.itemsize <= LARGEST_CHUNK:
            raise ImageError(f"has chunks of shape {chunk}, of which one cannot be unpacked at a time; save it anew")
        return cls(level, 3 if in_version_3 else 2, shape, dtype, chunk, stored)

    @property
    def grid(self) -> tuple[int, ...]:
        """Files along each axis, if all are there."""
        return tuple(-(-side // max(1, each)) for side, each in zip(self.shape, self.stored, strict=True))

    def there(self) -> set[ChunkAt]:
        """Find the places in the grid of the files that are there."""
        found = set()
        for folder, _, files in os.walk(self.path):
            within = Path(folder).relative_to(self.path).parts
            for name in files:
                parts = [*within, *name.split(".")]
                parts = parts[parts[0] == "c" :]
                if len(parts) == len(self.grid) and all(part.isdecimal() for part in parts):
                    place = tuple(map(int, parts))
                    if all(at < number for at, number in zip(place, self.grid, strict=True)):
                        found.add(place)
        return found

    def is_empty_as(self, larger: "_Array", there: Set[ChunkAt]) -> bool:
        """Say whether no file is missing but where a larger level has none: what is empty is not written.

        Args:
            larger: The other level.
            there: Its files.
        """
        found = self.there()
        if math.prod(self.grid) - len(found) > MOST_EMPTY:
            return False
        ratios = [reduction_of(of, side) for of, side in zip(larger.shape, self.shape, strict=True)]
        for place in product(*map(range, self.grid)):
            if place in found:
                continue
            ranges = []
            for at, side, whole, ratio, of in zip(place, self.stored, self.shape, ratios, larger.stored, strict=True):
                begin, end = at * side * ratio, min((at + 1) * side, whole) * ratio
                ranges.append(range(int(begin) // of, -(-math.ceil(end) // of)))
            if any(each in there for each in product(*ranges)):
                return False
        return True

    @cached_property
    def pixels(self) -> Any:
        """The array, opened when it is first asked for."""
        import zarr
        from zarr.storage import LocalStore

        store = LocalStore(self.path, read_only=True)
        # Of oddities, such as an empty list of filters. What is ignored is one list of the whole process, which
        # two threads at a time would leave to each other.
        with _OPENING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return zarr.open_array(store, mode="r", zarr_format=self.version)


def _codecs(codecs: Sequence[Mapping[str, Any]]) -> set[str]:
    """Names of all codecs, those within shards too."""
    names = set()
    for codec in codecs:
        names.add(codec["name"])
        if codec["name"] == "sharding_indexed":
            inner = codec["configuration"]
            names |= _codecs(inner["codecs"]) | _codecs(inner.get("index_codecs", ()))
    return names


class _Image:
    """One image: a folder with levels."""

    def __init__(self, folder: Path, name: str, axes: str | None) -> None:
        try:
            with damage_told():
                self.scene = self._described(folder, name, axes)
        except ImageError as fault:
            self.scene = unreadable(name, ImageError(f'has an image "{name}" that {fault}') if name else fault)

    def _described(self, folder: Path, name: str, axes: str | None) -> Scene:
        attributes = _attributes(folder)
        levels = attributes["multiscales"][0]
        largest = levels["datasets"][0]
        array = _Array.of(_inside(folder, largest["path"]))
        shape = array.shape
        self._axes, units = _axes(levels.get("axes"), len(shape), axes)
        if len(self._axes) != len(shape) or len(set(self._axes)) != len(shape):
            raise ImageError(f"has axes {''.join(self._axes)} and shape {shape}, which do not fit")
        sizes, chunk = (dict(zip(self._axes, each, strict=True)) for each in (shape, array.chunk))
        scale = np.ones(len(shape))
        for transformation in [
            *largest.get("coordinateTransformations", ()),
            *levels.get("coordinateTransformations", ()),
        ]:
            if transformation.get("type") == "scale":
                scale = scale * np.array(transformation["scale"], float)
        channels = attributes.get("omero", {}).get("channels", ())
        scene, self._time = describe_scene(
            sizes,
            array.dtype,
            channels=[str(channel.get("label", "")) for channel in channels],
            pixel_size={
                axis.lower(): size * MICROMETRES.get(unit, 0)
                for axis, size, unit in zip(self._axes, scale, units, strict=True)
                if axis in "XYZ"
            },
            name=name,
        )
        if self._in_crumbs(array):
            raise ImageError(f"has chunks of {chunk['Y']} x {chunk['X']} pixels, which are too small; save it anew")
        there, chunks = array.there(), math.prod(array.grid)
        if len(there) < chunks:
            told = f"{chunks - len(there)} of {chunks} chunks are not there and are taken for the fill value"
            scene = replace(scene, note="; ".join(filter(None, (scene.note, told))))
        self._levels = [array, *self._smaller(folder, levels["datasets"][1:], array, there)]
        return replace(scene, levels=tuple(self._sides(level) for level in self._levels[1:]))

    def _in_crumbs(self, array: _Array) -> bool:
        chunk = dict(zip(self._axes, array.chunk, strict=True))
        return chunk["Y"] * chunk["X"] < min(SMALLEST_CHUNK, math.prod(self._sides(array)))

    def _sides(self, array: _Array) -> tuple[int, int]:
        return array.shape[self._axes.index("Y")], array.shape[self._axes.index("X")]

    def _smaller(
        self, folder: Path, levels: Sequence[Mapping[str, Any]], whole: _Array, there: Set[ChunkAt]
    ) -> Iterator[_Array]:
        """The levels that hold the same planes smaller and whole; what is wrong with one keeps none from the others."""
        before = whole
        for level in levels:
            with suppress(Exception):
                array = _Array.of(_inside(folder, level["path"]))
                smaller = all(side < of for side, of in zip(self._sides(array), self._sides(before), strict=True))
                planes = [
                    [side for side, axis in zip(each.shape, self._axes, strict=True) if axis not in "YX"]
                    for each in (whole, array)
                ]
                alike = planes[0] == planes[1] and array.dtype == whole.dtype
                if smaller and alike and not self._in_crumbs(array) and array.is_empty_as(whole, there):
                    before = array
                    yield array

    def read(self, t: int, z: int, channel: int | None, region: Tile, level: int) -> NDArray:
        """Read a part of one plane, or of a smaller copy of it."""
        index: dict[str, int | slice] = {
            "Y": slice(region.top, region.top + region.height),
            "X": slice(region.left, region.left + region.width),
            self._time: t,
            "Z": z,
            "C": channel or 0,
        }
        part = np.asarray(self._levels[level].pixels[tuple(index.get(axis, 0) for axis in self._axes)])
        if self._axes.index("X") < self._axes.index("Y"):
            part = part.T
        return np.array(part, dtype=self.scene.dtype)


def _axes(named: Sequence[Any] | None, rank: int, given: str | None) -> tuple[list[str], list[str]]:
    """Axes as letters, and their units; others than known ones keep their names."""
    if not named:
        if given:
            return list(given.upper()), [""] * rank
        if rank != len(OLD_AXES):
            raise ImageError(f"has {rank} axes that are not named; name them, as in axes={OLD_AXES[-rank:]} (--axes)")
        return list(OLD_AXES), [""] * rank
    names = [axis if isinstance(axis, str) else str(axis["name"]) for axis in named]
    kinds = ["" if isinstance(axis, str) else str(axis.get("type", "")) for axis in named]
    letters = [
        name.upper() if name.upper() in set(AXES) else {"time": "T", "channel": "C"}.get(kind, name)
        for name, kind in zip(names, kinds, strict=True)
    ]
    return letters, ["" if isinstance(axis, str) else str(axis.get("unit", "")) for axis in named]
