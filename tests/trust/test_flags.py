import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from elmgan.images import read_image
from elmgan.light import Appearance, Measure, Normalisation, Ranges, appearance_of, ranges_of, to_grey
from elmgan.trust import ADVICE, flags_of

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
    assert flags_of(image(0, brightest / 2, brightest, 0.22, dtype), MASK) == ("saturated",)
    assert flags_of(image(0, brightest / 2, brightest, 0.18, dtype), MASK) == ()


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
    blue = np.dstack([np.zeros((100, 100, 2), np.uint8), image(0, 100, 255, 0.3)])
    assert flags_of(blue, MASK) == ("saturated",)


def test_without_foreground_the_whole_image_is_judged() -> None:
    assert flags_of(image(20, 30, 30, 0), NOTHING) == ("empty",)
    assert flags_of(np.full((100, 100), 255, np.uint8), NOTHING) == ("saturated", "empty")
    assert flags_of(np.zeros((100, 100), np.uint8), NOTHING) == ("empty",)


def test_without_a_mask_the_whole_image_is_judged_and_not_called_empty() -> None:
    assert flags_of(image(20, 30, 30, 0), None) == ()
    assert flags_of(np.dstack([image(value, 100, 255, 0) for value in (0, 0, 255)]), None) == ("saturated",)
    assert flags_of(image(0, 255, 255, 1), None) == ()  # 900 of 10000 pixels


def test_what_is_only_true_or_false_cannot_be_saturated() -> None:
    assert flags_of(MASK, MASK) == ()


def test_pixels_without_data_are_not_judged() -> None:
    padded = image(20, 30, 30, 0)
    padded[:, :15] = 255
    padded[30:60, 20:30] = 255
    data = np.ones_like(MASK)
    data[:, :15] = False
    assert flags_of(padded, NOTHING, data=data) == ("empty",)
    colour = np.dstack([padded.astype(np.float32)] * 3)
    colour[:, :15] = np.nan
    assert flags_of(colour, MASK & data, data=data) == ()
    bright = np.where(MASK, 255, padded).astype(np.uint8)
    assert flags_of(bright, MASK, data=data) == ("saturated",)


def test_a_network_that_hesitates_over_most_of_what_it_sees_is_unsure() -> None:
    pixels = image(20, 30, 30, 0)
    probability = np.where(MASK, 0.95, 0.05).astype(np.float32)
    assert flags_of(pixels, MASK, probability=probability) == ()
    probability[30:46, 30:60] = 0.6  # 480 of 900 pixels
    assert flags_of(pixels, MASK, probability=probability) == ("unsure",)
    assert flags_of(pixels, NOTHING, probability=probability) == ("empty",)


def test_what_is_remarked_of_the_light_is_a_flag() -> None:
    assert flags_of(image(20, 30, 30, 0), MASK, remarks=("merge", "uneven")) == ("uneven", "merge")


def test_every_flag_has_advice_in_the_program_and_on_its_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "flags.md").read_text(encoding="utf-8")
    table = page[: page.index("\n## ")]
    in_table = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(in_table) == sorted(ADVICE)


TRAINING: Ranges = {
    "density": (100, 300),
    "diameter": (10, 20),
    "darkness": (0, 0.2),
    "agreement": (0.6, 0.9),
    "sharpness": (0.4, 0.8),
}


@pytest.mark.parametrize(
    ("flag", "measure", "fine", "beyond"),
    [
        ("blurred", "sharpness", (0.41, 1), (0.39,)),
        ("low-contrast", "contrast", (6.1, 1000), (5.9,)),
        ("crowded", "density", (0, 390), (410,)),
        ("object-size", "diameter", (7.6, 26), (7.4, 27)),
        ("unlike-training", "darkness", (0, 0.29), (0.31, 1)),
        ("unlike-training", "agreement", (0.46, 1), (0.44,)),
    ],
)
def test_a_measure_beyond_training_is_flagged(
    flag: str, measure: Measure, fine: tuple[float, ...], beyond: tuple[float, ...]
) -> None:
    pixels = image(20, 30, 30, 0)
    assert [flags_of(pixels, MASK, {measure: value}, TRAINING) for value in fine] == [()] * len(fine)
    assert [flags_of(pixels, MASK, {measure: value}, TRAINING) for value in beyond] == [(flag,)] * len(beyond)
    if measure != "contrast":  # the one that needs no training
        assert [flags_of(pixels, MASK, {measure: value}) for value in beyond] == [()] * len(beyond)


def test_real_images_are_flagged_where_they_are_unlike_others(shared_data: Path) -> None:
    """Fluorescence images beside others of their kind, and beside stained tissue; the masks are the true ones."""
    folder, normalise = shared_data / "dsb2018", Normalisation()
    rows = list(csv.DictReader((folder / "kinds.csv").read_text().splitlines()))
    fluorescence = [row["stem"] for row in rows if row["kind"] == "fluorescence"]
    foreign = [row["stem"] for row in rows if row["kind"] != "fluorescence"]

    def judge(name: str, training: Ranges) -> tuple[str, ...]:
        pixels, labels = (read_image(folder / part / f"{name}.png") for part in ("images", "labels"))
        grey = to_grey(pixels)
        measured.append(appearance_of(grey, normalise.stretch(grey), labels > 0, np.unique(labels).size - 1))
        return flags_of(pixels, labels > 0, measured[-1], training)

    measured: list[Appearance] = []
    for name in fluorescence[::8]:
        judge(name, {})
    training = ranges_of(measured)
    flagged = [any(judge(name, training)) for name in fluorescence[4::8]]
    assert np.mean(flagged) < 0.1  # few have trained, and their range is narrow
    assert np.mean(["unlike-training" in judge(name, training) for name in foreign[::8]]) > 0.9
