"""What a profile says of layers belongs to them, and nothing is lost."""

from functools import partial

import pytest

from elmgan.benchmark.engines import ENGINES
from elmgan.benchmark.layers import FOLDING, JOINS, REST, layer_multiply_adds, layer_times
from elmgan.benchmark.sizes import size_of
from elmgan.benchmark.timing import Conditions
from elmgan.models import find_bundle, read_bundle
from elmgan.nn.generator import Generator

SHAPE = (1, 1, 64, 128)


def test_every_layer_has_its_time_and_its_multiply_adds() -> None:
    pytest.importorskip("openvino")
    bundle = read_bundle(find_bundle("nuclei-small"))
    build = partial(Generator, bundle.card.architecture)
    multiply_adds = layer_multiply_adds(build, SHAPE)
    assert sum(multiply_adds.values()) == size_of(build, SHAPE)[1]
    conditions = Conditions.now(threads=1, rounds=3, block=0)
    times = layer_times(bundle.onnx, ENGINES["openvino fp32"], SHAPE, conditions)
    depth = bundle.card.architecture.depth
    layers = [f"encoder {k + 1}" for k in range(depth)] + [f"decoder {k + 1}" for k in range(depth - 1)]
    assert list(times) == [*layers, "mask head", "count head", FOLDING, JOINS, REST]
    assert set(multiply_adds) == {*layers, "mask head", "count head"}
    assert all(sum(taken.seconds) > 0 and len(taken.seconds) == 3 for taken in times.values())
