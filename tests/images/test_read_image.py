import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from elmgan.errors import ImageError
from elmgan.images import View, read_image
from elmgan.light import to_grey

ROWS, COLUMNS = np.mgrid[:48, :64]
GREY = np.rint(127.5 + 127.5 * np.sin(ROWS / 7) * np.cos(COLUMNS / 9)).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


def pillow(format: str, mode: str, **options: Any) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(GREY) if mode in ("L", "1", "LA") else Image.fromarray(COLOUR)).convert(mode).save(
        file, format, **options
    )
    return file.getvalue()


def opencv(suffix: str, image: NDArray) -> bytes:
    return bytes(cv2.imencode(suffix, image)[1])


def tiff(image: NDArray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "u4", "i2", "f4"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits"])
def test_tiff_keeps_type_and_values(tmp_path: Path, dtype: str, compression: str | None) -> None:
    image = GREY.astype(dtype) * 3
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        image,
        compression=compression,
        predictor=compression in ("lzw", "zlib") or None,
        byteorder=">" if dtype == ">u2" else "<",
    )
    read = read_image(path)
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(read, image)
    np.testing.assert_array_equal(read_image(str(path)), image)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (opencv(".png", GREY), GREY),
        (opencv(".png", GREY.astype(np.uint16) * 257), GREY.astype(np.uint16) * 257),
        (opencv(".png", COLOUR[..., ::-1]), COLOUR),
        (opencv(".png", COLOUR[..., ::-1].astype(np.uint16) * 257), COLOUR.astype(np.uint16) * 257),
        (pillow("png", "1"), np.asarray(Image.fromarray(GREY).convert("1")).astype(np.uint8) * 255),
        (pillow("png", "P"), np.asarray(Image.fromarray(COLOUR).convert("P").convert("RGB"))),
        (pillow("png", "LA"), GREY),
        (pillow("png", "P", transparency=0), np.asarray(Image.fromarray(COLOUR).convert("P").convert("RGB"))),
        (pillow("png", "RGBA"), COLOUR),
        (tiff(COLOUR), COLOUR),
        (tiff(np.dstack([COLOUR, GREY]), photometric="rgb"), COLOUR),
        (tiff(np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate"), COLOUR),
        (tiff(GREY > 99), (GREY > 99).astype(np.uint8) * 255),
        (tiff(GREY / 3), (GREY / 3).astype(np.float32)),
        (tiff(GREY, bigtiff=True), GREY),
        (tiff(GREY, tile=(16, 16), compression="zlib"), GREY),
        (tiff(GREY[None, None], imagej=True), GREY),
        (tiff(GREY[None, None, None], ome=True, metadata={"axes": "TCZYX"}), GREY),
        (tiff(GREY[:1]), GREY[:1]),
        (tiff(GREY[:, :1]), GREY[:, :1]),
    ],
)
def test_other_layouts_become_row_column_channel(tmp_path: Path, content: bytes, expected: NDArray) -> None:
    path = tmp_path / "misnamed.JPG"  # the content decides
    path.write_bytes(content)
    read = read_image(path)
    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize(("mode", "expected"), [("L", GREY), ("RGB", COLOUR), ("CMYK", COLOUR)])
def test_jpeg_is_close_to_what_was_saved_and_not_turned(tmp_path: Path, mode: str, expected: NDArray) -> None:
    path = tmp_path / "a.jpg"
    turned = Image.Exif()
    turned[0x0112] = 6  # Orientation: a quarter turn
    path.write_bytes(pillow("jpeg", mode, quality=98, subsampling=0, exif=turned))
    read = read_image(path)
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).max() < 16


@pytest.mark.parametrize("options", [{"imagej": True}, {"ome": True}, {}])
def test_channels_stored_as_planes_must_be_named(tmp_path: Path, options: dict) -> None:
    planes = np.moveaxis(COLOUR, -1, 0)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, planes, photometric="minisblack", metadata={"axes": "CYX"}, **options)
    np.testing.assert_array_equal(read_image(path, View(channel=2)), planes[1])
    with pytest.raises(ImageError, match=r"a\.tif: CYX 3 x .* has channels 1.*, 2.*, 3.*; name one with --channel"):
        read_image(path)
    with pytest.raises(ImageError, match=r"a\.tif: has no channel 4: .* has 1.*, 2.*, 3.*; name one of them"):
        read_image(path, View(channel=4))


def test_samples_that_the_file_does_not_call_colour_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOUR, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read_image(path, View(channel=2)), COLOUR[..., 1])
    with pytest.raises(
        ImageError, match=r"a\.tif: YXC 48 x 64 x 3, uint8 has channels 1, 2, 3; name one with --channel"
    ):
        read_image(path)
    tifffile.imwrite(path, COLOUR, photometric="cielab")
    for channel in (None, 1):
        with pytest.raises(ImageError, match=r"a\.tif: has CIELab colours; save it as grey or RGB"):
            read_image(path, View(channel=channel))


def test_white_is_zero_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(path), GREY)


def test_of_a_stack_one_plane_is_taken_that_the_view_says(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([GREY, GREY[::-1]]), imagej=True, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read_image(path), np.maximum(GREY, GREY[::-1]))
    np.testing.assert_array_equal(read_image(path, View(z=2)), GREY[::-1])
    tifffile.imwrite(path, np.stack([COLOUR] * 4), photometric="rgb", metadata=None)
    with pytest.raises(ImageError, match=r"a\.tif: has 4 planes \(TYXS .*\), and one is taken here: name it with --t"):
        read_image(path)
    np.testing.assert_array_equal(read_image(path, View(t=3)), COLOUR)


def test_one_plane_of_a_set_of_ome_files_is_that_plane(tmp_path: Path) -> None:
    file_names = ["z1.ome.tif", "z2.ome.tif"]
    planes = "".join(
        f'<TiffData FirstZ="{z}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
        for z, name in enumerate(file_names)
    )
    metadata = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:1"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="64" '
        f'SizeY="48" SizeC="1" SizeZ="2" SizeT="1"><Channel ID="Channel:0:0"/>{planes}</Pixels></Image></OME>'
    )
    for name, plane in zip(file_names, [255 - GREY, GREY], strict=True):
        tifffile.imwrite(tmp_path / name, plane, description=metadata, metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "z2.ome.tif"), GREY)


def test_previews_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(GREY, metadata=None)
        file.write(GREY[:7, :9], metadata=None, subfiletype=1)
    np.testing.assert_array_equal(read_image(path), GREY)


@pytest.mark.parametrize(
    "content",
    [
        tiff(GREY),
        tiff(GREY, compression="lzw", rowsperstrip=8),
        tiff(GREY, compression="zlib", tile=(16, 16)),
        tiff(COLOUR, photometric="rgb", ome=True),
        tiff(GREY, compression="jpeg"),
        opencv(".png", GREY),
        pillow("png", "RGB", optimize=True),
        pillow("jpeg", "L"),
        pillow("jpeg", "RGB", progressive=True),
    ],
    ids=["tiff", "lzw", "tiles", "ome", "jpeg in tiff", "png", "colour png", "jpeg", "progressive jpeg"],
)
def test_a_truncated_file_is_an_error_or_lacks_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    whole = read_image(path)
    refused = 0
    cuts = {*range(0, len(content), len(content) // 50), *range(len(content) - 20, len(content))}
    for cut in cuts:
        path.write_bytes(content[:cut])
        try:
            np.testing.assert_array_equal(read_image(path), whole)
        except ImageError:
            refused += 1
    assert refused > len(cuts) / 2


@given(st.data())
def test_any_wrong_bit_of_a_png_is_an_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "a.png"
    content = bytearray(opencv(".png", GREY))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.sampled_from([1 << bit for bit in range(8)]))
    path.write_bytes(content)
    with pytest.raises(ImageError):
        read_image(path)


def test_a_png_that_lacks_a_chunk_is_an_error(tmp_path: Path) -> None:
    content = opencv(".png", np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8))
    starts = [found.start() - 4 for found in re.finditer(b"IDAT", content)]
    assert len(starts) > 2
    path = tmp_path / "a.png"
    path.write_bytes(content[: starts[1]] + content[starts[2] :])
    with pytest.raises(ImageError, match=r"a\.png: is damaged .*its pixels cannot be unpacked"):
        read_image(path)


def test_a_strip_that_was_never_written_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, compression="lzw", rowsperstrip=16)
    with tifffile.TiffFile(path, mode="r+") as file:
        counts = file.pages.first.tags["StripByteCounts"]
        counts.overwrite([*counts.value[:-1], 0])
    with pytest.raises(ImageError, match=r"a\.tif: lacks part of its pixels"):
        read_image(path)


def missing(path: Path) -> None:
    pass


def a_folder(path: Path) -> None:
    path.mkdir()


def a_text(path: Path) -> None:
    path.write_text("not an image\n")


def nothing(path: Path) -> None:
    path.touch()


def too_large_for_float32(path: Path) -> None:
    tifffile.imwrite(path, GREY * 1e300)


def complex_numbers(path: Path) -> None:
    tifffile.imwrite(path, GREY * 1j)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "does not exist; check its name and folder"),
        (a_folder, "is a folder and no image; elmgan reads .bmp"),
        (a_text, "is not an image of a kind that is read, whatever its name says"),
        (nothing, "is empty, as after a broken copy"),
        (too_large_for_float32, "some pixels are beyond 3.4e38"),
        (complex_numbers, "pixels of type complex128, which are not grey values"),
    ],
)
def test_bad_files_are_one_clear_line(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "a.tif"
    make(path)
    with pytest.raises(ImageError) as raised:
        read_image(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert str(raised.value).count("a.tif") == 1
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_name_of_a_file_makes_no_difference(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    path.write_bytes(tiff(GREY))
    np.testing.assert_array_equal(read_image(path), GREY)


def test_the_terminal_stays_clean(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    description = "ImageJ=1.54f\nimages=1\nslices=1\nhyperstack=true\nmin=abc\n"
    tifffile.imwrite(path, GREY, description=description, metadata=None)
    command = "import sys, pathlib, elmgan.images as i; i.read_image(pathlib.Path(sys.argv[1]))"
    run = subprocess.run([sys.executable, "-c", command, path], capture_output=True, text=True, check=True)
    assert run.stdout + run.stderr == ""


GREY_IMAGES = arrays(st.sampled_from([np.uint8, np.uint16]), array_shapes(min_dims=2, max_dims=2))


@given(GREY_IMAGES)
def test_grey_saved_as_colour_is_that_grey_exactly(image: NDArray) -> None:
    grey = to_grey(np.dstack([image] * 3))
    assert grey.dtype == np.float32
    np.testing.assert_array_equal(grey, image)


def test_colour_becomes_luminance() -> None:
    np.testing.assert_allclose(
        to_grey(COLOUR), cv2.cvtColor(COLOUR.astype(np.float32), cv2.COLOR_RGB2GRAY), rtol=1e-5, atol=1e-4
    )


def test_one_channel_of_many() -> None:
    np.testing.assert_array_equal(to_grey(COLOUR, channel=3), COLOUR[..., 2])
    np.testing.assert_array_equal(to_grey(GREY, channel=1), GREY)
    np.testing.assert_array_equal(to_grey(GREY[..., None]), GREY)


def test_pixels_that_are_no_number_are_read_as_they_are(tmp_path: Path) -> None:
    image = np.where(GREY > 200, np.nan, GREY / 2).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)
    shown = to_grey(image)
    assert (shown[np.isnan(image)] == np.nanmin(image)).all()


@pytest.mark.parametrize(
    ("image", "channel", "message"),
    [
        (np.dstack([GREY] * 4), None, r"has 4 channels; name one: channel=1\.\.4 \(--channel\)"),
        (np.dstack([GREY] * 2), 3, "no channel 3; the image has 2"),
        (GREY, 0, "no channel 0"),
        (
            np.zeros((5, 64, 80)),
            5,
            r"of \(5, 64, 80\), the last axis does not look like its channels: move those",
        ),
        (np.zeros((3, 64, 80)), None, "move those to the end"),
        (GREY, "red", "the image is grey, and red is a view of colour"),
        (COLOUR, "DAPI", "no channel DAPI; expected a number or one of luminance, red, haematoxylin"),
        (np.zeros((0, 5)), None, "not \\(0, 5\\)"),
        (np.zeros((2, 3, 4, 5)), None, "not \\(2, 3, 4, 5\\)"),
        (np.full((3, 3), np.inf), None, "NaN or infinite"),
        (np.full((3, 3), "a"), None, "not grey values"),
    ],
)
def test_arrays_that_are_no_grey_image_are_refused(image: NDArray, channel: int | str | None, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        to_grey(image, channel=channel)


@pytest.mark.parametrize(
    ("pattern", "shape", "dtype"),
    [
        ("bbbc005/BBBC005_v1_images/*_C100_*_s01_w2.TIF", (520, 696), np.uint8),
        ("bbbc039/images/*.tif", (520, 696), np.uint16),
        ("dsb2018/labels/*.png", None, np.uint16),
        ("dsb2018/images/*.png", None, np.uint8),
        ("vgg_cells/001cell.png", (256, 256, 3), np.uint8),
    ],
)
def test_real_files_read_as_by_opencv(
    shared_data: Path, pattern: str, shape: tuple[int, ...] | None, dtype: type
) -> None:
    for path in sorted(shared_data.glob(pattern))[::60]:
        image = read_image(path)
        expected = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert expected is not None
        assert image.dtype == dtype
        assert shape in (None, image.shape)
        np.testing.assert_array_equal(image, expected if image.ndim == 2 else expected[..., ::-1])
