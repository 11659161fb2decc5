"""The script is run as its users run it, on a miniature of the public layout and on a few real images."""

import csv
import runpy
import sys
from collections import defaultdict
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage import measure

from elmgan.data import Record, group_alike, read_data_set, read_labels, read_sources
from elmgan.images import read_image
from prepare import SETS, Item, bbbc039, dsb2018, nuclei
from public_data import write_bbbc005

SCRIPT = str(Path(__file__).parents[2] / "experiments" / "prepare.py")


def prepare(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", [SCRIPT, *map(str, arguments)])
    runpy.run_path(SCRIPT, run_name="__main__")


def drawn(name: str, data: Path, *, seed: int) -> dict[str, list[Item]]:
    """The items of a set by their sides."""
    sides: dict[str, list[Item]] = {"train": [], "test": []}
    for item in SETS[name](data, rng=np.random.default_rng(seed)):
        sides[item.split].append(item)
    return sides


def blobs(seed: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """An image whose thumbnail is like no other's."""
    coarse = np.random.default_rng(seed).integers(0, 255, (shape[0] // 40, shape[1] // 40), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize(shape[::-1]))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The public folders in small: two wells of BBBC039, and three images in dsb2018, two of them of its size."""
    for folder in ("bbbc039/images", "bbbc039/masks", "dsb2018/images", "dsb2018/labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    data = tmp_path / "data"
    mask = np.zeros((520, 696, 4), np.uint8)
    mask[10:20, 10:20, 0] = 1
    mask[30:40, 30:40, 0] = 1  # the same value, elsewhere
    mask[40:50, 40:50, 0] = 1  # and touching it by a corner
    mask[20:30, 10:20, 0] = 2  # another value, touching
    mask[60:64, 60:66, 0] = 2  # 24 pixels: a crumb
    mask[70:75, 70:75, 0] = 2  # 25 pixels: a cell
    for number in (1, 2):
        tifffile.imwrite(
            data / f"bbbc039/images/X_A0{number}_s1_w1.tif", blobs(number, (520, 696)).astype(np.uint16) * 16
        )
        Image.fromarray(mask).save(data / f"bbbc039/masks/X_A0{number}_s1_w1.png")
    labels = np.zeros((520, 696), np.uint16)
    labels[5:9, 5:9], labels[50:90, 50:90] = 4, 900
    for name, image in (
        ("twin", blobs(1, (520, 696))),
        ("other", blobs(3, (520, 696))),
        ("small", blobs(4, (80, 120))),
    ):
        Image.fromarray(image).save(data / f"dsb2018/images/{name}.png")
        Image.fromarray(labels[: image.shape[0], : image.shape[1]]).save(data / f"dsb2018/labels/{name}.png")
    for folder in ("bsst265/images", "bsst265/labels", "nuinsseg/images", "nuinsseg/masks"):
        (data / folder).mkdir(parents=True)
    for name, seed in (("Near_0", 5), ("Far_0", 6)):
        Image.fromarray(blobs(seed, (240, 320))).save(data / f"bsst265/images/{name}.png")
        Image.fromarray(labels[:240, :320]).save(data / f"bsst265/labels/{name}.png")
    (data / "bsst265/images.csv").write_text("image,count,magnification\nNear_0.png,2,60\nFar_0.png,2,20\n")
    for number in (7, 24, 49):
        Image.fromarray(blobs(number, (80, 120))).convert("RGB").save(data / f"nuinsseg/images/{number}.png")
        Image.fromarray(np.uint8(labels[:80, :120] > 0) * np.uint8(255)).save(data / f"nuinsseg/masks/{number}.png")
    (data / "dsb2018/kinds.csv").write_text("stem,kind\ntwin,bright\nother,bright\nsmall,dark\n")
    return data


def test_nuclei_are_four_sets_each_plate_in_one_only(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = data.parent / "below" / "set"
    prepare(monkeypatch, "nuclei", data, out)
    records = read_data_set(out)
    assert {record.name: (record.count, record.kind) for record in records} == {
        "bbbc039/X_A01_s1_w1": (4, "bbbc039"),
        "bbbc039/X_A02_s1_w1": (4, "bbbc039"),
        "bsst265/Far_0": (2, "bsst265"),
        "bsst265/Near_0": (2, "bsst265"),
        "bsst265/as-it-is/Near_0": (2, "bsst265 as it is"),
        "dsb2018/small": (2, "dsb2018/dark"),
        "nuinsseg/7": (None, "nuinsseg"),
        "nuinsseg/24": (None, "nuinsseg"),
        "nuinsseg/49": (None, "nuinsseg"),
    }
    assert [record.group for record in records[:2]] == ["A01", "A02"]
    for record in records:
        if record.labels is not None:
            assert len(np.unique(read_labels(record.labels))) - 1 == record.count
    shapes = {record.name: read_image(record.image).shape for record in records if record.kind.startswith("bsst265")}
    assert shapes == {
        "bsst265/Far_0": (240, 320),
        "bsst265/Near_0": (80, 107),  # 20 / 60 of its sides
        "bsst265/as-it-is/Near_0": (240, 320),
    }
    sides = defaultdict(set)
    for record in records:
        sides[record.name.partition("/")[0]].add(record.split)
    assert sides == {
        "bbbc039": {"train"},
        "dsb2018": {"train"},
        "bsst265": {"validation"},
        "nuinsseg": {"train", "validation"},
    }
    assert [(source.name, source.licence, source.images) for source in read_sources(out, 9)] == [
        ("bbbc039", "CC0", 2),
        ("bsst265", "CC0", 2),
        ("dsb2018", "CC0", 1),
        ("nuinsseg", "CC BY 4.0, Mahbod et al., Scientific Data 2024", 3),
    ]
    assert list(out.parent.iterdir()) == [out]


def test_sites_of_bbbc005_are_on_one_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, out = tmp_path / "public", tmp_path / "set"
    write_bbbc005(data / "bbbc005")
    prepare(monkeypatch, "bbbc005", data, out)
    records = read_data_set(out)
    published = {f"bbbc005/{record.name}": record for record in read_data_set(data / "bbbc005")}
    assert len(records) == 12  # of 27: in focus, and of the sites s01 and s05
    for record in records:
        was = published[record.name]
        assert (record.count, record.group, record.kind) == (was.count, was.group, was.kind)
        assert record.split == {"s01": "train", "s05": "test"}[record.group[-3:]]
        for copy, source in ((record.image, was.image), (record.mask, was.mask)):
            assert copy is not None
            assert source is not None
            assert copy.read_bytes() == source.read_bytes()
    (stated,) = read_sources(out, 12)
    assert (stated.name, stated.licence, stated.images) == ("bbbc005", "not stated", 6)


def test_few_are_spread_over_the_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bbbc005(tmp_path / "bbbc005")
    monkeypatch.setattr("prepare.FEW", 3)
    all_images = drawn("bbbc005", tmp_path, seed=0)
    draws = [drawn("bbbc005-few", tmp_path, seed=seed) for seed in (*range(9), 0)]
    for sides in draws:
        assert [item.count for item in sides["train"]] == [1, 2, 3]
        assert {item.name for item in sides["train"]} < {item.name for item in all_images["train"]}
        assert sides["test"] == all_images["test"]
    assert draws[0] == draws[-1]
    assert len({tuple(item.name for item in sides["train"]) for sides in draws}) > 1


def test_totals_of_vgg_cells_are_drawn_from_the_first_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prepare.VGG_POOL", 5)
    monkeypatch.setattr("prepare.VGG_DRAWN", 3)
    (tmp_path / "vgg_cells").mkdir()
    for number in range(1, 9):
        dots = np.zeros((80, 80, 3), np.uint8)
        dots[1 : 2 * number : 2, 3, 0] = 255
        Image.fromarray(blobs(number, (80, 80))).convert("RGB").save(tmp_path / f"vgg_cells/{number:03d}cell.png")
        Image.fromarray(dots).save(tmp_path / f"vgg_cells/{number:03d}dots.png")
    draws = [drawn("vgg-cells", tmp_path, seed=seed) for seed in range(9)]
    for sides in draws:
        counts = {item.count for item in sides["train"]}
        assert len(counts) == 3
        assert counts <= {1, 2, 3, 4, 5}
        assert [item.count for item in sides["test"]] == [6, 7, 8]
    assert len({tuple(item.count for item in sides["train"]) for sides in draws}) > 1


def test_nothing_is_left_of_a_set_that_cannot_be_finished(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(data.parent.iterdir())
    next((data / "dsb2018/labels").iterdir()).write_text("not an image")
    with pytest.raises(Exception, match="is not an image of a kind that is read"):
        prepare(monkeypatch, "nuclei", data, data.parent / "set")
    assert sorted(data.parent.iterdir()) == before


def test_wrong_use_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"experiments/prepare\.py SET DATA OUT"):
        prepare(monkeypatch, "dogs", data, data.parent / "set")
    with pytest.raises(SystemExit, match=r"experiments/prepare\.py SET DATA OUT"):
        prepare(monkeypatch, "nuclei", data, data.parent / "set", "first")
    with pytest.raises(SystemExit, match="exists already"):
        prepare(monkeypatch, "nuclei", data, data)
    with pytest.raises(SystemExit, match=r"there is no folder .*dsb2018 or .*bbbc039"):
        prepare(monkeypatch, "nuclei", data / "bbbc039", data.parent / "set")


def test_cells_of_the_real_bbbc039(shared_data: Path) -> None:
    for item in islice(bbbc039(shared_data), 5):
        values = np.asarray(Image.open(shared_data / "bbbc039/masks" / f"{item.image.stem}.png"))[..., 0]
        expected = np.zeros(values.shape, bool)
        cells = 0
        parts = measure.label(values)  # type: ignore[no-untyped-call] # connected pixels of one value
        for region in measure.regionprops(parts):  # type: ignore[no-untyped-call]
            if region.area >= 25:
                expected[tuple(region.coords.T)] = True
                cells += 1
        assert item.labels is not None
        assert item.count == cells == item.labels.max()
        np.testing.assert_array_equal(item.labels > 0, expected)


def test_kinds_of_the_real_dsb2018(shared_data: Path) -> None:
    with (shared_data / "dsb2018/kinds.csv").open(newline="") as file:
        kinds = {row["stem"]: row["kind"] for row in csv.DictReader(file)}
    for item in islice(dsb2018(shared_data), 5):
        labels = np.asarray(Image.open(shared_data / "dsb2018/labels" / item.image.name))
        assert item.count == len(np.unique(labels)) - 1
        assert item.kind == f"dsb2018/{kinds[item.image.stem]}"
        assert item.labels is not None
        np.testing.assert_array_equal(item.labels > 0, labels > 0)


@pytest.mark.slow
def test_the_kept_split_is_that_of_the_bundled_model(shared_data: Path) -> None:
    items = list(nuclei(shared_data, rng=np.random.default_rng(7)))
    with (Path(SCRIPT).parent / "nuclei/split.csv").open(newline="") as file:
        kept = {row["image"]: row["side"] for row in csv.DictReader(file)}
    assert kept == {item.name: item.split for item in items}
    records = [
        Record(item.name, item.image, None, None, item.count, item.group, item.kind)
        for item in items
        if item.name.startswith("dsb2018")
    ]
    alone = [replace(record, group=record.name) for record in records]
    assert together(records) == together(group_alike(alone))


def together(records: list[Record]) -> list[list[str]]:
    """The images of each group of more than one."""
    members: dict[str, list[str]] = defaultdict(list)
    for record in records:
        members[record.group].append(record.name)
    return [names for names in members.values() if len(names) > 1]
