from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from elmgan.images import read_image
from elmgan.light import Normalisation, normalise, to_grey

NORMALISE = Normalisation(compression=0)
COMPRESS = Normalisation()


def cells(noise: float = 2.0, *, cell_count: int = 12, level: float = 100) -> NDArray[np.float32]:
    """A blurred 8-bit image of discs 60 grey levels above the background."""
    rng = np.random.default_rng(cell_count)
    image = np.full((128, 160), level, dtype=np.float32)
    for row, column in rng.integers(0, (128, 160), size=(cell_count, 2)):
        cv2.circle(image, (int(column), int(row)), 8, level + 60, thickness=-1)
    noisy = cv2.GaussianBlur(image, (0, 0), 1.5) + rng.normal(scale=noise, size=image.shape)
    return noisy.clip(0, 255).round().astype(np.float32)


@given(
    noise=st.floats(0, 10),
    cell_count=st.integers(1, 20),
    gain=st.floats(-6, 6).map(lambda exponent: 10**exponent),
    sign=st.sampled_from([1, -1]),
    offset=st.floats(-300, 300),
)
def test_gain_offset_and_polarity_change_nothing(
    noise: float, cell_count: int, gain: float, sign: int, offset: float
) -> None:
    image = cells(noise, cell_count=cell_count)
    changed = (sign * gain * (image.astype(np.float64) + offset)).astype(np.float32)
    np.testing.assert_allclose(NORMALISE(changed), NORMALISE(image), atol=2e-3)
    np.testing.assert_allclose(COMPRESS(changed), COMPRESS(image), atol=1e-2)


@given(cell_count=st.integers(1, 400), sign=st.sampled_from([1, -1]))
def test_the_background_is_0_however_much_of_the_image_the_cells_cover(cell_count: int, sign: int) -> None:
    rng = np.random.default_rng(cell_count)
    image = np.zeros((128, 160), np.float32)
    for row, column in rng.integers(0, (128, 160), size=(cell_count, 2)):
        cv2.circle(image, (int(column), int(row)), 8, float(rng.uniform(40, 100)), thickness=-1)
    background = image == 0
    assume(background.mean() > 0.3)
    normalised = NORMALISE(sign * (image + rng.normal(scale=2, size=image.shape).astype(np.float32)))
    assert abs(np.median(normalised[background])) < 0.02
    assert np.median(normalised[~background]) > 0.3


@given(compression=st.floats(0.01, 100))
def test_compression_keeps_0_and_1_and_the_order(compression: float) -> None:
    image = cells()
    compressed = Normalisation(compression=compression)(image)
    linear = NORMALISE(image)
    np.testing.assert_allclose(compressed, np.arcsinh(compression * linear) / np.arcsinh(compression), atol=1e-5)
    order = np.argsort(linear, axis=None)
    assert (np.diff(compressed.ravel()[order]) >= 0).all()


def test_a_bright_speck_does_not_leave_the_cells_dim() -> None:
    image = cells()
    with_speck = image.copy()
    with_speck[10:20, 10:20] = 1000  # a two-hundredth of the image, ten times as bright as the cells
    level = {
        normalise.compression: [float(np.median(normalise(each)[image > 150])) for each in (image, with_speck)]
        for normalise in (NORMALISE, COMPRESS)
    }
    assert level[0][1] < 0.1 * level[0][0]
    assert level[10][1] > 0.2 * level[10][0]


@pytest.mark.parametrize("noise", [0, 2])
def test_background_is_0_and_cells_are_around_1(noise: float) -> None:
    image = cells(noise)
    normalised = NORMALISE(image)
    assert normalised.dtype == np.float32
    assert abs(np.median(normalised[image < 130])) < 0.02
    assert 0.8 < np.median(normalised[image > 150]) < 1.2


def test_a_drawing_of_two_values_is_not_taken_for_noise() -> None:
    drawing = np.where(cells() > 130, np.float32(7), np.float32(5))
    background, cell = np.unique(NORMALISE(drawing))
    assert background == 0
    assert cell > 0.4  # a step of one grey level might be rounding: it is held back, but not taken away


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.25, 0.3, 0.4, 0.5, 1, 2, 5, 20])
@pytest.mark.parametrize("level", [50, 50.25, 50.5])
def test_noise_alone_is_not_stretched_however_few_grey_levels_it_spans(noise: float, level: float) -> None:
    normalised = NORMALISE(cells(noise, cell_count=0, level=level))
    assert normalised.std() < 1.4 / NORMALISE.noise_span


@pytest.mark.parametrize("level", [0.0, 0.1, -7.3, 65535.0, 1e9, 1e-30])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (40, 50)])
def test_an_image_of_one_value_is_0(level: float, shape: tuple[int, int]) -> None:
    image = np.full(shape, level, dtype=np.float32)
    np.testing.assert_array_equal(NORMALISE(image), np.zeros(shape, np.float32))


@pytest.mark.parametrize("peak", [1e-44, 1e-30, 1.0, 1e9, 1e30])
def test_one_hot_pixel_does_no_harm(peak: float) -> None:
    image = np.zeros((64, 64), dtype=np.float32)
    image[3, 4] = peak
    normalised = NORMALISE(image)
    assert np.isfinite(normalised).all()
    assert np.count_nonzero(normalised) <= 1
    assert 0 <= normalised[3, 4] <= NORMALISE.limit


def test_no_data_at_the_end_of_the_range_does_not_overflow() -> None:
    image = cells()
    image[:, :9] = np.finfo(np.float32).min
    assert (NORMALISE(image)[:, :9] == 1).all()  # an overflow would be a warning, and warnings are errors


def test_values_are_clipped_and_the_input_is_left_alone() -> None:
    image = cells()
    image[0, 0] = 1e6
    before = image.copy()
    assert NORMALISE(image).max() == NORMALISE.limit
    np.testing.assert_array_equal(image, before)


def test_views_are_taken_as_they_are() -> None:
    image = cells()
    np.testing.assert_allclose(NORMALISE(image.T[::-1]), NORMALISE(image).T[::-1], atol=1e-6)


def test_statistics_from_a_sample_are_nearly_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    image = cells()
    whole = NORMALISE(image)
    monkeypatch.setattr(normalise, "MOST_PIXELS", image.size // 4)
    np.testing.assert_allclose(NORMALISE(image), whole, atol=0.1)


def test_it_survives_json_and_names_its_faults() -> None:
    own = Normalisation(low=1, high=99, noise_span=20, limit=5)
    assert Normalisation.model_validate_json(own.model_dump_json()) == own
    with pytest.raises(ValidationError, match="low \\(60\\) must be less than high \\(40\\)"):
        Normalisation(low=60, high=40)
    with pytest.raises(ValidationError, match="gamma"):
        Normalisation.model_validate({"gamma": 2})


def test_real_images_without_cells_stay_flat(shared_data: Path) -> None:
    masks = (shared_data / "bbbc039/masks").glob("*.png")
    without_cells = [mask.stem for mask in masks if not read_image(mask)[..., 0].any()]
    assert without_cells
    for stem in without_cells:
        image = to_grey(read_image(shared_data / "bbbc039/images" / f"{stem}.tif"))
        assert NORMALISE(image).std() < 2 / NORMALISE.noise_span
