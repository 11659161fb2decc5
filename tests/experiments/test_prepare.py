"""The script is run as its users run it, on a miniature of the public layout and on a few real images."""

import csv
import runpy
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage import measure

from elmgan.data import Record, read_data_set, read_labels, read_sources, split
from elmgan.training import read_config

SCRIPT = str(Path(__file__).parents[2] / "experiments" / "prepare.py")


def prepare(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", [SCRIPT, *map(str, arguments)])
    runpy.run_path(SCRIPT, run_name="__main__")


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
    (data / "dsb2018/kinds.csv").write_text("stem,kind\ntwin,bright\nother,bright\nsmall,dark\n")
    return data


def test_nuclei_are_both_sets_each_plate_in_one_only(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = data.parent / "below" / "set"
    prepare(monkeypatch, "nuclei", data, out)
    records = read_data_set(out)
    assert {record.name: (record.count, record.kind) for record in records} == {
        "bbbc039/X_A01_s1_w1": (4, "bbbc039"),
        "bbbc039/X_A02_s1_w1": (4, "bbbc039"),
        "dsb2018/small": (2, "dsb2018/dark"),
    }
    assert [record.group for record in records[:2]] == ["A01", "A02"]
    for record in records:
        assert record.labels is not None
        assert read_labels(record.labels).max() == record.count
    assert [(source.name, source.licence, source.images) for source in read_sources(out, 4)] == [
        ("bbbc039", "CC0", 2),
        ("dsb2018", "CC0", 1),
    ]
    assert list(out.parent.iterdir()) == [out]


def test_nothing_is_left_of_a_set_that_cannot_be_finished(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(data.parent.iterdir())
    next((data / "dsb2018/labels").iterdir()).write_text("not an image")
    with pytest.raises(Exception, match="not a TIFF, PNG or JPEG"):
        prepare(monkeypatch, "nuclei", data, data.parent / "set")
    assert sorted(data.parent.iterdir()) == before


def test_wrong_use_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"experiments/prepare\.py nuclei DATA OUT"):
        prepare(monkeypatch, "dogs", data, data.parent / "set")
    with pytest.raises(SystemExit, match="exists already"):
        prepare(monkeypatch, "nuclei", data, data)
    with pytest.raises(SystemExit, match=r"there is no folder .*dsb2018 or .*bbbc039"):
        prepare(monkeypatch, "nuclei", data / "bbbc039", data.parent / "set")


def test_cells_of_the_real_bbbc039(shared_data: Path) -> None:
    for item in islice(runpy.run_path(SCRIPT)["bbbc039"](shared_data), 5):
        values = np.asarray(Image.open(shared_data / "bbbc039/masks" / f"{item.image.stem}.png"))[..., 0]
        expected = np.zeros(values.shape, bool)
        cells = 0
        parts = measure.label(values)  # type: ignore[no-untyped-call] # connected pixels of one value
        for region in measure.regionprops(parts):  # type: ignore[no-untyped-call]
            if region.area >= 25:
                expected[tuple(region.coords.T)] = True
                cells += 1
        assert item.count == cells == item.labels.max()
        np.testing.assert_array_equal(item.labels > 0, expected)


def test_kinds_of_the_real_dsb2018(shared_data: Path) -> None:
    with (shared_data / "dsb2018/kinds.csv").open(newline="") as file:
        kinds = {row["stem"]: row["kind"] for row in csv.DictReader(file)}
    for item in islice(runpy.run_path(SCRIPT)["dsb2018"](shared_data), 5):
        labels = np.asarray(Image.open(shared_data / "dsb2018/labels" / item.image.name))
        assert item.count == len(np.unique(labels)) - 1
        assert item.kind == f"dsb2018/{kinds[item.image.stem]}"
        np.testing.assert_array_equal(item.labels > 0, labels > 0)


@pytest.mark.slow
def test_the_listed_validation_images_are_those_of_the_bundled_model(shared_data: Path) -> None:
    config = read_config("nuclei")
    records = [
        Record(item.name, item.image, None, None, item.count, item.group, item.kind)
        for item in runpy.run_path(SCRIPT)["nuclei"](shared_data)
    ]
    records.sort(key=lambda record: record.name)
    _, validation = split(records, config.data.validation, rng=np.random.default_rng(config.seed))
    for source in ("bbbc039", "dsb2018"):
        listed = (Path(SCRIPT).parent / f"nuclei/validation-{source}.txt").read_text().split()
        assert listed == [Path(record.name).name for record in validation if record.name.startswith(source)]
    wells = {record.group for record in validation if record.kind == "bbbc039"}
    assert not wells & {record.group for record in records if record not in validation}
