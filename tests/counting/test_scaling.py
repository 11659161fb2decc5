"""Images that the network sees smaller or larger than they are."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import known, squares, tiny_bundle
from elmgan.counting import Model
from elmgan.counting.scaling import redistribute, scaled_shape
from elmgan.errors import UsageError

MODEL = Model(tiny_bundle())
sides = st.integers(1, 60)


@pytest.mark.parametrize(("factor", "shape"), [(2, (96, 120)), (3, (95, 119)), (0.5, (192, 240))])
def test_cells_of_another_size_are_counted_at_the_right_scale(factor: float, shape: tuple[int, int]) -> None:
    image = squares(9, shape)
    if factor < 1:  # squares of 20 pixels, so that enough of them is left
        image = np.kron(image, np.ones((2, 2), np.uint16))
    seen = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST))
    there = MODEL.count(image)
    back = MODEL.count(seen, scale=1 / factor)
    assert back.count == there.count
    assert back.estimate == pytest.approx(there.estimate, rel=0.03)
    assert back.shape == known(back.mask).shape == known(back.probability).shape == back.labels().shape == seen.shape
    assert known(back.count_map).shape == tuple(math.ceil(side / 4) for side in seen.shape)
    assert back.objects == there.objects == 9
    assert back.foreground == pytest.approx(there.foreground, rel=0.05)


@given(shape=st.tuples(sides, sides), scale=st.floats(0.1, 10), seed=st.integers(0, 1000))
def test_a_scaled_count_map_keeps_its_sum(shape: tuple[int, int], scale: float, seed: int) -> None:
    scaled = scaled_shape(shape, scale)
    count_map = np.random.default_rng(seed).random([math.ceil(side / 4) for side in scaled], np.float32)
    there = redistribute(count_map, scaled, shape, stride=4)
    assert there.shape == tuple(math.ceil(side / 4) for side in shape)
    assert there.sum() == pytest.approx(count_map.sum(), rel=1e-5)


def test_a_count_map_is_spread_over_the_pixels_that_it_stands_for() -> None:
    count_map = np.random.default_rng(0).random((3, 5), np.float32)
    np.testing.assert_allclose(
        redistribute(count_map, (12, 20), (36, 60), stride=4), np.kron(count_map, np.ones((3, 3)) / 9), 1e-6
    )
    fine = np.random.default_rng(1).random((6, 9), np.float32)
    np.testing.assert_allclose(
        redistribute(fine, (24, 36), (8, 12), stride=4), fine.reshape(2, 3, 3, 3).sum(axis=(1, 3)), 1e-6
    )


@pytest.mark.parametrize("scale", [0, -1, 0.09, 11, math.nan, math.inf])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(UsageError, match=r"expected auto, or 0\.1 to 10"):
        MODEL.count(squares(1), scale=scale)
