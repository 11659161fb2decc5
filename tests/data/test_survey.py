from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from elmgan.data import Record, read_data_set, survey
from elmgan.data.survey import MOST_BARS, histogram
from elmgan.errors import DataError


def write(folder: Path) -> list[Record]:
    """Four images: two alike, one in colour, one larger; a mask, labels, dots and a count."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 200, (40, 50), dtype=np.uint8)
    colour = rng.integers(0, 200, (40, 50, 3), dtype=np.uint8)
    large = rng.integers(0, 60000, (60, 50), dtype=np.uint16)
    for part in ("images", "masks", "labels", "dots"):
        (folder / part).mkdir(parents=True)
    images: dict[str, NDArray] = {"a": a, "b": colour, "c": a // 2 + 20, "d": large}
    for name, image in images.items():
        tifffile.imwrite(folder / f"images/{name}.tif", image, photometric="rgb" if image.ndim == 3 else "minisblack")
    objects = np.zeros((60, 50), np.uint8)
    objects[[3, 30], [5, 20]] = 1, 2
    tifffile.imwrite(folder / "masks/a.tif", objects[:40])
    tifffile.imwrite(folder / "labels/b.tif", objects[:40])
    tifffile.imwrite(folder / "dots/d.tif", objects)
    (folder / "counts.csv").write_text("image,count,kind,split\na,,x,train\nb,,y,train\nc,7.5,x,train\nd,,,test\n")
    return read_data_set(folder)


def test_a_data_set_in_numbers(tmp_path: Path) -> None:
    assert asdict(survey(write(tmp_path))) == {
        "images": 4,
        "masks": 2,
        "counts": 3,
        "labels": 1,
        "dots": 1,
        "sizes": {"40 x 50": 3, "60 x 50": 1},
        "types": {"uint8": 2, "uint8, colour": 1, "uint16": 1},
        "kinds": {"x": 2, "y": 1},
        "splits": {"test": 1, "train": 3},
        "histogram": [(k, k + 1, n) for k, n in zip(range(2, 8), (2, 0, 0, 0, 0, 1), strict=True)],
        "foreground": (0.001, 0.001),
        "diameter": (3, 3, 3),
        "values": (3, 3),
        "groups": 3,
        "alike": [["a", "c"]],
        "cells": {"least": 2, "median": 2, "mean": 11.5 / 3, "most": 7.5, "all": 11.5},
    }


def test_groups_that_are_given_are_counted(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "counts.csv").write_text("image,count,group\na,,p\nb,,q\nc,7,q\nd,,r\n")
    found = survey(read_data_set(tmp_path))
    assert (found.groups, found.alike) == (3, [])


def test_masks_alone_have_no_counts(tmp_path: Path) -> None:
    records = [record for record in write(tmp_path) if record.name == "a"]
    found = survey(records)
    assert (found.counts, found.histogram, found.cells) == (0, [], {})


def test_all_images_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    records = write(tmp_path)
    for name in "ab":
        path = tmp_path / f"images/{name}.tif"
        path.write_bytes(path.read_bytes()[:-99])
    two = np.zeros((60, 50, 2), np.uint8)
    tifffile.imwrite(tmp_path / "images/d.tif", two, photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError) as raised:
        survey(records)
    _, a, b, d = str(raised.value).split("\n  ")
    assert "images/a.tif" in a
    assert "images/b.tif" in b
    assert "images/d.tif: YXC 60 x 50 x 2, uint8 has channels 1, 2; name one with --channel" in d


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=50))
def test_the_histogram_holds_every_total_once(totals: list[float]) -> None:
    bars = histogram(np.array(totals))
    assert 1 <= len(bars) <= MOST_BARS
    assert bars[0][2] > 0
    assert bars[-1][2] > 0
    for (low, high, number), above in zip(bars, [*bars[1:], None], strict=True):
        assert number == sum(low <= total < high for total in totals)
        assert above is None or above[0] == high
    assert sum(number for _, _, number in bars) == len(totals)
