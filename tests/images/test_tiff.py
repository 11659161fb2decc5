import builtins
import json
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from elmgan.errors import ImageError
from elmgan.images import View, only_plane, open_image, segments
from elmgan.images.reader import Scene, readers
from elmgan.images.tiff import TiffReader
from elmgan.images.tile import Tile

ROWS, COLUMNS = np.mgrid[:48, :64]
GREY = np.rint(127.5 + 127.5 * np.sin(ROWS / 7) * np.cos(COLUMNS / 9)).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
STACK = np.stack([GREY, GREY // 2, 255 - GREY, GREY // 3])
PACKINGS: list[dict[str, Any]] = [{}, {"compression": "zlib"}]  # strips as they are, and packed


def plane(path: Path, *, scene: int = 0, axes: str | None = None, region: Tile | None = None, **at: Any) -> NDArray:
    reader = TiffReader(path, axes)
    try:
        where = {"t": 0, "z": 0, "channel": None, **at}
        return reader.read(scene, region=region or Tile(0, 0, *reader.scenes[scene].sides), **where)
    finally:
        reader.close()


def scenes(path: Path, axes: str | None = None) -> list[Scene]:
    reader = TiffReader(path, axes)
    reader.close()
    return list(reader.scenes)


def scene(path: Path, axes: str | None = None) -> Scene:
    (only,) = scenes(path, axes)
    return only


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.tif"


def test_tiff_is_known_by_its_first_bytes(path: Path) -> None:
    for options in ({}, {"bigtiff": True}, {"byteorder": ">"}, {"byteorder": ">", "bigtiff": True}):
        tifffile.imwrite(path, GREY, **options)
        assert TiffReader.recognises(Path("a.png"), path.read_bytes()[:512])
    assert not TiffReader.recognises(path, b"II*")
    assert TiffReader in readers()


# Each file of a set on its own: it has the planes that lie in it.
OWN_PARTS = {
    "ome-multifile-c0.ome.tif": {"axes": "ZYX", "shape": [5, 128, 128], "channels": ["525"]},
    "ome-multifile-c1.ome.tif": {
        "axes": "ZYX",
        "shape": [5, 128, 128],
        "channels": ["632"],
        "first_plane": {"min": 67, "max": 7525, "mean": 388.8933},
    },
}
SUFFIXES = (".tif", ".tiff", ".lsm", ".stk", ".ndpi")


def test_real_files_are_what_their_list_says(shared_data: Path) -> None:
    listed = json.loads((shared_data / "formats" / "formats.json").read_text(encoding="utf-8"))
    checked = 0
    for entry in listed:
        name = entry["file"]
        if not name.endswith(SUFFIXES):
            continue
        expected = entry | OWN_PARTS.get(name, {})
        reader = TiffReader(shared_data / "formats" / name, None)
        first = reader.scenes[0]
        image = reader.read(0, t=0, z=0, channel=0 if "C" in first.axes else None, region=Tile(0, 0, *first.sides))
        reader.close()
        assert (first.axes, list(first.shape), str(first.dtype)) == (
            expected["axes"],
            expected["shape"],
            expected["dtype"],
        ), name
        assert list(first.channels) == expected["channels"], name
        assert first.pixel_size == pytest.approx(expected["pixel_size_um"], rel=1e-3), name
        assert len(reader.scenes) == expected["scenes"], name
        assert first.note == "", name
        statistics = {"min": image.min(), "max": image.max(), "mean": image.mean()}
        assert statistics == pytest.approx(expected["first_plane"], abs=1e-4), name
        assert image.dtype == first.dtype, name
        checked += 1
    assert checked >= 13


def test_planes_of_real_stacks_are_in_their_place(shared_data: Path) -> None:
    folder = shared_data / "formats"
    same = [folder / "ome-t3-c2-z10.ome.tif", folder / "imagej-t3-z10-c2.tif"]
    expected = tifffile.imread(same[0])
    for path in same:
        np.testing.assert_array_equal(plane(path, t=2, z=7, channel=1), expected[2, 1, 7])
    slide = folder / "ndpi-dapi.ndpi"
    region = Tile(2001, 333, 70, 50)
    np.testing.assert_array_equal(plane(slide, region=region), region.of(tifffile.imread(slide)))
    lsm = tifffile.imread(folder / "lsm-2ch-z5.lsm")
    np.testing.assert_array_equal(plane(folder / "lsm-2ch-z5.lsm", z=3, channel=1), lsm[3, 1])


def test_cases_that_were_hard_to_read(shared_data: Path) -> None:
    cases = shared_data.parent / "cases"
    poor = cases / "read_poor_remedy"
    with Image.open(poor / "cmyk.tif") as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_allclose(plane(poor / "cmyk.tif"), expected, atol=1)
    for name in ("jpeg_in_tiff", "packed_12bit", "zstd"):
        np.testing.assert_array_equal(plane(poor / f"{name}.tif"), tifffile.imread(poor / f"{name}.tif"))
    assert scene(cases / "folder_passed_over" / "well4.lsm").axes == "YX"
    stacks = cases / "stack_refused"
    assert scene(stacks / "t3.tif").axes == "TYX"
    assert scene(stacks / "t3.tif").note == ""
    assert scene(stacks / "plain_multipage.tif").axes == "TYX"
    assert "--axes ZYX" in scene(stacks / "plain_multipage.tif").note
    assert scene(stacks / "plain_multipage.tif", "ZYX").axes == "ZYX"


# Compressions without loss, with the types of pixels that they take; ``None`` for all.
COMPRESSIONS: dict[str | None, tuple[str, ...] | None] = {
    None: None,
    "zlib": None,
    "lzw": None,
    "packbits": None,
    "zstd": None,
    "lzma": None,
    "adobe_deflate": None,
    "png": ("u1", "u2"),
    "jpeg2000": ("u1", "u2"),
    "jpegxl": ("u1", "u2"),
    "webp": ("u1",),
    "lerc": ("u1", "u2", "i2", "u4", "f4", "f8"),
}
LOSSLESS = {"webp": {"lossless": True}, "jpegxl": {"lossless": True}, "jpeg2000": {"level": 0}}


@st.composite
def written(draw: st.DrawFn) -> tuple[NDArray, str, dict[str, Any]]:
    """Pixels, the axes that a reader should find, and how to write them."""
    compression = draw(st.sampled_from(list(COMPRESSIONS)))
    types = COMPRESSIONS[compression] or ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "?")
    dtype = np.dtype(draw(st.sampled_from(types)))
    samples = draw(st.sampled_from(["", "RGB", "RGBA", "channels"])) if dtype in (np.uint8, np.uint16) else ""
    if compression == "webp" or (compression in ("lerc", "png", "jpegxl", "jpeg2000") and samples == "channels"):
        samples = "RGB"
    planes = draw(st.sampled_from([(), ("T",), ("Z",), ("T", "C"), ("Z", "T")])) if samples != "channels" else ()
    rows, columns = draw(st.integers(2, 70)), draw(st.integers(2, 70))
    shape: tuple[int, ...] = (*(draw(st.integers(2, 3)) for _ in planes), rows, columns)
    count = {"": 0, "RGB": 3, "RGBA": 4, "channels": 5}[samples]
    apart = bool(count) and compression not in ("webp",) and draw(st.booleans())
    if count:
        shape = (*shape[:-2], count, *shape[-2:]) if apart else (*shape, count)
    options: dict[str, Any] = {
        "compression": compression,
        "compressionargs": LOSSLESS.get(str(compression)),
        "photometric": "rgb" if samples.startswith("RGB") else "minisblack",
        "byteorder": draw(st.sampled_from("<>")),
        "bigtiff": draw(st.booleans()),
    }
    if count:
        options["planarconfig"] = "separate" if apart else "contig"
        options["extrasamples"] = ("unassalpha",) if samples == "RGBA" else None
        if samples == "channels":
            options["extrasamples"] = ("unspecified",) * 4
    if draw(st.booleans()):
        options["tile"] = (16 * draw(st.integers(1, 3)), 16 * draw(st.integers(1, 3)))
    else:
        options["rowsperstrip"] = draw(st.integers(1, rows))
    if compression in ("zlib", "lzw", "zstd", "lzma", "adobe_deflate") and dtype.kind != "b":
        options["predictor"] = draw(st.booleans())
    if compression in ("png", "jpeg2000", "jpegxl", "webp", "lerc"):
        options["byteorder"] = "<"  # tifffile writes swapped bytes into others
    kind = draw(st.sampled_from(["plain", "ome", "imagej"]))
    axes = "".join(planes) + ("SYX" if apart else "YXS" if count else "YX")
    if samples == "channels" or (kind == "ome" and dtype.kind + str(dtype.itemsize) in ("b1", "f2")):
        kind = "plain"
    if kind == "ome":
        options |= {"ome": True, "metadata": {"axes": axes}}
    elif kind == "imagej" and dtype in (np.uint8, np.uint16, np.float32) and not samples and planes == ("T", "C"):
        options |= {"imagej": True, "metadata": {"axes": axes}}
        options.pop("bigtiff")
    else:
        options["metadata"] = {"axes": axes}
    seed = draw(st.integers(0, 2**32 - 1))
    values = np.random.default_rng(seed).integers(0, 2 if dtype.kind == "b" else 120, shape).astype(dtype)
    return values, axes, options


@given(written(), st.data())
def test_any_region_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[NDArray, str, dict[str, Any]], data: st.DataObject
) -> None:
    values, axes, options = case
    path = tmp_path_factory.getbasetemp() / "a.tif"
    tifffile.imwrite(path, values, **options)
    with closing(TiffReader(path, None)) as reader:
        (found,) = reader.scenes
        assert found.note == ""
        assert found.dtype == values.dtype.newbyteorder("=")
        colour = options["photometric"] == "rgb"
        if "S" in axes:
            values = np.moveaxis(values, axes.index("S"), -1)[..., : 3 if colour else 5]
            axes = axes.replace("S", "") + ("S" if colour else "C")
        assert sorted(found.axes) == sorted(axes)
        at = {axis: data.draw(st.integers(0, found.length(axis) - 1)) for axis in "TZC"}
        rows, columns = found.sides
        top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
        region = Tile(top, left, data.draw(st.integers(1, rows - top)), data.draw(st.integers(1, columns - left)))
        channel = at["C"] if "C" in axes else None
        image = reader.read(0, t=at["T"], z=at["Z"], channel=channel, region=region)
    index = tuple(at.get(axis, slice(None)) for axis in axes)
    np.testing.assert_array_equal(image, region.of(values[index]))
    assert image.dtype == found.dtype
    assert image.flags.writeable


@pytest.mark.parametrize("image", [GREY[:1], GREY[:, :1], GREY[:1, :1], COLOUR[:1], COLOUR[:, :1]])
def test_one_row_or_column_is_an_image(path: Path, image: NDArray) -> None:
    for options in PACKINGS:
        tifffile.imwrite(path, image, **options)
        assert scene(path).shape == image.shape
        np.testing.assert_array_equal(plane(path), image)


@pytest.mark.parametrize("compression", ["jpeg", "jpegxr", "jetraw"])
def test_compressions_with_loss_are_read_as_by_tifffile(path: Path, compression: str) -> None:
    if compression == "jetraw":
        tifffile.imwrite(path, GREY)
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages.first.tags["Compression"].overwrite(48124)
        with pytest.raises(ImageError, match="is damaged or of a kind that cannot be read"):
            plane(path)
        return
    for image, photometric in ((GREY, "minisblack"), (COLOUR, "rgb")):
        tifffile.imwrite(path, image, compression=compression, tile=(32, 32), photometric=photometric)
        np.testing.assert_array_equal(plane(path), tifffile.imread(path))
        np.testing.assert_array_equal(plane(path, region=Tile(31, 3, 9, 50)), tifffile.imread(path)[31:40, 3:53])


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
def test_packed_bits_are_unpacked(path: Path, bits: int) -> None:
    values = ((GREY.astype(np.uint16) << 6) >> (14 - bits)).astype(np.uint8 if bits <= 8 else np.uint16)[:, :63]
    if bits == 1:
        tifffile.imwrite(path, values.astype(bool))
    else:
        tifffile.imwrite(path, values, bitspersample=bits)
    np.testing.assert_array_equal(plane(path, region=Tile(3, 5, 20, 40)), values[3:23, 5:45])
    assert scene(path).dtype == (bool if bits == 1 else values.dtype)


@pytest.mark.parametrize("options", [{"tile": (16, 16)}, {"rowsperstrip": 8}])
def test_only_what_a_region_takes_is_unpacked(
    path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(path, STACK, photometric="minisblack", compression="zlib", metadata=None, **options)
    unpacked = []
    original = segments._unpack

    def unpack(*args: Any) -> NDArray:
        unpacked.append(args[1])
        return original(*args)

    monkeypatch.setattr(segments, "_unpack", unpack)
    region = Tile(17, 20, 10, 20)
    np.testing.assert_array_equal(plane(path, t=2, region=region), region.of(STACK[2]))
    assert unpacked == ([5, 6] if "tile" in options else [2, 3])


def test_of_rows_stored_as_they_are_only_those_of_the_region_are_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "ZYX"})
    lengths = []
    original = segments._read_whole

    def read_whole(file: Any, offset: int, length: int) -> bytes:
        lengths.append(length)
        return original(file, offset, length)

    monkeypatch.setattr(segments, "_read_whole", read_whole)
    np.testing.assert_array_equal(plane(path, z=3, region=Tile(40, 1, 2, 5)), STACK[3, 40:42, 1:6])
    assert lengths == [2 * 64]


def test_opening_reads_no_pixels(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_read_whole", None)
    for options in (*PACKINGS, {"ome": True}, {"imagej": True}):
        tifffile.imwrite(path, STACK, photometric="minisblack", metadata={"axes": "ZYX"}, **options)
        assert scene(path).shape == (4, 48, 64)


def test_pages_without_a_word_are_told(path: Path) -> None:
    tifffile.imwrite(path, STACK, photometric="minisblack", metadata=None)
    assert (scene(path).axes, scene(path).shape) == ("TYX", (4, 48, 64))
    assert "counted one by one" in scene(path).note
    np.testing.assert_array_equal(plane(path, t=3), STACK[3])
    assert scene(path, "zyx").axes == "ZYX"
    assert scene(path, "zyx").note == ""
    np.testing.assert_array_equal(plane(path, axes="ZYX", z=3), STACK[3])
    np.testing.assert_array_equal(plane(path, axes="CYX", channel=3), STACK[3])


def test_axes_that_are_not_known_are_asked_for(path: Path) -> None:
    values = np.zeros((2, 3, 8, 9), np.uint8)
    tifffile.imwrite(path, values, photometric="minisblack")
    with pytest.raises(ImageError, match=r"has axes QQYX of 2 x 3 x 8 x 9; say what they are with --axes"):
        scene(path)
    assert scene(path, "TZYX").shape == (2, 3, 8, 9)
    tifffile.imwrite(path, values, photometric="minisblack", metadata={"axes": "TQYX"})
    with pytest.raises(ImageError, match=r"has axes TQYX"):
        scene(path)
    tifffile.imwrite(path, values, photometric="minisblack", metadata={"axes": "ZQYX"})
    assert scene(path).axes == "ZTYX"
    assert scene(path).note


@pytest.mark.parametrize("axes", ["YX", "ZZYX", "ZXY", "QYX", "TZYX", "YZX", ""])
def test_axes_of_the_user_are_checked(path: Path, axes: str) -> None:
    tifffile.imwrite(path, STACK, photometric="minisblack", metadata=None)
    if not axes:
        assert scene(path, axes).axes == "TYX"
        return
    with pytest.raises(ImageError, match=rf"has axes IYX of 4 x 48 x 64, which --axes {axes} does not fit") as raised:
        scene(path, axes)
    assert "\n" not in str(raised.value)


def test_axes_of_the_user_do_not_contradict_the_file(path: Path) -> None:
    tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "ZYX"})
    assert scene(path, "TYX").axes == "ZYX"
    tifffile.imwrite(path, COLOUR)
    assert scene(path, "ZYX").axes == "YXS"


def test_pages_in_colour_are_a_stack_in_colour(path: Path) -> None:
    stack = np.stack([COLOUR, 255 - COLOUR])
    for planar in (False, True):
        stored = np.moveaxis(stack, -1, 1) if planar else stack
        planarconfig = "separate" if planar else "contig"
        tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planarconfig, metadata=None)
        assert (scene(path).axes, scene(path).shape) == ("TYXS", stack.shape)
        assert scene(path, "ZYX").axes == scene(path, "ZYXS").axes == "ZYXS"
        np.testing.assert_array_equal(plane(path, t=1), stack[1])


def test_pages_that_are_rows_are_refused(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((48, 64, 5), np.uint8), metadata={"axes": "YXC"}, photometric="minisblack")
    with pytest.raises(ImageError, match=r"keeps axes YXC of 48 x 64 x 5 in pages of 64 x 5; save it with rows"):
        scene(path)


def test_samples_that_are_no_colour_are_channels(path: Path) -> None:
    image = np.dstack([COLOUR, GREY, GREY])
    tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig", extrasamples=[0] * 4)
    assert scene(path).axes == "YXC"
    np.testing.assert_array_equal(plane(path, channel=1), COLOUR[..., 1])
    with pytest.raises(ImageError, match="has 5 channels; name one"):
        plane(path)
    tifffile.imwrite(path, COLOUR, photometric="minisblack", planarconfig="contig", extrasamples=[0, 0])
    assert scene(path).axes == "YXC"
    tifffile.imwrite(path, np.dstack([COLOUR, GREY]), photometric="rgb", extrasamples=[0])
    assert (scene(path).axes, scene(path).shape) == ("YXC", (48, 64, 4))


def test_alpha_is_left_out(path: Path) -> None:
    for kind in (1, 2):
        tifffile.imwrite(path, np.dstack([COLOUR, GREY]), photometric="rgb", extrasamples=[kind])
        assert scene(path).axes == "YXS"
        np.testing.assert_array_equal(plane(path), COLOUR)
        np.testing.assert_array_equal(plane(path, channel=2), COLOUR[..., 2])
    tifffile.imwrite(path, COLOUR[..., :2], photometric="minisblack", planarconfig="contig", extrasamples=[2])
    assert scene(path).axes == "YX"
    np.testing.assert_array_equal(plane(path), GREY)


def test_a_palette_is_applied_unless_it_is_one_of_a_microscope(path: Path) -> None:
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 2**16, (3, 256)).astype(np.uint16)
    tifffile.imwrite(path, GREY, photometric="palette", colormap=palette, metadata=None)
    assert scene(path).axes == "YXS"
    assert scene(path).dtype == np.uint8
    np.testing.assert_array_equal(plane(path), (palette >> 8).T[GREY])
    tifffile.imwrite(path, GREY, photometric="palette", colormap=palette, ome=True)
    assert scene(path).axes == "YX"
    np.testing.assert_array_equal(plane(path), GREY)
    ramp = np.arange(256, dtype=np.uint16) * 257
    for one_colour in ([ramp, ramp, ramp], [ramp * 0, ramp, ramp * 0], [ramp, ramp // 2, ramp * 0]):
        tifffile.imwrite(path, GREY, photometric="palette", colormap=np.stack(one_colour), metadata=None)
        np.testing.assert_array_equal(plane(path), GREY)


def test_cmyk_becomes_rgb(path: Path) -> None:
    inks = np.dstack([COLOUR, GREY // 2])
    expected = np.asarray(Image.fromarray(inks, "CMYK").convert("RGB"))
    tifffile.imwrite(path, inks, photometric="separated")
    np.testing.assert_allclose(plane(path), expected, atol=1)
    tifffile.imwrite(path, inks.astype(np.uint16) * 257, photometric="separated", compression="lzw")
    np.testing.assert_allclose(plane(path) / 257, expected, atol=1)
    np.testing.assert_allclose(plane(path, channel=1) / 257, expected[..., 1], atol=1)


def test_ycbcr_that_no_decoder_turned_becomes_rgb(path: Path) -> None:
    stored = cv2.cvtColor(COLOUR, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    tifffile.imwrite(path, stored, photometric="ycbcr", subsampling=(1, 1), compression="zlib")
    assert np.abs(plane(path).astype(int) - COLOUR).max() <= 2


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (COLOUR, {"photometric": "cielab"}, "has CIELab colours; save it as grey or RGB"),
        (GREY, {"photometric": "cfa"}, "has the raw mosaic of a camera"),
        (GREY * 1j, {}, "has pixels of type complex128, which are not grey values"),
    ],
)
def test_what_is_no_image_of_cells_is_refused(
    path: Path, image: NDArray, options: dict[str, Any], message: str
) -> None:
    tifffile.imwrite(path, image, **options)
    with pytest.raises(ImageError, match=message):
        scene(path)


def test_pixels_without_data_are_not_a_number(path: Path) -> None:
    for image, text in ((GREY.astype(np.int16), f"{GREY[3, 4]}"), (GREY.astype(np.float32), f"{GREY[3, 4]}.0")):
        tifffile.imwrite(path, image, extratags=[(42113, "s", 0, text, True)])
        assert scene(path).dtype == np.float32
        expected = np.where(GREY[3, 4] == GREY, np.nan, GREY.astype(np.float32))
        np.testing.assert_array_equal(plane(path), expected)
    tifffile.imwrite(path, GREY, extratags=[(42113, "s", 0, "-9999", True)])  # no pixel can have it
    assert scene(path).dtype == np.uint8
    np.testing.assert_array_equal(plane(path), GREY)


@pytest.mark.parametrize("subifds", [0, 2])
def test_smaller_copies_are_no_scenes(path: Path, subifds: int) -> None:
    levels = [GREY[::2, ::2], GREY[::4, ::4]]
    with tifffile.TiffWriter(path) as file:
        file.write(GREY, metadata=None, subifds=subifds, tile=(16, 16))
        for level in levels:
            file.write(level, metadata=None, subfiletype=1 if subifds else 0, tile=(16, 16))
    np.testing.assert_array_equal(plane(path), GREY)
    assert len(scenes(path)) == 1
    assert scene(path).levels == ((24, 32), (12, 16))
    for copy, part, level in zip(copies(path), copies(path, Tile(2, 3, 8, 9)), levels, strict=True):
        np.testing.assert_array_equal(copy, level)
        np.testing.assert_array_equal(part, level[2:10, 3:12])


def copies(path: Path, region: Tile | None = None, **view: Any) -> list[NDArray]:
    with open_image(path) as source:
        return [copy.read(region) for copy in only_plane(source, View(**view)).levels[1:]]


@pytest.mark.parametrize("written", [{"ome": True}, {}, {"imagej": False, "bigtiff": True}])
def test_each_plane_of_a_stack_has_smaller_copies(path: Path, written: dict[str, Any]) -> None:
    small, axes = STACK[:, ::2, ::2], {"axes": "ZYX"} if written.get("ome") else None
    with tifffile.TiffWriter(path, **written) as file:
        file.write(STACK, metadata=axes, subifds=1, photometric="minisblack")
        file.write(small, subfiletype=1, metadata=axes and {}, photometric="minisblack")
    at: dict[str, Any] = {"z": 3} if written.get("ome") else {"t": 3}
    assert scene(path).levels == (small.shape[1:],)
    np.testing.assert_array_equal(plane(path, **{axis: number - 1 for axis, number in at.items()}), STACK[2])
    (copy,) = copies(path, **at)
    np.testing.assert_array_equal(copy, small[2])
    if written.get("ome"):
        (copy,) = copies(path, z="max")
        np.testing.assert_array_equal(copy, small.max(axis=0))


def test_smaller_copies_of_colour(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(COLOUR, photometric="rgb", subifds=1)
        file.write(COLOUR[::2, ::2], photometric="rgb", subfiletype=1)
    (copy,) = copies(path)
    np.testing.assert_array_equal(copy, COLOUR[::2, ::2])
    (copy,) = copies(path, channel="green")
    np.testing.assert_array_equal(copy, COLOUR[::2, ::2, 1])


def test_pixels_that_are_alpha_alone_are_refused(path: Path) -> None:
    tifffile.imwrite(path, GREY, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["SamplesPerPixel"].overwrite(0)
    with pytest.raises(ImageError, match="has pixels of no value but how opaque they are"):
        plane(path)


def test_a_copy_of_other_pixels_is_none(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(GREY, metadata=None, subifds=3)
        for level in (GREY[::2, ::2].astype(np.float32), COLOUR[:9, :9], GREY[::2]):
            file.write(level, metadata=None, subfiletype=1)
    assert scene(path).levels == ()
    np.testing.assert_array_equal(plane(path), GREY)


def test_thumbnails_are_no_scenes_but_another_image_is_one(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(GREY[:7, :9], metadata=None, subfiletype=1)
        file.write(GREY, metadata=None)
        file.write(COLOUR[:30, :31], metadata=None)
    assert [found.shape for found in scenes(path)] == [(48, 64), (30, 31, 3)]
    np.testing.assert_array_equal(plane(path, scene=1), COLOUR[:30, :31])
    tifffile.imwrite(path, GREY, metadata=None, subfiletype=1)
    with pytest.raises(ImageError, match="holds previews and no image"):
        scene(path)


def test_a_slide_is_its_baseline(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        baseline = np.tile(COLOUR, (4, 4, 1))
        file.write(
            baseline, metadata=None, tile=(32, 32), description="Aperio Image Library\n|AppMag = 20|MPP = 0.4990"
        )
        file.write(COLOUR[::2, ::2], metadata=None)
        file.write(baseline[::2, ::2], metadata=None, tile=(32, 32))
        file.write(COLOUR[:20], metadata=None, description="Aperio\nlabel 20x20", subfiletype=1)
        file.write(COLOUR[:10], metadata=None, description="Aperio\nmacro 20x20", subfiletype=9)
    assert scene(path).shape == baseline.shape
    assert scene(path).pixel_size == {"x": 0.499, "y": 0.499}
    np.testing.assert_array_equal(plane(path), baseline)


def test_scenes_of_a_leica_slide_leave_out_the_overview(path: Path) -> None:
    def described(name: str, ifd: int, width: int, height: int) -> str:
        return (
            f'<image name="{name}"><pixels sizeX="64" sizeY="48"><dimension sizeX="64" sizeY="48" r="0" ifd="{ifd}"/>'
            f'</pixels><view sizeX="{width}" sizeY="{height}" offsetX="0" offsetY="0"/></image>'
        )

    xml = (
        '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection name="c" sizeX="900000" '
        f'sizeY="700000">{described("all", 0, 900000, 700000)}{described("one", 1, 32000, 24000)}</collection></scn>'
    )
    with tifffile.TiffWriter(path) as file:
        file.write(GREY, metadata=None, description=xml)
        file.write(STACK[1], metadata=None)
    assert scene(path).name == "one"
    assert scene(path).pixel_size == {"x": 0.5, "y": 0.5}
    np.testing.assert_array_equal(plane(path), STACK[1])
    path.write_bytes(path.read_bytes().replace(b'r="0" ifd="1"', b'c="99999999999"'.ljust(13)[:13]))
    with pytest.raises(ImageError):
        scene(path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "um"}}, {"x": 0.5, "y": 0.25}),
        ({"imagej": True, "resolution": (2e-3, 2e-3), "metadata": {"unit": "nm"}}, {"x": 0.5, "y": 0.5}),
        ({"imagej": True, "resolution": (72, 72), "metadata": {"unit": "inch"}}, {}),
        ({"imagej": True, "resolution": (2, 2)}, {}),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, {}),
        ({"resolution": (96, 96), "resolutionunit": "INCH"}, {}),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, {}),
        ({"resolution": (28.35, 28.35), "resolutionunit": "CENTIMETER"}, {}),
        ({"resolution": (10000, 10000), "resolutionunit": "CENTIMETER"}, {}),
        ({"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}, {"x": 0.5, "y": 0.5}),
        ({"resolution": (2, 2), "resolutionunit": "MICROMETER"}, {"x": 0.5, "y": 0.5}),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}}, {"x": 0.5, "y": 0.25}),
        (
            {"ome": True, "metadata": {"PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": -1}},
            {"x": 0.5},
        ),
        ({"ome": True, "metadata": {"PhysicalSizeX": 3, "PhysicalSizeXUnit": "pixel"}}, {}),
        ({"ome": True, "resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}, {}),
    ],
)
def test_the_pixel_size_is_what_a_microscope_knew(
    path: Path, options: dict[str, Any], expected: dict[str, float]
) -> None:
    tifffile.imwrite(path, GREY, **options)
    assert scene(path).pixel_size == pytest.approx(expected)


def test_names_of_ome_images_and_channels(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(STACK, metadata={"axes": "CYX", "Name": "A1", "Channel": {"Name": ["a", "b", "c", "d"]}},
                   photometric="minisblack")  # fmt: skip
        file.write(GREY, metadata={"Name": "B2"})
    first, second = scenes(path)
    assert (first.name, first.channels) == ("A1", ("a", "b", "c", "d"))
    assert (second.name, second.axes) == ("B2", "YX")
    np.testing.assert_array_equal(plane(path, channel=3), STACK[3])
    np.testing.assert_array_equal(plane(path, scene=1), GREY)


def ome_xml(data: str, sizes: str = 'SizeC="1" SizeZ="2" SizeT="1"', order: str = "XYCZT") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:1"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="{order}" Type="uint8" '
        f'SizeX="64" SizeY="48" {sizes}><Channel ID="Channel:0:0"/>{data}</Pixels></Image></OME>'
    )


def entry(name: str, uuid: int, ifd: int = 0, **first: int) -> str:
    at = " ".join(f'First{axis}="{index}"' for axis, index in first.items())
    return f'<TiffData IFD="{ifd}" {at} PlaneCount="1"><UUID FileName="{name}">urn:uuid:{uuid}</UUID></TiffData>'


@pytest.mark.parametrize(
    "xml",
    [
        ome_xml(entry("secret.tif", 2, Z=0) + entry("a.tif", 1, Z=1)),
        ome_xml(entry("secret.tif", 2, Z=0) + entry("other.tif", 3, Z=1)),
        ome_xml(entry("secret.tif", 2), 'SizeC="1" SizeZ="1" SizeT="1"'),
        ome_xml(entry("secret.tif", 1), 'SizeC="1" SizeZ="1" SizeT="1"'),
        ome_xml(entry("../secret.tif", 2, Z=0) + entry("a.tif", 1, Z=1)),
        ome_xml('<TiffData><UUID FileName="secret.tif">urn:uuid:7</UUID></TiffData>' + entry("a.tif", 1, Z=1)),
    ],
)
def test_no_other_file_is_ever_read(tmp_path: Path, xml: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(tmp_path / "secret.tif", 255 - GREY, metadata=None)
    tifffile.imwrite(tmp_path.parent / "secret.tif", 255 - GREY, metadata=None)
    tifffile.imwrite(path, GREY, description=xml, metadata=None)

    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError(f"opened {args}")

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(tifffile.FileHandle, "open", only_streams(tifffile.FileHandle.open))
    assert scene(path).axes == "YX"
    np.testing.assert_array_equal(plane(path), GREY)


def micro_manager(image: NDArray, channel: int) -> bytes:
    """One file of a set that Micro-Manager writes; the others are found by their names."""
    summary = json.dumps({"MicroManagerVersion": "1.4", "Channels": 2, "Frames": 1, "Slices": 1, "Positions": 1})
    index, directory, pixels = 500, 600, 1000
    start = struct.pack("<10I", 54773648, index, 483765892, 0, 99384722, 0, 2355492, len(summary), 0, 0)[:32]
    numbers = struct.pack("<7I", 3453623, 1, channel, 0, 0, 0, directory)
    tags = {
        256: image.shape[1], 257: image.shape[0], 258: 8, 259: 1, 262: 1, 273: directory + 162, 277: 1,
        278: image.shape[0], 279: image.size,
    }  # fmt: skip
    entries = [struct.pack("<HHII", code, 4, 1, value) for code, value in tags.items()]
    entries.append(struct.pack("<HHII", 51123, 2, 30, pixels + image.size + 8))
    page = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    content = b"II*\0" + struct.pack("<I", directory) + start + summary.encode()
    content = content.ljust(index, b"\0") + numbers
    content = content.ljust(directory, b"\0") + page
    return (content.ljust(directory + 162, b"\0") + image.tobytes()).ljust(pixels + image.size + 99, b" ")


def test_no_other_file_of_micro_manager_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a_MMStack_0.tif"
    path.write_bytes(micro_manager(GREY, 0))
    (tmp_path / "a_MMStack_1.tif").write_bytes(micro_manager(255 - GREY, 1))
    with tifffile.TiffFile(path) as file:
        assert file.series[0].is_multifile  # as tifffile alone would take it
    monkeypatch.setattr(tifffile.FileHandle, "open", only_streams(tifffile.FileHandle.open))
    assert scene(path).axes == "YX"
    np.testing.assert_array_equal(plane(path), GREY)


def only_streams(original: Any) -> Any:
    def checked(handle: Any) -> None:
        assert hasattr(handle._file, "read"), f"opened {handle._file}"
        original(handle)

    return checked


def test_a_file_of_a_set_has_its_own_planes(tmp_path: Path) -> None:
    names = ["z0.tif", "z12.tif"]
    xml = ome_xml(
        entry(names[0], 1, Z=0) + entry(names[1], 2, ifd=0, Z=1) + entry(names[1], 2, ifd=1, Z=2),
        'SizeC="1" SizeZ="3" SizeT="1"',
    )
    tifffile.imwrite(tmp_path / names[0], STACK[0], description=xml, metadata=None)
    tifffile.imwrite(tmp_path / names[1], STACK[1:3], photometric="minisblack", description=xml, metadata=None)
    assert scene(tmp_path / names[0]).axes == "YX"
    assert scene(tmp_path / names[1]).shape == (2, 48, 64)
    np.testing.assert_array_equal(plane(tmp_path / names[1], z=1), STACK[2])
    renamed = (tmp_path / names[0]).rename(tmp_path / "renamed.tif")
    np.testing.assert_array_equal(plane(renamed), STACK[0])  # known by its UUID


@pytest.mark.parametrize("order", ["XYZTC", "XYCZT", "XYTCZ"])
def test_planes_of_ome_without_entries_for_each_follow_the_order(path: Path, order: str) -> None:
    sizes = {"C": 2, "Z": 3, "T": 2}
    values = np.arange(12, dtype=np.uint8)[:, None, None] + np.zeros((12, 48, 64), np.uint8)
    xml = ome_xml("<TiffData/>", " ".join(f'Size{axis}="{size}"' for axis, size in sizes.items()), order)
    tifffile.imwrite(path, values, photometric="minisblack", description=xml, metadata=None)
    assert scene(path).axes == order[2:][::-1] + "YX"
    fast, middle, slow = list(order[2:])
    at = {"T": 1, "Z": 2, "C": 1}
    expected = at[fast] + sizes[fast] * (at[middle] + sizes[middle] * at[slow])
    assert plane(path, t=1, z=2, channel=1)[0, 0] == expected


def test_planes_that_were_never_written_are_missed(path: Path) -> None:
    # Four time points were planned, and the second was cut short.
    xml = ome_xml("<TiffData/>", 'SizeC="1" SizeZ="3" SizeT="4"')
    tifffile.imwrite(path, STACK, photometric="minisblack", description=xml, metadata=None)
    assert scene(path).shape == (2, 3, 48, 64)
    np.testing.assert_array_equal(plane(path, t=1, z=0), STACK[3])
    with pytest.raises(ImageError, match="lacks part of its pixels"):
        plane(path, t=1, z=1)
    description = "ImageJ=1.54f\nimages=7\nslices=7\nhyperstack=true\n"
    for options in PACKINGS:
        tifffile.imwrite(path, STACK, photometric="minisblack", description=description, metadata=None, **options)
        with pytest.raises(ImageError, match="lacks part of its pixels"):
            scene(path)
    description = description.replace("7", "2")
    tifffile.imwrite(path, STACK, photometric="minisblack", description=description, metadata=None, compression="zlib")
    with pytest.raises(ImageError, match="holds 4 images where its metadata count 2"):
        scene(path)


def test_pages_of_another_kind_are_told(path: Path) -> None:
    xml = ome_xml("<TiffData/>")
    with tifffile.TiffWriter(path) as file:
        file.write(GREY, description=xml, metadata=None)
        file.write(GREY[:30], metadata=None)
    np.testing.assert_array_equal(plane(path, z=0), GREY)
    with pytest.raises(ImageError, match="has pages that differ in size or kind"):
        plane(path, z=1, region=Tile(0, 0, 2, 2))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw", "rowsperstrip": 16},
        {"compression": "zlib", "tile": (16, 16)},
        {"compression": "jpeg"},
    ],
)
def test_a_file_that_is_cut_off_lacks_nothing_or_is_told(path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(path, GREY, **options)
    content = path.read_bytes()
    whole = plane(path)
    refused = 0
    for cut in range(0, len(content), len(content) // 50):
        path.write_bytes(content[:cut])
        try:
            np.testing.assert_array_equal(plane(path), whole)
        except ImageError:
            refused += 1
    assert refused > 25


@pytest.mark.parametrize("name", ["StripByteCounts", "StripOffsets"])
def test_a_strip_that_was_never_written_is_missed(path: Path, name: str) -> None:
    for compression in (None, "lzw"):
        tifffile.imwrite(path, GREY, compression=compression, rowsperstrip=16)
        with tifffile.TiffFile(path, mode="r+") as file:
            tag = file.pages.first.tags[name]
            tag.overwrite([*tag.value[:-1], 0])
        with pytest.raises(ImageError, match="lacks part of its pixels"):
            plane(path)
    np.testing.assert_array_equal(plane(path, region=Tile(0, 0, 32, 64)), GREY[:32])


def linked(*places: int, tags: int = 1) -> bytes:
    """A TIFF of directories at 8, 8 + size, ...; each leads to the place given."""
    pages = b"".join(
        struct.pack("<H", tags) + struct.pack("<HHII", 256, 4, 1, 9) * tags + struct.pack("<I", place)
        for place in places
    )
    return b"II*\0" + struct.pack("<I", 8) + pages


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (linked(8), "its directories lead in a circle"),
        (linked(26, 8), "its directories lead in a circle"),
        (linked(26, 44, 26), "its directories lead in a circle"),
        (linked(10**9), "lacks part of its pixels"),
        (b"II*\0\0\0\0\0", "holds no image"),
        (b"II*\0", "lacks part of its pixels"),
        (b"MM\0+" + bytes(4) + b"\xff" * 8, "lacks part of its pixels"),
        (b"II*\0\x08\0\0\0\xff\xff", "lacks part of its pixels"),
    ],
)
def test_directories_that_lead_nowhere_are_told(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message):
        scene(path)


def with_tag(code: int, type_: int, number: int, value: int) -> bytes:
    tags = {
        256: (4, 1, 64), 257: (4, 1, 48), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8),
        277: (3, 1, 1), 278: (4, 1, 48), 279: (4, 1, 8), code: (type_, number, value),
    }  # fmt: skip
    directory = b"".join(struct.pack("<HHII", each, *tags[each]) for each in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + bytes(4)


@pytest.mark.parametrize(
    "content",
    [
        with_tag(330, 4, 1, 8),  # below itself
        with_tag(330, 4, 2**31, 8),
        with_tag(273, 4, 2**30, 8),
        with_tag(256, 4, 1, 2**32 - 1),
        with_tag(257, 4, 1, 0),
        with_tag(277, 3, 1, 65535),
        with_tag(258, 3, 1, 77),
        with_tag(322, 4, 1, 2**31),
        with_tag(259, 3, 1, 12345),
        with_tag(317, 3, 1, 9999),
    ],
)
def test_absurd_numbers_are_refused_before_memory_is_taken(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ImageError):
        plane(path, region=Tile(0, 0, 1, 1))


@pytest.mark.parametrize("compression", ["png", "jpeg", "jpeg2000", "webp", "jpegxl"])
def test_a_tile_that_claims_another_size_is_refused(path: Path, compression: str) -> None:
    image = COLOUR if compression == "webp" else GREY
    tifffile.imwrite(path, image, compression=compression)
    with tifffile.TiffFile(path, mode="r+") as file:
        for name, value in (("ImageWidth", 16), ("ImageLength", 16), ("RowsPerStrip", 16)):
            file.pages.first.tags[name].overwrite(value)
    with pytest.raises(ImageError):
        plane(path)


def test_entities_are_not_expanded(path: Path) -> None:
    xml = ome_xml("<TiffData/>").replace("<OME", '<!DOCTYPE a [<!ENTITY b "bbbb">]><OME')
    tifffile.imwrite(path, GREY, description=xml, metadata=None)
    with pytest.raises(ImageError, match="define entities"):
        scene(path)


@pytest.mark.parametrize(
    "xml",
    [
        ome_xml("<TiffData/>", 'SizeC="1" SizeZ="999999999999" SizeT="999999999999"'),
        ome_xml('<TiffData PlaneCount="999999999999"/>'),
        ome_xml("<TiffData/>", 'SizeC="-3" SizeZ="x" SizeT="0"'),
        ome_xml('<TiffData IFD="77"/>'),
        ome_xml('<TiffData FirstZ="99999999999999999999999"/>'),
        ome_xml("<TiffData/>")[:-9] + " OME>",
    ],
)
def test_absurd_ome_is_read_as_far_as_there_are_pages(path: Path, xml: str) -> None:
    tifffile.imwrite(path, GREY, description=xml, metadata=None)
    np.testing.assert_array_equal(plane(path), GREY)


def test_entries_for_more_planes_than_there_are_pages_are_refused(path: Path) -> None:
    tifffile.imwrite(path, GREY, description=ome_xml('<TiffData IFD="0"/>' * 1000), metadata=None)
    with pytest.raises(ImageError, match="maps"):
        scene(path)


def test_many_pages_open_in_little_time(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        for _ in range(2000):
            file.write(GREY[:4, :4], metadata=None)
    assert scene(path).shape == (2000, 4, 4)
    np.testing.assert_array_equal(plane(path, t=1999), GREY[:4, :4])
