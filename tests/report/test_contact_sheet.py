from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from elmgan.data import Record
from elmgan.errors import DataError, OutputError
from elmgan.report import OUTLINE, write_contact_sheet
from elmgan.report.contact_sheet import ACROSS, GAP, LINE, PICTURE_SIDE, known, shortened, small_picture


@pytest.fixture
def record(tmp_path: Path) -> Record:
    image, labels = np.zeros((240, 480), np.uint16), np.zeros((240, 480), np.uint8)
    labels[40:80, 40:100], labels[40:80, 100:160] = 1, 2  # touching
    image[labels > 0] = 3000
    for name, pixels in (("image", image), ("labels", labels), ("mask", labels > 0)):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
    return Record("a", tmp_path / "image.tif", None, tmp_path / "labels.tif", 2, "a", "")


def test_a_picture_shows_the_image_and_what_is_outlined(record: Record) -> None:
    labelled = small_picture(record)
    masked = small_picture(replace(record, labels=None, mask=record.image.with_name("mask.tif")))
    bare = small_picture(replace(record, labels=None))
    assert labelled.shape == masked.shape == bare.shape == (PICTURE_SIDE // 2, PICTURE_SIDE, 3)
    assert (bare[25, 30] == 255).all()
    assert (bare[100, 200] == 0).all()
    outlined = [np.all(picture == OUTLINE, axis=2) for picture in (labelled, masked, bare)]
    assert outlined[0][25, 49]  # between the two that touch
    assert outlined[0][20, 20]
    assert (outlined[1] & ~outlined[0]).sum() == 0
    assert not outlined[1][25, 49]
    assert not outlined[2].any()
    inverted = np.asarray(tifffile.imread(record.image.with_name("mask.tif")) == 0, np.uint8)
    tifffile.imwrite(record.image.with_name("inverted.tif"), inverted)
    other = small_picture(replace(record, labels=None, mask=record.image.with_name("inverted.tif")))
    inside, outside = (30, 30), (100, 200)  # the tint tells on which side of an outline the cells are
    assert [bool(np.ptp(picture[place])) for picture in (masked, other) for place in (inside, outside)] == [
        *(True, False),
        *(False, True),
    ]


def test_small_images_are_enlarged(tmp_path: Path, record: Record) -> None:
    tifffile.imwrite(tmp_path / "small.tif", np.arange(12, dtype=np.uint8).reshape(3, 4))
    assert small_picture(replace(record, image=tmp_path / "small.tif", labels=None)).shape == (180, PICTURE_SIDE, 3)


@pytest.mark.parametrize(("images", "shown"), [(1, 1), (4, 4), (100, 30)])
def test_a_sheet_has_its_pictures_in_rows(tmp_path: Path, record: Record, images: int, shown: int) -> None:
    write_contact_sheet(tmp_path / "sheet.png", [record] * images)
    with Image.open(tmp_path / "sheet.png") as picture:
        sheet = np.asarray(picture)
    columns, rows = min(ACROSS, shown), -(-shown // ACROSS)
    assert sheet.shape == (rows * (PICTURE_SIDE // 2 + 2 * LINE + GAP) + GAP, columns * (PICTURE_SIDE + GAP) + GAP, 3)
    _, parts = cv2.connectedComponents((sheet.max(axis=2) == 0).astype(np.uint8))
    assert np.sum(np.bincount(parts.ravel())[1:] > PICTURE_SIDE * PICTURE_SIDE // 4) == shown  # the others are letters


def test_every_kind_and_the_extremes_are_shown(tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(record: Record) -> np.ndarray:
        seen.append((record.kind, record.count))
        return np.zeros((9, PICTURE_SIDE, 3), np.uint8)

    monkeypatch.setattr("elmgan.report.contact_sheet.small_picture", look)
    counts = [*range(50), None]
    write_contact_sheet(tmp_path / "sheet.png", [replace(record, kind=kind, count=n) for n in counts for kind in "yx"])
    assert seen[0] == ("x", 0)
    assert seen[-1] == ("y", None)
    assert {kind for kind, _ in seen} == {"x", "y"}
    assert seen == sorted(seen, key=lambda one: (one[0], one[1] is None, one[1] or 0))


def test_captions(record: Record) -> None:
    assert known(record) == "2 cells"
    assert known(replace(record, count=1, labels=None, kind="w1", split="test")) == "1 cell, no mask, w1, test"
    assert known(replace(record, count=None)) == "count not known"
    assert shortened("plate/a") == "plate/a"
    assert shortened("0123456789" * 9) == "01234567890123456...67890123456789"
    assert len(shortened("0123456789" * 9)) == 34


def test_what_goes_wrong_is_told(tmp_path: Path, record: Record) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_contact_sheet(record.image / "sheet.png", [record])
    tifffile.imwrite(tmp_path / "labels.tif", np.ones((3, 4), np.uint8))
    with pytest.raises(DataError, match="is 3 rows by 4 columns"):
        write_contact_sheet(tmp_path / "sheet.png", [record])
    assert not (tmp_path / "sheet.png").exists()
