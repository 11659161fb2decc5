import io
import struct
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from elmgan.errors import ImageError
from elmgan.images.raster import BmpReader, GifReader, JpegReader, PngReader, RasterReader, WebpReader
from elmgan.images.reader import Scene, readers
from elmgan.images.tile import Tile

ROWS, COLUMNS = np.mgrid[:48, :64]
GREY = np.rint(127.5 + 127.5 * np.sin(ROWS / 7) * np.cos(COLUMNS / 9)).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
PALETTE = Image.fromarray(COLOUR).convert("P")
KINDS = (BmpReader, GifReader, JpegReader, PngReader, WebpReader)


def pillow(format: str, image: NDArray | Image.Image, mode: str | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    (image.convert(mode) if mode else image).save(file, format, **options)
    return file.getvalue()


def opencv(suffix: str, image: NDArray) -> bytes:
    return bytes(cv2.imencode(suffix, image)[1])


def opened(path: Path) -> RasterReader:
    (kind,) = [kind for kind in KINDS if kind.recognises(path, path.read_bytes()[:512])]
    return kind(path, None)


def read(path: Path, region: Tile | None = None, channel: int | None = None) -> tuple[Scene, NDArray]:
    with closing(opened(path)) as reader:
        (scene,) = reader.scenes
        return scene, reader.read(0, t=0, z=0, channel=channel, region=region or Tile(0, 0, *scene.sides))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.tif"  # the content decides


def test_all_kinds_are_registered_and_told_apart() -> None:
    assert {kind.__name__ for kind in KINDS} <= {kind.__name__ for kind in readers()}
    assert set().union(*(kind.suffixes for kind in KINDS)) == {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif"}
    for start in (b"", b"BM", b"BM a text", b"RIFF1234WAVE", b"II*\0"):
        assert not any(kind.recognises(Path("a.png"), start) for kind in KINDS)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (opencv(".png", GREY), GREY),
        (opencv(".png", GREY.astype(np.uint16) * 257), GREY.astype(np.uint16) * 257),
        (opencv(".png", COLOUR[..., ::-1]), COLOUR),
        (opencv(".png", COLOUR[..., ::-1].astype(np.uint16) * 257), COLOUR.astype(np.uint16) * 257),
        (pillow("png", GREY, "1"), np.asarray(Image.fromarray(GREY).convert("1")).astype(np.uint8) * 255),
        (pillow("png", PALETTE), np.asarray(PALETTE.convert("RGB"))),
        (pillow("png", PALETTE, transparency=0), np.asarray(PALETTE.convert("RGB"))),
        (pillow("png", GREY, transparency=7), GREY),
        (pillow("png", GREY, "LA"), GREY),
        (pillow("png", COLOUR, "RGBA"), COLOUR),
        (pillow("bmp", GREY), GREY),
        (pillow("bmp", GREY, "1"), np.asarray(Image.fromarray(GREY).convert("1")).astype(np.uint8) * 255),
        (pillow("bmp", COLOUR), COLOUR),
        (pillow("bmp", COLOUR, "RGBA"), COLOUR),
        (pillow("bmp", PALETTE), np.asarray(PALETTE.convert("RGB"))),
        (pillow("gif", GREY), GREY),
        (pillow("gif", PALETTE), np.asarray(PALETTE.convert("RGB"))),
        (pillow("webp", COLOUR, lossless=True), COLOUR),
        (pillow("webp", COLOUR, "RGBA", lossless=True), COLOUR),
    ],
)
def test_pixels_are_those_that_were_saved(path: Path, content: bytes, expected: NDArray) -> None:
    path.write_bytes(content)
    scene, image = read(path)
    assert scene.axes == ("YXS" if expected.ndim == 3 else "YX")
    assert (scene.shape, scene.dtype, scene.note, scene.pixel_size) == (expected.shape, expected.dtype, "", {})
    np.testing.assert_array_equal(image, expected)
    region = Tile(5, 7, 11, 13)
    np.testing.assert_array_equal(read(path, region)[1], region.of(expected))
    if expected.ndim == 3:
        np.testing.assert_array_equal(read(path, region, channel=2)[1], region.of(expected)[..., 2])


@pytest.mark.parametrize(("mode", "expected"), [("L", GREY), ("RGB", COLOUR), ("CMYK", COLOUR)])
def test_jpeg_is_close_to_what_was_saved_and_not_turned(path: Path, mode: str, expected: NDArray) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # Orientation: a quarter turn
    path.write_bytes(pillow("jpeg", COLOUR if mode != "L" else GREY, mode, quality=98, subsampling=0, exif=turned))
    scene, image = read(path)
    assert scene.shape == image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() < 16


def test_webp_with_loss_is_read_as_by_pillow(path: Path) -> None:
    path.write_bytes(pillow("webp", COLOUR, quality=90))
    with Image.open(path) as image:
        assert np.abs(read(path)[1].astype(int) - np.asarray(image)).max() <= 3


def test_the_case_of_files_that_were_passed_over(shared_data: Path) -> None:
    folder = shared_data.parent / "cases" / "folder_passed_over"
    for name in ("well1.png", "well2.bmp", "well3.webp"):
        scene, image = read(folder / name)
        with Image.open(folder / name) as expected:
            assert np.abs(image.astype(int) - np.asarray(expected)).max() <= 3, name
        assert scene.sides == (256, 256), name


@pytest.mark.parametrize("format", ["gif", "webp"])
def test_of_an_animation_the_first_frame_is_read_and_told(path: Path, format: str) -> None:
    frames = [Image.fromarray(np.roll(COLOUR, shift, axis=1)) for shift in (0, 5, 9)]
    path.write_bytes(pillow(format, frames[0], save_all=True, append_images=frames[1:], lossless=True))
    scene, image = read(path)
    assert "first frame" in scene.note
    with Image.open(path) as expected:
        np.testing.assert_array_equal(image, np.asarray(expected.convert("RGB")))


def test_opening_reads_the_header_alone(path: Path) -> None:
    for format in ("png", "jpeg", "bmp", "webp", "gif"):
        content = bytearray(pillow(format, np.tile(GREY, (9, 9))))
        content[800:] = bytes(len(content) - 800)  # pixels are spoilt
        path.write_bytes(content)
        with closing(opened(path)) as reader:
            assert reader.scenes[0].sides == (432, 576), format


CONTENTS = {
    "png": opencv(".png", GREY),
    "colour png": pillow("png", COLOUR, optimize=True),
    "jpeg": pillow("jpeg", GREY),
    "progressive jpeg": pillow("jpeg", COLOUR, progressive=True),
    "bmp": pillow("bmp", GREY),
    "gif": pillow("gif", GREY),
    "webp": pillow("webp", COLOUR, lossless=True),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_is_cut_off_lacks_nothing_or_is_told(path: Path, name: str) -> None:
    content = CONTENTS[name]
    path.write_bytes(content)
    _, whole = read(path)
    refused = 0
    cuts = {*range(40, len(content), len(content) // 50), *range(len(content) - 20, len(content))}
    for cut in cuts:
        path.write_bytes(content[:cut])
        try:
            np.testing.assert_array_equal(read(path)[1], whole)
        except ImageError:
            refused += 1
    assert refused > len(cuts) / 2


@given(st.data())
def test_any_wrong_bit_of_a_png_is_an_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "a.png"
    content = bytearray(CONTENTS["png"])
    content[data.draw(st.integers(8, len(content) - 1))] ^= data.draw(st.sampled_from([1 << bit for bit in range(8)]))
    path.write_bytes(content)
    with pytest.raises(ImageError):
        read(path)


def png(columns: int, rows: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(bytes(100)), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(0, 5), "has no pixels"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "it is no PNG beyond its first bytes"),
        (b"\x89PNG\r\n\x1a\n", "is damaged"),
        (b"\xff\xd8\xff", "is damaged"),
        (b"GIF89a", "is damaged"),
        (b"RIFF\x04\0\0\0WEBP", "lacks part of its pixels"),
        (b"RIFF\x18\0\0\0WEBPVP9 " + bytes(30), "it is no WebP beyond its first bytes"),
        (b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 2**30, 2**30, 1, 8, 1) + bytes(99), "lacks part"),
        (pillow("jpeg", COLOUR, "CMYK")[:200], "is damaged"),
    ],
)
def test_what_is_damaged_is_told_in_one_line(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as raised:
        read(path)
    assert "\n" not in str(raised.value)


def test_a_header_that_claims_much_opens_without_memory(path: Path) -> None:
    path.write_bytes(png(2**31 - 1, 2**31 - 1))
    with closing(opened(path)) as reader:
        assert reader.scenes[0].sides == (2**31 - 1, 2**31 - 1)
        with pytest.raises(ImageError):
            reader.read(0, t=0, z=0, channel=None, region=Tile(0, 0, 1, 1))


def test_pixels_are_kept_and_not_shared(path: Path) -> None:
    path.write_bytes(CONTENTS["png"])
    with closing(opened(path)) as reader:
        first = reader.read(0, t=0, z=0, channel=None, region=Tile(0, 0, 48, 64))
        first[:] = 0
        path.write_bytes(b"")
        np.testing.assert_array_equal(reader.read(0, t=0, z=0, channel=None, region=Tile(0, 0, 48, 64)), GREY)
