"""Where the time of a tile goes, layer by layer, as OpenVINO tells it."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import onnx
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from elmgan.benchmark.engines import EngineSetting, compiled_by_openvino
from elmgan.benchmark.timing import Conditions, Times

FOLDING, JOINS, REST = "folds", "concatenations", "norms, activations and the rest"

KINDS = {"DepthToSpace": FOLDING, "Concat": JOINS}
"""OpenVINO's kinds of nodes that have no weights -> what they are called here."""


def layer_times(
    graph: bytes, engine: EngineSetting, shape: tuple[int, ...], conditions: Conditions
) -> dict[str, Times]:
    """Time the parts of a generator: its convolutions by the layer that they belong to, all else by its kind.

    Args:
        graph: The network as an ONNX file, its weights named as those of :class:`elmgan.nn.Generator`.
        engine: One of OpenVINO. It tells the time of each of its nodes; a norm or an activation that it computes
            together with a convolution is in that one's.
        shape: Of the images.
        conditions: How many rounds and threads. A round has a single call, of which time is taken anyhow.

    Returns:
        Part -> seconds of each round; layers in the order in which they run, then the rest.
    """
    layer_of = {
        node.name: layer_name(weights.removesuffix(".float"))
        for node in onnx.load_model_from_string(graph).graph.node
        for weights in node.input
        if weights.removesuffix(".float").endswith(".weight") and node.op_type != "Cast"  # from 16 bits
    }
    network = compiled_by_openvino(engine, graph, shape, threads=conditions.threads, told=True)
    merged = {
        node.get_friendly_name(): node.get_rt_info()["originalLayersNames"].value.split(",")
        for node in network.get_runtime_model().get_ordered_ops()
    }

    def part_of(name: str, kind: str) -> str:
        if kind != "Convolution":
            return KINDS.get(kind, REST)
        names = (name.partition("/")[0], *merged[name])  # of it, or of the norm that it was merged with
        return next(layer_of[one] for one in names if one in layer_of)

    request = network.create_infer_request()
    image = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    request.infer([image])
    rounds = []
    for _ in range(conditions.rounds):
        request.infer([image])
        seconds: dict[str, float] = defaultdict(float)
        for node in request.profiling_info:
            seconds[part_of(node.node_name, node.node_type)] += node.real_time.total_seconds()
        rounds.append(seconds)
    parts = [*dict.fromkeys(layer_of.values()), *(part for part in (FOLDING, JOINS, REST) if part in rounds[0])]
    return {part: Times(calls=1, seconds=tuple(float(f"{taken[part]:.4g}") for taken in rounds)) for part in parts}


def layer_name(module: str) -> str:
    """Name the layer of a generator that a module or a weight belongs to.

    >>> layer_name("encoder.0.0.weight"), layer_name("mask_head.refine.weight")
    ('encoder 1', 'mask head')
    """
    first, _, second = module.partition(".")
    number = second.partition(".")[0]
    return f"{first} {int(number) + 1}" if number.isdigit() else first.replace("_", " ")


def layer_multiply_adds(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> dict[str, int]:
    """Give the multiply-adds of each layer of a generator for images of a shape; see :func:`layer_name`."""
    with FakeTensorMode(), FlopCounterMode(display=False) as counter, torch.no_grad():
        build().eval()(torch.zeros(shape))
    counts: dict[str, int] = defaultdict(int)
    for module, flops in counter.get_flop_counts().items():  # of the layers and of their parts, in any order
        _, *path = module.split(".")
        if path:
            name = layer_name(".".join(path))
            counts[name] = max(counts[name], sum(flops.values()) // 2)
    return dict(counts)
