"""Published layouts, read as they are: miniatures in the real layout, and the real sets."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elmgan.data import Record, divide, group_alike, read_data_set
from elmgan.errors import DataError

MASK = np.zeros((20, 30), np.uint8)
MASK[4:9, 5:11] = 255


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, MASK.shape, dtype=np.uint8)


def bbbc005(folder: Path, *stems: str) -> Path:
    """BBBC005 in small."""
    for seed, stem in enumerate(stems):
        save(folder / f"BBBC005_v1_images/SIMCEPImages_{stem}.TIF", image(seed))
        save(folder / f"BBBC005_v1_ground_truth/SIMCEPImages_{stem}.TIF", MASK)
    return folder


@pytest.mark.parametrize("folder", ["bbbc005", "my_C99_F1_s07_w1_images/copy_of_B07_C55_F9_s03_w2"])
def test_bbbc005_is_read_by_its_file_names_wherever_it_lies(tmp_path: Path, folder: str) -> None:
    stems = ("A01_C3_F1_s02_w1", "P01_C3_F48_s02_w2", "A02_C10_F1_s02_w1")
    found = read_data_set(bbbc005(tmp_path / folder, *stems))
    assert [(record.count, record.group, record.kind) for record in found] == [
        (3, "01_s02", "w1"),
        (10, "02_s02", "w1"),
        (3, "01_s02", "w2"),
    ]
    for record in found:
        assert record.mask is not None
        assert record.mask.name == record.image.name == f"{record.name}.TIF"
        assert record.mask.parent.name == "BBBC005_v1_ground_truth"


def test_images_of_bbbc005_without_mask_have_their_total(tmp_path: Path) -> None:
    """As those out of focus are published; and a table may say more of them."""
    folder = bbbc005(tmp_path, "A01_C3_F1_s02_w1", "B01_C3_F4_s02_w1")
    (folder / "BBBC005_v1_ground_truth/SIMCEPImages_B01_C3_F4_s02_w1.TIF").unlink()
    (folder / "counts.csv").write_text("image,count,kind\nSIMCEPImages_A01_C3_F1_s02_w1.TIF,4,sharp\n")
    sharp, blurred = read_data_set(folder)
    assert (sharp.count, sharp.kind, sharp.group) == (4, "sharp", "01_s02")
    assert (blurred.mask, blurred.count, blurred.kind) == (None, 3, "w1")


def test_what_is_not_named_as_bbbc005_is_told(tmp_path: Path) -> None:
    stems = ("A01_C3_F1_s02_w1", "A01_C3_F1_s02_w1_copy", "A01_Cx_F1_s02_w1", "C4")
    with pytest.raises(DataError) as raised:
        read_data_set(bbbc005(tmp_path, *stems))
    _, *faults = str(raised.value).split("\n  ")
    for fault, stem in zip(faults, stems[1:], strict=True):
        assert f"SIMCEPImages_{stem}.TIF: is not named like SIMCEPImages_A05_C18_F1_s03_w2.TIF; rename it" in fault


def vgg_cells(folder: Path, cells: dict[str, int]) -> Path:
    """VGG's cells in small: images in colour, and a red pixel per cell, the first two touching."""
    for number, count in cells.items():
        dots = np.zeros((20, 30, 3), np.uint8)
        dots[3, [2, 3, *range(6, 26, 2)][:count], 0] = 255
        save(folder / f"{number}cell.png", np.dstack([image(int(number))] * 3))
        save(folder / f"{number}dots.png", dots)
    return folder


def test_vgg_cells_are_read_as_totals_alone(tmp_path: Path) -> None:
    folder = vgg_cells(tmp_path / "vgg_cells", {"001": 5, "002": 0, "010": 12})
    assert read_data_set(folder) == [
        Record(f"{n}cell", folder / f"{n}cell.png", None, None, k, f"{n}cell", "", folder / f"{n}dots.png")
        for n, k in (("001", 5), ("002", 0), ("010", 12))
    ]


def test_vgg_cells_without_their_other_half_are_faults(tmp_path: Path) -> None:
    folder = vgg_cells(tmp_path, {"001": 5, "002": 6, "003": 7})
    (folder / "001cell.png").unlink()
    (folder / "002dots.png").unlink()
    told: list[str] = []
    with pytest.raises(DataError) as raised:
        read_data_set(folder, tell=told.append)
    _, *faults = str(raised.value).replace(f"{folder}/", "").split("\n  ")
    assert faults == ["001dots.png: there is no image of this name; add the image, or remove this file"]
    assert told == [
        "1 of 2 images have a count; 1 without: 002cell.png",
        "left out, with neither mask nor count: 002cell.png",
    ]


def test_sites_of_the_real_bbbc005_stay_together(shared_data: Path) -> None:
    records = read_data_set(shared_data / "bbbc005")
    assert len(records) == 24 * 6 * 2
    sites: dict[str, list[tuple[str, float | None]]] = defaultdict(list)
    for record in records:
        assert record.mask is not None
        assert record.mask.is_file()
        assert f"_C{record.count:g}_" in record.name
        sites[record.group].append((record.kind, record.count))
    assert len(sites) == 24 * 6
    for (first, count), (second, same_count) in sites.values():
        assert (first, second, count) == ("w1", "w2", same_count)
    assert group_alike(records) is records
    sides = divide(records, 0.2, rng=np.random.default_rng(0))
    assert not {record.group for record in sides.train} & {record.group for record in sides.validation}


def test_totals_of_the_real_vgg_cells(shared_data: Path) -> None:
    records = read_data_set(shared_data / "vgg_cells")
    assert len(records) == 200
    assert all(re.fullmatch(r"\d{3}cell", record.name) and record.mask is None for record in records)
    assert np.mean([record.count or 0 for record in records]) == pytest.approx(175.96)
