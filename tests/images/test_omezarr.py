import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from elmgan.errors import ImageError
from elmgan.images import View, open_image
from elmgan.images.omezarr import OmeZarrReader
from elmgan.images.reader import readers
from elmgan.images.tile import Tile
from known_formats import check, entries, run
from pyramids import write_pyramid
from vendor_files import described

FILES = [
    *("zarr04-t3-c2-z10.ome.zarr", "zarr04-zyx.ome.zarr", "zarr05-c2-z5.ome.zarr", "zarr05-c2-5levels.ome.zarr"),
    "zarr-bf2raw",
]
AXES = [{"name": name} for name in "tczyx"]
PIXELS = np.arange(2 * 3 * 4 * 40 * 30, dtype=np.uint16).reshape(2, 3, 4, 40, 30)
TILE = Tile(7, 5, 20, 21)


def image(
    folder: Path, pixels: NDArray = PIXELS, version: Literal[2, 3] = 3, level: str = "0", **multiscales: Any
) -> Path:
    """Write an image of one level, with the metadata given."""
    array = zarr.create_array(
        folder / level,
        shape=pixels.shape,
        dtype=pixels.dtype,
        zarr_format=version,
        chunks=(*(1,) * (pixels.ndim - 2), 32, 32),
    )
    array[...] = pixels
    attributes = {"multiscales": [{"datasets": [{"path": level}], **multiscales}]}
    group(folder, attributes, version)
    return folder


def group(folder: Path, attributes: Mapping[str, Any], version: int = 3) -> None:
    folder.mkdir(exist_ok=True)
    if version == 3:
        found = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": attributes}}
        (folder / "zarr.json").write_text(json.dumps(found))
    else:
        (folder / ".zattrs").write_text(json.dumps(attributes))


@pytest.mark.parametrize("name", FILES)
def test_folders_of_other_programs_are_read(name: str, shared_data: Path) -> None:
    check(entries(shared_data)[name], described(shared_data / "formats" / name))


def test_damaged_folders_end_in_an_error(shared_data: Path) -> None:
    assert run(sys.executable, "damage", 8, *(shared_data / "formats" / name for name in FILES)) == []


def test_the_reader_is_registered() -> None:
    assert OmeZarrReader in readers()


@pytest.mark.parametrize("version", [2, 3])
def test_a_region_is_the_slice_of_the_plane(version: Literal[2, 3], tmp_path: Path) -> None:
    reader = OmeZarrReader(image(tmp_path / "a.zarr", version=version, level="full/size", axes=AXES), None)
    (scene,) = reader.scenes
    assert (scene.axes, scene.shape, scene.dtype, scene.pixel_size) == ("TCZYX", PIXELS.shape, PIXELS.dtype, {})
    assert np.array_equal(reader.read(0, t=1, z=2, channel=2, region=TILE), TILE.of(PIXELS[1, 2, 2]))


def test_a_region_reads_the_chunks_it_takes(tmp_path: Path) -> None:
    folder = image(tmp_path / "a.zarr", axes=AXES)
    (folder / "0" / "c" / "0" / "0" / "0" / "1" / "0").write_bytes(b"damaged")
    shutil.rmtree(folder / "0" / "c" / "1")  # of a chunk that is not there all pixels are the fill value
    reader = OmeZarrReader(folder, None)
    assert np.array_equal(reader.read(0, t=0, z=0, channel=0, region=Tile(0, 0, 32, 30)), PIXELS[0, 0, 0, :32])
    assert not reader.read(0, t=1, z=0, channel=0, region=TILE).any()
    with pytest.raises(ImageError, match="is damaged"):
        reader.read(0, t=0, z=0, channel=0, region=Tile(30, 0, 4, 4))


@pytest.mark.parametrize("version", [2, 3])
def test_chunks_that_are_not_there_are_told(version: Literal[2, 3], tmp_path: Path) -> None:
    folder = image(tmp_path / "a.zarr", version=version, axes=AXES)
    with open_image(folder) as source:
        assert source.notes == ()
    chunks = sorted(path for path in (folder / "0").rglob("*") if path.is_file() and path.name.isdigit())
    chunks = chunks or sorted(path for path in (folder / "0").iterdir() if path.name[0].isdigit())
    chunks[3].unlink()
    with open_image(folder) as source:
        told = f"1 of {len(chunks)} chunks are not there and are taken for the fill value"
        assert source.notes == (told,)


def test_shards_are_read(tmp_path: Path) -> None:
    folder = image(tmp_path / "a.zarr", axes=AXES)
    shutil.rmtree(folder / "0")
    array = zarr.create_array(
        folder / "0", shape=PIXELS.shape, dtype=PIXELS.dtype, chunks=(1, 1, 1, 32, 32), shards=(1, 3, 4, 64, 32)
    )
    array[...] = PIXELS
    reader = OmeZarrReader(folder, None)
    assert np.array_equal(reader.read(0, t=1, z=2, channel=2, region=TILE), TILE.of(PIXELS[1, 2, 2]))


def test_sizes_and_names_come_from_the_metadata(tmp_path: Path) -> None:
    axes = [
        {"name": "lambda", "type": "channel"},
        {"name": "z", "type": "space", "unit": "nanometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space"},
    ]
    folder = image(
        tmp_path / "a.zarr",
        PIXELS[0],
        axes=axes,
        coordinateTransformations=[{"type": "scale", "scale": [1, 2, 2, 2]}],
        datasets=[
            {
                "path": "0",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1, 250, 0.25, 0.25]},
                    {"type": "translation", "translation": [9, 9, 9, 9]},
                ],
            }
        ],
    )
    found = json.loads((folder / "zarr.json").read_text())
    found["attributes"]["ome"]["omero"] = {"channels": [{"label": 525}, {"label": "DAPI"}, {}]}
    (folder / "zarr.json").write_text(json.dumps(found))
    (scene,) = OmeZarrReader(folder, None).scenes
    assert scene.axes == "CZYX"
    assert scene.channels == ("525", "DAPI", "")
    assert scene.pixel_size == pytest.approx({"z": 0.5, "y": 0.5})  # x has no unit


def test_axes_are_those_of_old_versions_or_given(tmp_path: Path) -> None:
    assert OmeZarrReader(image(tmp_path / "5"), None).scenes[0].axes == "TCZYX"
    folder = image(tmp_path / "3", PIXELS[0, 0])
    with pytest.raises(ImageError, match=r"has 3 axes that are not named; name them, as in axes=ZYX \(--axes\)"):
        OmeZarrReader(folder, None)
    assert OmeZarrReader(folder, "tyx").scenes[0].axes == "TYX"
    with pytest.raises(ImageError, match="do not fit"):
        OmeZarrReader(folder, "yx")
    turned = OmeZarrReader(folder, "zxy")
    assert np.array_equal(turned.read(0, t=0, z=1, channel=None, region=Tile(0, 0, 30, 40)), PIXELS[0, 0, 1].T)


def test_the_fields_of_a_plate_are_scenes(tmp_path: Path) -> None:
    plate = tmp_path / "plate.zarr"
    group(plate, {"plate": {"wells": [{"path": "A/1"}, {"path": "B/2"}]}})
    for number, well in enumerate(("A/1", "B/2")):
        (plate / well).mkdir(parents=True)
        group(plate / well, {"well": {"images": [{"path": "0"}, {"path": "1"}]}})
        for field in (0, 1):
            image(plate / well / str(field), np.full((40, 30), 2 * number + field, np.uint8), axes=AXES[3:])
    reader = OmeZarrReader(plate, None)
    assert [scene.name for scene in reader.scenes] == ["A/1/0", "A/1/1", "B/2/0", "B/2/1"]
    assert [reader.read(scene, t=0, z=0, channel=None, region=TILE).max() for scene in range(4)] == [0, 1, 2, 3]
    group(plate, {"plate": {"wells": [{"path": "A/1"}, {"path": "A/1"}]}})
    with pytest.raises(ImageError, match="names A/1/0 twice"):
        OmeZarrReader(plate, None)


def test_numbered_images_are_scenes_and_keep_their_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "a.zarr"
    group(folder, {"bioformats2raw.layout": 3})
    for number in range(3):
        image(folder / str(number), PIXELS + number, axes=AXES)
    (folder / "OME").mkdir()
    (folder / "OME" / "METADATA.ome.xml").write_text('<OME xmlns="x"><Image Name="one"/><Image Name="two"/></OME>')
    (folder / "1" / "0" / "zarr.json").unlink()
    (folder / "labels").mkdir()  # is no scene
    reader = OmeZarrReader(folder, None)
    assert [scene.name for scene in reader.scenes] == ["one", "two", ""]
    assert [bool(scene.fault) for scene in reader.scenes] == [False, True, False]
    assert reader.read(2, t=0, z=0, channel=0, region=Tile(0, 0, 1, 1)) == 2


@pytest.mark.parametrize("path", ["../other.zarr/0", "/etc", "0/../../other.zarr/0", "", "..\\other", "link"])
def test_nothing_outside_the_folder_is_read(path: str, tmp_path: Path) -> None:
    image(tmp_path / "other.zarr", axes=AXES)
    folder = image(tmp_path / "a.zarr", axes=AXES, datasets=[{"path": path}])
    (folder / "link").symlink_to(tmp_path / "other.zarr" / "0")
    with pytest.raises(ImageError, match="which is not inside its folder"):
        OmeZarrReader(folder, None)


@pytest.mark.parametrize("key", ["compressor", "filters"])
def test_nothing_is_unpacked_by_running_it(key: str, tmp_path: Path) -> None:
    folder = image(tmp_path / "a.zarr", version=2, axes=AXES)
    found = json.loads((folder / "0" / ".zarray").read_text())
    found[key] = {"id": "pickle"} if key == "compressor" else [{"id": "pickle"}]
    (folder / "0" / ".zarray").write_text(json.dumps(found))
    with pytest.raises(ImageError, match="is packed with pickle, which is not unpacked"):
        OmeZarrReader(folder, None)


def test_codecs_within_shards_are_looked_at(tmp_path: Path) -> None:
    folder = image(tmp_path / "a.zarr", axes=AXES)
    found = json.loads((folder / "0" / "zarr.json").read_text())
    inner = {"chunk_shape": [1, 1, 1, 32, 32], "codecs": [{"name": "numcodecs.pickle"}], "index_codecs": []}
    found["codecs"] = [{"name": "sharding_indexed", "configuration": inner}]
    (folder / "0" / "zarr.json").write_text(json.dumps(found))
    with pytest.raises(ImageError, match=r"is packed with numcodecs\.pickle"):
        OmeZarrReader(folder, None)


@pytest.mark.parametrize(
    ("chunk", "told"),
    [
        ([1, 1, 1, 10**6, 10**6], "cannot be unpacked"),
        ([1, 1, 1, 0, 4], "cannot be unpacked"),
        ([1, 1, 1, 2, 2], "too small"),
        ([32, 32], "cannot be unpacked"),
    ],
)
def test_chunks_that_cost_too_much_are_refused(chunk: list[int], told: str, tmp_path: Path) -> None:
    folder = image(tmp_path / "a.zarr", axes=AXES)
    found = json.loads((folder / "0" / "zarr.json").read_text())
    found["chunk_grid"]["configuration"]["chunk_shape"] = chunk
    (folder / "0" / "zarr.json").write_text(json.dumps(found))
    with pytest.raises(ImageError, match=told):
        OmeZarrReader(folder, None)


def test_folders_that_are_no_image_are_told(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert not OmeZarrReader.recognises(tmp_path / "plain", b"")
    group(tmp_path / "plain", {}, version=2)
    assert OmeZarrReader.recognises(tmp_path / "plain", b"")
    with pytest.raises(ImageError, match="is Zarr without the metadata of an OME image"):
        OmeZarrReader(tmp_path / "plain", None)


def test_without_zarr_it_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = image(tmp_path / "a.zarr", axes=AXES)
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImageError, match="is OME-Zarr, and reading it needs zarr: pip install zarr"):
        OmeZarrReader(folder, None)


def test_smaller_copies_are_told_and_read(tmp_path: Path) -> None:
    levels = [PIXELS, PIXELS[..., ::2, ::2], PIXELS[..., ::4, ::4]]
    with open_image(write_pyramid(tmp_path / "a.zarr", levels, axes="tczyx")) as source:
        (scene,) = source.scenes
        assert scene.levels == ((20, 15), (10, 8))
        (plane,) = source.planes(View(channel=2, t=2, z=3))
        assert [copy.shape for copy in plane.levels] == [(40, 30), (20, 15), (10, 8)]
        assert [copy.reduction for copy in plane.levels] == [1, 2, 4]
        for copy, level in zip(plane.levels, levels, strict=True):
            assert np.array_equal(copy.read(), level[1, 1, 2])
            assert np.array_equal(copy.read(Tile(1, 2, 5, 6)), level[1, 1, 2, 1:6, 2:8])


def test_a_copy_that_does_not_hold_the_planes_is_none(tmp_path: Path) -> None:
    small = PIXELS[..., ::2, ::2]
    levels: list[NDArray] = [
        PIXELS,
        small[:, :, ::2],
        small.astype(np.uint8),
        PIXELS,
        small,
        small[..., ::2, ::2],
        small[..., :9, :7],
    ]
    folder = write_pyramid(tmp_path / "a.zarr", levels, axes="tczyx")
    next((folder / "5").rglob("0/0/0/0/0")).unlink()
    (folder / "6" / ".zarray").write_text("{}")
    with open_image(folder) as source:
        assert source.scenes[0].levels == (small.shape[-2:],)
        assert not source.notes
