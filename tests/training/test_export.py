"""The ONNX graph against the generator that it was made from."""

from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from architectures import architectures
from elmgan.engines import OnnxEngine
from elmgan.models import Architecture
from elmgan.nn.generator import PRESETS, Generator
from elmgan.training.export import rounded, to_onnx

SIZES = [(64, 64), (64, 192), (256, 128), (320, 448)]
ARCHITECTURES = {
    "base": PRESETS["base"].model_copy(update={"width": 8}),
    "paper": PRESETS["paper"].model_copy(update={"width": 8}),
}


class Pair(NamedTuple):
    generator: Generator
    onnx: bytes


def trained(architecture: Architecture) -> Generator:
    """A generator in training that is not what it was at the beginning: statistics, biases, outputs that vary."""
    random = torch.manual_seed(3)
    generator = Generator(architecture)
    for name, values in generator.state_dict().items():
        if "running_var" in name:
            values.copy_(0.2 + torch.rand(values.shape, generator=random))
        elif "running_mean" in name or name.endswith("bias"):
            values.copy_(0.3 * torch.randn(values.shape, generator=random))
        elif name in ("mask_head.out.weight", "count_head.out.weight"):
            values.mul_(20)
    return generator.train()


@pytest.mark.parametrize("architecture", architectures().values(), ids=architectures())
def test_every_architecture_is_exported_as_it_is(architecture: Architecture) -> None:
    generator = trained(architecture)
    engine = OnnxEngine(to_onnx(generator))
    image = np.random.default_rng(0).standard_normal((1, 1, *(architecture.size or (40, 64))), np.float32)
    probability, count_map = engine.predict(image)
    with torch.no_grad():
        expected = generator.eval()(torch.from_numpy(image))
    np.testing.assert_allclose(probability, torch.sigmoid(expected.mask_logits).numpy(), atol=1e-3)
    np.testing.assert_allclose(count_map, expected.count_map.numpy(), rtol=1e-2, atol=1e-3)
    assert probability.std() > 0.05


@pytest.fixture(scope="module", params=ARCHITECTURES)
def pair(request: pytest.FixtureRequest) -> Pair:
    generator = trained(ARCHITECTURES[request.param])
    return Pair(generator, to_onnx(generator))


def test_onnx_agrees_with_pytorch_over_image_sizes(pair: Pair) -> None:
    architecture = pair.generator.architecture
    engine = OnnxEngine(pair.onnx)
    rng = np.random.default_rng(0)
    for size in [architecture.size] if architecture.size else SIZES:
        image = rng.standard_normal((1, 1, *size), np.float32)
        probability, count_map = engine.predict(image)
        with torch.no_grad():
            expected = pair.generator.eval()(torch.from_numpy(image))
        pair.generator.train()
        assert probability.shape == image.shape
        assert probability.dtype == count_map.dtype == np.float32
        np.testing.assert_allclose(probability, torch.sigmoid(expected.mask_logits).numpy(), atol=1e-3)
        assert 0.1 < probability.mean() < 0.9
        assert probability.std() > 0.05
        assert count_map.shape == expected.count_map.shape
        assert float(count_map.sum()) == pytest.approx(float(expected.count_map.sum()), rel=1e-3)
        assert abs(float(count_map.sum())) > 1


def test_rounding_changes_the_last_layer_of_a_count_map_alone(pair: Pair) -> None:
    before, after = pair.generator.state_dict(), rounded(pair.generator).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    last = {"count_head.out.weight", "count_head.out.bias"}
    assert changed == (last if pair.generator.architecture.count_head == "map" else set())
    for name in changed:
        assert torch.equal(after[name], after[name].bfloat16().float())
        torch.testing.assert_close(after[name], before[name], rtol=2**-8, atol=0)


def test_several_images_at_once(pair: Pair) -> None:
    size = pair.generator.architecture.size or (128, 64)
    images = np.random.default_rng(1).standard_normal((3, 1, *size), np.float32)
    engine = OnnxEngine(pair.onnx)
    together = engine.predict(images)
    for k in range(3):
        for one, all_of_them in zip(engine.predict(images[k : k + 1]), together, strict=True):
            np.testing.assert_allclose(one[0], all_of_them[k], atol=1e-5)


def test_every_parameter_is_an_initialiser_of_its_name(pair: Pair) -> None:
    graph = onnx.load_from_string(pair.onnx).graph
    initialisers = {values.name: numpy_helper.to_array(values) for values in graph.initializer}
    state = {name: values for name, values in pair.generator.state_dict().items() if "num_batches" not in name}
    assert state.keys() <= initialisers.keys()
    for name, values in state.items():
        assert np.array_equal(initialisers[name], values.numpy()), name
    # Enough for a generator to be built from the file alone.
    copy = Generator(pair.generator.architecture)
    missing, _ = copy.load_state_dict(
        {name: torch.from_numpy(initialisers[name].copy()) for name in state}, strict=False
    )
    assert all("num_batches" in name for name in missing)


def test_the_fold_is_one_operator(pair: Pair) -> None:
    operators = [node.op_type for node in onnx.load_from_string(pair.onnx).graph.node]
    assert operators.count("DepthToSpace") == pair.generator.architecture.depth
    assert "Dropout" not in operators


def test_the_file_says_nothing_of_the_machine_it_was_made_on(pair: Pair) -> None:
    assert b".py" not in pair.onnx
    assert b"site-packages" not in pair.onnx
    assert b"constraints" not in pair.onnx  # the sizes' bounds, in the order of a set: another file in another process
    parameters = sum(parameter.numel() for parameter in pair.generator.parameters())
    assert len(pair.onnx) < 4 * parameters + 100_000


def test_exporting_leaves_the_generator_as_it_was() -> None:
    generator = trained(Architecture(width=2, depth=3, norm="instance", dropout=0.5))
    generator.decoder.eval()
    before = {name: values.clone() for name, values in generator.state_dict().items()}
    modes = [module.training for module in generator.modules()]
    to_onnx(generator)
    assert [module.training for module in generator.modules()] == modes
    assert all(parameter.requires_grad and parameter.grad is None for parameter in generator.parameters())
    assert {parameter.device.type for parameter in generator.parameters()} == {"cpu"}
    for name, values in generator.state_dict().items():
        assert torch.equal(values, before[name])
    assert isinstance(generator(torch.zeros(1, 1, 16, 16)).mask_logits, torch.Tensor)
