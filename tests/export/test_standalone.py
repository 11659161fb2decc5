"""The graph that holds everything against elmgan's own steps."""

import csv
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from bundles import known, passing_on, squares, tiny_bundle
from drawn_slides import slide
from elmgan.counting import Model
from elmgan.export.standalone import TOLD, seeing, standalone
from elmgan.images import read_image
from elmgan.light import Normalisation, normalise, see, to_grey
from elmgan.models import Architecture, Learned, find_bundle, read_bundle, shipped
from elmgan.trust import Calibration

# Values go up to 3, where float32 has steps of 2.4e-7, and are rounded a few times on their way there. A grey level of
# 16 bits that span the image would be a difference of 1.5e-5.
TOLERANCE = 2e-6

NOISE = np.random.default_rng(0).normal(1000, 5, (150, 170))
DIM = np.random.default_rng(1).normal(10, 0.2, NOISE.shape).round()  # the median noise is 0, the mean square counts
SPECKS = DIM + 5 * (np.random.default_rng(2).random(NOISE.shape) < 0.005)  # and here the least step between levels
NO_DATA = NOISE.copy()
NO_DATA[:, :9] = np.finfo(np.float32).min
FIELD = np.random.default_rng(5).normal(100, 2, (150, 180))
for row, column in np.random.default_rng(6).integers(5, 140, (40, 2)):
    FIELD[row : row + 7, column : column + 7] += 90
WITH_BAR, WITH_DARK_BAR = FIELD.copy(), FIELD.copy()
WITH_BAR[140:145, 120:170], WITH_DARK_BAR[140:145, 120:170] = 3000, -3000
DOWN, ACROSS = np.mgrid[-1:1:150j, -1:1:180j]
SLOPES = {
    "a slope": FIELD + 120 * DOWN - 60 * ACROSS,
    "a bowl": FIELD + 90 * (DOWN**2 + ACROSS**2),
    "a saddle": FIELD + 70 * DOWN * ACROSS + 40 * ACROSS,
    "a slope in whole numbers": (FIELD + 150 * ACROSS).round(),
    "a rough background": FIELD + 80 * ACROSS + 30 * np.sign(np.sin(9 * DOWN) * np.sin(9 * ACROSS)),
}
IMAGES = {
    **SLOPES,
    "cells all over": FIELD,
    "a bright bar": WITH_BAR,
    "a dark bar": WITH_DARK_BAR,
    "cells": squares(12),
    "noise": NOISE,
    "noise in whole numbers": NOISE.round(),
    "dim": DIM,
    "dim with specks": SPECKS,
    "no data": NO_DATA,
    "one value": np.full((20, 30), 0.1),
    "a hot pixel": np.pad([[1e9]], 40),
    "a ramp": np.add.outer(np.arange(40), np.arange(50)),
    "one pixel": NOISE[:1, :1],
    "two pixels": NOISE[:2, :1],
    "a row": NOISE[:1],
    "a corner": NOISE[:3, :5],
}
OTHERS = {
    "linear": Normalisation(compression=0),
    "little background, few outliers": Normalisation(background=0.05, low=5, high=90),
    "much background, no outliers": Normalisation(background=0.9, low=0, high=100),
    "noise at any span": Normalisation(noise_span=0, compression=3),
    "narrow": Normalisation(limit=0.1),
    "debris all over": Normalisation(debris=40),
}


def run(file: bytes, image: NDArray) -> dict[str, NDArray]:
    """What the graph gives for an image, grey or in colour, by name."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": as_input(image)}), strict=True))


def as_seen(image: NDArray, normalisation: Normalisation) -> NDArray[np.float32]:
    """What the network sees if all pixels hold data."""
    with patch.object(sys.modules[see.__module__], "data_of", lambda grey: None):
        return see(image, normalisation).normalised


def assert_same(image: NDArray, normalisation: Normalisation) -> None:
    file = standalone(passing_on(normalisation))
    for sign in (1, -1):
        grey = sign * image.astype(np.float32)
        given = run(file, grey)
        np.testing.assert_allclose(given["probability"][0, 0], as_seen(grey, normalisation), rtol=0, atol=TOLERANCE)
        assert given["count_map"].shape[2:] == tuple(-(-side // 4) for side in grey.shape)


def real(folder: Path) -> list[NDArray]:
    """16 bits, 8 bits crowded, 8 bits dark on bright, in colour."""
    with (folder / "dsb2018" / "kinds.csv").open(newline="", encoding="utf-8") as file:
        stem = next(row["stem"] for row in csv.DictReader(file) if row["kind"] == "purple-on-white")
    patterns = ("bbbc039/images/*.tif", "bbbc005/BBBC005_v1_images/*_C100_*_w2.TIF", f"dsb2018/images/{stem}.png")
    return [read_image(min(folder.glob(pattern))) for pattern in patterns]


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_the_graph_normalises_as_elmgan_does(image: NDArray) -> None:
    assert_same(image, Normalisation())


@pytest.mark.parametrize("image", SLOPES.values(), ids=SLOPES)
def test_a_smooth_slope_is_levelled_as_elmgan_does(image: NDArray) -> None:
    grey, rough = image.astype(np.float32), image is SLOPES["a rough background"]
    off = np.abs(as_seen(grey, Normalisation()) - Normalisation()(grey)).max()
    assert (off > 0.1) != rough, "the test tests something"


def as_input(image: NDArray) -> NDArray[np.float32]:
    """As the graph takes it: (1, channel, row, column)."""
    return np.ascontiguousarray(np.atleast_3d(image).transpose(2, 0, 1)[np.newaxis].astype(np.float32))


COLOURS = {
    "a stained slide": (slide(40), "haematoxylin"),
    "a stained slide in floats": (slide(40, dtype=np.float32), "haematoxylin"),
    "pink alone": (slide(0), None),
    "grey in three channels": (np.repeat(squares(12)[..., np.newaxis], 3, axis=2), None),
    "fluorescence in green": (squares(12)[..., np.newaxis] * np.array([0, 1, 0]), None),
    "one pixel": (slide(0)[:1, :1], None),
}


@pytest.mark.parametrize(("image", "channel"), COLOURS.values(), ids=COLOURS)
def test_colour_is_seen_as_elmgan_does(image: NDArray, channel: str | None) -> None:
    assert see(image, Normalisation()).channel == channel
    given = run(standalone(passing_on(Normalisation())), image)
    np.testing.assert_allclose(given["probability"][0, 0], as_seen(image, Normalisation()), rtol=0, atol=10 * TOLERANCE)


REMARKED = {
    **IMAGES,
    "a slide": slide(40),
    "a dome": FIELD - 150 * (DOWN**2 + ACROSS**2),
    "a dark field": 500 - FIELD,
    "a rougher background": FIELD + 80 * ACROSS + 15 * np.sign(np.sin(9 * DOWN) * np.sin(9 * ACROSS)),
}


def test_what_is_remarked_of_the_light_is_what_elmgan_remarks() -> None:
    """The same graph without a network, for programs that read tiles."""
    session = onnxruntime.InferenceSession(seeing(Normalisation()), providers=["CPUExecutionProvider"])
    remarks: set[tuple[str, ...]] = set()
    for name, image in REMARKED.items():
        given = dict(
            zip(("normalised", "levelled", "told"), session.run(None, {"image": as_input(image)}), strict=True)
        )
        with patch.object(sys.modules[see.__module__], "data_of", lambda grey: None):
            seen = see(image, Normalisation())
        told = {what for what, value in zip(TOLD, given["told"].tolist(), strict=True) if value}
        assert told & {"debris", "uneven"} == set(seen.remarks), name
        assert ("stained" in told) == (seen.channel == "haematoxylin"), name
        assert ("bright" in told) == seen.stretch.bright, name
        np.testing.assert_allclose(given["normalised"][0, 0], seen.normalised, rtol=0, atol=10 * TOLERANCE)
        np.testing.assert_allclose(given["levelled"][0, 0], seen.grey.astype(np.float32), rtol=1e-5, atol=1e-3)
        remarks.add(seen.remarks)
    assert remarks >= {(), ("debris",), ("uneven",)}


@pytest.mark.parametrize("image", [*SLOPES.values(), slide(42), slide(17, seed=1)])
def test_uneven_and_stained_images_are_counted_as_elmgan_does(image: NDArray) -> None:
    bundle = read_bundle(find_bundle("nuclei-small"))
    result = Model(bundle, "onnxruntime", precision="fp32").count(image, scale=1)
    given = run(standalone(bundle), image)
    estimate = known(result.estimate)
    assert estimate > 10
    assert float(given["count"][0]) == pytest.approx(estimate, rel=0.01, abs=0.5)


def test_ties_between_blocks_are_broken_as_elmgan_does() -> None:
    for seed in range(5):
        random = np.random.default_rng(seed)
        image = np.clip(FIELD, 0, 255).round()
        image[140:145, 120:170] = 255
        image[random.random(image.shape) < 0.02] = 160
        assert_same(image, Normalisation())


def test_debris_is_passed_over_as_elmgan_does() -> None:
    for image in (WITH_BAR, WITH_DARK_BAR):
        grey = image.astype(np.float32)
        assert Normalisation().stretch(grey).debris
        assert abs(Normalisation()(grey) - Normalisation(debris=0)(grey)).max() > 0.5
        assert_same(image, Normalisation(debris=0))


@pytest.mark.parametrize("normalisation", OTHERS.values(), ids=OTHERS)
def test_every_value_of_the_normalisation_is_heeded(normalisation: Normalisation) -> None:
    image = squares(12).astype(np.float32)
    seen = WITH_BAR.astype(np.float32) if normalisation.debris != Normalisation().debris else image
    assert not np.allclose(normalisation(seen), Normalisation()(seen), atol=1e-3)
    for each in (image, NOISE, SPECKS, WITH_BAR):
        assert_same(each, normalisation)


def test_real_images_are_normalised_as_elmgan_does(shared_data: Path) -> None:
    images = real(shared_data)
    assert {image.dtype for image in images} == {np.dtype(np.uint8), np.dtype(np.uint16)}
    for image in images:
        assert_same(to_grey(image), Normalisation())


def test_statistics_of_large_images_are_those_of_the_same_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalise, "MOST_PIXELS", 2000)
    assert_same(NOISE, Normalisation())
    assert_same(squares(12), Normalisation())


@pytest.mark.parametrize("name", shipped())
def test_it_counts_as_elmgan_does(name: str, shared_data: Path) -> None:
    calibration = Calibration(data="none", images=1, groups=1, gain=1.25, quantile=None)
    bundle = read_bundle(find_bundle(name)).calibrated(calibration, "")
    file = standalone(bundle)
    onnx.checker.check_model(onnx.load_from_string(file), full_check=True)
    image = real(shared_data)[0]
    assert any(side % bundle.card.architecture.multiple for side in image.shape)
    given = run(file, to_grey(image))
    result = Model(bundle, "onnxruntime", precision="fp32").count(image)
    assert known(result.estimate) > 50
    # Two decimals, as the estimate has.
    assert given["count"].shape == (1,)
    assert float(given["count"][0]) == pytest.approx(known(result.estimate), abs=0.02)
    np.testing.assert_allclose(given["probability"][0, 0], known(result.probability), atol=1e-3)
    np.testing.assert_allclose(given["count_map"][0, 0], known(result.count_map), atol=1e-4)


@pytest.mark.parametrize("learned", [("mask",), ("count",), ("mask", "count")])
def test_it_gives_what_the_model_learned(learned: Learned) -> None:
    session = onnxruntime.InferenceSession(standalone(tiny_bundle(learned=learned)), providers=["CPUExecutionProvider"])
    names = {"mask": ["probability"], "count": ["count_map", "count"]}
    assert [output.name for output in session.get_outputs()] == [name for each in learned for name in names[each]]


def test_a_network_for_one_size_says_so() -> None:
    bundle = tiny_bundle()
    architecture = Architecture(depth=3, count_head="pooled", size=(16, 24))
    card = bundle.card.model_copy(update={"architecture": architecture})
    session = onnxruntime.InferenceSession(standalone(replace(bundle, card=card)), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, "channel", 16, 24]
