"""The graph that holds everything against elmgan's own steps."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from bundles import known, squares, tiny_bundle
from elmgan.counting import Model
from elmgan.engines import OnnxEngine
from elmgan.export.standalone import standalone
from elmgan.images import read_image
from elmgan.light import Normalisation, normalise, to_grey
from elmgan.models import Architecture, Bundle, Learned, find_bundle, read_bundle, shipped
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
IMAGES = {
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


def passing_on(normalisation: Normalisation) -> Bundle:
    """A model whose probability is what its network sees."""
    nodes = [
        helper.make_node("Identity", ["image"], ["probability"]),
        helper.make_node("AveragePool", ["image"], ["count_map"], kernel_shape=[4, 4], strides=[4, 4]),
    ]
    image, probability, count_map = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, f"{name}_row", f"{name}_column"])
        for name in ("image", "probability", "count_map")
    )
    graph = helper.make_graph(nodes, "passing on", [image], [probability, count_map])
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    bundle = tiny_bundle()
    card = bundle.card.model_copy(update={"normalisation": normalisation})
    return replace(bundle, card=card, onnx=bytes(network.SerializeToString()))


def assert_same(image: NDArray, normalisation: Normalisation) -> None:
    engine = OnnxEngine(standalone(passing_on(normalisation)))
    for sign in (1, -1):
        grey = sign * image.astype(np.float32)
        normalised, count_map = engine.predict(grey[np.newaxis, np.newaxis])
        np.testing.assert_allclose(normalised[0, 0], normalisation(grey), rtol=0, atol=TOLERANCE)
        assert count_map.shape[2:] == tuple(-(-side // 4) for side in grey.shape)


def real(folder: Path) -> list[NDArray]:
    """16 bits, 8 bits crowded, 8 bits dark on bright, in colour."""
    with (folder / "dsb2018" / "kinds.csv").open(newline="", encoding="utf-8") as file:
        stem = next(row["stem"] for row in csv.DictReader(file) if row["kind"] == "purple-on-white")
    patterns = ("bbbc039/images/*.tif", "bbbc005/BBBC005_v1_images/*_C100_*_w2.TIF", f"dsb2018/images/{stem}.png")
    return [read_image(min(folder.glob(pattern))) for pattern in patterns]


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_the_graph_normalises_as_elmgan_does(image: NDArray) -> None:
    assert_same(image, Normalisation())


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
    probability, count_map = OnnxEngine(file).predict(to_grey(image).astype(np.float32)[np.newaxis, np.newaxis])
    result = Model(bundle, "onnxruntime", precision="fp32").count(image)
    assert known(result.estimate) > 50
    # Two decimals, as the estimate has.
    assert float(count_map.sum(dtype=np.float64)) == pytest.approx(known(result.estimate), abs=0.02)
    np.testing.assert_allclose(probability[0, 0], known(result.probability), atol=1e-3)
    np.testing.assert_allclose(count_map[0, 0], known(result.count_map), atol=1e-4)


@pytest.mark.parametrize("learned", [("mask",), ("count",), ("mask", "count")])
def test_it_gives_what_the_model_learned(learned: Learned) -> None:
    session = onnxruntime.InferenceSession(standalone(tiny_bundle(learned=learned)), providers=["CPUExecutionProvider"])
    names = {"mask": "probability", "count": "count_map"}
    assert [output.name for output in session.get_outputs()] == [names[each] for each in learned]


def test_a_network_for_one_size_says_so() -> None:
    bundle = tiny_bundle()
    architecture = Architecture(depth=3, count_head="pooled", size=(16, 24))
    card = bundle.card.model_copy(update={"architecture": architecture})
    session = onnxruntime.InferenceSession(standalone(replace(bundle, card=card)), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, 1, 16, 24]
