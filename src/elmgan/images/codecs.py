"""LZW and the floating-point predictor of TIFF: tifffile leaves them to imagecodecs, which is too large to require."""

import struct
from copy import copy
from io import BytesIO
from typing import Any

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile
from tifffile import COMPRESSION, PREDICTOR, TIFF, TiffPage


def complete_decoder(page: TiffPage) -> None:
    """Make a page decodable where tifffile lacks LZW or the floating-point predictor; leave any other as it is.

    Only the missing step is added. tifffile still does the rest: other compressions, the horizontal predictor, byte
    order, and putting strips or tiles together. With imagecodecs installed nothing is missing.

    Raises:
        NotImplementedError: the page's compression is another one that needs imagecodecs; the message is its name.

    """
    lzw = page.compression == COMPRESSION.LZW and page.compression not in TIFF.DECOMPRESSORS
    floating_point = page.predictor == PREDICTOR.FLOATINGPOINT and page.predictor not in TIFF.UNPREDICTORS
    if not lzw and page.compression not in TIFF.DECOMPRESSORS:
        raise NotImplementedError(COMPRESSION(page.compression).name)
    if not lzw and not floating_point:
        return
    plain = copy(page)
    plain.compression = COMPRESSION.NONE
    if floating_point:
        plain.predictor = PREDICTOR.NONE
    finish = plain.decode

    def decode(data: bytes | None, index: int, **options: Any) -> Any:
        if data is not None:
            depth, rows, columns, samples = finish(None, index)[2]  # of this strip or tile
            size = depth * rows * -(-columns * samples * page.bitspersample // 8)
            data = _undo_lzw(data, size) if lzw else TIFF.DECOMPRESSORS[page.compression](data, out=size)
            if floating_point:
                shape = (depth * rows, page.bitspersample // 8, columns, samples)
                data = _undo_floating_point(data[:size], shape, page.parent.byteorder)
        return finish(data, index, **options)

    page.decode = decode


def _undo_lzw(data: bytes, size: int) -> bytes:
    """Unpack ``size`` bytes: Pillow's libtiff takes them for the one row of a grey image; too few are an OSError.

    (OpenCV's libtiff would fill up damaged data with black.)
    """
    # ImageWidth, ImageLength, BitsPerSample, Compression, PhotometricInterpretation, StripOffsets, SamplesPerPixel,
    # RowsPerStrip, StripByteCounts: all of type 4, LONG.
    tags = {256: size, 257: 1, 258: 8, 259: COMPRESSION.LZW, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(data)}
    header = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    file = BytesIO(header + data + struct.pack("<H", len(tags)) + directory + bytes(4))
    with TiffImageFile(file) as image:
        return image.tobytes()


def _undo_floating_point(data: bytes, shape: tuple[int, int, int, int], byteorder: str) -> bytes:
    """Undo predictor 3, of Adobe's TIFF Technical Note 3; ``shape`` is (row, byte, column, sample).

    A row has the most significant bytes of all its values first, the least significant ones last, and holds each byte
    as the difference from the one a pixel before.
    """
    rows, size, columns, samples = shape
    differences = np.frombuffer(data, np.uint8).reshape(rows, size * columns, samples)
    values = np.cumsum(differences, axis=1, dtype=np.uint8).reshape(rows, size, columns * samples)
    return values[:, :: 1 if byteorder == ">" else -1].swapaxes(1, 2).tobytes()
