import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from elmgan.light import data_of

ROWS, COLUMNS = 160, 200


def field(seed: int, level: float = 100, noise: float = 3, dtype: type = np.uint16, *, contrast: float = 80) -> NDArray:
    """Blurred cells, some cut by the border, in noise."""
    rng = np.random.default_rng(seed)
    image = np.zeros((ROWS, COLUMNS), np.float32)
    for row, column in rng.integers(0, (ROWS, COLUMNS), (15, 2)):
        cv2.circle(image, (int(column), int(row)), int(rng.integers(6, 14)), 1, cv2.FILLED)
    light = level + contrast * cv2.GaussianBlur(image, (0, 0), 2) + rng.normal(0, noise, image.shape)
    return (light if dtype == np.float32 else light.clip(0, np.iinfo(dtype).max).round()).astype(dtype)


def rotated(image: NDArray, degrees: float, value: float, method: int = cv2.INTER_LINEAR) -> NDArray:
    """The image turned within its frame."""
    turn = cv2.getRotationMatrix2D((COLUMNS / 2, ROWS / 2), degrees, 1)
    return cv2.warpAffine(image.astype(np.float32), turn, (COLUMNS, ROWS), flags=method, borderValue=value)


widths = st.integers(0, 60)


@given(
    seed=st.integers(0, 99),
    sides=st.tuples(widths, widths, widths, widths).filter(any),
    value=st.sampled_from([0, 40, 100, 101, 180, 255]),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
)
def test_a_margin_of_any_value_on_any_side_is_no_data(
    seed: int, sides: tuple[int, int, int, int], value: float, dtype: type
) -> None:
    top, bottom, left, right = sides
    data = data_of(np.pad(field(seed, dtype=dtype), ((top, bottom), (left, right)), constant_values=value))
    assert data is not None
    assert np.array_equal(data, np.pad(np.ones((ROWS, COLUMNS), bool), ((top, bottom), (left, right))))


@pytest.mark.parametrize("value", [-9999.0, np.finfo(np.float32).min, 65535.0, 1e30])
def test_any_number_can_stand_for_no_data(value: float) -> None:
    image = field(0, dtype=np.float32)
    image[:, -12:] = value
    data = data_of(image)
    assert data is not None
    assert data[:, :-12].all()
    assert not data[:, -12:].any()


@pytest.mark.parametrize("value", [-9999, -32768, np.finfo(np.float32).min])
def test_a_hole_of_a_number_that_says_no_data_is_none(value: float) -> None:
    """As rasters of other programs have it, amid the image; the same number in some images is a measured one."""
    image = field(0, dtype=np.float32)
    image[50:70, 90:130] = value
    data = data_of(image)
    assert data is not None
    assert np.array_equal(data, image != np.float32(value))


@pytest.mark.parametrize("method", [cv2.INTER_LINEAR, cv2.INTER_NEAREST])
@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("degrees", [1, 5, 20, 45, -10])
def test_the_wedges_of_a_rotation_are_no_data(degrees: float, value: float, method: int) -> None:
    turned = rotated(field(1, dtype=np.uint8), degrees, value, method).round().astype(np.uint8)
    wholly = rotated(np.ones((ROWS, COLUMNS)), degrees, 0)
    data = data_of(turned)
    assert data is not None
    assert not data[wholly == 0].any()
    assert data[cv2.erode(wholly, np.ones((5, 5))) > 0.999].all()


def test_a_corner_without_data_and_a_round_field_of_view_are_found() -> None:
    mosaic, circle = field(2), field(3)
    mosaic[:60, 140:] = 0
    outside = np.hypot(*(np.indices(circle.shape) - np.reshape([ROWS / 2, COLUMNS / 2], (2, 1, 1)))) > 95
    circle[outside] = 0
    for image in (mosaic, circle):
        data = data_of(image)
        assert data is not None
        assert np.mean(data == (image > 0)) > 0.98


@given(seed=st.integers(0, 99), place=st.floats(0, 1))
def test_pixels_that_are_no_number_are_no_data_wherever_they_are(seed: int, place: float) -> None:
    image = field(seed, dtype=np.float32)
    row, column = int(place * (ROWS - 9)), int(place * (COLUMNS - 5))
    image[row : row + 9, column : column + 5] = [np.nan, np.inf, -np.inf, np.nan, np.nan]
    data = data_of(image)
    assert data is not None
    assert np.array_equal(data, np.isfinite(image))


@given(seed=st.integers(0, 99), level=st.floats(-6, 6), noise=st.floats(0, 4), top=st.booleans())
def test_a_background_that_is_clipped_is_data(seed: int, level: float, noise: float, top: bool) -> None:
    """Cells on a black ground, or dark ones on a white one, with any share of the background at the end of 8 bits."""
    image = field(seed, level, noise, np.uint8)
    data = data_of(255 - image if top else image)
    assert data is None


@pytest.mark.parametrize("radius", [15, 30, 60])
@pytest.mark.parametrize("inside", [-0.4, 0, 0.5])
def test_a_saturated_object_at_the_border_is_data(radius: int, inside: float) -> None:
    image = field(4, dtype=np.uint8).astype(np.float32)
    rows, columns = np.indices(image.shape)
    disc = (np.hypot(rows - inside * radius, columns - 100) < radius).astype(np.float32)
    image += 900 * np.asarray(cv2.GaussianBlur(disc, (0, 0), 1.5))
    assert data_of(image.clip(0, 255).astype(np.uint8)) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 80), (80, 1), (60, 90)])
def test_an_image_of_one_or_two_values_is_data(shape: tuple[int, int]) -> None:
    image = np.full(shape, 7, np.uint8)
    assert data_of(image) is None
    image[shape[0] // 3 :, shape[1] // 3 :] = 9
    assert data_of(image) is None
