"""GeoJSON as QuPath has it: cells as detections with their measurements, and annotations as regions."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elmgan.counting import Polygon, Region
from elmgan.errors import UsageError, one_line
from elmgan.export.drawn import DrawnRegions

HEAD, BETWEEN, TAIL = '{"type": "FeatureCollection", "features": [\n', ",\n", "\n]}\n"
"""What stands before, between and after the features of a file."""

CLASS = json.dumps({"name": "Cell", "color": [255, 128, 0]}, separators=(",", ":"))
"""Class of the detections, and its colour in QuPath."""

MEASUREMENTS = {
    "area_px": "Area px^2",
    "perimeter_px": "Perimeter px",
    "diameter_px": "Diameter px",
    "area_um2": "Area µm^2",
    "perimeter_um": "Perimeter µm",
    "diameter_um": "Diameter µm",
    "eccentricity": "Eccentricity",
    "solidity": "Solidity",
    "share": "Share of the count",
}
"""Column of the measured cells -> its name in QuPath."""

BRIGHTNESS = {"mean": "Mean", "min": "Min", "max": "Max", "sum": "Sum"}
"""What the columns of a channel begin with -> what follows the channel's name in QuPath."""

DIGITS = 7
"""Of a measurement; more says nothing."""

REGION_TYPES = ("annotation", "unknown", "tmaCore", "tile")
"""QuPath's types of objects that are taken for regions; its detections and cells are not."""


def features_of(cells: Mapping[str, NDArray], outlines: Sequence[Sequence[Polygon]], *, t: int = 1, z: int = 1) -> str:
    """Write the cells of a plane as features of a GeoJSON file, which are detections to QuPath.

    Coordinates are pixels from the upper left corner of the image, x to the right and y downwards. A cell that does not
    hang together by the sides of its pixels is a MultiPolygon.

    Args:
        cells: As :func:`~elmgan.counting.cells.measured` gives them.
        outlines: The polygons of each.
        t: Time point, from 1.
        z: Focal plane, from 1.

    >>> ring = np.array([[0, 0], [0, 2], [1, 2], [1, 0]])
    >>> feature = json.loads(features_of({"cell": np.array([7]), "area_px": np.array([2])}, [[[ring]]]))
    >>> feature["geometry"]["coordinates"], feature["properties"]["measurements"]
    ([[[0, 0], [2, 0], [2, 1], [0, 1], [0, 0]]], {'Area px^2': 2})
    """
    plane = "" if t == z == 1 else f',"plane":{{"c":-1,"z":{z - 1},"t":{t - 1}}}'
    columns = [
        [f"{json.dumps(name)}:{value!r}" if math.isfinite(value) else "" for value in _shown(values)]
        for column, values in cells.items()
        if (name := _measurement(column))
    ]
    measurements = [",".join(filter(None, of)) for of in zip(*columns, strict=True)] or [""] * len(outlines)
    written = []
    for number, told, polygons in zip(cells["cell"].tolist(), measurements, outlines, strict=True):
        areas = [f"[{','.join(map(_closed, polygon))}]" for polygon in polygons]
        kind, area = ("Polygon", areas[0]) if len(areas) == 1 else ("MultiPolygon", f"[{','.join(areas)}]")
        written.append(
            f'{{"type":"Feature","geometry":{{"type":"{kind}","coordinates":{area}{plane}}},"properties":'
            f'{{"objectType":"detection","name":"{number}","classification":{CLASS},"measurements":{{{told}}}}}}}'
        )
    return ",".join(written)


def _measurement(column: str) -> str:
    """Give a column its name in QuPath; none if it is no measurement there."""
    what, _, channel = column.partition("_")
    if what in BRIGHTNESS:
        return f"{channel}: {BRIGHTNESS[what]}" if channel else BRIGHTNESS[what]
    return MEASUREMENTS.get(column, "")


def _shown(values: NDArray) -> list[float]:
    """Round to so many digits as say something."""
    if values.dtype.kind in "iu":
        return list(values.tolist())
    size = np.floor(np.log10(np.abs(values), out=np.zeros(len(values)), where=np.isfinite(values) & (values != 0)))
    unit = 10.0 ** np.abs(size - DIGITS + 1)  # a power of ten above 1, so that it is a whole number
    return list(np.where(size < DIGITS, np.rint(values * unit) / unit, np.rint(values / unit) * unit).tolist())


def _closed(ring: NDArray) -> str:
    """Write a ring, x before y. Lists of points would be many small objects, which take most of the time."""
    corners = ring[:, ::-1].ravel().tolist()
    return f"[{'[%d,%d],' * len(ring) % tuple(corners)}[{corners[0]},{corners[1]}]]"


def read_geojson(path: Path) -> DrawnRegions:
    """Read the areas of a GeoJSON file as regions: QuPath's annotations, or polygons of any other program.

    Points and lines, which have no inside, and QuPath's detections and cells are passed over.

    Raises:
        UsageError: It cannot be read, is no GeoJSON, or holds no area.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as GeoJSON ({one_line(error)}): export it again from QuPath") from None
    regions, passed_over = [], Counter[str]()
    try:
        for k, feature in enumerate(_features(content), 1):
            try:
                regions += _region(feature, passed_over)
            except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
                raise UsageError(f"feature {k} is damaged ({one_line(error)})") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}: export it again from QuPath") from None
    drawn = DrawnRegions(regions, passed_over)
    if not regions:
        found = drawn.told or "nothing"
        raise UsageError(f"{path} holds {found}, and no area: draw annotations such as polygons and export them")
    return drawn


def _features(content: Any) -> Iterator[Any]:
    """The features of a collection, a list of them, or one; a bare geometry is a feature without properties."""
    kind = content.get("type") if isinstance(content, dict) else None
    if isinstance(content, list):
        yield from content
    elif kind == "FeatureCollection" and isinstance(content.get("features"), list):
        yield from content["features"]
    elif kind == "Feature":
        yield content
    elif kind is not None and ("coordinates" in content or "geometries" in content):
        yield {"geometry": content}
    else:
        raise UsageError("is not GeoJSON, which has the type FeatureCollection or Feature")


def _region(feature: Any, passed_over: Counter[str]) -> list[Region]:
    properties, geometry = feature.get("properties") or {}, feature.get("geometry")
    kind = properties.get("objectType") or properties.get("object_type") or "unknown"
    if kind not in REGION_TYPES:
        passed_over[f"of QuPath's type {kind}"] += 1
        return []
    if not geometry:
        passed_over["without a geometry"] += 1
        return []
    rings = [ring for polygon in _polygons(geometry) for ring in polygon]
    if not rings:
        has_area = geometry["type"] in ("Polygon", "MultiPolygon", "GeometryCollection")
        passed_over["empty" if has_area else f"without an inside ({geometry['type']})"] += 1
        return []
    plane = geometry.get("plane") or {}
    t, z = (int(plane[axis]) + 1 if axis in plane else None for axis in ("t", "z"))
    classification = properties.get("classification") or {}
    named = classification.get("name") if isinstance(classification, dict) else classification
    return [Region(str(properties.get("name") or ""), str(named or ""), rings, t=t, z=z)]


def _polygons(geometry: Any) -> list[list[NDArray[np.float64]]]:
    """Polygons as rings of rows and columns."""
    match geometry["type"]:
        case "Polygon":
            polygons = [geometry["coordinates"]]
        case "MultiPolygon":
            polygons = geometry["coordinates"]
        case "GeometryCollection":
            return [polygon for part in geometry["geometries"] for polygon in _polygons(part)]
        case "Point" | "MultiPoint" | "LineString" | "MultiLineString":
            return []
        case unknown:
            raise ValueError(f"its geometry is {unknown!r}")
    return [[_ring(ring) for ring in polygon if ring] for polygon in polygons]


def _ring(points: Any) -> NDArray[np.float64]:
    ring = np.array([point[1::-1] for point in points], np.float64)
    if ring.ndim != 2 or ring.shape[1] != 2 or not np.isfinite(ring).all():
        raise ValueError("its coordinates are not pairs of finite numbers")
    return ring
