"""ND2 of Nikon's NIS-Elements: stage positions are scenes, and a frame holds all channels of one plane."""

import math
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import ImageError
from elmgan.images.damage import damage_told
from elmgan.images.reader import Scene
from elmgan.images.scenes import SAVE_AS_TIFF, describe_scene
from elmgan.images.tile import Tile

if TYPE_CHECKING:
    from nd2 import ND2File

MAGIC = b"\xda\xce\xbe\x0a"
JPEG_2000 = b"\x00\x00\x00\x0cjP  "  # how files of NIS-Elements before 2012 begin, and any other of JPEG 2000

AXIS = {"TimeLoop": "T", "NETimeLoop": "T", "ZStackLoop": "Z", "XYPosLoop": "P"}

MOST_LACKING = 100
"""Frames that a file may be said to have for each that there is, where recording was broken off."""

BEFORE_PIXELS = 24 + 4072  # of a frame: the header, the name and the time, each of fixed length


class Nd2Reader:
    """An open ND2 file."""

    kind = "ND2"
    suffixes = frozenset({".nd2"})
    in_parts = False

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """Say whether a file is ND2."""
        return start.startswith(MAGIC) or (start.startswith(JPEG_2000) and path.suffix.lower() in Nd2Reader.suffixes)

    def __init__(self, path: Path, axes: str | None) -> None:
        with path.open("rb") as file:
            if not file.read(len(MAGIC)) == MAGIC:
                raise ImageError(f"is an ND2 file of the kind before 2012, which is not read; {SAVE_AS_TIFF}")
        from nd2 import ND2File

        with damage_told():
            with ND2File(path) as file:
                self._describe(file)
            self._bytes = np.memmap(path, np.uint8, mode="r")

    def _describe(self, file: "ND2File") -> None:
        attributes = file.attributes
        samples = file.components_per_channel
        self._groups, self._samples = attributes.channelCount or 1, samples
        self._rows, self._columns, self._dtype = attributes.heightPx, attributes.widthPx or 0, file.dtype
        pixel = attributes.componentCount * self._dtype.itemsize
        self._stride = attributes.widthBytes or self._columns * pixel
        if attributes.compressionType not in (None, "none", "lossless"):
            raise ImageError(f"is compressed with loss, which is not read; {SAVE_AS_TIFF}")
        if self._groups * samples != attributes.componentCount or self._stride < self._columns * pixel:
            raise ImageError(f"is damaged: its header contradicts itself; {SAVE_AS_TIFF}")
        self._packed = attributes.compressionType == "lossless"
        self._places = {
            int(name[len(b"ImageDataSeq|") : -1]): (offset + BEFORE_PIXELS, size - 8 if size >= 0 else sys.maxsize)
            for name, (offset, size) in cast(Any, file)._rdr.chunkmap.items()
            if name.startswith(b"ImageDataSeq|")
        }
        if not self._places:
            raise ImageError("holds no image")

        loops = [(AXIS.get(loop.type, "?"), loop.count) for loop in file.experiment]
        if len({axis for axis, _ in loops}) < len(loops):
            raise ImageError(f"has two loops of one kind: {loops}; save its parts as files of their own")
        loops, note = self._stored(loops or [("T", len(self._places))])
        self._loops = dict(loops)
        if math.prod(self._loops.values()) > MOST_LACKING * len(self._places):
            raise ImageError(f"says that it has {dict(loops)}, and has {len(self._places)} frames; {SAVE_AS_TIFF}")
        sizes = {axis: length for axis, length in loops if axis != "P"}
        sizes |= {"C": self._groups, "S": 3} if samples == 3 else {"C": attributes.componentCount}
        channels = file.metadata.channels or []
        scene, self._time = describe_scene(
            sizes | {"Y": self._rows, "X": self._columns},
            self._dtype,
            channels=[channel.channel.name or "" for channel in channels],
            pixel_size={
                axis: size
                for channel in channels[:1]
                for axis, size, known in zip(
                    "xyz", channel.volume.axesCalibration, channel.volume.axesCalibrated, strict=True
                )
                if known
            },
        )
        names = [""] * self._loops.get("P", 1)
        for loop in file.experiment:
            if loop.type == "XYPosLoop":
                names = [point.name or "" for point in loop.parameters.points][: loop.count]
                names += [""] * (loop.count - len(names))
        note = "; ".join(filter(None, (scene.note, note)))
        self.scenes: Sequence[Scene] = tuple(
            Scene(scene.axes, scene.shape, scene.dtype, scene.channels, scene.pixel_size, name, note) for name in names
        )

    def _stored(self, loops: list[tuple[str, int]]) -> tuple[list[tuple[str, int]], str]:
        """Say by which loops the frames that are in the file were recorded, and where that is not what was planned."""
        (outermost, planned), *inner = loops
        frames = math.prod(length for _, length in inner)
        stored = max(self._places) + 1
        if stored > planned * frames:
            return [("T", stored)], f"the file does not say what its {stored} frames are; they are counted one by one"
        if outermost == "T" and frames <= stored < planned * frames:
            told = f"the file ends after {stored // frames} of the {planned} time points that were planned"
            return [("T", stored // frames), *inner], told
        return loops, ""

    def read(self, scene: int, *, t: int, z: int, channel: int | None, region: Tile) -> NDArray:
        """Read a part of one plane."""
        where = {self._time: t, "Z": z, "P": scene}
        frame = 0
        for axis, length in self._loops.items():
            frame = frame * length + where.get(axis, 0)
        with damage_told():
            pixels = self._frame(frame)
            part = region.of(pixels)
            if self._samples != 3:
                part = part.reshape(region.height, region.width, -1)[..., channel or 0]
            else:
                part = part[..., ::-1]  # the file has blue, green, red
                if self._groups > 1:
                    part = part[:, :, channel or 0]
                else:
                    part = part[:, :, 0] if channel is None else part[:, :, 0, channel]
            return np.array(part, dtype=self._dtype.newbyteorder("="))

    def _frame(self, index: int) -> NDArray:
        """All channels of a plane, as (row, column, channel, sample); unless packed, it is not read yet."""
        offset, stored = self._places.get(index, (0, 0))
        size = self._rows * self._stride
        if self._packed:
            packed = self._bytes[offset : offset + stored].tobytes()
            content: NDArray = np.frombuffer(zlib.decompressobj().decompress(packed, size), np.uint8)
        else:
            content = self._bytes[offset : offset + min(size, stored)]
        if content.size < size:
            raise ImageError(f"lacks the pixels of frame {index + 1}, as after a broken copy; copy or save it again")
        item = self._dtype.itemsize
        return np.ndarray(
            (self._rows, self._columns, self._groups, self._samples),
            self._dtype,
            content,
            strides=(self._stride, self._groups * self._samples * item, self._samples * item, item),
        )

    def close(self) -> None:
        """Close the file."""
        del self._bytes
