import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from elmgan.imaging import flags_of

MASK = np.zeros((100, 100), dtype=np.bool_)
MASK[30:60, 30:60] = True
NOTHING = np.zeros_like(MASK)


def image(background: float, foreground: float, brightest: float, share: float, dtype: type = np.uint8) -> NDArray:
    """An image of which a share of the foreground has the brightest value."""
    pixels: NDArray = np.where(MASK, foreground, background).astype(dtype)
    rows, columns = np.nonzero(MASK)
    clipped = round(share * rows.size)
    pixels[rows[:clipped], columns[:clipped]] = brightest
    return pixels


@pytest.mark.parametrize(
    ("brightest", "dtype"),
    [
        (255, np.uint8),
        (65535, np.uint16),
        (4095, np.uint16),
        (1023, np.uint16),
        (255, np.uint16),
        (32767, np.int16),
        (1.0, np.float32),
        (16383, np.float32),
    ],
)
def test_the_ceiling_is_that_of_camera_file_or_type(brightest: float, dtype: type) -> None:
    assert flags_of(image(0, brightest / 2, brightest, 0.02, dtype), MASK) == ("saturated",)
    assert flags_of(image(0, brightest / 2, brightest, 0.005, dtype), MASK) == ()


@pytest.mark.parametrize(
    ("brightest", "dtype"), [(254, np.uint8), (3000, np.uint16), (1, np.uint8), (2, np.uint16), (0.7, np.float32)]
)
def test_other_largest_values_are_no_ceiling(brightest: float, dtype: type) -> None:
    assert flags_of(image(0, brightest, brightest, 1, dtype), MASK) == ()


def test_a_white_background_is_not_saturation() -> None:
    bright_field = image(255, 90, 90, 0)
    assert flags_of(bright_field, MASK) == ()
    generous = cv2.dilate(MASK.astype(np.uint8), np.ones((5, 5))).astype(bool)
    assert flags_of(bright_field, generous) == ()


def test_one_colour_is_enough() -> None:
    blue = np.dstack([np.zeros((100, 100, 2), np.uint8), image(0, 100, 255, 0.1)])
    assert flags_of(blue, MASK) == ("saturated",)


def test_without_foreground_the_whole_image_is_judged() -> None:
    assert flags_of(image(20, 30, 30, 0), NOTHING) == ("empty",)
    assert flags_of(np.full((100, 100), 255, np.uint8), NOTHING) == ("empty", "saturated")
    assert flags_of(np.zeros((100, 100), np.uint8), NOTHING) == ("empty",)


def test_without_a_mask_the_whole_image_is_judged_and_not_called_empty() -> None:
    assert flags_of(image(20, 30, 30, 0), None) == ()
    assert flags_of(np.dstack([image(0, 100, 255, share) for share in (0, 0, 0.2)]), None) == ("saturated",)
    assert flags_of(image(0, 100, 255, 0.1), None) == ()  # 81 of 10000 pixels


def test_what_is_only_true_or_false_cannot_be_saturated() -> None:
    assert flags_of(MASK, MASK) == ()
