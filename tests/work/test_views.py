"""The scales of many images, and what is said of them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

import elmgan
from elmgan.data.synthetic import SyntheticScene, draw
from elmgan.images import View
from elmgan.work import count_images
from elmgan.work.views import scales_told


@pytest.mark.parametrize(
    ("usual", "view", "told"),
    [
        ((1.0,), View(), ""),
        ((0.25,), View(scale=0.25), ""),
        ((0.25,), View(), "counted at scale 0.25, where"),
        ((0.25, 1.0, 0.353553), View(), "counted at scale 0.25, 1 and 0.354, where"),
    ],
)
def test_scales_that_were_found_out_are_told(usual: tuple[float, ...], view: View, told: str) -> None:
    found = scales_told(usual, view, "tiny@1")
    assert found.startswith(told) if told else found == ""


def test_a_known_pixel_size_is_told() -> None:
    assert scales_told((0.5,), View(), "tiny@1", 0.65).startswith(
        "counted at scale 0.5, by the pixel size, which is 0.65 µm"
    )


@pytest.mark.slow
def test_a_folder_of_large_cells_is_counted_at_its_scale_and_resumed_there(tmp_path: Path) -> None:
    images, out, model = tmp_path / "images", tmp_path / "out", elmgan.load("nuclei")
    images.mkdir()
    for seed in range(4):
        image = draw(SyntheticScene(rows=200, columns=240, cells=25), rng=np.random.default_rng(seed)).image
        tifffile.imwrite(images / f"{seed}.tif", cv2.resize(image, None, fx=7, fy=7, interpolation=cv2.INTER_CUBIC))
    counted = count_images([images], out, model)
    assert all(row.scale <= 0.36 for row in counted.rows)
    assert all(row.count == pytest.approx(25, abs=4) for row in counted.rows)
    assert not any("object-size" in row.flags for row in counted.rows)
    assert counted.notes[0].startswith("counted at scale 0.")
    (out / "masks" / "2.tif").unlink()
    again = count_images([images], out, model, resume=True)
    assert [(row.estimate, row.scale) for row in again.rows] == [(row.estimate, row.scale) for row in counted.rows]
    assert again.notes[0] == counted.notes[0]
    quick = count_images([images], tmp_path / "quick", model, quick=True)
    assert all("unchecked" in row.flags for row in quick.rows)
