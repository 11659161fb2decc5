"""Masks, label images and pictures to files."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import DTypeLike, NDArray

from elmgan.errors import OutputError
from elmgan.files import cannot_write, whole_file

CLASSIC = 3 << 30
"""Bytes of pixels from which a file is a BigTIFF."""

STORED_TILE = 512
"""Side of the tiles of large images, in pixels."""

PROGRAM = "ImageJ=1.54f"
"""How ImageJ, Fiji and what reads their files know a hyperstack."""


def write_mask(path: Path, mask: NDArray[np.bool_], pixel_size: Mapping[str, float] | None = None) -> None:
    """Write a (row, column) mask as uint8 TIFF, 0 background and 255 foreground.

    Args:
        path: File to write.
        mask: True where there is cell.
        pixel_size: x and y -> micrometres, where they are known.

    Raises:
        OutputError: the file cannot be written.

    """
    _write(path, packed_tiff(as_grey(mask), pixel_size))


def write_labels(path: Path, labels: NDArray[np.uint32], pixel_size: Mapping[str, float] | None = None) -> None:
    """Write a (row, column) label image as uint32 TIFF, 0 background and one number per cell; see :func:`write_mask`.

    Raises:
        OutputError: the file cannot be written.

    """
    _write(path, packed_tiff(labels.astype(np.uint32, copy=False), pixel_size))


def write_image(path: Path, image: NDArray, pixel_size: Mapping[str, float] | None = None) -> None:
    """Write an image, (row, column) or (row, column, 3) in colour, as TIFF of its own type; see :func:`write_mask`.

    Raises:
        OutputError: the file cannot be written.

    """
    _write(path, packed_tiff(image, pixel_size))


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a picture, (row, column) grey or (row, column, 3) red, green, blue, as PNG.

    Raises:
        OutputError: the file cannot be written.

    """
    _write(path, packed_png(image))


def packed_png(image: NDArray[np.uint8]) -> bytes:
    """Give the content of the file that :func:`write_png` writes."""
    _, content = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
    return bytes(content.tobytes())


def packed_tiff(image: NDArray, pixel_size: Mapping[str, float] | None = None) -> bytes:
    """Give the content of a compressed TIFF of one image, (row, column) or in colour, with its pixel size if known."""
    described = {"description": f"{PROGRAM}\nunit=micron\n", **_resolution(pixel_size)} if pixel_size else {}
    file, meaning = BytesIO(), "rgb" if image.ndim == 3 else "minisblack"
    tifffile.imwrite(file, image, photometric=meaning, compression="zlib", metadata=None, **described)
    return file.getvalue()


def as_grey(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Give a mask as 0 and 255."""
    return np.asarray(mask).view(np.uint8) * np.uint8(255)


def write_tiles(
    path: Path,
    rows: Iterable[NDArray],
    shape: tuple[int, int],
    dtype: DTypeLike,
    pixel_size: Mapping[str, float] | None = None,
) -> None:
    """Write an image that comes some rows at a time, from top to bottom, as compressed BigTIFF in tiles.

    Args:
        path: File to write; it is not whole until this returns.
        rows: All rows of the image, (row, column).
        shape: Of the image.
        dtype: Of the pixels.
        pixel_size: x and y -> micrometres, where they are known.

    Raises:
        OutputError: The file cannot be written.
    """
    described = {"description": f"{PROGRAM}\nunit=micron\n", **_resolution(pixel_size)} if pixel_size else {}
    try:
        tifffile.imwrite(
            path,
            _tiles(rows, shape[1], np.dtype(dtype)),
            shape=shape,
            dtype=dtype,
            tile=(STORED_TILE, STORED_TILE),
            bigtiff=True,
            photometric="minisblack",
            compression="zlib",
            metadata=None,
            buffersize=1 << 24,  # bytes that wait to be written
            **described,
        )
    except OSError as error:
        raise cannot_write(path, error) from error


def _tiles(rows: Iterable[NDArray], width: int, dtype: np.dtype) -> Iterator[NDArray]:
    """Cut an image that comes in rows into tiles, from left to right, then down; what is beyond it is 0."""
    waiting = np.zeros((0, width), dtype)
    for some in chain(rows, [None]):
        if some is not None:
            waiting = np.concatenate([waiting, some]) if len(waiting) else some
        while len(waiting) >= STORED_TILE or (some is None and len(waiting)):
            for left in range(0, width, STORED_TILE):
                tile = np.zeros((STORED_TILE, STORED_TILE), dtype)
                part = waiting[:STORED_TILE, left : left + STORED_TILE]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile
            waiting = waiting[STORED_TILE:]


class Pages:
    """A TIFF of several planes, which come in any order: a hyperstack to ImageJ, Fiji and napari.

    It appears when it is closed, with pages of 0 for the planes that did not come. It is not compressed, since ImageJ
    takes a hyperstack as one run of pixels.

    Args:
        path: File to write.
        times: Number of time points.
        depths: Number of focal planes.
        shape: Rows and columns.
        dtype: uint8 or uint32.
        pixel_size: x, y and z -> micrometres, as far as they are known.

    Raises:
        OutputError: The file cannot be written; from the methods too.
    """

    def __init__(
        self,
        path: Path,
        *,
        times: int,
        depths: int,
        shape: tuple[int, int],
        dtype: DTypeLike,
        pixel_size: Mapping[str, float] | None = None,
    ) -> None:
        self._depths = depths
        self._dtype = np.dtype(dtype)
        self._size = shape[0] * shape[1] * self._dtype.itemsize
        self._path = path
        with ExitStack() as stack:
            temporary = stack.enter_context(whole_file(path))
            tifffile.imwrite(
                temporary,
                shape=(times * depths, *shape),
                dtype=self._dtype,
                photometric="minisblack",
                metadata=None,
                bigtiff=times * depths * self._size > CLASSIC,
                description=_hyperstack(times, depths, pixel_size or {}),
                **_resolution(pixel_size or {}),
            )
            with tifffile.TiffFile(temporary) as written:
                self._first = written.pages.first.dataoffsets[0]
            self._file = stack.enter_context(temporary.open("r+b"))
            self._stack = stack.pop_all()

    def write(self, page: bytes | Path, *, t: int, z: int) -> None:
        """Write the pixels of one plane, row by row, or those that a file holds; t and z are indices from 0."""
        try:
            self._file.seek(self._first + (t * self._depths + z) * self._size)
            if isinstance(page, Path):
                with page.open("rb") as held:
                    shutil.copyfileobj(held, self._file, 1 << 24)
                return
            assert len(page) == self._size
            self._file.write(page)
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def close(self, *, keep: bool = True) -> None:
        """Let the file appear, or with ``keep=False`` give it up."""
        try:
            if keep:
                self._stack.close()
            else:
                self._stack.__exit__(OutputError, OutputError("given up"), None)
        except OSError as error:
            raise cannot_write(self._path, error) from error


def _hyperstack(times: int, depths: int, pixel_size: Mapping[str, float]) -> str:
    """Say the dimensions of a hyperstack, and its unit and depth, in the words of ImageJ."""
    lines = [PROGRAM, f"images={times * depths}"]
    lines += [f"slices={depths}"] if depths > 1 else []
    lines += [f"frames={times}"] if times > 1 else []
    lines += ["hyperstack=true"] if times > 1 and depths > 1 else []
    lines += ["unit=micron"] if pixel_size else []
    lines += [f"spacing={pixel_size['z']:.9g}"] if depths > 1 and "z" in pixel_size else []
    return "\n".join(lines) + "\n"


def _resolution(pixel_size: Mapping[str, float]) -> dict[str, Any]:
    """Pixels per micrometre, as TIFF and ImageJ have it; nothing where the size is not known."""
    if not {"x", "y"} <= pixel_size.keys():
        return {}
    return {"resolution": (1 / pixel_size["x"], 1 / pixel_size["y"]), "resolutionunit": "NONE"}


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
