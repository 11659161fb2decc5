"""The ways to upsample, and the shapes at which they are compared."""

import pytest
import torch

from elmgan.benchmark import upsampling
from elmgan.benchmark.engines import engines_here
from elmgan.benchmark.sizes import size_of
from elmgan.benchmark.timing import Conditions
from elmgan.benchmark.upsampling import Shape, decoder_shapes, measure_upsampling, ways
from elmgan.errors import UsageError
from elmgan.nn.fbu import FBU
from elmgan.nn.generator import PRESETS, Generator


def test_shapes_are_those_that_the_generator_upsamples() -> None:
    seen = []

    def see(layer: FBU, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        assert output.shape[2] == 2 * inputs[0].shape[2]
        seen.append(Shape(inputs[0].shape[1], output.shape[1], inputs[0].shape[2]))

    network = Generator(PRESETS["paper"].model_copy(update={"width": 2, "size": (128, 128)})).eval()
    for layer in network.modules():
        if isinstance(layer, FBU):
            layer.register_forward_hook(see)
    with torch.no_grad():
        network(torch.zeros(1, 1, 128, 128))
    assert decoder_shapes(2, 128) == seen
    with pytest.raises(UsageError, match="--side is 96; expected a multiple of 64"):
        decoder_shapes(2, 96)


def test_all_ways_double_the_image_and_interpolation_commutes_with_a_1x1_convolution() -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 6, 5, 5)
    made = {name: build() for name, build in ways(6, 3).items()}
    assert all(way(image).shape == (2, 3, 10, 10) for way in made.values())
    for mode in ("nearest", "bilinear"):
        before, after = made[f"{mode}, then 1×1"], made[f"1×1, then {mode}"]
        after.load_state_dict({"0.weight": before.state_dict()["1.weight"]})
        torch.testing.assert_close(before(image), after(image))


def test_multiply_adds_are_those_of_the_convolutions() -> None:
    adds = {name: size_of(build, (1, 6, 5, 5))[1] for name, build in ways(6, 3).items()}
    assert adds["FBU"] == adds["nearest, then 1×1"] == 10 * 10 * 6 * 3
    assert adds["1×1, then bilinear"] == 5 * 5 * 6 * 3
    assert adds["nearest, then 3×3"] == 9 * 10 * 10 * 6 * 3
    assert adds["transposed 4×4"] == 16 * 5 * 5 * 6 * 3


def test_every_way_is_timed_on_every_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    two = {name: ways(4, 2)[name] for name in ("FBU", "1×1, then nearest")}
    monkeypatch.setattr(upsampling, "ways", lambda in_channels, out_channels: two)
    steps: list[int] = []
    engines = engines_here()
    measured = measure_upsampling(
        [Shape(4, 2, 8)],
        engines,
        Conditions.now(threads=1, rounds=2, block=0),
        width=2,
        side=64,
        watch=steps.append,
    )
    torch_engines = [name for name in engines if name.startswith("torch")]
    parts = [(name, "forward") for name in engines] + [(name, "forward + backward") for name in torch_engines]
    assert measured.parts == parts
    assert [(row.upsampling, row.engine, row.work) for row in measured.rows] == [
        (way, *part) for part in parts for way in two
    ]
    assert all(len(row.times.seconds) == 2 for row in measured.rows)
    assert steps == [len(parts) * 2] * (len(parts) * 2)
