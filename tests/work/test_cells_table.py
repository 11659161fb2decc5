"""cells.csv, and the cells for other programs, as a count writes them."""

import csv
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from roifile import ImagejRoi, roiread
from shapely.geometry import shape as geometry_of

from bundles import squares, tiny_bundle
from elmgan.counting import Failure, Model, Result, Row
from elmgan.errors import UsageError
from elmgan.images import Plane, View, open_image
from elmgan.work import count_images
from elmgan.work.cells import CellsSink, Channels, Measurer
from elmgan.work.exports import Export, stack_place

MODEL = Model(tiny_bundle())


def folder_of(folder: Path, *numbers: int) -> Path:
    """A folder with one image per number: 3.tif shows 3 squares."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        tifffile.imwrite(folder / f"{number}.tif", squares(number))
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def features(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["features"]
    return found


def rois(path: Path) -> list[ImagejRoi]:
    found = roiread(path)
    return found if isinstance(found, list) else [found]


def test_cells_are_measured(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 3, 0, 2), tmp_path / "out"
    counted = count_images([images], out, MODEL, measure=True)
    rows = table(out / "cells.csv")
    assert [(row["image"], row["cell"]) for row in rows] == [
        *(("2.tif", "1"), ("2.tif", "2")),
        *(("3.tif", "1"), ("3.tif", "2"), ("3.tif", "3")),
    ]
    assert out / "cells.csv" in counted.written
    first = rows[0]
    assert (first["scene"], first["t"], first["z"]) == ("1", "1", "1")
    assert (first["area_um2"], first["perimeter_um"], first["diameter_um"]) == ("", "", "")
    result = MODEL.count(squares(2))
    measured = result.cells(squares(2))
    assert float(first["row"]) == pytest.approx(measured["row"][0], abs=0.01)
    assert float(first["share"]) == pytest.approx(measured["share"][0], abs=0.001)
    assert (first["area_px"], first["max"]) == (str(measured["area_px"][0]), "3000")
    assert float(first["mean"]) == pytest.approx(measured["mean"][0], rel=1e-6)
    assert first["touches_border"] == "0"


def test_each_channel_is_measured_in_micrometres(tmp_path: Path) -> None:
    image, out = np.stack([squares(3), np.full((96, 120), 7, np.uint16)]), tmp_path / "out"
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        image,
        metadata={
            "axes": "CYX",
            "Channel": {"Name": ["DAPI", "=GFP"]},
            **{f"PhysicalSize{axis}": 0.5 for axis in "XY"},
        },
    )
    tifffile.imwrite(tmp_path / "b.tif", squares(1))
    count_images([tmp_path / "a.ome.tif"], out, MODEL, view=View(channel="DAPI"), measure=True, exports=["qupath"])
    rows = table(out / "cells.csv")
    assert [row["'mean_=GFP" if "'mean_=GFP" in row else "mean_=GFP"] for row in rows] == ["7"] * 3
    assert [row["max_DAPI"] for row in rows] == ["3000"] * 3
    assert float(rows[0]["area_um2"]) == int(rows[0]["area_px"]) / 4
    measurements = features(out / "qupath" / "a.ome.geojson")[0]["properties"]["measurements"]
    assert measurements["Area µm^2"] == int(rows[0]["area_px"]) / 4
    assert measurements["DAPI: Max"] == 3000


@pytest.mark.parametrize("channel", [None, 2])
def test_colour_is_measured_as_red_green_and_blue(tmp_path: Path, channel: int | None) -> None:
    grey = (squares(2) // 20).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([grey, grey, np.full_like(grey, 9)], axis=2), photometric="rgb")
    with open_image(tmp_path / "a.tif") as source:
        (plane,) = source.planes(View(channel=channel))
        channels = Channels(plane, plane.read())
        assert list(channels) == ["red", "green", "blue"]
        assert (channels["blue"] == 9).all()
        assert np.array_equal(channels["green"], grey)


def test_a_table_for_a_continental_excel(tmp_path: Path) -> None:
    count_images([folder_of(tmp_path / "images", 1)], tmp_path / "out", MODEL, measure=True, excel=True)
    lines = (tmp_path / "out" / "cells.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith("image;scene;t;z;cell;row;column;area_px;")
    row = dict(zip(lines[0].split(";"), lines[1].split(";"), strict=True))
    assert row["row"].replace(",", ".") == f"{MODEL.count(squares(1)).cells()['row'][0]:.2f}"


class Stop(KeyboardInterrupt):
    """Ctrl-C."""


def test_resuming_keeps_rows_and_replaces_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2, 3, 4), tmp_path / "out"
    asked: dict[str, Any] = {"measure": True, "exports": ["qupath", "imagej"]}

    def interrupt(total: int, outcome: Row | Failure) -> None:
        if outcome.image == "3.tif":
            raise Stop

    with pytest.raises(Stop):
        count_images([images], out, MODEL, **asked, watch=interrupt)
    assert [row["image"] for row in table(out / "cells.csv")] == ["1.tif"] + ["2.tif"] * 2 + ["3.tif"] * 3
    (out / "imagej" / "2.zip").unlink()  # a row without its file is not done
    seen: list[Plane] = []
    count = MODEL.count

    def count_and_note(plane: Plane, **given: Any) -> Result:
        seen.append(plane)
        return count(plane, **given)

    monkeypatch.setattr(MODEL, "count", count_and_note)
    count_images([images], out, MODEL, **asked, resume=True)
    assert len(seen) == 2
    count_images([images], tmp_path / "straight", MODEL, **asked)
    assert (out / "cells.csv").read_bytes() == (tmp_path / "straight" / "cells.csv").read_bytes()
    seen.clear()
    count_images([images], out, MODEL, resume=True)
    assert not seen
    assert not (out / "cells.csv").exists()  # it would miss the images of this count
    assert (out / "qupath" / "1.geojson").exists()
    count_images([images], out, MODEL, **asked, resume=True)
    assert len(seen) == 4
    assert (out / "cells.csv").read_bytes() == (tmp_path / "straight" / "cells.csv").read_bytes()
    count_images([images], out, MODEL)
    assert {path.name for path in out.iterdir()} == {"counts.csv", "run.json", "report.html", "masks"}


def test_a_plane_that_fails_has_no_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2), tmp_path / "out"
    count_images([images], out, MODEL, measure=True, exports=["qupath"])
    count = MODEL.count

    def trip(plane: Plane, **given: Any) -> Result:
        if plane.source.path.name == "1.tif":
            raise ZeroDivisionError
        return count(plane, **given)

    monkeypatch.setattr(MODEL, "count", trip)
    count_images([images], out, MODEL, measure=True, exports=["qupath"])
    assert [row["image"] for row in table(out / "cells.csv")] == ["2.tif"] * 2
    assert [path.name for path in (out / "qupath").iterdir()] == ["2.geojson"]


def test_cells_for_qupath_and_imagej(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 3, 0), tmp_path / "out"
    count_images([images], out, MODEL, exports=["imagej", "qupath"])
    labels = MODEL.count(squares(3)).labels()
    areas = [geometry_of(feature["geometry"]).area for feature in features(out / "qupath" / "3.geojson")]
    assert areas == np.bincount(labels.ravel())[1:].tolist()
    assert [roi.name for roi in rois(out / "imagej" / "3.zip")] == ["cell 1", "cell 2", "cell 3"]
    assert features(out / "qupath" / "0.geojson") == []
    assert rois(out / "imagej" / "0.zip") == []


def test_a_program_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--export is fiji; expected qupath, imagej or zarr"):
        count_images([folder_of(tmp_path / "images", 1)], tmp_path / "out", MODEL, exports=["fiji"])
    assert not (tmp_path / "out").exists()


def stack(path: Path, axes: str, numbers: NDArray) -> Path:
    """Pages with so many squares each."""
    pages = np.array([squares(int(number)) for number in numbers.ravel()]).reshape(*numbers.shape, 96, 120)
    tifffile.imwrite(path, pages, imagej=True, metadata={"axes": axes})
    return path


def test_planes_of_a_stack_share_files_and_have_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = stack(tmp_path / "a.tif", "TZYX", np.array([[1, 2], [0, 3]])), tmp_path / "out"
    count_images([path], out, MODEL, view=View(z="each"), exports=["qupath", "imagej"], measure=True)
    planes = [feature["geometry"].get("plane") for feature in features(out / "qupath" / "a.geojson")]
    assert planes == [None, *[{"c": -1, "z": 1, "t": 0}] * 2, *[{"c": -1, "z": 1, "t": 1}] * 3]
    found = [(roi.position, roi.z_position, roi.t_position) for roi in rois(out / "imagej" / "a.zip")]
    assert found == [(0, 1, 1), *[(0, 2, 1)] * 2, *[(0, 2, 2)] * 3]
    names = [roi.name for roi in rois(out / "imagej" / "a.zip")]
    assert names[:3] == ["t1 z1 cell 1", "t1 z2 cell 1", "t1 z2 cell 2"]
    assert len(set(names)) == 6
    assert [(row["t"], row["z"]) for row in table(out / "cells.csv")] == [
        ("1", "1"),
        *[("1", "2")] * 2,
        *[("2", "2")] * 3,
    ]
    count = MODEL.count

    def trip(plane: Plane, **given: Any) -> Result:
        if plane.place == (1, 1, 2):
            raise ZeroDivisionError
        return count(plane, **given)

    monkeypatch.setattr(MODEL, "count", trip)
    count_images([path], out, MODEL, view=View(z="each"), exports=["qupath", "imagej"], measure=True)
    assert len(features(out / "qupath" / "a.geojson")) == len(rois(out / "imagej" / "a.zip")) == 4
    assert [(row["t"], row["z"]) for row in table(out / "cells.csv")] == [("1", "1"), *[("2", "2")] * 3]


def test_a_scene_that_was_not_finished_leaves_no_file(tmp_path: Path) -> None:
    path, out = stack(tmp_path / "a.tif", "TYX", np.array([1, 2, 3])), tmp_path / "out"

    def interrupt(total: int, outcome: Row | Failure) -> None:
        raise Stop

    with pytest.raises(Stop):
        count_images([path], out, MODEL, exports=["qupath", "imagej"], watch=interrupt)
    assert not list((out / "qupath").iterdir())
    assert not list((out / "imagej").iterdir())


@pytest.mark.parametrize(
    ("axes", "shape", "z", "expected"),
    [
        ("YX", (), "max", (0, 0, 0)),
        ("ZYX", (3,), "each", (2, 0, 0)),
        ("ZYX", (3,), "max", (0, 0, 0)),
        ("TYX", (3,), "max", (2, 0, 0)),
        ("CYX", (2,), "max", (0, 0, 0)),
        ("TZYX", (3, 2), "max", (0, 0, 2)),
        ("TZYX", (3, 2), "each", (0, 2, 1)),
        ("ZCYX", (3, 2), "each", (0, 2, 0)),
        ("TCYX", (3, 2), "max", (0, 0, 2)),
    ],
)
def test_places_in_the_stack_that_imagej_opens(
    tmp_path: Path, axes: str, shape: tuple[int, ...], z: str, expected: tuple[int, ...]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((*shape, 8, 8), np.uint8), imagej=True, metadata={"axes": axes})
    with open_image(path) as source:
        planes = source.planes(View(z=z, channel=1 if "C" in axes else None))
        assert tuple(stack_place(planes[min(1, len(planes) - 1)])) == expected


def test_sinks_can_be_sent_to_another_process(tmp_path: Path) -> None:
    measure = Measurer()
    table_of_cells = CellsSink(tmp_path, measure, images=[], kept=[], excel=False)
    export, cells = pickle.loads(pickle.dumps([Export("qupath", measure), table_of_cells]))
    assert (export.name, cells.name) == ("qupath", "cells.csv")
    table_of_cells.close(whole=True)
    cells.close(whole=True)  # only draws
