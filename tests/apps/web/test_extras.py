"""What is made of a job's cells: the same as the command line makes of the same images, and cells as people correct."""

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile

from bundles import squares, tiny_bundle, write_tiny
from elmgan.apps.web.models import Models
from elmgan.counting import Model
from elmgan.work import count_images
from web_client import Client, served, tiff

STACK = tiff(np.stack([squares(2), squares(5)]), imagej=True, metadata={"axes": "TYX"})
IMAGES = {"plate/a.tif": tiff(squares(7)), "b.tif": tiff(squares(4)), "stack.tif": STACK}
CORNERS = [[0, 0], [60, 0], [60, 50], [0, 50], [0, 0]]
GEOJSON = json.dumps({"type": "Polygon", "coordinates": [CORNERS]}).encode()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with served(tmp_path) as client:
        yield client


def download(client: Client, job: str, **wanted: Any) -> zipfile.ZipFile:
    link = client.ask("POST", f"/api/jobs/{job}/download", json={"part": "results"} | wanted)
    assert link.status_code == 200, link.text
    return zipfile.ZipFile(io.BytesIO(client.app.get(link.json()["href"]).content))


def give_regions(client: Client, job: str, files: Mapping[str, bytes]) -> Any:
    sent = [("regions", (name, content)) for name, content in files.items()]
    return client.ask("POST", f"/api/jobs/{job}/regions", files=sent)


def lines(table: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.decode())))


def test_cells_regions_and_exports_are_those_of_the_command_line(client: Client, tmp_path: Path) -> None:
    job = client.job(IMAGES)["job"]
    assert give_regions(client, job, {"drawn.geojson": GEOJSON}).json() == {"files": ["drawn.geojson"], "notes": []}
    assert client.done(job)["regions"] == ["drawn.geojson"]
    folder, out = tmp_path / "images", tmp_path / "out"
    for name, content in IMAGES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (tmp_path / "drawn.geojson").write_bytes(GEOJSON)
    model, regions = Model(tiny_bundle()), tmp_path / "drawn.geojson"
    count_images([folder], out, model, measure=True, exports=["qupath", "imagej"], regions=regions)
    with download(client, job, measure=True, exports=["qupath", "imagej"]) as archive:
        names = set(archive.namelist())
        for path in [*out.glob("*/**/*.*"), out / "cells.csv", out / "regions.csv"]:
            name = path.relative_to(out).as_posix()
            assert name in names, name
            if path.suffix in (".csv", ".geojson"):
                assert archive.read(name) == path.read_bytes(), name
        rois = zipfile.ZipFile(io.BytesIO(archive.read("imagej/plate/a.zip")))
        assert len([roifile.ImagejRoi.frombytes(rois.read(name)) for name in rois.namelist()]) == 7
    assert not [path for path in (tmp_path / "private" / job).iterdir() if path.name.startswith("made-")]


def test_only_what_is_asked_for_is_made(client: Client) -> None:
    job = client.job(IMAGES)["job"]
    with download(client, job) as archive:
        assert not {"cells.csv", "regions.csv", "notes.txt"} & set(archive.namelist())
    with download(client, job, exports=["qupath"]) as archive:
        assert {name.partition("/")[0] for name in archive.namelist() if "/" in name} == {"masks", "qupath"}
    assert (
        client.ask("POST", f"/api/jobs/{job}/download", json={"part": "results", "exports": ["x"]}).status_code == 422
    )


def test_an_image_that_was_counted_again_is_measured_as_it_was_counted_then(client: Client) -> None:
    job = client.job(IMAGES)["job"]
    number = next(image["number"] for image in client.done(job)["images"] if image["image"] == "stack.tif")
    client.ask("POST", f"/api/jobs/{job}/recount", json={"image": number, "view": {"t": 2}})
    client.done(job)
    with download(client, job, measure=True) as archive:
        cells = [row for row in lines(archive.read("cells.csv")) if row["image"] == "stack.tif"]
    assert [row["t"] for row in cells] == ["2"] * 5


def test_regions_are_for_the_image_of_their_name(client: Client) -> None:
    job = client.job(IMAGES)["job"]
    taken = give_regions(client, job, {"b.geojson": GEOJSON}).json()
    assert taken["notes"] == ["2 of 3 images have no regions in regions: plate/a.tif and others"]
    with download(client, job) as archive:
        assert {row["image"] for row in lines(archive.read("regions.csv"))} == {"b.tif"}
        assert "2 of 3 images have no regions" in archive.read("notes.txt").decode()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"all.geojson": b"no json"}, "all.geojson cannot be read as GeoJSON"),
        ({"b.geojson": b"[]"}, "b.geojson holds nothing, and no area"),
        ({"x.geojson": GEOJSON, "y.geojson": GEOJSON}, "has no regions of these images"),
        ({}, "the upload has no regions"),
    ],
)
def test_what_are_no_regions_is_refused_and_the_earlier_ones_stay(
    client: Client, tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    job = client.job(IMAGES)["job"]
    give_regions(client, job, {"drawn.geojson": GEOJSON})
    answer = give_regions(client, job, files or {"": b""})
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert "private" not in answer.json()["error"]
    assert client.done(job)["regions"] == ["drawn.geojson"]
    assert not list((tmp_path / "private" / job).glob("new-*"))


def test_what_cannot_be_made_is_told_in_the_zip(client: Client, tmp_path: Path) -> None:
    job = client.job(IMAGES)["job"]
    labels = tiff(np.ones((5, 5), np.uint8))
    give_regions(client, job, {"b.tif": labels})
    with download(client, job, measure=True) as archive:
        assert "b.tif has 5 x 5 pixels" in archive.read("notes.txt").decode()
        assert {row["image"] for row in lines(archive.read("cells.csv"))} == {"plate/a.tif", "stack.tif"}
    shutil.rmtree(tmp_path / "private" / job / "uploads")
    with download(client, job, measure=True) as archive:
        assert "is missing" in archive.read("notes.txt").decode()


def test_a_model_without_masks_has_no_cells_to_measure(tmp_path: Path) -> None:
    model = Models([write_tiny(tmp_path, ("count",))])
    with served(tmp_path, models=model) as client:
        job = client.job({"b.tif": tiff(squares(4))})["job"]
        refused = client.ask("POST", f"/api/jobs/{job}/download", json={"part": "results", "measure": True})
        assert refused.status_code == 400
        give_regions(client, job, {"all.geojson": GEOJSON})
        with download(client, job) as archive:
            assert [row["cells"] for row in lines(archive.read("regions.csv"))] == [""]


def test_cells_that_somebody_corrected_are_kept(client: Client) -> None:
    job = client.job(IMAGES, labels="true")["job"]
    path = f"/api/jobs/{job}/images/0/cells"
    found = client.ask("GET", path).json()
    assert (len(found["cells"]), found["corrected"]) == (4, False)
    mine = [*found["cells"][1:], {"row": 3.5, "column": 90, "added": True}]
    assert client.ask("PUT", path, json={"cells": mine}).json() == {"cells": mine, "corrected": True}
    client.ask("POST", f"/api/jobs/{job}/recount", json={"view": {"scale": 1}})
    client.done(job)
    assert client.ask("GET", path).json() == {"cells": mine, "corrected": True}
    assert client.ask("PUT", path, json={"cells": None}).json()["corrected"] is False
    assert len(client.ask("GET", path).json()["cells"]) == 4
    assert client.ask("PUT", f"{path}?t=9", json={"cells": []}).status_code == 404
