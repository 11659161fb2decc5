import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from bundles import AREA, known, squares
from elmgan.scores import Baseline
from elmgan.scores.baseline import SMALLEST_OBJECT, otsu


def between(grey: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Variance between the two classes, which Otsu's threshold makes as great as can be."""
    share = mask.mean()
    return float(share * (1 - share) * (grey[mask].mean() - grey[~mask].mean()) ** 2)


@given(st.integers(0, 1000), st.floats(0.05, 0.95), st.floats(0.1, 5))
def test_the_classes_are_those_of_another_implementation(seed: int, share: float, contrast: float) -> None:
    rng = np.random.default_rng(seed)
    grey = (rng.normal(size=(24, 40)) + contrast * (rng.random((24, 40)) < share)).astype(np.float32)
    mask = otsu(grey)
    assert mask.mean() <= 0.5
    other = grey > threshold_otsu(grey, nbins=1000)  # type: ignore[no-untyped-call]
    assert between(grey, mask) >= 0.999 * between(grey, other)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("number", [1, 12])
def test_cells_are_counted_bright_or_dark(number: int, inverted: bool) -> None:
    image = squares(number)
    result = Baseline().count(4000 - image if inverted else image)
    assert result.count == result.labels().max() == known(result.count_map).sum() == number
    assert known(result.mask).sum() == pytest.approx(number * AREA, rel=0.1)
    assert np.array_equal(known(result.probability), known(result.mask))


def test_crumbs_are_no_cells() -> None:
    image = np.full((60, 60), 100, np.uint8)
    image[10:12, 10:12] = image[40:41, 20:24] = 200
    image[20:40, 40:50] = 200
    assert SMALLEST_OBJECT > 16
    assert Baseline().count(image).count == 1


@pytest.mark.parametrize("shape", [(1, 1), (32, 32), (32, 32, 3)])
def test_an_image_of_one_grey_has_no_cells(shape: tuple[int, ...]) -> None:
    result = Baseline().count(np.full(shape, 77, np.uint8))
    assert result.count == 0
    assert result.flags == ("empty",)
    assert not known(result.mask).any()


@pytest.mark.parametrize("value", [0, 65535])
def test_a_margin_without_data_is_no_cell(value: int) -> None:
    image = squares(12)
    padded = Baseline().count(np.pad(image, 30, constant_values=value))
    assert padded.count == Baseline().count(image).count == 12
    assert not known(padded.mask)[:30].any()
