import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nd2
import numpy as np
import pytest

import vendor_files
from elmgan.errors import ImageError
from elmgan.images.reader import GROUP, Reader, readers
from elmgan.images.scenes import describe_scene
from elmgan.images.tile import Tile
from elmgan.images.vendor.czi import CziReader
from elmgan.images.vendor.deltavision import DeltaVisionReader
from elmgan.images.vendor.lif import LifReader
from elmgan.images.vendor.nd2 import Nd2Reader
from elmgan.images.vendor.olympus import OlympusReader
from known_formats import check, entries, run

ROOT = Path(__file__).parents[2]
OLD_PYTHON = sys.version_info < (3, 12)

FILES = [
    *("nd2-multichannel.nd2", "nd2-timelapse.nd2", "nd2-zstack.nd2", "lif-3series.lif", "dv-c2-z17.dv"),
    *("oib-3ch.oib", "oif-3ch.oif"),
]
ALL = Tile(0, 0, 2, 3)

Opened = Callable[[type[Reader], Path], Reader]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens files, and closes them behind the test."""
    readers = []

    def open_one(kind: type[Reader], path: Path) -> Reader:
        readers.append(kind(path, None))
        return readers[-1]

    yield open_one
    for reader in readers:
        reader.close()


@pytest.mark.parametrize("name", FILES)
def test_files_of_microscopes_are_read(name: str, shared_data: Path) -> None:
    check(entries(shared_data)[name], vendor_files.described(shared_data / "formats" / name))


def test_damaged_files_end_in_an_error(shared_data: Path) -> None:
    assert run(sys.executable, "damage", 25, *(shared_data / "formats" / name for name in FILES)) == []


def test_reading_writes_nothing_and_opens_no_connection(shared_data: Path) -> None:
    folders = sorted((shared_data / "formats").glob("*.ome.zarr"))
    files = [shared_data / "formats" / name for name in FILES]
    assert len(run(sys.executable, "describe", *files, *folders)) == len(FILES) + 4


def test_the_page_of_formats_names_all_endings() -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    assert not {suffix for reader in readers() for suffix in reader.suffixes if f"`{suffix}`" not in page}


def test_readers_are_registered() -> None:
    kinds = {reader.kind: reader for reader in readers()}
    assert GROUP == "elmgan.readers"
    for reader in (Nd2Reader, CziReader, LifReader, OlympusReader, DeltaVisionReader):
        assert kinds[reader.kind] is reader


# CZI. Its library needs Python 3.12.


@pytest.fixture(scope="session")
def czi_python() -> Path:
    """A Python that has czifile; where this one is too old, in a small environment that is kept beside the others."""
    if not OLD_PYTHON:
        return Path(sys.executable)
    environment = ROOT / ".venv-czi"
    python, mark = environment / "bin" / "python", environment / "installed"
    if mark.is_file():
        return python
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python3.{minor}") for minor in (12, 13, 14)]
    for candidate in (*candidates, *sorted(pyenv.glob("3.1[2-9]*/bin/python"))):
        ask = [str(candidate), "-c", "import sys; sys.exit(sys.version_info < (3, 12))"]
        if candidate and subprocess.run(ask, capture_output=True, check=False).returncode == 0:
            break
    else:
        pytest.skip("there is no Python 3.12, which reading CZI needs")
    # Under a name of its own first: several processes may be at it at the same time.
    fresh = ROOT / f".venv-czi-{os.getpid()}"
    subprocess.run([str(candidate), "-m", "venv", str(fresh)], check=True, capture_output=True)
    install = ["install", "--quiet", "--retries", "0", "-c", str(ROOT / "constraints.txt"), "czifile", "numpy"]
    done = subprocess.run([str(fresh / "bin" / "pip"), *install], capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(fresh)
        pytest.skip(f"czifile cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    (fresh / "installed").touch()
    try:
        fresh.rename(environment)
    except OSError:  # another one was faster
        shutil.rmtree(fresh)
    return python


def test_czi_files_are_read(czi_python: Path, shared_data: Path) -> None:
    known = {name: entry for name, entry in entries(shared_data).items() if name.endswith(".czi")}
    assert len(known) == 5
    told = run(czi_python, "describe", *(shared_data / "formats" / name for name in known))
    for name, entry in known.items():
        check(entry, told[name])


def test_czi_tiles_are_joined(czi_python: Path, shared_data: Path, tmp_path: Path) -> None:
    plane, tiles = (shared_data / "formats" / name for name in ("czi-plane16.czi", "czi-2scene-tiles.czi"))
    run(czi_python, "save", tmp_path / "plane.npy", plane)
    run(czi_python, "save", tmp_path / "tiles.npy", tiles)
    joined = np.load(tmp_path / "tiles.npy")
    assert joined.shape == (272, 272)
    assert np.array_equal(joined, np.load(tmp_path / "plane.npy")[:272, :272])


def test_czi_colour_is_red_green_blue(czi_python: Path, shared_data: Path, tmp_path: Path) -> None:
    """The tiles of a real file, called 48 pixels of three samples wide instead of 144 of one."""
    content = bytearray((shared_data / "formats" / "czi-2scene-tiles.czi").read_bytes())
    at = 0
    while (at := content.find(b"DV\x01\0\0\0", at)) >= 0:
        struct.pack_into("<i", content, at + 2, 4)
        side = content.index(b"X\0\0\0", at)
        struct.pack_into("<i", content, side + 8, 48)
        struct.pack_into("<i", content, side + 16, 48)
        at += 1
    (tmp_path / "colour.czi").write_bytes(content)
    run(czi_python, "save", tmp_path / "colour.npy", tmp_path / "colour.czi")
    run(czi_python, "save", tmp_path / "grey.npy", shared_data / "formats" / "czi-2scene-tiles.czi")
    colour, grey = np.load(tmp_path / "colour.npy"), np.load(tmp_path / "grey.npy")
    assert colour.shape == (272, 176, 3)
    assert np.array_equal(colour[:144, :48, ::-1].reshape(128 + 16, 144)[:128], grey[:128, :144])
    assert not colour[:144, 48:128].any()  # between the tiles, where there are none now


def test_damaged_czi_files_end_in_an_error(czi_python: Path, shared_data: Path) -> None:
    assert run(czi_python, "damage", 25, *sorted((shared_data / "formats").glob("*.czi"))) == []


@pytest.mark.parametrize(
    ("name", "told"), [("DV", "is damaged in its directory"), ("ZISRAWDIR", "lacks its directory")]
)
def test_a_czi_directory_that_makes_no_sense_is_refused(
    name: str, told: str, czi_python: Path, shared_data: Path, tmp_path: Path
) -> None:
    content = bytearray((shared_data / "formats" / "czi-plane16.czi").read_bytes())
    place = content.index(name.encode(), content.index(b"ZISRAWDIRECTORY"))
    if name == "DV":
        struct.pack_into("<i", content, place + 28, 1 << 24)  # dimensions of the first tile
    else:
        content[place] = 0
    (tmp_path / "a.czi").write_bytes(content)
    with pytest.raises(AssertionError, match=told):
        run(czi_python, "describe", tmp_path / "a.czi")


@pytest.mark.skipif(not OLD_PYTHON, reason="this Python reads CZI")
def test_an_old_python_says_what_czi_needs(tmp_path: Path) -> None:
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE" + bytes(600))
    with pytest.raises(ImageError, match=r"needs Python 3\.12 or newer .* save the file as OME-TIFF in ZEN or Fiji"):
        CziReader(tmp_path / "a.czi", None)


# ND2, with a library that says what the test wants and a file that holds its frames.


@pytest.fixture
def nd2_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    def write(frames: list[bytes], loops: list[Any], shape: tuple[int, int, int, int], **more: Any) -> Path:
        rows, columns, groups, samples = shape
        content, places = bytearray(b"\xda\xce\xbe\x0a"), {}
        for index, frame in enumerate(frames):
            places[f"ImageDataSeq|{index}!".encode()] = (len(content), len(frame) + 8)
            content += bytes(24 + 4072) + frame
        attributes = {
            "channelCount": groups,
            "componentCount": groups * samples,
            "heightPx": rows,
            "widthPx": columns,
            "widthBytes": None,
            "compressionType": None,
        } | more

        class File:
            def __init__(self, path: Path) -> None:
                self.attributes = SimpleNamespace(**attributes)
                self.components_per_channel = samples
                self.dtype = np.dtype(np.uint8)
                self.experiment = loops
                self.metadata = SimpleNamespace(channels=[])
                self._rdr = SimpleNamespace(chunkmap=places)

            def __enter__(self) -> "File":
                return self

            def __exit__(self, *_: object) -> None:
                pass

        monkeypatch.setattr(nd2, "ND2File", File)
        (tmp_path / "a.nd2").write_bytes(content)
        return tmp_path / "a.nd2"

    return write


def loop(kind: str, count: int, *names: str) -> SimpleNamespace:
    points = [SimpleNamespace(name=name) for name in names]
    return SimpleNamespace(type=kind, count=count, parameters=SimpleNamespace(points=points))


def test_nd2_colour_is_red_green_blue(nd2_file: Callable[..., Path], opened: Opened) -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 1, 3)
    reader = opened(Nd2Reader, nd2_file([pixels.tobytes()], [], (2, 3, 1, 3)))
    (scene,) = reader.scenes
    assert (scene.axes, scene.shape, scene.channels) == ("YXS", (2, 3, 3), ())
    assert np.array_equal(reader.read(0, t=0, z=0, channel=None, region=ALL), pixels[:, :, 0, ::-1])
    assert np.array_equal(reader.read(0, t=0, z=0, channel=0, region=ALL), pixels[:, :, 0, 2])


def test_nd2_positions_are_scenes(nd2_file: Callable[..., Path], opened: Opened) -> None:
    frames = [bytes([number] * 6) for number in range(2 * 3 * 4)]
    loops = [loop("TimeLoop", 2), loop("XYPosLoop", 3, "A1", "", "B2"), loop("ZStackLoop", 4)]
    reader = opened(Nd2Reader, nd2_file(frames, loops, (2, 3, 1, 1)))
    assert [scene.name for scene in reader.scenes] == ["A1", "", "B2"]
    assert {(scene.axes, scene.shape) for scene in reader.scenes} == {("TZYX", (2, 4, 2, 3))}
    assert (reader.read(2, t=1, z=3, channel=None, region=ALL) == (1 * 3 + 2) * 4 + 3).all()


def test_nd2_packed_frames_and_padded_rows_are_read(nd2_file: Callable[..., Path], opened: Opened) -> None:
    rows = np.arange(2 * 8, dtype=np.uint8).reshape(2, 8)
    packed = [zlib.compress(rows.tobytes()), zlib.compress(rows.tobytes()[:-1]), b"no zlib"]
    path = nd2_file(packed, [loop("TimeLoop", 3)], (2, 3, 2, 1), compressionType="lossless", widthBytes=8)
    reader = opened(Nd2Reader, path)
    assert np.array_equal(reader.read(0, t=0, z=0, channel=1, region=ALL), rows[:, 1:6:2])
    for t in (1, 2):
        with pytest.raises(ImageError):
            reader.read(0, t=t, z=0, channel=0, region=ALL)


def test_nd2_time_points_that_were_not_recorded_are_told(nd2_file: Callable[..., Path], opened: Opened) -> None:
    frames = [bytes(6)] * 7
    reader = opened(Nd2Reader, nd2_file(frames, [loop("TimeLoop", 5), loop("ZStackLoop", 2)], (2, 3, 1, 1)))
    assert reader.scenes[0].length("T") == 3
    assert reader.scenes[0].note == "the file ends after 3 of the 5 time points that were planned"


def test_nd2_frames_that_no_loop_explains_are_told(nd2_file: Callable[..., Path], opened: Opened) -> None:
    reader = opened(Nd2Reader, nd2_file([bytes([n] * 6) for n in range(5)], [loop("ZStackLoop", 2)], (2, 3, 1, 1)))
    assert (reader.scenes[0].axes, reader.scenes[0].shape) == ("TYX", (5, 2, 3))
    assert "does not say what its 5 frames are" in reader.scenes[0].note
    assert (reader.read(0, t=4, z=0, channel=None, region=ALL) == 4).all()


def test_nd2_frames_that_are_lacking_are_no_black_ones(nd2_file: Callable[..., Path], opened: Opened) -> None:
    reader = opened(Nd2Reader, nd2_file([bytes(6), bytes(5)], [loop("ZStackLoop", 3)], (2, 3, 1, 1)))
    assert reader.read(0, t=0, z=0, channel=None, region=ALL).shape == (2, 3)
    for z in (1, 2):
        with pytest.raises(ImageError, match=f"lacks the pixels of frame {z + 1}"):
            reader.read(0, t=0, z=z, channel=None, region=ALL)


@pytest.mark.parametrize(
    ("loops", "more", "told"),
    [
        ([loop("TimeLoop", 1), loop("NETimeLoop", 1)], {}, "two loops"),
        ([loop("ZStackLoop", 10**9)], {}, "has 1 frames"),
        ([], {"compressionType": "lossy"}, "compressed with loss"),
        ([], {"widthBytes": 2}, "contradicts itself"),
    ],
)
def test_nd2_that_makes_no_sense_is_refused(
    loops: list[Any], more: dict[str, Any], told: str, nd2_file: Callable[..., Path]
) -> None:
    with pytest.raises(ImageError, match=told):
        Nd2Reader(nd2_file([bytes(6)], loops, (2, 3, 1, 1), **more), None)


def test_nd2_of_before_2012_is_told(tmp_path: Path) -> None:
    old = tmp_path / "old.nd2"
    old.write_bytes(b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(100))
    assert Nd2Reader.recognises(old, old.read_bytes())
    assert not Nd2Reader.recognises(tmp_path / "picture.jp2", old.read_bytes())
    with pytest.raises(ImageError, match="before 2012"):
        Nd2Reader(old, None)


# LIF, written here: one image after the other, and their bytes behind.

X, Y, Z, LAMBDA = 1, 2, 3, 5


def lif(path: Path, images: list[tuple[str, list[tuple[int, int, int]], str, bytes]], children: str = "") -> Path:
    """Write a file of images: name, (number, length, step) of each axis, XML of the channels, pixels."""
    described = []
    for index, (name, axes, channels, pixels) in enumerate(images):
        dimensions = "".join(
            f'<DimensionDescription DimID="{number}" NumberOfElements="{length}" Origin="0" Length="1e-6" Unit="m" '
            f'BitInc="0" BytesInc="{step}"/>'
            for number, length, step in axes
        )
        described.append(
            f'<Element Name="{name}"><Data><Image><ImageDescription><Channels>{channels}</Channels><Dimensions>'
            f"{dimensions}</Dimensions></ImageDescription></Image></Data>"
            f'<Memory Size="{len(pixels)}" MemoryBlockID="MemBlock_{index}"/></Element>'
        )
    text = (
        '<LMSDataContainerHeader Version="2"><Element Name="a"><Children>'
        f"{''.join(described)}{children}</Children></Element></LMSDataContainerHeader>"
    )
    content = struct.pack("<IIBI", 0x70, 2 * len(text) + 5, 0x2A, len(text)) + text.encode("utf-16-le")
    for index, (*_, pixels) in enumerate(images):
        name = f"MemBlock_{index}"
        content += struct.pack("<IIBQBI", 0x70, 2 * len(name) + 14, 0x2A, len(pixels), 0x2A, len(name))
        content += name.encode("utf-16-le") + pixels
    path.write_bytes(content)
    return path


def lif_channel(tag: int = 0, step: int = 0) -> str:
    return (
        f'<ChannelDescription DataType="0" ChannelTag="{tag}" Resolution="8" NameOfMeasuredQuantity="" Min="0" Max="1" '
        f'Unit="" LUTName="L{tag}" IsLUTInverted="0" BytesInc="{step}" BitInc="0"/>'
    )


def test_lif_scenes_keep_their_numbers(tmp_path: Path, opened: Opened) -> None:
    square = [(X, 3, 1), (Y, 2, 3)]
    images = [
        ("plane", square, lif_channel(), bytes(range(6))),
        ("xz", [(X, 3, 1), (Z, 2, 3)], lif_channel(), bytes(6)),
        ("lambda", [*square, (LAMBDA, 4, 6)], lif_channel(), bytes(range(24))),
        ("two axes", [*square, (LAMBDA, 2, 6), (10, 2, 12)], lif_channel(), bytes(24)),
    ]
    path = lif(tmp_path / "a.lif", images)
    path.write_bytes(path.read_bytes()[:-5])
    reader = opened(LifReader, path)
    assert [scene.name for scene in reader.scenes] == ["plane", "xz", "lambda", "two axes"]
    assert [bool(scene.fault) for scene in reader.scenes] == [False, True, False, True]
    assert "without rows and columns" in reader.scenes[1].fault
    assert "lacks its pixels" in reader.scenes[3].fault  # cut off
    assert reader.scenes[0].pixel_size == pytest.approx({"x": 0.5, "y": 1})
    assert (reader.scenes[2].axes, reader.scenes[2].shape) == ("TYX", (4, 2, 3))
    assert "4 emission wavelengths are counted one by one" in reader.scenes[2].note
    assert reader.read(2, t=3, z=0, channel=None, region=Tile(1, 1, 1, 2)).tolist() == [[22, 23]]

    whole = opened(LifReader, lif(tmp_path / "b.lif", images))
    assert "more than one axis" in whole.scenes[3].fault


@pytest.mark.parametrize(("tags", "axes"), [((3, 2, 1), "YXS"), ((1, 2, 3), "YXS"), ((0, 0, 0), "CYX")])
def test_lif_samples_of_a_pixel_are_colour_or_channels(
    tags: tuple[int, ...], axes: str, tmp_path: Path, opened: Opened
) -> None:
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    channels = "".join(lif_channel(tag, step) for step, tag in enumerate(tags))
    reader = opened(LifReader, lif(tmp_path / "a.lif", [("rgb", [(X, 3, 3), (Y, 2, 9)], channels, pixels.tobytes())]))
    assert reader.scenes[0].axes == axes
    for index in range(3):
        one = reader.read(0, t=0, z=0, channel=index, region=ALL)
        assert np.array_equal(one, pixels[..., tags.index(index + 1) if axes == "YXS" else index])
    if axes == "YXS":
        colour = reader.read(0, t=0, z=0, channel=None, region=ALL)
        assert np.array_equal(colour, pixels[..., [tags.index(tag) for tag in (1, 2, 3)]])


def test_lif_opens_no_other_file(tmp_path: Path, opened: Opened) -> None:
    plane = ("plane", [(X, 3, 1), (Y, 2, 3)], lif_channel(), bytes(6))
    lif(tmp_path / "other.lif", [plane])
    given = lif(tmp_path / "a.lif", [plane], children='<Reference File="other.lif"/><Reference File="none.lif"/>')
    reader = opened(LifReader, given)
    assert len(reader.scenes) == 1
    reader.close()


def test_lif_without_an_image_that_can_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r'has an image "xz" that has axes ZX of shape \(2, 3\) without rows'):
        LifReader(lif(tmp_path / "a.lif", [("xz", [(X, 3, 1), (Z, 2, 3)], lif_channel(), bytes(6))]), None)
    with pytest.raises(ImageError, match="holds no image"):
        LifReader(lif(tmp_path / "b.lif", []), None)


# OIB, OIF and DV.


def test_oif_needs_its_folder(shared_data: Path, tmp_path: Path, opened: Opened) -> None:
    source = shared_data / "formats" / "oif-3ch.oif"
    copy = Path(shutil.copyfile(source, tmp_path / source.name))
    with pytest.raises(ImageError, match=r"needs the folder oif-3ch\.oif\.files beside it"):
        OlympusReader(copy, None)
    folder = tmp_path / "oif-3ch.oif.files"
    folder.mkdir()
    with pytest.raises(ImageError, match="holds no image, or its planes are not beside it"):
        OlympusReader(copy, None)
    for name in ("s_C001.tif", "s_C003.tif"):
        shutil.copyfile(source.with_name(folder.name) / name, folder / name)
    reader = opened(OlympusReader, copy)
    assert reader.scenes[0].channels == ("CH1", "TD1")  # the second was not saved


def test_an_oif_plane_that_is_an_ome_tiff_opens_no_other(shared_data: Path, tmp_path: Path, opened: Opened) -> None:
    import tifffile

    source = shared_data / "formats" / "oif-3ch.oif"
    copy = Path(shutil.copyfile(source, tmp_path / source.name))
    shutil.copytree(
        source.with_name("oif-3ch.oif.files"), tmp_path / "oif-3ch.oif.files", copy_function=shutil.copyfile
    )
    (tmp_path / "oif-3ch.oif.files").chmod(0o755)
    plane = tmp_path / "oif-3ch.oif.files" / "s_C001.tif"
    secret = np.full((256, 256), 7, np.uint16)
    tifffile.imwrite(tmp_path / "secret.ome.tif", secret, metadata={"axes": "YX"})
    with tifffile.TiffFile(tmp_path / "secret.ome.tif") as tiff:
        text = tiff.ome_metadata
    assert text
    named = text.replace('<TiffData IFD="0"', '<TiffData IFD="0" FirstC="0"').replace(
        "</TiffData>", '<UUID FileName="../secret.ome.tif">urn:uuid:1</UUID></TiffData>'
    )
    tifffile.imwrite(plane, np.zeros((256, 256), np.uint16), description=named, metadata=None)
    pixels = opened(OlympusReader, copy).read(0, t=0, z=0, channel=0, region=Tile(0, 0, 256, 256))
    assert not pixels.any()


def test_scans_without_rows_are_refused(shared_data: Path, tmp_path: Path) -> None:
    content = (shared_data / "formats" / "oib-3ch.oib").read_bytes()
    old, new = ('AxisOrder="XYC"'.encode("utf-16-le"), 'AxisOrder="XZC"'.encode("utf-16-le"))
    assert content.count(old) == 1
    (tmp_path / "a.oib").write_bytes(content.replace(old, new))
    with pytest.raises(ImageError, match="scan along XZ"):
        OlympusReader(tmp_path / "a.oib", None)


def test_containers_of_other_programs_are_told(shared_data: Path, tmp_path: Path) -> None:
    content = (shared_data / "formats" / "oib-3ch.oib").read_bytes()
    (tmp_path / "a.oib").write_bytes(content.replace("OibInfo".encode("utf-16-le"), "Letters".encode("utf-16-le")))
    with pytest.raises(ImageError, match="container of another program"):
        OlympusReader(tmp_path / "a.oib", None)


@pytest.mark.parametrize("place", [48, 60])
def test_a_container_without_end_is_refused(place: int, shared_data: Path, tmp_path: Path) -> None:
    """The directory, or the table of small sectors, goes on with itself."""
    content = bytearray((shared_data / "formats" / "oib-3ch.oib").read_bytes())
    (start,) = struct.unpack_from("<I", content, place)
    struct.pack_into("<I", content, 4096 + 4 * start, start)  # the table of sectors is the first sector
    struct.pack_into("<I", content, 64, 0xFFFFFFFF)  # small sectors are as many as there may be
    (tmp_path / "a.oib").write_bytes(content)
    with pytest.raises(ImageError, match="no end"):
        OlympusReader(tmp_path / "a.oib", None)


def test_dv_headers_are_told_from_other_bytes(shared_data: Path, tmp_path: Path) -> None:
    start = (shared_data / "formats" / "dv-c2-z17.dv").read_bytes()[:512]
    assert DeltaVisionReader.recognises(Path("a"), start)
    assert not DeltaVisionReader.recognises(Path("a"), bytes(96) + start[96:])
    assert not DeltaVisionReader.recognises(Path("a"), b"II*\0" + start[4:12] + b"\xff" * 4 + start[16:])
    assert not DeltaVisionReader.recognises(Path("a"), start[:90])


def test_dv_planes_that_do_not_add_up_are_refused(shared_data: Path, tmp_path: Path) -> None:
    content = bytearray((shared_data / "formats" / "dv-c2-z17.dv").read_bytes())
    struct.pack_into("<i", content, 8, 33)
    (tmp_path / "a.dv").write_bytes(content)
    with pytest.raises(ImageError, match="33 planes, which are not 1 time points of 2 channels"):
        DeltaVisionReader(tmp_path / "a.dv", None)
    (tmp_path / "b.dv").write_bytes((shared_data / "formats" / "dv-c2-z17.dv").read_bytes()[:-1])
    with pytest.raises(ImageError, match="is damaged"):
        DeltaVisionReader(tmp_path / "b.dv", None)


@pytest.mark.parametrize(
    ("sizes", "dtype", "told"),
    [
        ({"T": 2, "X": 4}, "u1", "without rows and columns"),
        ({"M": 2, "T": 3, "Y": 4, "X": 4}, "u1", "more than one axis"),
        ({"M": 2, "L": 3, "Y": 4, "X": 4}, "u1", r"axes MLYX of shape \(2, 3, 4, 4\)"),
        ({"Y": 4, "X": 0}, "u1", "no pixels"),
        ({"Y": 4, "X": 4, "S": 4}, "u1", "colour has 3 samples"),
        ({"Y": 4, "X": 4}, "c8", "not grey values"),
    ],
)
def test_axes_that_cannot_be_counted_are_refused(sizes: dict[str, int], dtype: str, told: str) -> None:
    with pytest.raises(ImageError, match=told):
        describe_scene(sizes, np.dtype(dtype))
