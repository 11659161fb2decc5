"""Image files to arrays."""

import logging
import math
import os
import re
import stat
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePath, PurePosixPath

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile
from tifffile import PHOTOMETRIC

from elmgan.errors import ImageError, UsageError, one_line
from elmgan.images.codecs import complete_decoder

EXTENSIONS = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg"})
"""Names of readable files end in one of these, in lower or upper case."""

READABLE = "elmgan reads " + " ".join(sorted(EXTENSIONS))

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
PNG = b"\x89PNG\r\n\x1a\n"
PNG_COLOUR_TYPE = 25  # its place in a file
PNG_GREY_ALPHA = 4
JPEG = b"\xff\xd8\xff"

ALPHA = (1, 2)  # TIFF's ExtraSamples: associated and unassociated alpha
RGB = (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR)  # tifffile gives both as red, green and blue
LAB = (PHOTOMETRIC.CIELAB, PHOTOMETRIC.ICCLAB, PHOTOMETRIC.ITULAB)

# tifffile logs a line for each odd tag; without a handler Python would print it. What matters is raised.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class FoundImage:
    """An image file, and its path relative to the folder that was given (of a file that was given: its name).

    What was given but is not there, or is a folder without images, and a folder that may not be looked into, are listed
    too: they fail on reading.
    """

    path: Path
    relative: PurePosixPath


def find_images(paths: Sequence[Path]) -> list[FoundImage]:
    """List the image files among files and in folders, each once, in the order given.

    A file is taken as it is, whatever its name. Folders are searched with all their subfolders for names that end in
    one of ``EXTENSIONS``, sorted with numbers as numbers (``a2.tif`` before ``a10.tif``); hidden ones are passed over.

    Raises:
        UsageError: none of the paths exists and holds an image.

    """
    found: dict[tuple[Path, str], FoundImage] = {}
    problems = []
    for path in paths:
        try:
            images = _images_in(path) if stat.S_ISDIR(path.stat().st_mode) else [_as_given(path)]
        except (OSError, ImageError) as error:
            problems.append(f"{path} {_problem(error)}")
            images = [_as_given(path)]
        for image in images:
            # Links keep their own names, so that two links to one file are two images.
            found.setdefault((image.path.parent.resolve(), image.path.name), image)
    if problems and len(problems) == len(paths):
        raise UsageError(problems[0])
    return list(found.values())


def _as_given(path: Path) -> FoundImage:
    path = path if path.name else path.resolve()  # "." has no name
    return FoundImage(path, PurePosixPath(path.name))


def _images_in(folder: Path) -> list[FoundImage]:
    images: list[FoundImage] = []

    def list_closed(error: OSError) -> None:
        path = Path(error.filename)
        within = PurePosixPath(*path.relative_to(folder).parts)
        images.append(FoundImage(path, within) if within.name else _as_given(folder))

    for parent, subfolders, names in os.walk(folder, onerror=list_closed):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if path.suffix.lower() in EXTENSIONS and not name.startswith("."):
                images.append(FoundImage(path, PurePosixPath(*path.relative_to(folder).parts)))
    if not images:
        raise ImageError(f"holds no image; {READABLE}")
    return sorted(images, key=lambda image: _natural(image.relative))


def _natural(path: PurePath) -> tuple[list[list[str | int]], str]:
    """Sort key: case aside and numbers as numbers, then, for names that differ in nothing else, as written."""
    parts = [re.split(r"(\d+)", part.casefold()) for part in path.parts]
    return [[int(run) if run.isdecimal() else run for run in part] for part in parts], str(path)


def read_image(path: str | Path, *, channel: int | None = None) -> NDArray:
    """Read one image as it is stored: (row, column), or (row, column, channel) for colour.

    TIFF, PNG or JPEG are told apart by their content. Integers keep their type, floats become float32, one-bit images
    become uint8 0 and 255. Alpha is dropped; the palette of a PNG is applied, that of a TIFF (a display colour in
    microscopy) is not; CMYK JPEG becomes RGB; EXIF orientation is not applied, nor is a TIFF's WhiteIsZero: its numbers
    are taken as they are.

    Args:
        path: the file.
        channel: the only channel to return, counted from 1, as (row, column). Images with one channel per stain need
            it, be they planes (axis C, as Fiji and OME-TIFF store them) or samples of a pixel that the file does not
            call colour: even three of them are not.

    Raises:
        ImageError: the file cannot be read whole, is a stack, has NaN or infinite pixels or not that channel.

    """
    try:
        return checked(_decode(Path(path), channel), channel)
    except Exception as error:  # on damaged bytes the decoders raise whatever they trip over
        raise ImageError(f"{path}: {_problem(error)}") from error


def _problem(error: Exception) -> str:
    """Say what is wrong with a file, without its path."""
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "does not exist; check its name and folder"
    if isinstance(error, IsADirectoryError):
        return f"is a folder and no image; {READABLE}"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror}); make it readable or leave it out"
    return f"is damaged or of a kind that cannot be read ({one_line(error)}); save it again"


def name_one(channels: int) -> str:
    """Say that a channel must be named, and how."""
    return f"name one: channel=1..{channels} (--channel)"


def checked(image: NDArray, channel: int | None) -> NDArray:
    """Take the channel; a single one loses its axis. Bring to a type that is passed on; NaN and infinity stay."""
    channels = image.shape[2] if image.ndim == 3 else 1
    if channel is not None and not 1 <= channel <= channels:
        raise ImageError(f"there is no channel {channel}; the image has {channels}, counted from 1")
    if image.ndim == 3 and (channel is not None or channels == 1):
        image = image[..., (channel or 1) - 1]
    if image.dtype == np.bool_:
        return image.astype(np.uint8) * 255
    if np.issubdtype(image.dtype, np.integer):
        return image.astype(image.dtype.newbyteorder("="), copy=False)
    if not np.issubdtype(image.dtype, np.floating):
        raise ImageError(f"pixels of type {image.dtype} are not grey values")
    with np.errstate(over="ignore"):
        held = image.astype(np.float32, copy=False)
    if image.dtype.itemsize > 4 and (np.isinf(held) & np.isfinite(image)).any():
        raise ImageError("some pixels are beyond 3.4e38, which float32 cannot hold; divide them by a number first")
    return held


def _decode(path: Path, channel: int | None) -> NDArray:
    with path.open("rb") as file:
        start = file.read(8)
    if path.suffix.lower() not in EXTENSIONS:
        raise ImageError(f"is of an unknown kind; {READABLE}: save it as one of those")
    if start.startswith(TIFF):
        return _decode_tiff(path, channel)
    if start.startswith(PNG):
        return _decode_png(path.read_bytes())
    if start.startswith(JPEG):
        # Other decoders fill up a truncated file with grey. Opened by its class, Pillow takes any size.
        with JpegImageFile(BytesIO(path.read_bytes())) as jpeg:
            return np.array(jpeg.convert("RGB") if jpeg.mode == "CMYK" else jpeg)
    raise ImageError("is not a TIFF, PNG or JPEG image, whatever its name says; save it again as one of those")


def _decode_png(content: bytes) -> NDArray:
    """Decode with OpenCV, since Pillow would reduce 16-bit colour to 8 bits, once every chunk is known to be whole."""
    start, kind = len(PNG), b""
    while kind != b"IEND":
        end = start + 8 + int.from_bytes(content[start : start + 4])
        kind = content[start + 4 : start + 8]
        if content[end : end + 4] != zlib.crc32(content[start + 4 : end]).to_bytes(4):
            raise ValueError("a part is cut off or has a wrong checksum")
        start = end + 4
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("its pixels cannot be unpacked")
    if image.ndim == 2:
        return image
    # OpenCV gives blue, green, red and perhaps alpha, for grey with alpha too.
    return image[..., 0] if content[PNG_COLOUR_TYPE] == PNG_GREY_ALPHA else image[..., 2::-1]


def _decode_tiff(path: Path, channel: int | None) -> NDArray:
    with tifffile.TiffFile(path) as file:
        if file.is_ome and len(file.pages) == 1:
            # Its metadata may describe the whole set of files that this plane belongs to.
            source: tifffile.TiffPage | tifffile.TiffPageSeries = file.pages.first
            pages: Sequence = [source]
        else:
            images = [series for series in file.series if not series.keyframe.is_reduced]
            if len(images) != 1:
                raise ImageError(f"holds {len(images)} images instead of one; save one as its own file")
            source = images[0]
            pages = source.pages
        axes, size = source.axes, dict(zip(source.axes, source.shape, strict=True))
        if set(axes) - set("YXSC") or {"S", "C"} <= set(axes):
            planes = math.prod(source.shape) // (size["Y"] * size["X"] * size.get("S", 1))
            raise ImageError(
                f"has axes {axes} with {planes} planes; stacks are not counted yet: save one plane as its own file"
            )
        if "C" in axes and channel is None:
            raise ImageError(f"has axes {axes} with {size['C']} channels; {name_one(size['C'])}")
        for page in pages:
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                if count == 0 or offset + count > file.filehandle.size:  # it would be read as black
                    raise ImageError("lacks part of its pixels, as after a broken copy; copy or save it again")
        for keyframe in {page.keyframe for page in pages}:  # what decodes the page, and others like it
            try:
                complete_decoder(keyframe)
            except NotImplementedError as error:
                raise ImageError(
                    f'is compressed with {error}: pip install "elmgan[formats]" or save it with LZW or no compression'
                ) from None
        image = source.asarray().transpose([axes.index(axis) for axis in "YXCS" if axis in axes])
        extra_samples, photometric = source.keyframe.extrasamples, source.keyframe.photometric
    image = image[..., : image.shape[-1] - sum(kind in ALPHA for kind in extra_samples)]
    if photometric in LAB:
        raise ImageError("has CIELab colours; save it as grey or RGB")
    if image.shape[2:] == (3,) and photometric not in RGB and channel is None:
        raise ImageError(f"has 3 channels that are not colour; {name_one(3)}")
    return image
