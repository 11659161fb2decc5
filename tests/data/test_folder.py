"""Data sets in elmgan's own layout: what is found, and every fault that is told."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from elmgan.data import Record, read_data_set, read_sources
from elmgan.data.faults import MOST_TOLD
from elmgan.errors import DataError
from elmgan.images import write_png
from elmgan.images.source import CONVERT
from elmgan.models import TrainingData

SHAPE = (12, 16)


def noise(name: str, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint8]:
    """An image like no other."""
    return np.random.default_rng(zlib.crc32(name.encode())).integers(0, 256, shape, dtype=np.uint8)


def put(folder: Path, *names: str, content: NDArray[np.uint8] | None = None) -> Path:
    """Write files: images with noise; masks, labels and dots with two objects."""
    objects = np.zeros(SHAPE, np.uint8)
    objects[3, 4], objects[8, 9] = 1, 2
    for name in names:
        pixels = content if content is not None else noise(name) if name.startswith("images/") else objects
        path = folder / name
        write_png(path.with_suffix(".png"), pixels)  # whose content tells what it is, not the name
        path.with_suffix(".png").rename(path)
    return folder


def faults_of(folder: Path) -> list[str]:
    """The faults that are told of a folder, with paths relative to it."""
    with pytest.raises(DataError) as raised:
        read_data_set(folder)
    head, *faults = str(raised.value).replace(f"{folder}/", "").split("\n  ")
    assert head == f"the data set {folder} has faults:"
    return faults


def table(folder: Path, *lines: str) -> None:
    (folder / "counts.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_images_are_found_with_what_is_known_of_them(tmp_path: Path) -> None:
    put(tmp_path, "images/b.v2.TIF", "images/plate/a.png", "images/c.jpg", "masks/b.v2.png", "masks/plate/a.tif")
    put(tmp_path, "labels/c.tif", "images/.b.tif", "images/d.png", "images/e.tif", "dots/d.tif", "masks/e.tif")
    (tmp_path / "images/notes.txt").touch()
    (tmp_path / "masks/Thumbs.db").touch()
    table(
        tmp_path,
        "image,count,group,kind,split",
        "plate/a.png,12,g,k/l,test",
        "b.v2,3.5,,,train",
        "c.jpg,,h,,train",
        "d,,,,validation",
        "e,,,,train",
    )
    images, masks = tmp_path / "images", tmp_path / "masks"
    assert read_data_set(tmp_path) == [
        Record("b.v2", images / "b.v2.TIF", masks / "b.v2.png", None, 3.5, "b.v2", "", None, "train"),
        Record("c", images / "c.jpg", None, tmp_path / "labels/c.tif", 2, "h", "", None, "train"),
        Record("d", images / "d.png", None, None, 2, "d", "", tmp_path / "dots/d.tif", "validation"),
        Record("e", images / "e.tif", masks / "e.tif", None, None, "e", "", None, "train"),
        Record("plate/a", images / "plate/a.png", masks / "plate/a.tif", None, 12, "g", "k/l", None, "test"),
    ]


@pytest.mark.parametrize(("known", "count"), [("masks", None), ("labels", 2), ("dots", 2), ("counts.csv", 7)])
def test_one_kind_of_annotation_is_enough(tmp_path: Path, known: str, count: float | None) -> None:
    put(tmp_path, "images/a.tif", "images/b.tif")
    if known == "counts.csv":
        table(tmp_path, "image,count", "a,7", "b,7")
    else:
        put(tmp_path, f"{known}/a.tif", f"{known}/b.tif")
    assert [record.count for record in read_data_set(tmp_path)] == [count, count]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    put(tmp_path, *(f"images/{name}.tif" for name in "abcdefghijkl"), "images/a.png", "images/x.png", "labels/z.tif")
    put(tmp_path, *(f"masks/{name}.tif" for name in "acdefgh"), "masks/y.tif", "masks/x.jpg")
    put(tmp_path, "images/m.tif", "masks/m.tif")
    put(tmp_path, "masks/i.tif", "labels/j.tif", "dots/k.tif", content=noise("other size", (16, 12)))
    put(tmp_path, "masks/g.tif", content=np.zeros(SHAPE, np.uint8))
    put(tmp_path, "dots/h.tif", content=np.ones(SHAPE, np.uint8))
    (tmp_path / "masks/f.tif").write_text("not an image")
    table(
        tmp_path,
        "image,count,group,split",
        *("a.tif,1,,train", "b.tif,-1,,train", "c.tif,many,,train", "c.tif,2,,train", "", "d.tif,1,,train,5"),
        *("e.tif,nan,,train", "f.tif,,,train", "none.tif,3,,train", "x.png,0,,train", "g,3,p,test", "h,,p,train"),
        *("i,,,trian", "j,,,test", "k,,,test"),
    )
    objects = "has foreground, but the count is 0; correct the count, or remove this file"
    size = "is 16 rows by 12 columns, its image 12 rows by 16 columns; both must be the same: "
    size += "export it again at the size of the image"
    assert sorted(faults_of(tmp_path)) == sorted(
        [
            "images/a.tif: has the same stem as a.png; rename one",
            "masks/y.tif: there is no image of this name; add the image, or remove this file",
            "masks/x.jpg: JPEG blurs masks, labels and dots; save it as TIFF or PNG",
            "labels/z.tif: there is no image of this name; add the image, or remove this file",
            "counts.csv, line 3: the count of 'b.tif' is '-1'; write a number such as 12 or 12.5",
            "counts.csv, line 4: the count of 'c.tif' is 'many'; write a number such as 12 or 12.5",
            "counts.csv, line 5: 'c.tif' has a row already; remove one",
            "counts.csv, line 7: more values than columns; write decimals with a point",
            "counts.csv, line 8: the count of 'e.tif' is 'nan'; write a number such as 12 or 12.5",
            "counts.csv, line 10: there is no image 'none.tif'; correct the name, or remove the row",
            "counts.csv, line 14: the split of 'i' is 'trian'; write train, validation, calibration or test",
            f"masks/f.tif: is not an image of a kind that is read, whatever its name says; {CONVERT}",
            "masks/g.tif: the mask of g has no foreground, and its count is 3; correct the count, or remove this file",
            f"masks/x.jpg: {objects}",
            "dots/h.tif: 192 pixels are not 0, in 1 spots; mark each cell by one pixel on a background of 0, "
            "or write the counts to counts.csv",
            *(f"{file}.tif: {size}" for file in ("masks/i", "labels/j", "dots/k")),
            "images/m.tif: has no split, others have; write train, validation, calibration or test",
            "group p: g (test) and h (train) show the same cells; mark them for one side",
        ]
    )


def test_long_lists_of_one_kind_are_cut(tmp_path: Path) -> None:
    put(tmp_path, *(f"images/{number}.tif" for number in range(MOST_TOLD + 9)), "masks/a.tif", "masks/b.tif")
    faults = faults_of(tmp_path)
    assert faults[0].startswith("masks/a.tif: there is no image")
    assert faults[2] == "images/0.tif: has no mask, labels, dots or count; add one, or remove the image"
    assert faults[-1] == "... and 9 more of this kind"
    assert len(faults) == 2 + MOST_TOLD + 1


@pytest.mark.parametrize("folder", ["images", "masks", "labels", "dots"])
def test_an_empty_folder_is_a_fault(tmp_path: Path, folder: str) -> None:
    put(tmp_path, *(f"{part}/{name}.tif" for part in ("images", "masks", "labels", "dots") for name in "ab"))
    for name in "ab":
        (tmp_path / folder / f"{name}.tif").rename(tmp_path / folder / f".{name}.tif")
    assert any(fault.startswith(f"{folder} holds no image that is read; elmgan reads") for fault in faults_of(tmp_path))


def test_a_file_in_place_of_the_images_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "images").touch()
    assert faults_of(tmp_path) == [f"{tmp_path}: holds no image; put images there"]


@pytest.mark.parametrize("same", ["copies", "one value", "noise apart"])
def test_images_that_are_all_the_same_are_a_fault(tmp_path: Path, same: str) -> None:
    rng = np.random.default_rng(0)
    scene = 100 * np.ones((64, 80)) if same == "one value" else rng.integers(0, 200, (64, 80))
    for name in "abc":
        spread = 1.5 if same == "noise apart" else 0
        image = (scene + rng.normal(20, spread, scene.shape)).astype(np.uint8)
        put(tmp_path, f"images/{name}.tif", content=image)
    table(tmp_path, "image,count", "a,1", "b,2", "c,3")
    assert faults_of(tmp_path) == [f"{tmp_path}: all 3 images show the same; export them again, or keep one"]
    put(tmp_path, "images/d.tif")
    table(tmp_path, "image,count", "a,1", "b,2", "c,3", "d,4")
    assert len(read_data_set(tmp_path)) == 4


@pytest.mark.parametrize("cut", [4, 200])
def test_images_that_cannot_be_read_are_faults(tmp_path: Path, cut: int) -> None:
    """In the header, and in the pixels where they are looked at."""
    put(tmp_path, "images/a.png", "images/b.png", "masks/a.png", "masks/b.png")
    for name in "ab":
        path = tmp_path / f"images/{name}.png"
        path.write_bytes(path.read_bytes()[:cut])
    faults = faults_of(tmp_path)
    assert faults[0].startswith("images/a.png")
    assert len(faults) == (2 if cut == 4 else 1)


def test_a_single_image_is_a_data_set(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "masks/a.png")
    assert len(read_data_set(tmp_path)) == 1


@pytest.mark.parametrize("present", [[], ["a.tif"], ["a.tif", "b.tif", "c.tif", "d_mask.tif", "e.tif"]])
def test_what_is_no_data_set_is_told_what_one_is(tmp_path: Path, present: list[str]) -> None:
    put(tmp_path, *present)
    found = {0: "nothing", 1: r"a\.tif", 5: r"a\.tif, b\.tif, c\.tif and 2 more"}[len(present)]
    expected = r"expected images/ .*counts\.csv beside it, or BBBC005_v1_images/ .*, or 001cell\.png"
    with pytest.raises(DataError, match=rf"is not a data set: {expected}.*; found {found}$"):
        read_data_set(tmp_path)
    with pytest.raises(DataError, match="absent is no folder"):
        read_data_set(tmp_path / "absent")


def test_a_column_of_nothing_but_images_needs_no_known_header(tmp_path: Path) -> None:
    put(tmp_path, "images/a.tif", "images/b.tif")
    (tmp_path / "counts.csv").write_text("zdjęcie;count\na.tif;1\nb.tif;3\n", encoding="utf-8")
    assert [record.count for record in read_data_set(tmp_path)] == [1, 3]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"colour;count\nred;1\n", "counts.csv: expected the columns image and count, found colour, count; name"),
        (b"a.tif,1\n", "counts.csv: expected the columns image and count, found a.tif, 1; name them so in the first"),
        (b"", "counts.csv: expected the columns image and count, found none"),
        ("image,count\nZürich.tif,1\n".encode("cp1252"), "counts.csv, line 2: there is no image 'Zürich.tif'; correct"),
        (b"image,count\n\x81.tif,1\n", "counts.csv: cannot be read ("),
        (b'image,count\na.tif,"1\n' + b"9" * 200_000, "counts.csv: cannot be read (field larger than field limit"),
        (
            b"PK\x03\x04 and so on",
            "counts.csv: is a spreadsheet, whatever its name says: open it there and save it as CSV",
        ),
        (b"image,count,Count\na.tif,1,2\n", "counts.csv: has two columns count: keep the one that is meant"),
        (b"image;count\na.tif;1.234\n", "counts.csv, line 2: the count of 'a.tif' is '1.234'; write a number such as"),
        (b"image,count,estimate,model\na.tif,1,1.2,nuclei@1\n", "counts.csv: these are elmgan's own counts, not yours"),
    ],
)
def test_a_table_that_cannot_be_used_is_a_fault(tmp_path: Path, content: bytes, fault: str) -> None:
    put(tmp_path, "images/a.tif", "masks/a.tif", "masks/b.tif")
    (tmp_path / "counts.csv").write_bytes(content)
    faults = faults_of(tmp_path)
    assert faults[0] == "masks/b.tif: there is no image of this name; add the image, or remove this file"
    assert faults[1].startswith(fault)
    assert len(faults) == 2


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
    put(tmp_path, "images/a.tif", "images/plate/b.tif", "masks/a.tif", "masks/plate/b.tif")
    (tmp_path / "counts.csv").write_text(content, encoding="utf-8", newline="")
    assert {record.name: record.count for record in read_data_set(tmp_path)} == {"a": 12, "plate/b": 0.5}


def test_sources_are_those_stated(tmp_path: Path) -> None:
    assert read_sources(tmp_path, 7) == [TrainingData(name=tmp_path.name, licence="not stated", images=7)]
    (tmp_path / "sources.json").write_text('[{"name": "x", "licence": "CC0", "images": 5}]')
    assert read_sources(tmp_path, 7) == [TrainingData(name="x", licence="CC0", images=5)]


@pytest.mark.parametrize("content", ["", "7", "{}", '{"name": "x"}', '[{"name": "x"}]'])
def test_wrong_sources_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "sources.json").write_text(content)
    with pytest.raises(DataError, match=r"sources\.json: expected a list of objects with name, licence and images"):
        read_sources(tmp_path, 7)
