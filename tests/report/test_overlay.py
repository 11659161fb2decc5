import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.segmentation import find_boundaries

from elmgan.report import OUTLINE, for_display, outlines, overlay

labels = arrays.arrays(np.uint32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3))


@given(labels)
def test_outlines_are_the_inner_boundaries(cells: np.ndarray) -> None:
    expected = find_boundaries(cells, connectivity=1, mode="inner")  # type: ignore[no-untyped-call]
    assert np.array_equal(outlines(cells), expected)


@given(labels)
def test_thick_outlines_stay_inside(cells: np.ndarray) -> None:
    thick = outlines(cells, thickness=3)
    assert (thick >= outlines(cells)).all()
    assert not thick[cells == 0].any()


@pytest.mark.parametrize("shape", [(1, 1), (256, 256), (520, 696), (2100, 64)])
def test_an_overlay_is_the_image_with_outlines(shape: tuple[int, int]) -> None:
    grey = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    cells = np.zeros(shape, dtype=np.uint32)
    cells[shape[0] // 2 :, shape[1] // 2 :] = 1
    picture = overlay(grey, cells, "1")
    assert picture.shape == (*shape, 3)
    assert picture.dtype == np.uint8
    expected = np.repeat(for_display(grey)[:, :, np.newaxis], 3, axis=2)
    expected[outlines(cells, thickness=2 if max(shape) > 2000 else 1)] = OUTLINE
    lower = slice(shape[0] // 2, None)  # where no text is
    assert np.array_equal(picture[lower], expected[lower])
    if shape != (1, 1):
        assert (expected[lower] == OUTLINE).all(axis=2).any()
        assert expected[:20, :20].max() < 50 < 200 < picture[:20, :20].max()  # the text is bright


@pytest.mark.parametrize("image", [np.zeros((3, 3)), np.full((3, 3), -7.5), np.eye(50), 1e30 * np.eye(50)])
def test_any_image_can_be_displayed(image: np.ndarray) -> None:
    shown = for_display(image.astype(np.float32))
    assert shown.dtype == np.uint8
    assert (image.max() == image.min()) == (shown.max() == 0)
