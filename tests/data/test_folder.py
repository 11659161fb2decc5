from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import relabel_sequential

from elmgan.data import Record, read_data_set, read_sources
from elmgan.data.folder import read_labels, read_mask
from elmgan.errors import DataError
from elmgan.models.schema import TrainingData


def touch(folder: Path, *names: str) -> Path:
    """Make empty files: images are not opened before all faults are told."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def faults_of(folder: Path) -> list[str]:
    """The faults that are told of a folder, with paths relative to it."""
    with pytest.raises(DataError) as raised:
        read_data_set(folder)
    head, *faults = str(raised.value).replace(f"{folder}/", "").split("\n  ")
    assert head == f"the data set {folder} has faults:"
    return faults


def test_images_are_found_with_what_is_known_of_them(tmp_path: Path) -> None:
    touch(tmp_path, "images/b.v2.TIF", "images/plate/a.png", "images/c.jpg", "masks/b.v2.png", "masks/plate/a.tif")
    touch(tmp_path, "labels/c.tif", "images/.b.tif", "images/notes.txt", "masks/Thumbs.db")
    (tmp_path / "counts.csv").write_text("image,count,group,kind\nplate/a.png,12,g,k/l\nb.v2,3.5,,\nc.jpg,,h,\n")
    images, masks = tmp_path / "images", tmp_path / "masks"
    assert read_data_set(tmp_path) == [
        Record("b.v2", images / "b.v2.TIF", masks / "b.v2.png", None, 3.5, "b.v2", ""),
        Record("c", images / "c.jpg", None, tmp_path / "labels/c.tif", None, "h", ""),
        Record("plate/a", images / "plate/a.png", masks / "plate/a.tif", None, 12, "g", "k/l"),
    ]


def test_labels_alone_are_enough(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.tif", "labels/a.png")
    assert read_data_set(tmp_path) == [
        Record("a", tmp_path / "images/a.tif", None, tmp_path / "labels/a.png", None, "a", "")
    ]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{name}.tif" for name in "abcdefg"), "images/a.png", "labels/z.tif")
    touch(tmp_path, *(f"masks/{name}.tif" for name in "acdefg"), "masks/y.tif", "masks/x.jpg", "images/x.png")
    (tmp_path / "counts.csv").write_text(
        "image,count\na.tif,1\nb.tif,-1\nc.tif,many\nc.tif,2\n\nd.tif,1,5\ne.tif,nan\nf.tif,\nnone.tif,3\nx.png,0\n"
    )
    assert sorted(faults_of(tmp_path)) == [
        "counts.csv, line 10: there is no image 'none.tif'",
        "counts.csv, line 3: the count of 'b.tif' is '-1', not a number such as 12 or 12.5",
        "counts.csv, line 4: the count of 'c.tif' is 'many', not a number such as 12 or 12.5",
        "counts.csv, line 5: 'c.tif' has a row already",
        "counts.csv, line 7: more values than columns; write decimals with a point",
        "counts.csv, line 8: the count of 'e.tif' is 'nan', not a number such as 12 or 12.5",
        "images/a.tif: has the same stem as a.png; rename one",
        "images/b.tif: no mask of this name in masks",
        "images/f.tif: no count of this name in counts.csv",
        "images/g.tif: no count of this name in counts.csv",
        "labels/z.tif: no image of this name below images",
        "masks/x.jpg: JPEG blurs the edges of masks and labels; save it as TIFF or PNG",
        "masks/y.tif: no image of this name below images",
    ]


def test_what_every_image_lacks_is_told_once(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{number}.tif" for number in range(99)))
    assert faults_of(tmp_path) == [
        "masks: has no mask of any image; each needs one, or labels",
        "counts.csv: has no count of any image; each needs one, or labels",
    ]


@pytest.mark.parametrize("folder", ["images", "masks", "labels"])
def test_an_empty_folder_is_a_fault(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, "images/a.tif", "masks/a.tif", "labels/a.tif")
    (tmp_path / folder / "a.tif").rename(tmp_path / folder / ".a.tif")
    assert any(fault.startswith(f"{folder} holds no image; elmgan reads") for fault in faults_of(tmp_path))


def test_a_folder_without_images_is_told_what_a_data_set_is(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "a_mask.tif")
    with pytest.raises(DataError, match=r"is not a data set: expected the folders images and masks and .* counts\.csv"):
        read_data_set(tmp_path)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"file;count\na.tif;1\n", "counts.csv: expected the columns image and count, found file, count"),
        (b"", "counts.csv: expected the columns image and count, found none"),
        ("image,count\nZürich.tif,1\n".encode("cp1252"), "counts.csv: cannot be read ('utf-8' codec can't decode"),
        (b'image,count\na.tif,"1\n' + b"9" * 200_000, "counts.csv: cannot be read (field larger than field limit"),
        (b"image;count\na.tif;1,5\n", "counts.csv, line 2: the count of 'a.tif' is '1,5', not a number such as"),
    ],
)
def test_a_table_that_cannot_be_used_is_a_fault(tmp_path: Path, content: bytes, fault: str) -> None:
    touch(tmp_path, "images/a.tif", "masks/a.tif", "masks/b.tif")
    (tmp_path / "counts.csv").write_bytes(content)
    faults = faults_of(tmp_path)
    assert faults[0].startswith(fault)
    assert "masks/b.tif: no image of this name below images" in faults


@pytest.mark.parametrize(
    "content",
    [
        "image,count\na.tif,12\nplate/b.tif,0.5\n",
        "\ufeffimage,count\r\na.tif,12\r\nplate/b.tif,0.5\r\n",
        "image;count\r\na.tif;12\r\nplate\\b.tif;0.5\r\n;\r\n",
        "count\timage\n12\ta\n0.5\tplate/b\n",
        'image, count\n"a.png", 12.0\n\n./plate/b.TIFF, 5e-1\n',
    ],
    ids=["plain", "byte order mark", "spreadsheet", "tabs without extensions", "by hand"],
)
def test_tables_of_many_programs_are_read(tmp_path: Path, content: str) -> None:
    touch(tmp_path, "images/a.tif", "images/plate/b.tif", "masks/a.tif", "masks/plate/b.tif")
    (tmp_path / "counts.csv").write_text(content, encoding="utf-8", newline="")
    assert {record.name: record.count for record in read_data_set(tmp_path)} == {"a": 12, "plate/b": 0.5}


VALUES = array_shapes(min_dims=2, max_dims=2, max_side=9).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(0, 5) | st.sampled_from([255, 65535, 2**31]))
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=VALUES, dtype=st.sampled_from([np.uint8, np.uint16, np.uint32, np.int32, np.float32]))
def test_labels_are_renumbered_in_order(tmp_path: Path, values: NDArray, dtype: type) -> None:
    stored = np.minimum(values, 2**24 if dtype is np.float32 else np.iinfo(dtype).max).astype(dtype)
    tifffile.imwrite(tmp_path / "labels.tif", stored)
    labels = read_labels(tmp_path / "labels.tif")
    assert labels.dtype == np.uint16
    expected, *_ = relabel_sequential(stored.astype(np.int64))  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 5, 3), np.uint8), r"labels\.tif: labels have one channel, found 3"),
        (np.array([[-1, 0, 1]], np.int16), r"labels\.tif: labels are whole numbers from 0"),
        (np.array([[0, 0.5]], np.float32), r"labels\.tif: labels are whole numbers from 0"),
        (np.arange(65537, dtype=np.uint32)[None], r"labels\.tif: more than 65535 labels"),
    ],
)
def test_what_are_no_labels_is_refused(tmp_path: Path, values: NDArray, message: str) -> None:
    tifffile.imwrite(tmp_path / "labels.tif", values)
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path / "labels.tif")


MASK = np.arange(35).reshape(5, 7) % 3 == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_masks_of_any_kind_are_read(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(MASK.astype(np.uint8) * 255)
    (Image.fromarray(MASK.astype(np.uint16)) if mode == "I;16" else grey.convert(mode)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), MASK)


@pytest.mark.parametrize("cell", [np.uint8(1), np.uint8(255), np.uint16(65535), np.float32(1), np.True_])
def test_any_value_but_0_is_cell(tmp_path: Path, cell: np.generic) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", np.where(MASK, cell, 0).astype(cell.dtype))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif"), MASK)


def test_sources_are_those_stated(tmp_path: Path) -> None:
    assert read_sources(tmp_path, 7) == [TrainingData(name=tmp_path.name, licence="not stated", images=7)]
    (tmp_path / "sources.json").write_text('[{"name": "x", "licence": "CC0", "images": 5}]')
    assert read_sources(tmp_path, 7) == [TrainingData(name="x", licence="CC0", images=5)]


@pytest.mark.parametrize("content", ["", "7", "{}", '{"name": "x"}', '[{"name": "x"}]'])
def test_wrong_sources_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "sources.json").write_text(content)
    with pytest.raises(DataError, match=r"sources\.json: expected a list of objects with name, licence and images"):
        read_sources(tmp_path, 7)
