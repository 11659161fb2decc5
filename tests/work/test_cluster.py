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

from bundles import squares, tiny_bundle
from elmgan.counting import Failure, Model, Row
from elmgan.errors import UsageError
from elmgan.images import View
from elmgan.work import cluster, count_images
from elmgan.work.cluster import _grouped
from elmgan.work.plan import Plan, items_of

MODEL = Model(tiny_bundle(), "onnxruntime")


@pytest.fixture(scope="module")
def two_workers() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", silence_logs=50
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
