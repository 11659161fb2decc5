import base64
import csv
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundles import squares, tiny_bundle
from elmgan.apps.web.service import FILES
from elmgan.counting import Model
from elmgan.counting.row import COLUMNS
from elmgan.data import read_data_set
from elmgan.images import read_image
from elmgan.models import read_bundle
from elmgan.work import calibrate_model, count_images
from web_client import TINY, Client, served, tiff


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with served(tmp_path) as client:
        yield client


def images(*numbers: int) -> dict[str, bytes]:
    return {f"{number}.tif": tiff(squares(number)) for number in numbers}


def decoded(content: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_one_answer_has_the_rows_of_the_command_line(client: Client, tmp_path: Path) -> None:
    answer = client.send(images(10, 2), wait="true", masks="true").json()
    folder = tmp_path / "images"
    folder.mkdir()
    for name, content in images(10, 2).items():
        (folder / name).write_bytes(content)
    expected = count_images([folder], tmp_path / "out", Model(tiny_bundle()))
    assert answer["state"] == "done"
    assert list(answer["rows"][0])[: len(COLUMNS)] == list(COLUMNS)
    for row, other in zip(answer["rows"], expected.rows, strict=True):
        same = set(COLUMNS) - {"seconds", "model"}
        assert {name: row[name] for name in same} == {
            name: value for name, value in other.model_dump(mode="json").items() if name in same
        }
        mask = decoded(base64.b64decode(row["mask"]))
        assert np.array_equal(mask, read_image(tmp_path / "out" / "masks" / Path(row["image"]).with_suffix(".tif")))
    assert client.ask("GET", "/api/jobs").json() == {"jobs": []}  # nothing is kept
    assert not list((tmp_path / "private").iterdir())


def test_a_job_tells_what_is_news(client: Client) -> None:
    job = client.send(images(1, 2, 3)).json()
    seen: list[str] = []
    news = 0
    while True:
        status = client.ask("GET", f"/api/jobs/{job['job']}?after={news}").json()
        seen += [row["image"] for row in status["rows"]]
        news = status["news"]
        if status["state"] == "done":
            break
    assert sorted(seen) == ["1.tif", "2.tif", "3.tif"]
    assert [image["image"] for image in client.done(job["job"])["images"]] == ["1.tif", "2.tif", "3.tif"]


def test_what_cannot_be_counted_does_not_keep_the_others_from_it(client: Client) -> None:
    job = client.job({**images(3), "broken.tif": b"II*\0 but no image", "notes.txt": b"a text"})
    assert [row["count"] for row in job["rows"]] == [3]
    assert [failure["image"] for failure in job["failures"]] == ["broken.tif"]
    assert "/" not in job["failures"][0]["error"].replace("1/", "")
    assert any("1 file .txt" in note for note in job["notes"])


def test_an_upload_without_an_image_is_refused(client: Client, tmp_path: Path) -> None:
    answer = client.send({"notes.txt": b"a text"})
    assert answer.status_code == 400
    assert "holds no image that is read" in answer.json()["error"]
    assert str(tmp_path) not in answer.json()["error"]
    assert not list((tmp_path / "private").iterdir())


def test_one_image_is_counted_again_under_another_view(client: Client) -> None:
    job = client.job(images(4, 9), labels="true")["job"]
    asked = client.ask("POST", f"/api/jobs/{job}/recount", json={"image": 1, "view": {"scale": 0.5}})
    assert asked.status_code == 200, asked.text
    status = client.done(job)
    assert [row["scale"] for row in status["rows"]] == [1.0, 0.5]
    assert [image["view"]["scale"] for image in status["images"]] == ["auto", 0.5]
    with client.download(job) as archive:
        names = archive.namelist()
        assert {"counts.csv", "counts-excel.csv", "masks/4.tif", "masks/9.tif", "labels/9.tif"} <= set(names)
        assert {"report.html", "run.json", "recounted/9/report.html", "notes.txt"} <= set(names)
        assert "9.tif (scale 0.5)" in archive.read("notes.txt").decode()
        rows = list(csv.DictReader(io.StringIO(archive.read("counts.csv").decode())))
        assert [row["scale"] for row in rows] == ["1", "0.5"]
        assert archive.read("counts-excel.csv").startswith(b"\xef\xbb\xbf")


def test_all_images_are_counted_again(client: Client) -> None:
    job = client.job(images(4, 9))["job"]
    asked = client.ask("POST", f"/api/jobs/{job}/recount", json={"view": {"scale": 2}})
    assert asked.json()["revision"] == 1
    status = client.done(job)
    assert [row["scale"] for row in status["rows"]] == [2.0, 2.0]
    with client.download(job) as archive:
        assert json.loads(archive.read("run.json"))["view"]["scale"] == 2
        assert not [name for name in archive.namelist() if name.startswith("recounted")]


def test_planes_of_a_stack_are_shown_and_counted_one_by_one(client: Client) -> None:
    stack = np.stack([squares(number) for number in (2, 5)])
    job = client.job({"stack.tif": tiff(stack, imagej=True, metadata={"axes": "TYX"})}, labels="true")
    assert [(row["t"], row["count"]) for row in job["rows"]] == [(1, 2), (2, 5)]
    facts = client.ask("GET", f"/api/jobs/{job['job']}/images/0").json()
    assert facts["scenes"][0]["times"] == 2
    found = [len(client.ask("GET", f"/api/jobs/{job['job']}/images/0/cells?t={t}").json()["cells"]) for t in (1, 2)]
    assert found == [2, 5]
    assert client.ask("GET", f"/api/jobs/{job['job']}/images/0/cells?t=3").status_code == 404


@pytest.mark.parametrize("layer", ["image", "outlines", "mask", "count-map", "thumbnail"])
def test_layers_are_pictures_of_the_size_that_was_asked_for(client: Client, layer: str) -> None:
    job = client.job(images(6), labels="true")["job"]
    answer = client.ask("GET", f"/api/jobs/{job}/images/0/picture?layer={layer}&side=60")
    assert answer.status_code == 200, answer.text
    picture = decoded(answer.content)
    expected = {"count-map": (24, 30), "thumbnail": (96, 120)}.get(layer, (48, 60))
    assert picture.shape[:2] == expected
    if layer in ("outlines", "mask", "count-map"):
        assert picture.shape[2] == 4
        assert picture[..., 3].any()


def test_a_part_of_a_layer_lies_where_it_should(client: Client) -> None:
    job = client.job(images(1), labels="true")["job"]  # one square of 10 x 10 from (6, 6) on
    path = f"/api/jobs/{job}/images/0/picture?layer=mask"
    picture = decoded(client.ask("GET", f"{path}&top=4&left=4&height=20&width=30").content)
    assert picture.shape == (20, 30, 4)
    rows, columns = np.nonzero(picture[..., 3])
    assert abs(rows.mean() - 6.5) < 1
    assert abs(columns.mean() - 6.5) < 1
    assert client.ask("GET", f"{path}&top=4000").status_code == 400


def test_a_region_has_its_own_count(client: Client) -> None:
    job = client.job(images(12), labels="true")
    row = job["rows"][0]
    path = f"/api/jobs/{job['job']}/images/0/region"

    def count(vertices: list[list[float]]) -> dict[str, Any]:
        answer = client.ask("POST", path, json={"vertices": vertices})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    rows, columns = row["height"], row["width"]
    whole = count([[0, 0], [0, columns], [rows, columns], [rows, 0]])
    assert whole == {"count": pytest.approx(row["estimate"], abs=0.01), "objects": 12, "pixels": rows * columns}
    left = count([[0, 0], [0, 60], [rows, 60], [rows, 0]])
    right = count([[0, 60], [0, columns], [rows, columns], [rows, 60]])
    assert left["count"] + right["count"] == pytest.approx(row["estimate"], abs=0.02)
    assert client.ask("POST", path, json={"vertices": [[0, 0], [1, 1]]}).status_code == 422


def test_counts_by_eye_calibrate_a_model(client: Client, tmp_path: Path) -> None:
    numbers = range(2, 26)
    sent = {f"{number:02}.tif": tiff(np.roll(squares(number), 7 * number, axis=1)) for number in numbers}
    status = client.job(sent)
    job = status["job"]
    counts = {str(image["number"]): 2 * int(image["image"][:2]) for image in status["images"]}
    few = client.ask("PUT", f"/api/jobs/{job}/counts", json={"counts": dict(list(counts.items())[:12])})
    assert few.status_code == 200, few.text
    refused = client.ask("POST", f"/api/jobs/{job}/calibrate", json={})
    assert (refused.status_code, refused.json()["error"]) == (
        400,
        "8 counts by eye are missing: a calibration takes 20",
    )
    client.ask("PUT", f"/api/jobs/{job}/counts", json={"counts": counts})
    assert client.ask("POST", f"/api/jobs/{job}/calibrate", json={}).status_code == 200
    learned = client.done(job)["calibration"]
    assert learned["error"] == ""
    assert learned["ready"]
    assert learned["before"]["bias"] < -5
    assert abs(learned["after"]["bias"]) < 1
    assert learned["after"]["coverage"] > 0.8
    saved = client.ask("POST", f"/api/jobs/{job}/model", json={"name": "mine"})
    assert "mine" in [model["name"] for model in saved.json()]
    again = client.ask("POST", f"/api/jobs/{job}/model", json={"name": "nuclei"})
    assert again.status_code == 409
    client.ask("POST", f"/api/jobs/{job}/recount", json={"model": "mine"})
    by_eye = {image["image"]: image["own_count"] for image in client.done(job)["images"]}
    rows = client.done(job)["rows"]
    assert all(abs(row["count"] - by_eye[row["image"]]) <= 2 for row in rows)
    assert all(row["low"] is not None and row["model"].startswith("mine@") for row in rows)

    (tmp_path / "mine").mkdir()
    client.download(job, "model", "mine").extractall(tmp_path / "mine")
    assert read_bundle(tmp_path / "mine").card.calibration is not None
    client.download(job, "data-set").extractall(tmp_path / "set")
    records = read_data_set(tmp_path / "set" / "data")
    assert {record.file_name: record.count for record in records} == by_eye
    calibrate_model(tiny_bundle(), tmp_path / "set" / "data", tmp_path / "again")


def test_counts_that_contradict_each_other_are_named_and_not_used_unasked(client: Client) -> None:
    numbers = range(2, 26)
    status = client.job({f"{n:02}.tif": tiff(np.roll(squares(n), 7 * n, axis=1)) for n in numbers})
    job = status["job"]
    counts = {str(image["number"]): int(image["image"][:2]) for image in status["images"]}
    counts["5"] = 400
    client.ask("PUT", f"/api/jobs/{job}/counts", json={"counts": counts})
    client.ask("POST", f"/api/jobs/{job}/calibrate", json={})
    learned = client.done(job)["calibration"]
    assert not learned["ready"]
    assert "count 400" in learned["doubts"][0]
    assert client.ask("POST", f"/api/jobs/{job}/model", json={"name": "mine"}).status_code == 409
    client.ask("POST", f"/api/jobs/{job}/calibrate", json={"believe": True})
    assert client.done(job)["calibration"]["ready"]


def test_a_job_can_be_cancelled(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, count = threading.Event(), Model.count

    def slowly(self: Model, *arguments: Any, **options: Any) -> Any:
        begun.set()
        time.sleep(0.1)
        return count(self, *arguments, **options)

    monkeypatch.setattr(Model, "count", slowly)
    job = client.send(images(*range(1, 30))).json()["job"]
    assert begun.wait(20)
    busy = client.ask("POST", f"/api/jobs/{job}/recount", json={})
    assert (busy.status_code, busy.json()["error"]) == (409, "the job is not done: wait for it, or cancel it")
    client.ask("POST", f"/api/jobs/{job}/cancel")
    status = client.done(job)
    assert status["state"] == "cancelled"
    assert len(status["rows"]) < 29
    assert not status["failures"]


def test_a_job_is_gone_with_its_files_when_it_is_removed(client: Client, tmp_path: Path) -> None:
    job = client.job(images(1))["job"]
    assert client.ask("DELETE", f"/api/jobs/{job}").status_code == 204
    assert client.ask("GET", f"/api/jobs/{job}").status_code == 404
    assert not list((tmp_path / "private").iterdir())


def test_a_job_that_nobody_asks_for_is_removed(tmp_path: Path) -> None:
    with served(tmp_path, idle=0.2) as client:
        job = client.job(images(1))["job"]
        jobs = client.app.app.state.jobs  # type: ignore[attr-defined]
        jobs.sweep()
        assert client.ask("GET", f"/api/jobs/{job}").status_code == 200
        time.sleep(0.3)
        jobs.sweep()
        assert client.ask("GET", f"/api/jobs/{job}").status_code == 404
        assert not list((tmp_path / "private").iterdir())


def test_the_page_is_small_and_loads_nothing_from_elsewhere(client: Client) -> None:
    assert sum(path.stat().st_size for path in FILES.values()) < 300_000
    for path in ("/", "/docs", *(f"/static/{name}" for name in FILES)):
        answer = client.app.get(path)
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "<script>" not in client.app.get("/").text
    assert " style=" not in client.app.get("/").text


@pytest.mark.parametrize("path", ["/static/../service.py", "/static/..%2fservice.py", "/static/service.py", "/x"])
def test_no_other_file_is_served(client: Client, path: str) -> None:
    assert client.app.get(path).status_code == 404


def test_about_says_what_flags_and_columns_mean(client: Client) -> None:
    about = client.ask("GET", "/api/about").json()
    assert [column["column"] for column in about["columns"]] == list(COLUMNS)
    assert all(flag["meaning"] and flag["advice"] for flag in about["flags"])
    assert not [flag for flag in about["flags"] if "--" in flag["advice"]]
    assert about["models"][0]["name"] == "nuclei"
    assert TINY in [model["name"] for model in about["models"]]


def test_a_plane_that_is_too_large_for_memory_is_counted_and_shown_in_parts(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = client.job({"a.tif": tiff(squares(12))}, labels="true")
    for where in ("elmgan.counting.streaming", "elmgan.apps.web.service"):
        monkeypatch.setattr(f"{where}.STREAMED", 1000)
    monkeypatch.setattr("elmgan.apps.web.pictures.SHOWN_WHOLE", 1000)
    monkeypatch.setattr("elmgan.apps.web.pictures.ROWS_READ", 32)
    large = client.job({"a.tif": tiff(squares(12))}, labels="true")
    assert [row["count"] for row in large["rows"]] == [row["count"] for row in small["rows"]] == [12]
    for layer in ("image", "mask", "outlines"):
        part = f"picture?layer={layer}&top=5&left=7&height=40&width=60"
        shown = [
            decoded(client.ask("GET", f"/api/jobs/{job['job']}/images/0/{part}").content) for job in (small, large)
        ]
        assert shown[0].shape == shown[1].shape
        if layer != "image":  # whose contrast is that of the part
            assert np.array_equal(*shown)
    path = f"/api/jobs/{large['job']}/images/0"
    assert decoded(client.ask("GET", f"{path}/picture?layer=thumbnail").content).shape[:2] == (96, 120)
    refused = client.ask("POST", f"{path}/region", json={"vertices": [[0, 0], [0, 9], [9, 9]]})
    assert (refused.status_code, "up to 1000 pixels" in refused.json()["error"]) == (413, True)
