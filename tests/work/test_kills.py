"""A count that is killed, or finds the disk full, at any moment: what is done is kept, and the table is the same."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from bundles import squares, tiny_bundle
from elmgan.counting import Model, Row
from elmgan.errors import OutputError, UsageError
from elmgan.work import count_images
from elmgan.work.earlier import read_earlier
from elmgan.work.journal import Journal

MODEL = Model(tiny_bundle(), "onnxruntime")


def folder_of(folder: Path, *numbers: int) -> Path:
    folder.mkdir()
    for number in numbers:
        tifffile.imwrite(folder / f"{number}.tif", squares(number))
    return folder


def everything(folder: Path) -> dict[str, Any]:
    """What a count can be asked to write."""
    corners = [[0, 0], [60, 0], [60, 50], [0, 50], [0, 0]]
    (folder / "regions.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [corners]}))
    kinds: dict[str, Any] = {"labels": True, "measure": True, "exports": ["qupath", "imagej"]}
    return kinds | {"regions": folder / "regions.geojson"}


COUNTING = """
import sys
from pathlib import Path
from bundles import tiny_bundle
from elmgan.counting import Model
from elmgan.work import count_images
images, out = map(Path, sys.argv[1:])
count_images([images], out, Model(tiny_bundle(), "onnxruntime"), labels=True, resume=True, measure=True,
             exports=["qupath", "imagej"], regions=images.parent / "regions.geojson",
             watch=lambda *_: print("counted", flush=True))
"""


@pytest.mark.parametrize("seed", range(int(os.environ.get("ELMGAN_KILLS", "3"))))
def test_a_run_that_is_killed_loses_nothing_and_ends_with_the_same_table(tmp_path: Path, seed: int) -> None:
    """Killed at some moment after so many images, and again, and then resumed."""
    images, out = folder_of(tmp_path / "images", *range(1, 13)), tmp_path / "out"
    asked = everything(tmp_path)
    expected = count_images([images], tmp_path / "whole", Model(tiny_bundle(), "onnxruntime"), **asked)
    random = np.random.default_rng(seed)
    kept = 0
    for _ in range(2):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            [sys.executable, "-c", COUNTING, str(images), str(out)], stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdout is not None
            for _ in range(kept + int(random.integers(1, 13 - kept))):
                assert process.stdout.readline()
            time.sleep(float(random.uniform(0, 0.02)))  # after the last image it writes the table
            process.kill()
        kept = len(read_earlier(out).rows)
        assert kept > 0
        if kept == 12:
            break
    counted = count_images([images], out, Model(tiny_bundle(), "onnxruntime"), resume=True, **asked)

    def but_for_seconds(rows: list[Row]) -> list[dict[str, str]]:
        return [row.texts() | {"seconds": ""} for row in rows]

    assert but_for_seconds(counted.rows) == but_for_seconds(expected.rows)
    whole = tmp_path / "whole"
    written = [path for folder in ("labels", "qupath", "imagej") for path in sorted((whole / folder).iterdir())]
    assert len(written) == 36
    for path in [*written, whole / "cells.csv", whole / "regions.csv"]:
        assert (out / path.relative_to(whole)).read_bytes() == path.read_bytes()
    assert {path.name for path in out.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}


def full_from(write: int, patch: pytest.MonkeyPatch) -> None:
    """Let each write from one on find the disk full: of whole files, and of the journal."""
    left = write

    def write_or_fail() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    replace, add = Path.replace, Journal.add

    def replacing(self: Path, target: Path) -> Path:
        write_or_fail()
        return replace(self, target)

    def adding(self: Journal, rows: Any) -> None:
        try:
            write_or_fail()
        except OSError as error:
            raise OutputError("the journal cannot be written (No space left on device); make room") from error
        add(self, rows)

    patch.setattr(Path, "replace", replacing)
    patch.setattr(Journal, "add", adding)


def test_a_disk_that_is_full_at_any_write_loses_nothing(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", 1, 2, 3)
    asked = everything(tmp_path)
    expected = count_images([images], tmp_path / "whole", MODEL, **asked)
    for write in range(100):
        out = tmp_path / f"out-{write}"
        with pytest.MonkeyPatch.context() as patch:
            full_from(write, patch)
            try:
                count_images([images], out, MODEL, **asked)
                break
            except (OutputError, UsageError) as error:
                told = str(error)
        assert "make room" in told, write
        counted = count_images([images], out, MODEL, **asked, resume=(out / "run.json").exists())
        for name in ("cells.csv", "regions.csv"):
            assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), write
        assert [row.texts() | {"seconds": ""} for row in counted.rows] == [
            row.texts() | {"seconds": ""} for row in expected.rows
        ], write
        assert {path.name for path in out.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}, write
    assert 20 < write < 99  # tables and record, three images with four files and a row, the report
