"""CZI of Zeiss' ZEN: scenes, whose tiles are put together as far as a region needs them."""

import logging
import math
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import ImageError
from elmgan.images.damage import damage_told
from elmgan.images.reader import Scene
from elmgan.images.scenes import checked_scenes, describe_scene, unreadable
from elmgan.images.tile import Tile

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LENGTHS = "XYZ"

MOST_LACKING = 100
"""Planes that a scene may be said to have for each that there is, where recording was broken off."""

MOST_DIMENSIONS = 64
"""Of a tile; there are names for 11."""

LARGEST_TILE = 2**27
"""Samples that a tile, which is unpacked whole, may have; cameras have less than a tenth."""

# What czifile logs of odd files would be printed without a handler. What matters is raised.
logging.getLogger("czifile").addHandler(logging.NullHandler())


class CziReader:
    """An open CZI file."""

    kind = "CZI"
    suffixes = frozenset({".czi"})
    in_parts = False

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """Say whether a file is CZI."""
        return start.startswith(b"ZISRAWFILE")

    def __init__(self, path: Path, axes: str | None) -> None:
        try:
            from czifile import CziFile
        except ImportError:
            raise ImageError(_lacking()) from None
        with damage_told():
            self._file = CziFile(path, squeeze=False)
            try:
                _check_directory(path, self._file.header.directory_position)
                root = self._file.xml_element
                self._scenes = [_Scene(self._file, image, root) for image in self._file.scenes.values()]
                self.scenes: Sequence[Scene] = checked_scenes([each.scene for each in self._scenes])
            except BaseException:
                self._file.close()
                raise

    def read(self, scene: int, *, t: int, z: int, channel: int | None, region: Tile) -> NDArray:
        """Read a part of one plane."""
        with damage_told():
            return self._scenes[scene].read(t, z, channel, region)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _lacking() -> str:
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.version_info < (3, 12):
        return (
            f"is a CZI file, and reading CZI needs Python 3.12 or newer (this is {running}); install elmgan with that, "
            "or save the file as OME-TIFF in ZEN or Fiji"
        )
    return "is a CZI file, and reading CZI needs czifile: pip install czifile"


def _check_directory(path: Path, place: int) -> None:
    """Refuse a directory of tiles whose numbers would take all memory to follow."""
    with path.open("rb") as file:
        file.seek(place)
        head = file.read(32 + 128)
        if len(head) < 32 + 128 or not head.startswith(b"ZISRAWDIRECTORY"):
            raise ImageError("lacks its directory, as where recording was broken off; open it in ZEN and save it again")
        for _ in range(struct.unpack_from("<i", head, 32)[0]):
            entry = file.read(32)
            (dimensions,) = struct.unpack_from("<i", entry, 28)
            if not 0 < dimensions <= MOST_DIMENSIONS:
                raise ImageError("is damaged in its directory; copy or save it again")
            file.seek(20 * dimensions, os.SEEK_CUR)


class _Scene:
    """One scene of a file."""

    def __init__(self, file: Any, image: Any, root: "Element | None") -> None:
        self._file, self._image = file, image
        self._name = _scene_name(image, root)
        try:
            with damage_told():
                self.scene = self._described(root)
        except ImageError as fault:
            self.scene = unreadable(self._name, ImageError(f'has a scene "{self._name}" that {fault}'))

    def _described(self, root: "Element | None") -> Scene:
        image = self._image
        sizes = dict(zip(image.dims, image.shape, strict=True))
        self._start = dict(zip(image.dims, image.start, strict=True))
        planes = math.prod(length for axis, length in sizes.items() if axis not in "YXS")
        if planes > MOST_LACKING * len(image.directory_entries):
            raise ImageError(f"says that it has {planes} planes, and has {len(image.directory_entries)} tiles")
        types = {entry.pixel_type for entry in image.directory_entries}
        samples = {each.samples for each in types}
        if len(samples) > 1:
            raise ImageError("has colour and grey channels; save them as files of their own")
        sizes["S"] = min(*samples, 3)  # the fourth is alpha
        names = [_name(channel) for channel in _found(root, ".//Information/Image/Dimensions/Channels/Channel")]
        first = self._start.get("C", 0)
        scene, self._time = describe_scene(
            sizes,
            np.result_type(*(each.dtype for each in types)),
            channels=names[first : first + sizes.get("C", 1)],
            pixel_size=_pixel_size(root),
            name=self._name,
        )
        return scene

    def read(self, t: int, z: int, channel: int | None, region: Tile) -> NDArray:
        """Read a part of one plane."""
        from czifile import CziSubBlockSegmentData

        colour = "S" in self.scene.axes
        where = {self._time: t, "Z": z}
        if "C" in self.scene.axes:
            where["C"] = channel or 0
        elif not colour:
            where["C"] = 0
        chosen = {axis: start + where.get(axis, 0) for axis, start in self._start.items() if axis not in "YXS"}
        try:
            plane = self._image(**chosen) if chosen else self._image
        except ValueError:
            which = f"t {t + 1}, z {z + 1}, channel {(channel or 0) + 1}"
            raise ImageError(f"lacks its plane {which}, as where recording was broken off; leave that out") from None
        shape = (region.height, region.width, 3 if colour else 1)
        no_data = np.nan if self.scene.dtype.kind == "f" else 0
        pixels = np.full(shape, no_data, self.scene.dtype)
        top, left = self._start["Y"] + region.top, self._start["X"] + region.left
        try:
            part = plane(roi=(left, top, region.width, region.height))
        except ValueError:
            return pixels[..., 0] if not colour or channel is not None else pixels  # between the tiles
        for tile in part.directory_entries:
            if max(tile.size, tile.stored_size) > LARGEST_TILE:
                raise ImageError(f"has a tile of shape {tile.shape}, which is too large to be unpacked")
            if not isinstance(tile.read_segment_data(self._file), CziSubBlockSegmentData):
                raise ImageError("lacks a tile, as after a broken copy; copy or save it again")
        pixels[...] = part.asarray(fillvalue=no_data, maxworkers=1).reshape(region.height, region.width, -1)[..., :3]
        if not colour:
            return pixels[..., 0]
        return pixels if channel is None or "C" in self.scene.axes else pixels[..., channel].copy()


def _found(root: "Element | None", path: str) -> "list[Element]":
    return [] if root is None else root.findall(path)


def _scene_name(image: Any, root: "Element | None") -> str:
    for scene in _found(root, ".//Information/Image/Dimensions/S/Scenes/Scene"):
        if image.scene_indices and scene.get("Index") == str(image.scene_indices[0]):
            return scene.get("Name") or ""
    return ""


def _name(channel: "Element") -> str:
    return channel.get("Name") or channel.findtext("Name") or channel.get("Id") or ""


def _pixel_size(root: "Element | None") -> dict[str, float]:
    metres = {each.get("Id"): each.findtext("Value") for each in _found(root, ".//Scaling/Items/Distance")}
    return {side.lower(): float(metres[side] or 0) * 1e6 for side in LENGTHS if side in metres}
