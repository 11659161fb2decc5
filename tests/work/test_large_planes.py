"""Tables and exports of a plane that is too large for memory: those of a plane that is not."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from shapely.geometry import shape as geometry_of

from bundles import squares, tiny_bundle
from elmgan.counting import Model, pieces, predictor, streaming
from elmgan.images import read_image
from elmgan.work import count_images, large_regions
from pyramids import by_means, write_pyramid

MODEL = Model(tiny_bundle(), "onnxruntime", tile=64)
SHAPE = (460, 330)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planes of a few pixels are too large."""
    monkeypatch.setattr(streaming, "STREAMED", 1000)
    monkeypatch.setattr(predictor, "BAND_PIXELS", 1 << 14)
    monkeypatch.setattr(streaming, "ROWS", 50)
    monkeypatch.setattr(streaming, "STRIP_PIXELS", 1 << 13)
    monkeypatch.setattr(pieces, "PIECE_PIXELS", 1 << 13)
    monkeypatch.setattr(large_regions, "BAND_SIZE", 1 << 13)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_alike(made: list[dict[str, str]], expected: list[dict[str, str]]) -> None:
    assert len(made) == len(expected)
    for one, other in zip(made, expected, strict=True):
        assert one.keys() == other.keys()
        for name, text in one.items():
            try:
                assert float(text) == pytest.approx(float(other[name]), abs=0.0101, rel=1e-4), name
            except ValueError:
                assert text == other[name], name


def image(kind: str) -> NDArray:
    grey = squares(40, SHAPE)
    if kind == "channels":
        return np.stack([grey, grey[::-1]])
    if kind == "margin":
        return np.pad(grey, ((40, 0), (0, 80)))
    return grey


@pytest.mark.parametrize("kind", ["grey", "channels", "margin"])
def test_tables_and_exports(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    images, pixels = tmp_path / "images", image(kind)
    images.mkdir()
    axes = {"axes": "CYX"} if kind == "channels" else {}
    tifffile.imwrite(images / "a.tif", pixels, imagej=True, resolution=(2, 2), metadata={"unit": "um", **axes})
    rows, columns = pixels.shape[-2:]
    rings = {
        "left": [[0, 0], [150, 0], [150, rows], [0, rows], [0, 0]],
        "across": [[100, 33], [columns + 50, 33], [columns + 50, 301], [100, 301], [100, 33]],
        "crossing": [[10, 10], [90, 90], [90, 10], [10, 90], [10, 10]],
        "outside": [[-9, -9], [-4, -9], [-4, -4], [-9, -4], [-9, -9]],
    }
    features = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"name": name}}
        for name, ring in rings.items()
    ]
    (tmp_path / "regions.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    labels = np.zeros((rows, columns), np.uint16)
    labels[30:350, 20:99], labels[200:, 200:] = 3, 7
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    view = MODEL.view.changed(channel=1 if kind == "channels" else None)
    asked: dict[str, Any] = {"measure": True, "exports": ["qupath"], "view": view}
    for name in ("regions.geojson", "labels.tif"):
        count_images([images], tmp_path / "whole" / name, MODEL, regions=tmp_path / name, **asked)
    request.getfixturevalue("small")
    for name in ("regions.geojson", "labels.tif"):
        whole, large = tmp_path / "whole" / name, tmp_path / "large" / name
        counted = count_images([images], large, MODEL, regions=tmp_path / name, **asked)
        assert not counted.failures
        for each in ("cells.csv", "regions.csv"):
            assert_alike(table(large / each), table(whole / each))
        assert len(table(large / "cells.csv")) == 40
        assert len(table(large / "regions.csv")) == (4 if name == "regions.geojson" else 2)
        made, expected = (
            json.loads((out / "qupath" / "a.geojson").read_text(encoding="utf-8"))["features"] for out in (large, whole)
        )
        by_name = {feature["properties"]["name"]: feature for feature in made}
        assert len(made) == len(expected) == 40
        for feature in expected:
            found = by_name[feature["properties"]["name"]]
            assert geometry_of(found["geometry"]).equals(geometry_of(feature["geometry"]))
            assert found["properties"]["measurements"] == pytest.approx(
                feature["properties"]["measurements"], rel=1e-3, abs=1e-3
            )
        assert not (large / ".elmgan-scratch").exists()


def test_a_plane_without_a_cell_has_no_rows(tmp_path: Path, small: None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.random.default_rng(0).normal(500, 4, (300, 200)).astype(np.uint16))
    labels = np.ones((300, 200), np.uint8)
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    asked: dict[str, Any] = {"measure": True, "exports": ["qupath"], "regions": tmp_path / "labels.tif"}
    count_images([tmp_path / "a.tif"], tmp_path / "out", MODEL, **asked)
    assert not table(tmp_path / "out" / "cells.csv")
    (row,) = table(tmp_path / "out" / "regions.csv")
    assert (row["count"], row["cells"], row["area_px"]) == ("0", "0", "60000")
    assert json.loads((tmp_path / "out" / "qupath" / "a.geojson").read_text())["features"] == []


def test_planes_of_a_stack_share_a_file(tmp_path: Path, small: None) -> None:
    stack = np.array([[squares(number, (150, 90))] for number in (2, 3)])
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TZYX"})
    count_images([tmp_path / "a.tif"], tmp_path / "out", MODEL, measure=True, exports=["qupath"])
    assert [row["t"] for row in table(tmp_path / "out" / "cells.csv")] == list("11222")
    features = json.loads((tmp_path / "out" / "qupath" / "a.geojson").read_text())["features"]
    assert len(features) == 5


def test_rois_of_imagej_are_refused_in_a_line(tmp_path: Path, small: None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", squares(3, (150, 90)))
    counted = count_images([tmp_path / "a.tif"], tmp_path / "out", MODEL, exports=["imagej"])
    assert [failure.error for failure in counted.failures] == ["is too large for imagej (--export): leave that out"]


def test_a_smaller_copy_gives_tables_in_pixels_of_the_plane(tmp_path: Path, small: None) -> None:
    plane = np.kron(squares(40, SHAPE), np.ones((4, 4), np.uint16))[:1839, :1319]
    rows, columns = plane.shape
    ring = [[0, 0], [columns, 0], [columns, 300], [0, 300], [0, 0]]  # three rows of 18 cells, of the last one four
    (tmp_path / "upper.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    asked: dict[str, Any] = {
        "measure": True,
        "exports": ["qupath", "zarr"],
        "labels": True,
        "overlays": True,
        "regions": tmp_path / "upper.geojson",
        "view": MODEL.view.changed(scale=0.25),
    }
    tables = {}
    for name, levels in (("copies", by_means(plane)), ("alone", [plane])):
        image = write_pyramid(tmp_path / name / "a.zarr", levels)
        counted = count_images([image], tmp_path / "out" / name, MODEL, **asked)
        assert not counted.failures
        tables[name] = [table(tmp_path / "out" / name / f"{each}.csv") for each in ("cells", "regions", "counts")]
    for cells, others in zip(*(tables[name][0] for name in ("copies", "alone")), strict=True):
        for column, within in {"row": 2, "column": 2, "diameter_px": 2, "mean": 200}.items():
            assert float(cells[column]) == pytest.approx(float(others[column]), abs=within), column
    assert len(tables["copies"][0]) == 40
    (region,), (other,) = (tables[name][1] for name in ("copies", "alone"))
    assert (region["cells"], region["area_px"]) == (other["cells"], other["area_px"])
    assert float(region["estimate"]) == pytest.approx(float(other["estimate"]), abs=0.2)
    (row,), (whole,) = (tables[name][2] for name in ("copies", "alone"))
    assert (row["height"], row["width"], row["scale"]) == (str(rows), str(columns), "0.25")
    assert float(row["estimate"]) == pytest.approx(float(whole["estimate"]), abs=0.1)
    out = tmp_path / "out" / "copies"
    for folder in ("labels", "masks"):
        assert tifffile.imread(out / folder / "a.tif").shape == (rows, columns)
    drawn, expected = (read_image(tmp_path / "out" / name / "overlays" / "a.png") for name in ("copies", "alone"))
    assert drawn.shape == expected.shape
    assert np.count_nonzero((drawn != expected).any(axis=2)) < 0.05 * rows * columns
