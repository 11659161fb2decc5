"""GeoJSON for QuPath and from it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from shapely import is_ccw
from shapely.geometry import shape as geometry_of

from elmgan.counting import Polygon
from elmgan.counting.cells import measured
from elmgan.counting.outlines import outlines_of
from elmgan.errors import UsageError
from elmgan.export.qupath import HEAD, TAIL, features_of, read_geojson
from label_images import HARD, drawn_cells, label_image


def exported(labels: NDArray[np.uint32], **given: Any) -> list[dict[str, Any]]:
    """Features of cells, as a file has them."""
    polygons: list[list[Polygon]] = [of for _, of in outlines_of(labels)]
    cells = measured(labels, {"DAPI": np.ones(labels.shape)}, pixel_size={"x": 0.5, "y": 0.5})
    found: list[dict[str, Any]] = json.loads(HEAD + features_of(cells, polygons, **given) + TAIL)["features"]
    return found


@pytest.mark.parametrize(
    "labels", [*map(label_image, HARD.values()), drawn_cells(rng=np.random.default_rng(0))], ids=[*HARD, "drawn"]
)
def test_detections_are_valid_and_exact(labels: NDArray[np.uint32]) -> None:
    features = exported(labels)
    assert [feature["properties"]["name"] for feature in features] == [str(k) for k in np.unique(labels[labels > 0])]
    for feature in features:
        area = geometry_of(feature["geometry"])
        number = int(feature["properties"]["name"])
        assert area.is_valid
        assert area.area == np.count_nonzero(labels == number)
        row, column = (np.flatnonzero((labels == number).any(axis=axis)) for axis in (1, 0))
        assert area.bounds == (column[0], row[0], column[-1] + 1, row[-1] + 1)
        parts = feature["geometry"]["coordinates"]
        for polygon in parts if feature["geometry"]["type"] == "MultiPolygon" else [parts]:
            assert all(ring[0] == ring[-1] and len(ring) > 4 for ring in polygon)
        assert all(is_ccw(part.exterior) for part in getattr(area, "geoms", [area]))


def test_what_qupath_reads_of_a_detection() -> None:
    (feature,) = exported(label_image(["11", "11"]))
    assert feature["type"] == "Feature"
    assert "plane" not in feature["geometry"]
    assert feature["properties"]["objectType"] == "detection"
    assert feature["properties"]["classification"] == {"name": "Cell", "color": [255, 128, 0]}
    assert feature["properties"]["measurements"] == {
        "Area px^2": 4,
        "Perimeter px": 4.0,
        "Diameter px": 2.256758,
        "Area µm^2": 1.0,
        "Perimeter µm": 2.0,
        "Diameter µm": 1.128379,
        "Eccentricity": 0.0,
        "Solidity": 1.0,
        "DAPI: Mean": 1.0,
        "DAPI: Min": 1.0,
        "DAPI: Max": 1.0,
        "DAPI: Sum": 4.0,
    }  # no share: it is not known, and GeoJSON has no NaN


def test_planes_of_a_stack() -> None:
    (feature,) = exported(label_image(["1"]), t=3, z=2)
    assert feature["geometry"]["plane"] == {"c": -1, "z": 1, "t": 2}


SQUARE = [[1, 2], [5, 2], [5, 4], [1, 4], [1, 2]]


def written(folder: Path, content: Any) -> Path:
    path = folder / "regions.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def feature_of(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


POLYGON = {"type": "Polygon", "coordinates": [SQUARE]}


def test_annotations_are_regions(tmp_path: Path) -> None:
    hole = [[2, 2], [3, 2], [3, 3], [2, 3], [2, 2]]
    content = {
        "type": "FeatureCollection",
        "features": [
            feature_of(POLYGON, objectType="annotation", name="cortex", classification={"name": "Tissue"}),
            feature_of({"type": "Polygon", "coordinates": [SQUARE, hole], "plane": {"c": -1, "z": 0, "t": 4}}),
            feature_of({"type": "MultiPolygon", "coordinates": [[SQUARE], [hole]]}, name=None),
            feature_of({"type": "GeometryCollection", "geometries": [POLYGON, {"type": "Point"}]}),
        ],
    }
    regions = read_geojson(written(tmp_path, content)).regions
    assert [(each.name, each.kind, each.t, each.z) for each in regions] == [
        ("cortex", "Tissue", None, None),
        ("", "", 5, 1),
        ("", "", None, None),
        ("", "", None, None),
    ]
    assert [each.part((10, 10)).area for each in regions] == [8, 7, 7, 8]
    assert regions[0].part((10, 10)).box.top == 0
    assert regions[0].part((10, 10)).inside[2:4, 1:5].all()


@pytest.mark.parametrize(
    "content", [POLYGON, feature_of(POLYGON), [feature_of(POLYGON)], {"type": "Feature", "geometry": POLYGON}]
)
def test_geojson_comes_in_several_forms(tmp_path: Path, content: Any) -> None:
    assert len(read_geojson(written(tmp_path, content)).regions) == 1


def test_what_has_no_inside_is_passed_over_and_told(tmp_path: Path) -> None:
    others = [
        feature_of({"type": "Point", "coordinates": [1, 2]}),
        feature_of({"type": "LineString", "coordinates": SQUARE}),
        feature_of({"type": "Polygon", "coordinates": []}),
        feature_of(None),
        feature_of(POLYGON, objectType="detection"),
        feature_of(POLYGON, objectType="detection"),
    ]
    drawn = read_geojson(written(tmp_path, [*others, feature_of(POLYGON)]))
    assert len(drawn.regions) == 1
    assert drawn.told == (
        "1 without an inside (Point), 1 without an inside (LineString), 1 empty, 1 without a geometry, "
        "2 of QuPath's type detection"
    )
    with pytest.raises(UsageError, match=r"holds 1 without an inside .*and no area: draw annotations"):
        read_geojson(written(tmp_path, others))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "cannot be read as GeoJSON"),
        ("[" * 100_000, "cannot be read as GeoJSON"),
        ("[]", "holds nothing, and no area"),
        ("3", "is not GeoJSON"),
        ({"type": "Topology"}, "is not GeoJSON"),
        ({"type": "FeatureCollection", "features": 3}, "is not GeoJSON"),
        ([3], "feature 1 is damaged"),
        ([feature_of(POLYGON, classification=3), feature_of({"type": "Circle"})], "feature 2 is damaged .*'Circle'"),
        ([feature_of({"type": "Polygon"})], "feature 1 is damaged"),
        ([feature_of({"type": "Polygon", "coordinates": [[[1], [2], [3]]]})], "feature 1 is damaged"),
        ('[{"geometry": {"type": "Polygon", "coordinates": [[[1, NaN], [2, 3], [3, 4]]]}}]', "not pairs of finite"),
        ('[{"geometry": {"type": "Polygon", "coordinates": [[[1, 1e999], [2, 3], [3, 4]]]}}]', "not pairs of finite"),
    ],
)
def test_what_is_no_geojson_is_refused_in_one_line(tmp_path: Path, content: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        read_geojson(written(tmp_path, content))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read as GeoJSON"):
        read_geojson(tmp_path / "absent.geojson")
