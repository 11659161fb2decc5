"""regions.csv, as a count writes it."""

import csv
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from roifile import ROI_TYPE, ImagejRoi, roiwrite

from bundles import squares, tiny_bundle
from elmgan.counting import Failure, Model, Result, Row
from elmgan.errors import UsageError
from elmgan.images import Plane, View
from elmgan.trust import Calibration
from elmgan.work import count_images
from elmgan.work.regions import RegionFiles

MODEL = Model(tiny_bundle())
SHAPE = (96, 120)
LEFT, RIGHT = [[0, 0], [0, 60], [96, 60], [96, 0]], [[0, 60], [0, 120], [96, 120], [96, 60]]
"""The halves of an image, as corners of (row, column)."""


def folder_of(folder: Path, *numbers: int) -> Path:
    """A folder with one image per number: 3.tif shows 3 squares."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        tifffile.imwrite(folder / f"{number}.tif", squares(number))
    return folder


def table(out: Path) -> list[dict[str, str]]:
    with (out / "regions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def feature_of(corners: list[list[int]], name: str = "", plane: Any = None, **properties: Any) -> dict[str, Any]:
    ring = [corner[::-1] for corner in [*corners, corners[0]]]
    geometry = {"type": "Polygon", "coordinates": [ring]} | ({"plane": plane} if plane else {})
    return {"type": "Feature", "geometry": geometry, "properties": {"name": name, **properties}}


def geojson(path: Path, *features: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def halves(path: Path) -> Path:
    return geojson(path, feature_of(LEFT, "left", classification={"name": "Half"}), feature_of(RIGHT, "right"))


def test_cells_are_counted_in_regions(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 0, 5, 8), tmp_path / "out"
    counted = count_images([images], out, MODEL, regions=halves(tmp_path / "halves.geojson"))
    rows = table(out)
    assert [(row["image"], row["region"], row["name"], row["class"]) for row in rows] == [
        (f"{number}.tif", str(k), name, kind)
        for number in (0, 5, 8)
        for k, name, kind in ((1, "left", "Half"), (2, "right", ""))
    ]
    for row, left, right in zip(counted.rows, rows[::2], rows[1::2], strict=True):
        assert float(left["estimate"]) + float(right["estimate"]) == pytest.approx(row.estimate, abs=0.02)
        assert int(left["cells"]) + int(right["cells"]) == row.objects
    assert [row["count"] for row in rows[2:4]] == ["3", "2"]
    assert {row["area_px"] for row in rows} == {str(96 * 60)}
    assert {(row["area_um2"], row["per_mm2"], row["low"], row["high"], row["remarks"]) for row in rows} == {("",) * 5}
    assert float(rows[2]["per_megapixel"]) == pytest.approx(float(rows[2]["estimate"]) / 96 / 60 * 1e6, rel=0.01)
    assert out / "regions.csv" in counted.written


def test_intervals_and_densities(tmp_path: Path) -> None:
    calibration = Calibration(data="mine", images=20, groups=20, gain=1, quantile=0.5)
    bundle = tiny_bundle()
    bundle = type(bundle)(bundle.card.model_copy(update={"calibration": calibration}), bundle.onnx, bundle.readme)
    tifffile.imwrite(tmp_path / "a.tif", squares(5), imagej=True, resolution=(2, 2), metadata={"unit": "um"})
    count_images([tmp_path / "a.tif"], tmp_path / "out", Model(bundle), regions=halves(tmp_path / "halves.geojson"))
    row = table(tmp_path / "out")[0]
    estimate = float(row["estimate"])
    low, high = calibration.interval(estimate) or (0, 0)
    assert (float(row["low"]), float(row["high"])) == pytest.approx((low, high), abs=0.02)
    assert float(row["area_um2"]) == 96 * 60 / 4
    assert float(row["per_mm2"]) == pytest.approx(estimate / (96 * 60 / 4) * 1e6, rel=0.01)


def test_a_model_of_masks_alone_says_which_cells_are_inside(tmp_path: Path) -> None:
    images, regions = folder_of(tmp_path / "images", 5), halves(tmp_path / "halves.geojson")
    count_images([images], tmp_path / "out", Model(tiny_bundle(learned=("mask",))), regions=regions)
    assert [(row["count"], row["estimate"], row["cells"]) for row in table(tmp_path / "out")] == [
        ("", "", "3"),
        ("", "", "2"),
    ]
    count_images([images], tmp_path / "counts", Model(tiny_bundle(learned=("count",))), regions=regions)
    assert [(row["count"], row["cells"]) for row in table(tmp_path / "counts")] == [("3", ""), ("2", "")]


def rois(path: Path) -> Path:
    left = ImagejRoi.frompoints([corner[::-1] for corner in LEFT], name="left")
    right = ImagejRoi(roitype=ROI_TYPE.RECT, version=227, name="right", top=0, left=60, bottom=96, right=120)
    roiwrite(path, [left, right])
    return path


def labels(path: Path) -> Path:
    image = np.full(SHAPE, 7, np.uint8)
    image[:, 60:] = 9
    tifffile.imwrite(path, image)
    return path


def test_regions_of_imagej_and_label_images(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", 5)
    found = {}
    for regions in (halves(tmp_path / "a.geojson"), rois(tmp_path / "a.zip"), labels(tmp_path / "a.tif")):
        count_images([images], tmp_path / "out", MODEL, regions=regions)
        found[regions.suffix] = table(tmp_path / "out")
    numbers = [[(row["estimate"], row["cells"], row["area_px"]) for row in rows] for rows in found.values()]
    assert numbers[0] == numbers[1] == numbers[2]
    assert [row["region"] for row in found[".tif"]] == ["7", "9"]
    assert [row["name"] for row in found[".zip"]] == ["left", "right"]


def test_each_image_has_its_regions_by_its_name(tmp_path: Path) -> None:
    images, folder = folder_of(tmp_path / "images", 1, 2, 3, 4), tmp_path / "regions"
    folder_of(images / "more", 5)
    halves(folder / "1.geojson")
    halves(folder / "more" / "5.tif.geojson")
    rois(folder / "2.zip")
    labels(folder / "3.tif")
    counted = count_images([images], tmp_path / "out", MODEL, regions=folder)
    assert [row["image"] for row in table(tmp_path / "out")] == [
        name for name in ("1.tif", "2.tif", "3.tif", "more/5.tif") for _ in range(2)
    ]
    assert [note for note in counted.notes if "regions" in note] == [f"1 of 5 images has no regions in {folder}: 4.tif"]
    halves(folder / "2.geojson")
    with pytest.raises(UsageError, match=r"has 2\.geojson and 2\.zip for 2\.tif: leave one of them"):
        count_images([images], tmp_path / "out", MODEL, regions=folder)


def test_regions_may_lie_beside_the_images(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", 1, 2)
    for number in (1, 2):
        halves(images / f"{number}.geojson")
    count_images([images], tmp_path / "out", MODEL, regions=images)
    assert [row["image"] for row in table(tmp_path / "out")] == ["1.tif", "1.tif", "2.tif", "2.tif"]


def test_planes_of_a_stack_have_the_regions_that_were_drawn_on_them(tmp_path: Path) -> None:
    pages = np.array([[squares(number) for number in row] for row in ([1, 2], [3, 4])])
    tifffile.imwrite(tmp_path / "a.tif", pages, imagej=True, metadata={"axes": "TZYX"})
    everywhere, second = feature_of(LEFT, "all"), feature_of(LEFT, "second", {"c": -1, "z": 1, "t": 1})
    regions = geojson(tmp_path / "a.geojson", everywhere, second, feature_of(LEFT, "late", {"c": -1, "z": 0, "t": 7}))
    out = tmp_path / "out"
    counted = count_images([tmp_path / "a.tif"], out, MODEL, view=View(z="each"), regions=regions)
    assert [(row["t"], row["z"], row["name"]) for row in table(out)] == [
        *(("1", "1", "all"), ("1", "2", "all"), ("2", "1", "all"), ("2", "2", "all"), ("2", "2", "second")),
    ]
    told = "regions: 1 on planes that are not there, 2 overlapping; see remarks in regions.csv"
    assert told in counted.notes
    count_images([tmp_path / "a.tif"], out, MODEL, regions=regions)  # projected along z
    assert [(row["t"], row["z"], row["name"]) for row in table(out)] == [
        *(("1", "max", "all"), ("2", "max", "all"), ("2", "max", "second")),
    ]
    on_third = ImagejRoi.frompoints([corner[::-1] for corner in LEFT], name="third")
    on_third.position = 3  # t 2, z 1
    roiwrite(tmp_path / "third.zip", [on_third])
    count_images([tmp_path / "a.tif"], out, MODEL, view=View(z="each"), regions=tmp_path / "third.zip")
    assert [(row["t"], row["z"]) for row in table(out)] == [("2", "1")]


def test_what_is_odd_about_regions_is_remarked_and_told(tmp_path: Path) -> None:
    regions = geojson(
        tmp_path / "a.geojson",
        feature_of(LEFT),
        feature_of([[0, 50], [0, 150], [50, 150], [50, 50]]),
        feature_of([[200, 200], [200, 210], [210, 210]]),
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {}},
    )
    counted = count_images([folder_of(tmp_path / "images", 5)], tmp_path / "out", MODEL, regions=regions)
    rows = table(tmp_path / "out")
    assert [row["remarks"] for row in rows] == ["overlapping", "partly-outside;overlapping", "outside"]
    assert (rows[2]["estimate"], rows[2]["cells"], rows[2]["area_px"], rows[2]["per_megapixel"]) == (
        "0.00",
        "0",
        "0",
        "",
    )
    assert "a.geojson: passed over 1 without an inside (Point)" in counted.notes
    told = "regions: 2 overlapping, 1 partly-outside, 1 outside; see remarks in regions.csv"
    assert told in counted.notes


def small(path: Path) -> None:
    tifffile.imwrite(path, np.ones((5, 5), np.uint8))


def fractions(path: Path) -> None:
    tifffile.imwrite(path, np.ones(SHAPE, np.float32))


@pytest.mark.parametrize(
    ("name", "write", "told"),
    [
        ("a.tif", small, "a.tif has 5 x 5 pixels, the image 96 x 120: a label image is of the image's size"),
        ("a.tif", fractions, "a label image of regions has whole numbers from 0; found float32"),
        ("b.geojson", lambda path: path.write_text("{"), None),
        ("b.zip", lambda path: path.write_text("{"), None),
        ("b.xml", lambda path: path.write_text("{"), "is not an image of a kind that is read"),
    ],
)
def test_regions_that_cannot_be_had(tmp_path: Path, name: str, write: Any, told: str | None) -> None:
    images = folder_of(tmp_path / "images", 5)
    write(tmp_path / name)
    if told is None:
        with pytest.raises(UsageError, match=f"{name} cannot be read"):
            count_images([images], tmp_path / "out", MODEL, regions=tmp_path / name)
        assert not (tmp_path / "out").exists()
    else:
        counted = count_images([images], tmp_path / "out", MODEL, regions=tmp_path / name)
        assert told in counted.failures[0].error
        assert table(tmp_path / "out") == []


def test_regions_that_are_not_there_are_refused(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", 5)
    with pytest.raises(UsageError, match=r"absent.geojson does not exist: give the regions as GeoJSON"):
        count_images([images], tmp_path / "out", MODEL, regions=tmp_path / "absent.geojson")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty has no regions of these images: expected names such as 5\.geojson"):
        count_images([images], tmp_path / "out", MODEL, regions=tmp_path / "empty")


def test_one_number_for_the_image_has_no_parts(tmp_path: Path) -> None:
    model = Model(tiny_bundle())
    pooled = model.card.architecture.model_copy(update={"count_head": "pooled", "size": SHAPE})
    model.card = model.card.model_copy(update={"architecture": pooled})
    with pytest.raises(UsageError, match=r"one number for the whole image: .* or leave --regions out"):
        count_images(
            [folder_of(tmp_path / "images", 5)], tmp_path / "out", model, regions=halves(tmp_path / "a.geojson")
        )


class Stop(KeyboardInterrupt):
    """Ctrl-C."""


def test_resuming_keeps_rows_of_the_same_regions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2, 3), tmp_path / "out"
    regions = halves(tmp_path / "a.geojson")

    def interrupt(total: int, outcome: Row | Failure) -> None:
        if outcome.image == "2.tif":
            raise Stop

    with pytest.raises(Stop):
        count_images([images], out, MODEL, regions=regions, watch=interrupt)
    assert [row["image"] for row in table(out)] == ["1.tif", "1.tif", "2.tif", "2.tif"]
    seen: list[Plane] = []
    count = MODEL.count

    def count_and_note(plane: Plane, **given: Any) -> Result:
        seen.append(plane)
        return count(plane, **given)

    monkeypatch.setattr(MODEL, "count", count_and_note)
    count_images([images], out, MODEL, regions=regions, resume=True)
    assert len(seen) == 1
    count_images([images], tmp_path / "straight", MODEL, regions=regions)
    assert (out / "regions.csv").read_bytes() == (tmp_path / "straight" / "regions.csv").read_bytes()
    seen.clear()
    geojson(regions, feature_of(LEFT))
    os.utime(regions, ns=(0, 0))
    count_images([images], out, MODEL, regions=regions, resume=True)
    assert len(seen) == 3
    assert [row["name"] for row in table(out)] == [""] * 3


def test_a_formula_in_a_name_is_none(tmp_path: Path) -> None:
    regions = geojson(tmp_path / "a.geojson", feature_of(LEFT, "=1+1"))
    count_images([folder_of(tmp_path / "images", 1)], tmp_path / "out", MODEL, regions=regions, excel=True)
    line = (tmp_path / "out" / "regions.csv").read_text(encoding="utf-8-sig").splitlines()[1]
    assert line.startswith("1.tif;1;1;1;1;'=1+1;;1;")
    assert "," in line.split(";")[8]


def test_regions_can_be_sent_to_another_process(tmp_path: Path) -> None:
    files = RegionFiles(halves(tmp_path / "a.geojson"), {"a.tif": tmp_path / "a.tif"})
    assert pickle.loads(pickle.dumps(files)).number("a.tif") == 2
