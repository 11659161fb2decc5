from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import relabel_sequential

from elmgan.data import read_labels, reduce_labels
from elmgan.data.annotations import count_dots, read_mask
from elmgan.errors import DataError


@given(
    labels=array_shapes(min_dims=2, max_dims=2, max_side=12).flatmap(
        lambda shape: arrays(np.uint16, shape, elements=st.integers(0, 6))
    ),
    row=st.integers(0, 12),
    column=st.integers(0, 12),
)
def test_shares_of_parts_add_up(labels: NDArray[np.uint16], row: int, column: int) -> None:
    shares = reduce_labels(labels)
    assert shares.dtype == np.float32
    parts = [labels[:row, :column], labels[:row, column:], labels[row:, :column], labels[row:, column:]]
    for part in parts:  # each label by the fraction of its area in the part
        cells = [np.sum(part == label) / np.sum(labels == label) for label in np.unique(part[part > 0])]
        assert shares[part].sum() == pytest.approx(sum(cells), abs=1e-5)
    assert sum(float(shares[part].sum()) for part in parts) == pytest.approx(len(set(labels.flat) - {0}), abs=1e-5)


VALUES = array_shapes(min_dims=2, max_dims=2, max_side=9).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(0, 5) | st.sampled_from([255, 65535, 2**31]))
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=VALUES, dtype=st.sampled_from([np.uint8, np.uint16, np.uint32, np.int32, np.float32]))
def test_labels_are_renumbered_in_order(tmp_path: Path, values: NDArray, dtype: type) -> None:
    stored = np.minimum(values, 2**24 if dtype is np.float32 else np.iinfo(dtype).max).astype(dtype)
    tifffile.imwrite(tmp_path / "labels.tif", stored)
    labels = read_labels(tmp_path / "labels.tif")
    assert labels.dtype == np.uint16
    expected, *_ = relabel_sequential(stored.astype(np.int64))  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 5, 3), np.uint8), r"labels\.tif: labels have one channel, found 3"),
        (np.array([[-1, 0, 1]], np.int16), r"labels\.tif: labels are whole numbers from 0"),
        (np.array([[0, 0.5]], np.float32), r"labels\.tif: labels are whole numbers from 0"),
        (np.arange(65537, dtype=np.uint32)[None], r"labels\.tif: more than 65535 labels"),
    ],
)
def test_what_are_no_labels_is_refused(tmp_path: Path, values: NDArray, message: str) -> None:
    tifffile.imwrite(tmp_path / "labels.tif", values)
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path / "labels.tif")


MASK = np.arange(35).reshape(5, 7) % 3 == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_masks_of_any_kind_are_read(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(MASK.astype(np.uint8) * 255)
    (Image.fromarray(MASK.astype(np.uint16)) if mode == "I;16" else grey.convert(mode)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), MASK)


@pytest.mark.parametrize("cell", [np.uint8(1), np.uint8(255), np.uint16(65535), np.float32(1), np.True_])
def test_any_value_but_0_is_cell(tmp_path: Path, cell: np.generic) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", np.where(MASK, cell, 0).astype(cell.dtype))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif"), MASK)


@given(pixels=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), unique=True, max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_pixel_is_a_dot(tmp_path: Path, pixels: list[tuple[int, int]]) -> None:
    """Red dots on black, as VGG's cells have them, some of them in touching pairs."""
    dots = np.zeros((64, 126, 3), np.uint8)
    for row, column in pixels:
        dots[2 * row, 3 * column : 3 * column + 1 + row % 2, 0] = 255
    Image.fromarray(dots).save(tmp_path / "dots.png")
    assert count_dots(tmp_path / "dots.png") == np.count_nonzero(dots)


@pytest.mark.parametrize("drawn", ["discs", "light background"])
def test_dots_that_are_not_pixels_are_refused(tmp_path: Path, drawn: str) -> None:
    dots = np.zeros((40, 50), np.uint8)
    for row in (5, 20, 35):
        dots[row - 1 : row + 2, 10:13] = 255
    tifffile.imwrite(tmp_path / "dots.tif", dots if drawn == "discs" else 255 - dots)
    with pytest.raises(DataError, match=r"dots\.tif: (27|1973) pixels are not 0, in [13] spots; mark each cell by one"):
        count_dots(tmp_path / "dots.tif")


def test_dots_of_the_real_vgg_cells(shared_data: Path) -> None:
    for number in (1, 25, 158):
        path = shared_data / f"vgg_cells/{number:03d}dots.png"
        assert count_dots(path) == np.count_nonzero(np.asarray(Image.open(path))[..., 0])
