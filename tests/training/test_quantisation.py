"""Networks in eight bits against those in float that they were made of."""

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from elmgan.engines import OnnxEngine
from elmgan.models.graph import names_other_files
from elmgan.nn.generator import PRESETS, Generator
from elmgan.nn.weights import load_weights
from elmgan.training import quantisation
from elmgan.training.export import to_onnx
from elmgan.training.quantisation import in_half, in_single, quantisable, quantised, without_norms

ARCHITECTURE = PRESETS["base"].model_copy(update={"width": 8})


@pytest.fixture(scope="module")
def generator() -> Generator:
    """One whose norms do something, and whose outputs vary."""
    random = torch.manual_seed(3)
    made = Generator(ARCHITECTURE)
    for name, values in made.state_dict().items():
        if "running_var" in name:
            values.copy_(0.5 + torch.rand(values.shape, generator=random))
        elif "running_mean" in name or name.endswith("bias"):
            values.copy_(0.1 * torch.randn(values.shape, generator=random))
        elif name in ("mask_head.out.weight", "count_head.out.weight"):
            values.mul_(5)
    return made.eval()


@pytest.fixture(scope="module")
def network(generator: Generator) -> bytes:
    return to_onnx(generator)


@pytest.fixture(scope="module")
def tiles() -> list[NDArray[np.float32]]:
    """Smooth fields of values as the network sees them."""
    random = np.random.default_rng(0)
    coarse = [random.normal(0, 0.5, (1, 1, 16, 16)) for _ in range(8)]
    return [np.kron(each, np.ones((1, 1, 8, 8))).astype(np.float32) for each in coarse]


def predicted(network: bytes, tiles: list[NDArray[np.float32]]) -> tuple[NDArray, NDArray]:
    engine = OnnxEngine(network)
    probabilities, maps = zip(*(engine.predict(tile) for tile in tiles), strict=True)
    return np.concatenate(probabilities), np.concatenate(maps)


def test_without_norms_it_is_the_same_network(network: bytes, tiles: list[NDArray[np.float32]]) -> None:
    model = without_norms(onnx.load_from_string(network))
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"BatchNormalization", "Expand", "Where", "Cast", "CastLike"}
    onnx.checker.check_model(model)
    for found, expected in zip(predicted(model.SerializeToString(), tiles), predicted(network, tiles), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_in_eight_bits_it_gives_nearly_the_same_and_no_bias(network: bytes, tiles: list[NDArray[np.float32]]) -> None:
    eight = quantised(network, tiles)
    assert len(eight) < 0.4 * len(network)
    assert not names_other_files(eight)
    weights = {each.name: each for each in onnx.load_from_string(eight).graph.initializer}
    kept = {name: numpy_helper.to_array(each).dtype for name, each in weights.items() if name.startswith("count_head")}
    last = {name: dtype for name, dtype in kept.items() if name.startswith("count_head.out")}
    assert set(last.values()) == {np.dtype(np.float32)}
    assert np.dtype(np.int8) in {dtype for name, dtype in kept.items() if name not in last}
    (mask, count_map), (true_mask, true_map) = predicted(eight, tiles), predicted(network, tiles)
    assert np.std(true_mask) > 0.05
    assert np.abs(mask - true_mask).mean() < 0.1 * np.std(true_mask)
    assert count_map.sum() == pytest.approx(true_map.sum(), rel=0.001)
    assert np.mean(mask) == pytest.approx(np.mean(true_mask), rel=0.005)


def test_folds_in_blocks_give_the_same_values(
    network: bytes, tiles: list[NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    eight = quantised(network, tiles)
    monkeypatch.setattr(quantisation, "_in_blocks", lambda model, whole: None)
    plain = quantised(network, tiles)
    folds = [
        [node.op_type for node in onnx.load_from_string(each).graph.node].count("DepthToSpace")
        for each in (plain, eight)
    ]
    assert folds == [ARCHITECTURE.depth, 1]  # that of the mask, which has one channel, stays
    wide = [np.pad(tile, [(0, 0), (0, 0), (0, 0), (0, 64)]) for tile in tiles]
    for images in (tiles, wide):
        for found, expected in zip(predicted(eight, images), predicted(plain, images), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_in_half_it_is_half_as_large_and_training_reads_it(
    network: bytes, generator: Generator, tiles: list[NDArray[np.float32]]
) -> None:
    half = in_half(network)
    assert len(half) < 0.6 * len(network)
    for found, expected in zip(predicted(half, tiles), predicted(network, tiles), strict=True):
        np.testing.assert_allclose(found, expected, atol=0.01)
    for found, expected in zip(predicted(in_single(half), tiles), predicted(half, tiles), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    again = Generator(ARCHITECTURE)
    load_weights(again, half)
    for (name, found), expected in zip(again.state_dict().items(), generator.state_dict().values(), strict=True):
        assert found.dtype == expected.dtype
        if "num_batches" not in name:
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_what_cannot_be_folded_is_not_quantised() -> None:
    assert quantisable(ARCHITECTURE)
    assert not quantisable(PRESETS["paper"])
