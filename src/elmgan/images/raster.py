"""PNG, JPEG, BMP, WebP and GIF: one image, grey or RGB."""

import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import Image
from PIL.JpegImagePlugin import JpegImageFile

from elmgan.errors import ImageError
from elmgan.images.damage import LACKING, damage_told
from elmgan.images.reader import Scene
from elmgan.images.tile import Tile

PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_COLOURED = {0: False, 2: True, 3: True, 4: False, 6: True}  # by the colour type; 3 has a palette

GREY_MODES = ("1", "L")  # of Pillow
COLOUR_MODES = ("P", "RGB", "RGBA", "RGBX", "CMYK")

FIRST_FRAME = "Only the first frame of the animation is there; save the others as files of their own."


class RasterReader(ABC):
    """An open image file; see :class:`elmgan.images.reader.Reader`.

    Opening it reads the header. Pixels are unpacked at the first reading, and kept until it is closed. Palettes are
    applied, alpha is left out, CMYK becomes RGB, and EXIF orientation is not applied.
    """

    kind: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    in_parts: ClassVar[bool] = False

    def __init__(self, path: Path, axes: str | None) -> None:
        with damage_told(), ExitStack() as opened:
            self._file = opened.enter_context(path.open("rb"))
            self._scene = self._described(self._file)
            if min(self._scene.sides) < 1:
                raise ImageError("has no pixels; save it again")
            opened.pop_all()
        self._pixels: NDArray | None = None

    @property
    def scenes(self) -> Sequence[Scene]:
        """The one image."""
        return (self._scene,)

    def close(self) -> None:
        """Close the file and forget its pixels."""
        self._pixels = None
        self._file.close()

    def read(self, scene: int, *, t: int, z: int, channel: int | None, region: Tile) -> NDArray:
        """Read a part of the image; see :meth:`elmgan.images.reader.Reader.read`."""
        with damage_told():
            if self._pixels is None:
                self._file.seek(0)
                pixels = self._unpacked(self._file.read())
                if pixels.shape != self._scene.shape or pixels.dtype != self._scene.dtype:
                    raise ImageError("is damaged: its pixels are not what its header says; save it again")
                self._pixels = pixels
        part = region.of(self._pixels)
        return part[..., channel].copy() if part.ndim == 3 and channel is not None else part.copy()

    @abstractmethod
    def _described(self, file: BinaryIO) -> Scene:
        """Read the header."""

    @abstractmethod
    def _unpacked(self, content: bytes) -> NDArray:
        """Unpack the whole file to the scene's shape."""


def _scene(rows: int, columns: int, *, colour: bool, dtype: type = np.uint8, note: str = "") -> Scene:
    return Scene(
        "YXS" if colour else "YX", (rows, columns, 3) if colour else (rows, columns), np.dtype(dtype), note=note
    )


def _by_mode(image: Image, note: str = "") -> Scene:
    """Describe what Pillow opened."""
    if image.mode not in GREY_MODES + COLOUR_MODES:
        raise ImageError(f"has pixels of mode {image.mode}; save it as grey or RGB")
    columns, rows = image.size
    return _scene(rows, columns, colour=image.mode in COLOUR_MODES, note=note)


def _as_array(image: Image) -> NDArray:
    return np.array(image.convert("L" if image.mode in GREY_MODES else "RGB"))


def _by_opencv(content: bytes, *, colour: bool) -> NDArray:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("its pixels cannot be unpacked")
    if image.ndim == 2:
        return np.dstack([image] * 3) if colour else image
    return (
        np.ascontiguousarray(image[..., 2::-1]) if colour else image[..., 0].copy()
    )  # it gives blue, green, red, alpha


class PngReader(RasterReader):
    """PNG; 16 bits stay 16 bits, and every chunk must be whole."""

    kind = "PNG"
    suffixes = frozenset({".png"})

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """Say whether the first bytes are those of a PNG."""
        return start.startswith(PNG_START)

    def _described(self, file: BinaryIO) -> Scene:
        # Signature, length of the first chunk, its name, then width, height, bits and colour type.
        name, columns, rows, bits, colour_type = struct.unpack(">12x4sIIBB", file.read(26))
        if name != b"IHDR" or colour_type not in PNG_COLOURED:
            raise ImageError("is damaged: it is no PNG beyond its first bytes; save it again")
        return _scene(rows, columns, colour=PNG_COLOURED[colour_type], dtype=np.uint16 if bits == 16 else np.uint8)

    def _unpacked(self, content: bytes) -> NDArray:
        # Pillow would reduce 16-bit colour to 8 bits. OpenCV takes damaged chunks.
        start, name = len(PNG_START), b""
        while name != b"IEND":
            end = start + 8 + int.from_bytes(content[start : start + 4])
            name = content[start + 4 : start + 8]
            if content[end : end + 4] != zlib.crc32(content[start + 4 : end]).to_bytes(4):
                raise ValueError("a part is cut off or has a wrong checksum")
            start = end + 4
        return _by_opencv(content, colour="S" in self._scene.axes)


class JpegReader(RasterReader):
    """JPEG; one that is cut off is refused, which other decoders fill up with grey."""

    kind = "JPEG"
    suffixes = frozenset({".jpg", ".jpeg"})

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """Say whether the first bytes are those of a JPEG."""
        return start.startswith(b"\xff\xd8\xff")

    def _described(self, file: BinaryIO) -> Scene:
        return _by_mode(JpegImageFile(file))

    def _unpacked(self, content: bytes) -> NDArray:
        with JpegImageFile(BytesIO(content)) as image:
            return _as_array(image)


class BmpReader(RasterReader):
    """BMP."""

    kind = "BMP"
    suffixes = frozenset({".bmp"})

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """Say whether the first bytes are those of a BMP: its letters, and a header of a known length."""
        return start.startswith(b"BM") and int.from_bytes(start[14:18], "little") in (12, 40, 52, 56, 64, 108, 124)

    def _described(self, file: BinaryIO) -> Scene:
        image = BmpImageFile(file)
        size = file.seek(0, 2)
        # Two bytes of run-length encoding give 255 pixels at most; others lie there as they are, a bit or more each.
        if image.size[0] * image.size[1] > 256 * size:
            raise ImageError(LACKING)
        return _by_mode(image)

    def _unpacked(self, content: bytes) -> NDArray:
        with BmpImageFile(BytesIO(content)) as image:
            return _as_array(image)


class WebpReader(RasterReader):
    """WebP, which is always RGB."""

    kind = "WebP"
    suffixes = frozenset({".webp"})

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """Say whether the first bytes are those of a WebP."""
        return start.startswith(b"RIFF") and start[8:12] == b"WEBP"

    def _described(self, file: BinaryIO) -> Scene:
        start = file.read(30)
        if len(start) < 30 or 8 + int.from_bytes(start[4:8], "little") > file.seek(0, 2):
            raise ImageError(LACKING)
        note = ""
        if start[12:16] == b"VP8X":
            columns, rows = (1 + int.from_bytes(start[at : at + 3], "little") for at in (24, 27))
            note = FIRST_FRAME if start[20] & 2 else ""
        elif start[12:16] == b"VP8L":
            bits = int.from_bytes(start[21:25], "little")
            columns, rows = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        elif start[12:16] == b"VP8 ":
            columns, rows = (int.from_bytes(start[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        else:
            raise ImageError("is damaged: it is no WebP beyond its first bytes; save it again")
        return _scene(rows, columns, colour=True, note=note)

    def _unpacked(self, content: bytes) -> NDArray:
        return _by_opencv(content, colour=True)


class GifReader(RasterReader):
    """GIF: its first frame."""

    kind = "GIF"
    suffixes = frozenset({".gif"})

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """Say whether the first bytes are those of a GIF."""
        return start.startswith((b"GIF87a", b"GIF89a"))

    def _described(self, file: BinaryIO) -> Scene:
        image = GifImageFile(file)
        return _by_mode(image, FIRST_FRAME if image.is_animated else "")

    def _unpacked(self, content: bytes) -> NDArray:
        with GifImageFile(BytesIO(content)) as image:
            return _as_array(image)
