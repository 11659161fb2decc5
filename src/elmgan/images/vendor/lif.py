"""LIF of Leica's LAS: each image of a file is a scene with axes of its own."""

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import ImageError
from elmgan.images.damage import damage_told
from elmgan.images.reader import Scene
from elmgan.images.scenes import checked_scenes, describe_scene, unreadable
from elmgan.images.tile import Tile
from elmgan.images.units import MICROMETRES

if TYPE_CHECKING:
    from liffile.liffile import LifImageABC

DESCRIPTION = "./Data/Image/ImageDescription"

LENGTH_TAGS = {"1": "x", "2": "y", "3": "z"}
"""Leica's number of an axis -> the side of a pixel."""


RED_GREEN_BLUE = ["1", "2", "3"]
"""Leica's tags of the samples of colour."""

# What liffile logs of odd files would be printed without a handler. What matters is raised.
logging.getLogger("liffile").addHandler(logging.NullHandler())


class LifReader:
    """An open LIF file."""

    kind = "LIF"
    suffixes = frozenset({".lif"})
    in_parts = False

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """Say whether a file is LIF."""
        return start.startswith(b"\x70\0\0\0") and start[8:9] == b"\x2a"

    def __init__(self, path: Path, axes: str | None) -> None:
        from liffile import LifFile, LifFileType

        self._file = path.open("rb")
        try:
            with damage_told():
                lif = LifFile(self._file, squeeze=False)
                if lif.type is not LifFileType.LIF:
                    raise ImageError(f"is of Leica's kind {lif.type.value}, which is not read; save its images as LIF")
                lif.children = ()  # no file that this one names is opened
                self._images = [_Image(image) for image in lif.images]
            self.scenes: Sequence[Scene] = checked_scenes([image.scene for image in self._images])
        except BaseException:
            self._file.close()
            raise

    def read(self, scene: int, *, t: int, z: int, channel: int | None, region: Tile) -> NDArray:
        """Read a part of one plane."""
        with damage_told():
            return self._images[scene].read(t, z, channel, region)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Image:
    """One image of a file."""

    def __init__(self, image: "LifImageABC") -> None:
        self._image = image
        try:
            with damage_told():
                self.scene = self._described()
        except ImageError as fault:
            self.scene = unreadable(image.path, ImageError(f'has an image "{image.path}" that {fault}'))

    def _described(self) -> Scene:
        if self._image.is_flim:
            raise ImageError("holds lifetimes instead of grey values; save its intensity as an image")
        self._pixels()
        tags = self._image.xml_element.findall(f"{DESCRIPTION}/Channels/ChannelDescription")
        tags.sort(key=lambda tag: int(tag.get("BytesInc", "0")))
        colours = [tag.get("ChannelTag", "0") for tag in tags[:3]]
        sizes = dict(self._image.sizes)
        self._axes = [*sizes]
        if "S" in sizes and sorted(colours) != RED_GREEN_BLUE and "C" not in sizes:
            # The channels lie beside each other in each pixel, and are no colour all the same.
            sizes = {"C" if axis == "S" else axis: length for axis, length in sizes.items()}
            self._axes = [*sizes]
        self._colours = [colours.index(colour) for colour in RED_GREEN_BLUE] if "S" in sizes else []
        scene, self._time = describe_scene(
            sizes,
            self._image.dtype,
            channels=[tag.get("LUTName", "") for tag in tags],
            pixel_size=_pixel_size(self._image.xml_element.findall(f"{DESCRIPTION}/Dimensions/DimensionDescription")),
            name=self._image.path,
        )
        return scene

    def _pixels(self) -> NDArray:
        """All pixels as they lie in the file, none of them read yet."""
        try:
            block = self._image.memory_block
            lacking = block.offset + block.size > os.fstat(self._image.parent.filehandle.fileno()).st_size
        except (KeyError, IndexError):  # the file ends before it
            lacking = True
        if lacking:
            raise ImageError("lacks its pixels, as after a broken copy; copy or save it again")
        shape = self._image.shape  # to be known first: it finds out whether rows are padded
        return block.read_array(self._image._shape_stored or shape, self._image.dtype, out="memmap")

    def read(self, t: int, z: int, channel: int | None, region: Tile) -> NDArray:
        """Read a part of one plane."""
        colour = bool(self._colours)
        index: dict[str, int | slice] = {
            "Y": slice(region.top, region.top + region.height),
            "X": slice(region.left, region.left + region.width),
            self._time: t,
            "Z": z,
            "C": channel or 0,
            "S": slice(None),
        }
        if colour and "C" not in self._axes and channel is not None:
            index["S"] = self._colours[channel]
        part = self._pixels()[tuple(index.get(axis, 0) for axis in self._axes)]
        left = [axis for axis in self._axes if isinstance(index.get(axis), slice)]
        part = part.transpose([left.index(axis) for axis in "YXS" if axis in left])
        if part.ndim == 3:
            part = part[..., self._colours]
        return np.array(part, dtype=self.scene.dtype)


def _pixel_size(dimensions: Sequence[Element]) -> dict[str, float]:
    """Distance of pixel centres; the length that a file gives is between the first and the last of them."""
    found = {}
    for dimension in dimensions:
        side, unit = LENGTH_TAGS.get(dimension.get("DimID", "")), MICROMETRES.get(dimension.get("Unit", ""))
        if side and unit:
            with suppress(KeyError, ValueError, ZeroDivisionError):
                length = abs(float(dimension.attrib["Length"]))
                found[side] = length * unit / (int(dimension.attrib["NumberOfElements"]) - 1)
    return found
