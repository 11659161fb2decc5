"""Measures of cells, against scikit-image's."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from skimage.measure import label as connected
from skimage.measure import regionprops_table

from elmgan.counting import Result, cells
from elmgan.counting.cells import measured
from elmgan.errors import UsageError
from elmgan.images import read_image
from label_images import HARD, drawn_cells, label_image

OF_SKIMAGE = {
    "label": "cell",
    "centroid-0": "row",
    "centroid-1": "column",
    "area": "area_px",
    "perimeter": "perimeter_px",
    "equivalent_diameter_area": "diameter_px",
    "eccentricity": "eccentricity",
    "solidity": "solidity",
    "intensity_mean": "mean",
    "intensity_min": "min",
    "intensity_max": "max",
}
"""Column of regionprops_table -> ours."""


def assert_as_skimage(labels: NDArray[np.uint32], image: NDArray) -> None:
    properties = tuple(dict.fromkeys(name.split("-")[0] for name in OF_SKIMAGE))
    expected = regionprops_table(  # type: ignore[no-untyped-call]
        labels.astype(np.int64), image.astype(np.float64), properties=properties
    )
    found = measured(labels, {"": image})
    for theirs, ours in OF_SKIMAGE.items():
        assert found[ours] == pytest.approx(expected[theirs], rel=1e-6, abs=1e-6), ours
    total = [image[labels == number].sum(dtype=np.float64) for number in found["cell"]]
    assert found["sum"] == pytest.approx(total)


@pytest.mark.parametrize("what", HARD)
def test_hard_shapes(what: str) -> None:
    labels = label_image(HARD[what])
    assert_as_skimage(labels, np.arange(labels.size).reshape(labels.shape))


@pytest.mark.parametrize("rows", [cells.SOME_PIXELS, 1000])
def test_drawn_cells(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(cells, "SOME_PIXELS", rows)  # in strips, too
    rng = np.random.default_rng(0)
    assert_as_skimage(drawn_cells(rng=rng), rng.integers(0, 2**16, (120, 160)).astype(np.uint16))


@given(labels=arrays(np.uint32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3)))
def test_any_labels(labels: NDArray[np.uint32]) -> None:
    assert_as_skimage(labels, np.arange(labels.size, dtype=np.float32).reshape(labels.shape))


def test_real_masks(shared_data: Path) -> None:
    file = next(iter(sorted((shared_data / "bbbc039").rglob("masks/*"))))
    mask = np.asarray(read_image(file)).reshape(520, 696, -1)[:, :, 0] > 0
    labels = connected(mask).astype(np.uint32)  # type: ignore[no-untyped-call]
    assert labels.max() > 20
    assert_as_skimage(labels, np.arange(labels.size).reshape(labels.shape))


def test_the_share_of_the_count_is_what_the_map_has_there() -> None:
    rng = np.random.default_rng(1)
    labels = drawn_cells((43, 50), rng=rng)
    count_map = rng.random((11, 13), np.float32)
    result = Result(labels.shape, float(count_map.sum()), None, None, count_map, ())
    found = measured(labels, count_map=count_map)
    assert found["share"] == pytest.approx([result.count_in(labels == number) for number in found["cell"]], rel=1e-5)
    assert np.isnan(measured(labels)["share"]).all()


def test_micrometres() -> None:
    labels = label_image(["11", "11"])
    assert not any(name.endswith(("_um", "_um2")) for name in measured(labels, pixel_size={"x": 0.5}))
    square, oblong = (measured(labels, pixel_size={"x": 0.5, "y": y}) for y in (0.5, 0.25))
    assert square["area_um2"][0] == 1
    assert square["diameter_um"] == square["diameter_px"] / 2
    assert square["perimeter_um"] == square["perimeter_px"] / 2
    assert oblong["area_um2"][0] == 0.5
    assert np.isnan(oblong["perimeter_um"][0])


def test_the_border() -> None:
    labels = label_image(["1....", "..2..", "....3", "4...."])
    assert measured(labels)["touches_border"].tolist() == [True, False, True, True]


def test_pixels_without_data_are_not_bright() -> None:
    labels = label_image(["112", "112"])
    image = np.array([[1, np.nan, np.inf], [5, 3, np.nan]], np.float32)
    found = measured(labels, {"DAPI": image})
    assert [found[f"{what}_DAPI"][0] for what in ("mean", "min", "max", "sum")] == [3, 1, 5, 9]
    assert all(np.isnan(found[f"{what}_DAPI"][1]) for what in ("mean", "min", "max", "sum"))


def test_a_channel_of_another_size_is_refused() -> None:
    with pytest.raises(UsageError, match=r"channel DAPI has the shape \(2, 3\), the labels \(1, 1\)"):
        measured(label_image(["1"]), {"DAPI": np.zeros((2, 3))})


def test_cells_of_a_result() -> None:
    mask = np.zeros((8, 12), bool)
    mask[1:4, 1:4] = mask[1:4, 7:11] = True
    result = Result(mask.shape, None, mask, None, None, ())
    colour = np.stack([np.full(mask.shape, level) for level in (1, 2, 3)], axis=2)
    found = result.cells(colour)
    assert found["area_px"].tolist() == [9, 12]
    assert [found[f"mean_{k}"].tolist() for k in (1, 2, 3)] == [[1, 1], [2, 2], [3, 3]]
    assert result.cells({"GFP": colour[:, :, 1]})["sum_GFP"].tolist() == [18, 24]
    assert "mean" not in result.cells()
    assert result.cells(colour[:, :, 0])["mean"].tolist() == [1, 1]
