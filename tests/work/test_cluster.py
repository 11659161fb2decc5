"""Counting on a Dask cluster: the same rows and pictures, lost workers, and what is wrong with a cluster."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
import tifffile

from bundles import known, squares, tiny_bundle
from elmgan.counting import Failure, Model, Row, streaming
from elmgan.errors import UsageError
from elmgan.images import View
from elmgan.light import Surveyed, survey_plane
from elmgan.work import cluster, count_images
from elmgan.work.cluster import _grouped
from elmgan.work.plan import Plan, items_of
from pyramids import by_means, write_pyramid

MODEL = Model(tiny_bundle(), "onnxruntime")


@pytest.fixture(scope="module")
def two_workers() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1", silence_logs=50
    ) as local:
        yield local


def folder_of(folder: Path, *numbers: int) -> Path:
    folder.mkdir()
    for number in numbers:
        tifffile.imwrite(folder / f"{number}.tif", squares(number))
    return folder


def rows_of(rows: list[Row]) -> list[Row]:
    return [row.model_copy(update={"seconds": 0}) for row in rows]


def pictures(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for folder in ("masks", "labels") for path in (out / folder).iterdir()}


@pytest.mark.slow
def test_workers_count_what_threads_count(tmp_path: Path, two_workers: distributed.LocalCluster) -> None:
    images = folder_of(tmp_path / "images", *range(1, 20))
    stack = np.array([[squares(number)] for number in (1, 2, 3)])
    tifffile.imwrite(images / "stack.tif", stack, imagej=True, metadata={"axes": "TZYX"})
    (images / "broken.tif").write_bytes(b"II*\0 nothing")
    asked: dict[str, Any] = {"labels": True, "measure": True, "exports": ["qupath"]}
    alone = count_images([images], tmp_path / "alone", MODEL, **asked)
    seen: list[Row | Failure] = []
    together = count_images(
        [images],
        tmp_path / "together",
        MODEL,
        **asked,
        dask=two_workers.scheduler_address,
        watch=lambda total, outcome: seen.append(outcome),
    )
    assert rows_of(together.rows) == rows_of(alone.rows)
    assert together.failures == alone.failures
    assert [each.image for each in seen if isinstance(each, Row)] == [row.image for row in alone.rows]
    assert pictures(tmp_path / "together") == pictures(tmp_path / "alone")
    cells, qupath = ([tmp_path / out / name for out in ("together", "alone")] for name in ("cells.csv", "qupath"))
    assert cells[0].read_bytes() == cells[1].read_bytes()
    assert len(list(qupath[0].iterdir())) == len(list(qupath[1].iterdir())) == 20


@pytest.mark.slow
def test_a_large_plane_that_cannot_be_read_fails_alone(
    tmp_path: Path, two_workers: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = folder_of(tmp_path / "images", 3)
    path = images / "large.tif"
    tifffile.imwrite(path, squares(40, (460, 330)), tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset, size = file.pages.first.dataoffsets[20], file.pages.first.databytecounts[20]
    content = bytearray(path.read_bytes())

    def spoilt(*args: Any, **options: Any) -> Surveyed:
        surveyed = survey_plane(*args, **options)
        content[offset : offset + size] = bytes(size)
        path.write_bytes(content)  # after it was looked at here, before the workers read it
        return surveyed

    monkeypatch.setattr(streaming, "survey_plane", spoilt)
    monkeypatch.setattr(streaming, "STREAMED", 20_000)
    counted = count_images([images], tmp_path / "out", MODEL, dask=two_workers.scheduler_address)
    assert [row.image for row in counted.rows] == ["3.tif"]
    assert [failure.image for failure in counted.failures] == ["large.tif"]
    assert "damaged" in counted.failures[0].error
    assert not (tmp_path / "out" / "masks" / "large.tif").exists()


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_time_alone(tmp_path: Path, two_workers: distributed.LocalCluster) -> None:
    images = folder_of(tmp_path / "images", *range(1, 30))
    alone = count_images([images], tmp_path / "alone", MODEL)
    killed = False

    def kill_one(total: int, outcome: Row | Failure) -> None:
        nonlocal killed
        if not killed:
            os.kill(next(iter(two_workers.workers.values())).process.process.pid, signal.SIGKILL)
            killed = True

    together = count_images([images], tmp_path / "out", MODEL, dask=two_workers.scheduler_address, watch=kill_one)
    assert killed
    assert not together.failures
    assert rows_of(together.rows) == rows_of(alone.rows)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_workers_share_a_plane_that_is_too_large_for_memory(
    tmp_path: Path, two_workers: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    images, model = tmp_path / "images", Model(tiny_bundle(), "onnxruntime", tile=64)
    images.mkdir()
    tifffile.imwrite(images / "large.tif", squares(40, (460, 330)))
    asked: dict[str, Any] = {"labels": True, "overlays": True, "view": model.view.changed(scale=scale)}
    whole = count_images([images], tmp_path / "whole", model, **asked)
    monkeypatch.setattr(streaming, "STREAMED", 1000)  # here; the workers are not asked
    shares: list[float] = []
    together = count_images(
        [images], tmp_path / "out", model, **asked, dask=two_workers.scheduler_address, part=shares.append
    )
    assert not together.failures
    assert (together.rows[0].count, together.rows[0].objects) == (whole.rows[0].count, whole.rows[0].objects)
    assert together.rows[0].estimate == pytest.approx(known(whole.rows[0].estimate), abs=0.01)
    assert shares[-1] == 1
    for folder in ("masks", "labels"):
        made, expected = (tifffile.imread(tmp_path / out / folder / "large.tif") for out in ("out", "whole"))
        np.testing.assert_array_equal(made, expected)


@pytest.mark.slow
def test_workers_share_a_smaller_copy(
    tmp_path: Path, two_workers: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane, model = (
        np.kron(squares(40, (460, 330)), np.ones((4, 4), np.uint16)),
        Model(tiny_bundle(), "onnxruntime", tile=64),
    )
    image = write_pyramid(tmp_path / "a.zarr", by_means(plane))
    monkeypatch.setattr(streaming, "STREAMED", 1000)
    asked: dict[str, Any] = {"labels": True, "view": model.view.changed(scale=0.25)}
    alone = count_images([image], tmp_path / "alone", model, **asked)
    together = count_images([image], tmp_path / "out", model, **asked, dask=two_workers.scheduler_address)
    assert not together.failures
    assert rows_of(together.rows) == rows_of(alone.rows)
    made, expected = (tifffile.imread(tmp_path / out / "labels" / "a.tif") for out in ("out", "alone"))
    np.testing.assert_array_equal(made, expected)


def test_a_scheduler_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECTED", 0.5)
    images = folder_of(tmp_path / "images", 1)
    with pytest.raises(UsageError, match=r"the scheduler at tcp://127\.0\.0\.1:9 does not answer"):
        count_images([images], tmp_path / "out", MODEL, dask="tcp://127.0.0.1:9")
    with pytest.raises(UsageError, match="the scheduler at nowhere does not answer"):
        count_images([images], tmp_path / "out", MODEL, dask="nowhere")


@pytest.mark.slow
def test_workers_with_another_version_are_refused(
    tmp_path: Path, two_workers: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "__version__", "9.9")
    with pytest.raises(UsageError, match=r"has elmgan .*, here it is 9\.9: install the same"):
        count_images([folder_of(tmp_path / "images", 1)], tmp_path / "out", MODEL, dask=two_workers.scheduler_address)


def test_planes_of_a_scene_go_together(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((40, 8, 9), np.uint16), imagej=True, metadata={"axes": "TYX"})
    items, _ = items_of([path], None)
    plan = Plan(items, {}, tmp_path, [], view=View())
    try:
        assert [len(group) for group in _grouped(plan)] == [16, 16, 8]
    finally:
        plan.close()
