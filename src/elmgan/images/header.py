"""The size of an image, without its pixels."""

import struct
from pathlib import Path

import tifffile
from PIL.JpegImagePlugin import JpegImageFile

from elmgan.errors import ImageError
from elmgan.images.read import JPEG, PNG, TIFF


def image_size(path: Path) -> tuple[int, int]:
    """Read the (rows, columns) of an image from its header, without unpacking its pixels.

    Raises:
        ImageError: the file cannot be opened, or is no TIFF, PNG or JPEG.

    """
    try:
        with path.open("rb") as file:
            start = file.read(24)
        if start.startswith(PNG):
            columns, rows = struct.unpack(">8x4x4xII", start)  # signature, length, "IHDR", width, height
        elif start.startswith(TIFF):
            with tifffile.TiffFile(path) as tiff:
                rows, columns = tiff.pages.first.imagelength, tiff.pages.first.imagewidth
        elif start.startswith(JPEG):
            with JpegImageFile(path) as jpeg:
                columns, rows = jpeg.size
        else:
            raise ValueError("no TIFF, PNG or JPEG")
    except Exception as error:  # on damaged bytes the decoders raise whatever they trip over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{path}: cannot be read as an image ({reason}); save it again as TIFF or PNG") from error
    return rows, columns
