import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from elmgan.errors import ImageError
from elmgan.images import image_size, read_image

GREY = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
COLOUR = np.dstack([GREY % 256] * 3).astype(np.uint8)


def pillow(format: str, mode: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(COLOUR).convert(mode).save(file, format, **options)
    return file.getvalue()


def tiff(image: NDArray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


HEADERS: dict[str, bytes] = {
    "grey.tif": tiff(GREY),
    "big endian.tif": tiff(GREY, byteorder=">", bigtiff=True),
    "tiled lzw.tif": tiff(GREY, tile=(16, 16), compression="lzw"),
    "colour.tif": tiff(COLOUR, photometric="rgb"),
    "planar.tif": tiff(np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate"),
    "ome.tif": tiff(GREY, ome=True),
    "grey.png": pillow("PNG", "L"),
    "one bit.png": pillow("PNG", "1"),
    "colour.png": pillow("PNG", "RGB"),
    "grey.jpg": pillow("JPEG", "L"),
    "colour.jpg": pillow("JPEG", "RGB", progressive=True),
}


@pytest.mark.parametrize("name", HEADERS)
def test_the_size_in_the_header_is_that_of_the_image(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(HEADERS[name])
    assert image_size(tmp_path / name) == read_image(tmp_path / name).shape[:2] == GREY.shape


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty, as after a broken copy"),
        (HEADERS["grey.png"][:20], "is damaged"),
        (HEADERS["grey.tif"][:9], "lacks part of its pixels|is damaged"),
        (HEADERS["grey.jpg"][:10], "is damaged"),
    ],
    ids=["nothing", "PNG", "TIFF", "JPEG"],
)
def test_a_broken_header_is_told(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=rf"a\.png: ({reason})"):
        image_size(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"b\.png: does not exist"):
        image_size(tmp_path / "b.png")
