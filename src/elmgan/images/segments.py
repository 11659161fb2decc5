"""Pixels of a region of a TIFF page, from the strips or tiles that it takes and no others."""

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from tifffile import TIFF, TiffFrame, TiffPage

from elmgan.errors import ImageError
from elmgan.images.damage import LACKING
from elmgan.images.tile import Tile

JPEG = frozenset({6, 7, 33007, 34892})
"""TIFF's numbers of compressions that are JPEG; tifffile turns their YCbCr into RGB."""

WITH_SIZES = frozenset({22610, 33003, 33004, 33005, 34712, 34933, 34934, 50001, 50002, 52546})
"""Others that hold their own size, which need not be the page's: JPEG XR, JPEG 2000, PNG, WebP, JPEG XL."""

WEBP = 50001
LARGE = 2**28
"""Bytes; a strip or tile that claims more must not be larger than its page, nor be packed :data:`TIGHTEST` times."""

TIGHTEST = 2048

START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG markers that give the size
ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # JPEG markers without a length


def read_page(
    file: BinaryIO,
    page: TiffPage | TiffFrame,
    keyframe: TiffPage,
    region: Tile,
    *,
    depth: int,
    plane: int,
    samples: Sequence[int],
    offset: int | None = None,
) -> NDArray:
    """Read a region of one page.

    Args:
        file: That the page belongs to.
        page: With the places of strips or tiles.
        keyframe: Describes how these are packed; the page itself, or one of the same kind.
        region: Rows and columns; inside the page.
        depth: Index of the image in a page that is a volume; 0 in others.
        plane: Index of the sample where each has strips or tiles of its own; 0 where they stand together.
        samples: Indices of the samples to take, of those that stand together.
        offset: Where the pixels start, if not where the page says.

    Returns:
        (row, column, sample) in this machine's byte order.

    Raises:
        ImageError: Strips or tiles are cut off or missing, or do not hold what the page says.
    """
    if keyframe.is_final:
        return _stored_rows(file, page, keyframe, region, depth, plane, samples, offset)
    return _unpacked_segments(file, page, keyframe, region, depth, plane, samples)


def _stored_rows(
    file: BinaryIO,
    page: TiffPage | TiffFrame,
    keyframe: TiffPage,
    region: Tile,
    depth: int,
    plane: int,
    samples: Sequence[int],
    offset: int | None,
) -> NDArray:
    """Read rows of pixels that are stored one after the other as they are."""
    _, depths, rows, columns, together = keyframe.shaped
    dtype = np.dtype(keyframe.dtype).newbyteorder(keyframe.parent.byteorder)
    if offset is None:
        if not page.dataoffsets or min(page.dataoffsets) <= 0 or min(page.databytecounts, default=0) <= 0:
            raise ImageError(LACKING)
        if sum(page.databytecounts) < keyframe.nbytes and not (keyframe.is_stk or keyframe.is_lsm):
            raise ImageError(LACKING)
        offset = page.dataoffsets[0]
    width = columns * together
    first = (plane * depths + depth) * rows + region.top
    content = _read_whole(file, offset + first * width * dtype.itemsize, region.height * width * dtype.itemsize)
    pixels = np.frombuffer(content, dtype).reshape(region.height, columns, together)
    kept = pixels[:, region.left : region.left + region.width, samples]
    return kept.astype(dtype.newbyteorder("="))


def _read_whole(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(0, 2)
    if offset <= 0 or length <= 0 or offset + length > file.tell():
        raise ImageError(LACKING)
    file.seek(offset)
    return file.read(length)


def _unpacked_segments(
    file: BinaryIO,
    page: TiffPage | TiffFrame,
    keyframe: TiffPage,
    region: Tile,
    depth: int,
    plane: int,
    samples: Sequence[int],
) -> NDArray:
    dtype = np.dtype(keyframe.dtype)
    _, depths, rows, columns, together = keyframe.shaped
    if keyframe.is_tiled:
        deep, high, wide = keyframe.tiledepth, keyframe.tilelength, keyframe.tilewidth
    else:
        deep, high, wide = 1, keyframe.rowsperstrip, columns
    if min(deep, high, wide) < 1:
        raise ImageError("is damaged: its strips or tiles have no pixels; save it again")
    size = deep * high * wide * together * dtype.itemsize
    if size > max(LARGE, keyframe.nbytes):
        raise ImageError(f"is damaged: a tile of it claims {size:,} bytes; save it again")
    down, across = -(-rows // high), -(-columns // wide)
    kept = np.empty((region.height, region.width, len(samples)), dtype)
    for row in range(region.top // high, -(-(region.top + region.height) // high)):
        for column in range(region.left // wide, -(-(region.left + region.width) // wide)):
            index = ((plane * -(-depths // deep) + depth // deep) * down + row) * across + column
            if index >= min(len(page.dataoffsets), len(page.databytecounts)):
                raise ImageError(LACKING)
            packed = _read_whole(file, page.dataoffsets[index], page.databytecounts[index])
            if size > max(LARGE, TIGHTEST * len(packed)):
                raise ImageError(f"is damaged: {len(packed):,} bytes of it claim to be {size:,}; save it again")
            # What lies beyond the page's lower and right edge is padding, which need not be there.
            shown = Tile(row * high, column * wide, min(high, rows - row * high), min(wide, columns - column * wide))
            segment = _unpack(packed, index, page, keyframe, (deep, high, wide, together), shown)[depth % deep]
            part = _overlap(region, shown)
            pixels = part.within(shown).of(segment)
            if pixels.shape[:2] != (part.height, part.width):
                raise ImageError(LACKING)
            target = part.within(region)
            kept[target.top : target.top + target.height, target.left : target.left + target.width] = pixels[
                ..., samples
            ]
    return kept


def _overlap(one: Tile, other: Tile) -> Tile:
    top, left = max(one.top, other.top), max(one.left, other.left)
    bottom = min(one.top + one.height, other.top + other.height)
    right = min(one.left + one.width, other.left + other.width)
    return Tile(top, left, bottom - top, right - left)


def _unpack(
    packed: bytes,
    index: int,
    page: TiffPage | TiffFrame,
    keyframe: TiffPage,
    shape: tuple[int, int, int, int],
    shown: Tile,
) -> NDArray:
    """Unpack a strip or tile to (depth, row, column, sample), without what is padding or with it."""
    if keyframe.compression in WITH_SIZES:
        return _unpack_with_size(packed, keyframe, shape, shown)
    options: dict[str, bytes | None] = {}
    if keyframe.compression in JPEG:
        options = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
        rows, columns = _jpeg_size((keyframe.jpegheader or b"") + packed)
        if rows > max(shape[1], keyframe.imagelength) or columns > max(shape[2], keyframe.imagewidth):
            raise ImageError(f"is damaged: a strip or tile of it claims {rows} x {columns} pixels; save it again")
    unpacked: NDArray | None = keyframe.decode(packed, index, **options)[0]
    if unpacked is None:
        raise ImageError(LACKING)
    return unpacked


def _unpack_with_size(packed: bytes, keyframe: TiffPage, shape: tuple[int, int, int, int], shown: Tile) -> NDArray:
    """Unpack what holds its own size into memory of the size that the page gives; another size is refused."""
    unpack = TIFF.DECOMPRESSORS[keyframe.compression]
    options = {"hasalpha": True} if keyframe.compression == WEBP and shape[3] == 4 else {}
    # Tiles at the edge may come without padding.
    sizes = list(dict.fromkeys([shape[1:3], (shown.height, shape[2]), (shown.height, shown.width)]))
    while sizes:
        rows, columns = sizes.pop(0)
        pixels = np.empty((rows, columns, shape[3])[: 2 if shape[3] == 1 else 3], keyframe.dtype)
        try:
            unpack(packed, out=pixels, **options)
            break
        except ValueError:
            if not sizes:
                raise
    return pixels.reshape(1, rows, columns, shape[3])


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Rows and columns of a JPEG, as it says itself; (0, 0) where it does not."""
    at = 2
    while at + 9 <= len(content):
        if content[at] != 0xFF:
            at += 1
            continue
        marker = content[at + 1]
        if marker in START_OF_FRAME:
            return int.from_bytes(content[at + 5 : at + 7]), int.from_bytes(content[at + 7 : at + 9])
        if marker == 0xFF or marker in ALONE:
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4])
    return 0, 0
