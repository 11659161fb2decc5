"""Eight-bit networks: the exported graph with its norms folded, its layers quantised, and the bias of that taken out.

A layer's weights have a scale for each output channel, its inputs one scale and zero point (QDQ nodes of ONNX, which
ONNX Runtime and OpenVINO both run). The count's last layer, of which every value of the count map is made, stays in
float, and so does the first layer of all.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from elmgan.counting.scaling import resize, scaled_shape
from elmgan.data import Record, load_example
from elmgan.engines.libraries import ERRORS_ONLY, import_onnxruntime
from elmgan.light import Normalisation
from elmgan.models import Architecture

SEEN_SIDE = 256
"""Side of the parts of images that show what values a layer has, pixels; a multiple of every architecture's."""

OF_EACH_KIND, IN_ALL = 24, 144
"""Images of which such a part is taken, at most."""

AT_HALF = 3
"""One in so many parts is of its image at half its size."""

OF_EACH_IMAGE = 0.05
"""Weight of an image in the moving average of a layer's range of values."""

IN_FLOAT = ((1, "count_head.out"), (2, "count_head"))
"""What stays in float: so many convolutions from the image on, and layers from the one on whose parameters begin so.

The first of these with which counts are near enough is taken, else the last. The second convolution takes a third of a
network's time in float. In eight bits it moved no kind of training images by more than 0.2 % in `nuclei`, and stained
tissue by 2.6 % in `nuclei-small`.
"""

NEAR = 0.006
"""Mean difference that eight bits may make to the count of a part of an image, as a share of its mean count."""

COUNT_MAP = "count_map"

FOLD = 2
"""Rows and columns of the image for one of what a fold is given."""

ACTIVATIONS = ("LeakyRelu", "Relu")


def quantisable(architecture: Architecture) -> bool:
    """Say whether a network has a form that is quantised: a count map, and batch norms that follow convolutions."""
    a = architecture
    return a.maps and a.norm == "batch" and a.upsampling != "transposed" and a.mask_head == "fold" and not a.dropout


def tiles_to_see(
    records: Sequence[Record], normalisation: Normalisation, *, rng: np.random.Generator
) -> list[NDArray[np.float32]]:
    """Cut parts out of images that trained, of every kind, as the network sees them; (1, 1, row, column)."""
    kinds: Counter[str] = Counter()
    tiles: list[NDArray[np.float32]] = []
    for k in rng.permutation(len(records)):
        record = records[k]
        if kinds[record.kind] >= OF_EACH_KIND or len(tiles) >= IN_ALL:
            continue
        kinds[record.kind] += 1
        image = load_example(record, normalisation).image
        if len(tiles) % AT_HALF == AT_HALF - 1:
            image = resize(image, scaled_shape(image.shape, 0.5))
        top, left = (int(rng.integers(max(1, side - SEEN_SIDE + 1))) for side in image.shape)
        part = image[top : top + SEEN_SIDE, left : left + SEEN_SIDE]
        missing = [(0, SEEN_SIDE - side) for side in part.shape]
        tiles.append(np.pad(part, missing)[np.newaxis, np.newaxis].astype(np.float32))
    return tiles


def quantised(network: bytes, tiles: Sequence[NDArray[np.float32]]) -> bytes:
    """Give a network in eight bits.

    Args:
        network: As exported, with batch norms; see :func:`~elmgan.training.export.to_onnx`.
        tiles: What it sees, of images that trained; see :func:`tiles_to_see`.

    Returns:
        The ONNX file's bytes.
    """
    whole = without_norms(onnx.load_from_string(network))
    counts = _sums(whole, tiles)
    for first, last in IN_FLOAT:
        model = _quantised(whole, tiles, first, last)
        if np.abs(_sums(model, tiles) - counts).mean() <= NEAR * counts.mean():
            break
    _in_blocks(model, whole)
    return bytes(model.SerializeToString())


def _quantised(whole: ModelProto, tiles: Sequence[NDArray[np.float32]], first: int, last: str) -> ModelProto:
    """Quantise all but what :data:`IN_FLOAT` says, and take out the bias of that."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    in_float = [node.name for node in whole.graph.node if node.op_type not in ("Conv", *ACTIVATIONS, *MOVING)]
    in_float += [*_first_layers(whole, first), *_from(whole, last)]
    level = logging.getLogger().level
    with TemporaryDirectory() as scratch:
        plain, path = Path(scratch, "float.onnx"), Path(scratch, "int8.onnx")
        plain.write_bytes(whole.SerializeToString())
        try:
            logging.getLogger().setLevel(logging.ERROR)  # it advises what was done already
            quantize_static(
                plain,
                path,
                _Tiles(tiles),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=in_float,
                # The range of a layer's values is a mean over images, so that one odd image makes no other coarse.
                extra_options={"CalibMovingAverage": True, "CalibMovingAverageConstant": OF_EACH_IMAGE},
            )
        finally:
            logging.getLogger().setLevel(level)
        model = onnx.load(path)
    _take_out_bias(model, whole, tiles)
    before, after = (next(_means(each, [COUNT_MAP], tiles)).item() for each in (whole, model))
    _multiply(model, before / after if before > 0 and after > 0 else 1)
    return model


MOVING = ("Concat", "DepthToSpace")
"""Operators that move values and change none."""


class _Tiles:
    """Gives ONNX Runtime's quantiser what the network sees."""

    def __init__(self, tiles: Sequence[NDArray[np.float32]]) -> None:
        self._left = iter(tiles)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        tile = next(self._left, None)
        return None if tile is None else {"image": tile}


def without_norms(model: ModelProto) -> ModelProto:
    """Give a network without batch norms, whose scales and shifts the convolutions before them take.

    Between the two may be a fold: depth to space. Softplus, which the exporter writes as many nodes, becomes one.
    """
    model = _copy(model)
    graph = model.graph
    values = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        source = _source(graph.node, norm.input[0])
        conv = _source(graph.node, source.input[0]) if source.op_type == "DepthToSpace" else source
        if conv.op_type != "Conv":
            raise ValueError(f"a batch norm follows {conv.op_type}, not a convolution")
        scale, shift, mean, variance = (values[name].astype(np.float64) for name in norm.input[1:5])
        epsilon = next((each.f for each in norm.attribute if each.name == "epsilon"), 1e-5)
        scale = scale / np.sqrt(variance + epsilon)
        shift = shift - mean * scale
        weight = values[conv.input[1]].astype(np.float64)
        # Depth to space takes channels block by block: (i, j, channel).
        scale, shift = (np.tile(each, len(weight) // len(each)) for each in (scale, shift))
        if conv.input[2] in values:
            shift = shift + scale * values[conv.input[2]]
        names = [f"{conv.input[1]}.folded", f"{conv.input[1]}.shift"]
        new = (weight * scale[:, np.newaxis, np.newaxis, np.newaxis], shift)
        graph.initializer.extend(
            numpy_helper.from_array(each.astype(np.float32), name) for each, name in zip(new, names, strict=True)
        )
        conv.input[1:] = names
        _replace(graph.node, norm.output[0], norm.input[0])
        graph.node.remove(norm)
    for choice in [node for node in graph.node if node.op_type == "Where"]:
        place = list(graph.node).index(choice)
        graph.node.remove(choice)
        graph.node.insert(place, helper.make_node("Softplus", [choice.input[1]], [choice.output[0]], "softplus"))
    _prune(model)
    return model


def _copy(model: ModelProto) -> ModelProto:
    copied = ModelProto()
    copied.CopyFrom(model)
    return copied


def _source(nodes: Sequence[NodeProto], value: str) -> NodeProto:
    return next(node for node in nodes if value in node.output)


def _replace(nodes: Sequence[NodeProto], before: str, after: str) -> None:
    for node in nodes:
        for k, name in enumerate(node.input):
            if name == before:
                node.input[k] = after


def _prune(model: ModelProto) -> None:
    """Leave out nodes and constants that nothing uses, and give every node a name."""
    graph = model.graph
    needed = {output.name for output in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.insert(0, node)
            needed.update(node.input)
    for k, node in enumerate(kept):
        node.name = f"{node.op_type}_{k}"
    constants = [each for each in graph.initializer if each.name in needed]
    for part in (graph.node, graph.initializer, graph.value_info):
        del part[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants)


def _first_layers(model: ModelProto, number: int) -> list[str]:
    """Name so many first convolutions, and what follows each."""
    nodes = model.graph.node
    convolutions = [node for node in nodes if node.op_type == "Conv"][:number]
    outputs = {node.output[0] for node in convolutions}
    after = [node for node in nodes if node.op_type in ACTIVATIONS and node.input[0] in outputs]
    return [node.name for node in (*convolutions, *after)]


def _from(model: ModelProto, last: str) -> list[str]:
    """Name the nodes from those on whose parameters begin so."""
    names: list[str] = []
    values: set[str] = set()
    for node in model.graph.node:
        if any(name.startswith(last) for name in node.input) or values.intersection(node.input):
            names.append(node.name)
            values.update(node.output)
    return names


def _take_out_bias(model: ModelProto, whole: ModelProto, tiles: Sequence[NDArray[np.float32]]) -> None:
    """Shift each convolution of a quantised network so that its outputs have the means that they have in float.

    Rounding moves them all a little the same way, which adds up from layer to layer: so it is done layer by layer, in
    the order in which they are computed. After Nagel et al., Data-free quantization through weight equalization and
    bias correction, ICCV 2019, with images that trained.
    """
    graph = model.graph
    constants = {each.name: each for each in graph.initializer}
    outputs = [node.output[0] for node in graph.node if node.op_type == "Conv"]
    wanted = dict(zip(outputs, _means(whole, outputs, tiles), strict=True))
    for node in [node for node in graph.node if node.op_type == "Conv"]:
        off = next(_means(model, [node.output[0]], tiles)) - wanted[node.output[0]]
        shift = node.input[2]
        if shift in constants:
            moved: NDArray = numpy_helper.to_array(constants[shift]) - off.astype(np.float32)
        else:  # whole numbers, in units of a scale of each channel
            shift, unit = _source(graph.node, shift).input[:2]
            steps = np.round(off / numpy_helper.to_array(constants[unit])).astype(np.int32)
            moved = numpy_helper.to_array(constants[shift]) - steps
        constants[shift].CopyFrom(numpy_helper.from_array(moved, shift))


def _in_blocks(model: ModelProto, whole: ModelProto) -> None:
    """Write the folds of a quantised network so that they move whole blocks of values; nothing else changes.

    Layers in eight bits have the channels of a pixel beside each other in memory. There a fold takes half of them to
    the next row, and the pixels of a row stay in order. ONNX Runtime's own fold moves single values, in which it takes
    a tenth of the network's time. OpenVINO is as fast either way.
    """
    graph, constants = model.graph, {each.name: each for each in whole.graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        conv = _source(whole.graph.node, _source(whole.graph.node, node.output[0]).input[0]) if _folds(node) else None
        channels = 0 if conv is None else constants[conv.input[1]].dims[0] // FOLD**2
        if channels <= 1:
            nodes.append(node)
            continue
        name, out = node.name, node.output[0]
        for what, values in (
            ("rows", (0, 0, -1, FOLD, FOLD * channels)),
            ("larger", (1, FOLD, FOLD, 1)),
            ("fewer", (1, 1, 1, FOLD**2)),
        ):
            graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), f"{name}.{what}"))
        last, parted, moved, shape = (f"{name}.{what}" for what in ("last", "parted", "moved", "shape"))
        nodes += [
            helper.make_node("Transpose", [node.input[0]], [last], f"{name}.to_last", perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", [last, f"{name}.rows"], [parted], f"{name}.part"),
            helper.make_node("Transpose", [parted], [moved], f"{name}.move", perm=[0, 1, 3, 2, 4]),
            helper.make_node("Shape", [last], [f"{shape}.before"], f"{name}.measure"),
            helper.make_node("Mul", [f"{shape}.before", f"{name}.larger"], [f"{shape}.large"], f"{name}.enlarge"),
            helper.make_node("Div", [f"{shape}.large", f"{name}.fewer"], [shape], f"{name}.fold"),
            helper.make_node("Reshape", [moved, shape], [f"{name}.folded"], f"{name}.join"),
            helper.make_node("Transpose", [f"{name}.folded"], [out], f"{name}.to_first", perm=[0, 3, 1, 2]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)


def _folds(node: NodeProto) -> bool:
    return node.op_type == "DepthToSpace" and {helper.get_attribute_value(each) for each in node.attribute} <= {
        FOLD,
        b"DCR",
    }


def _multiply(model: ModelProto, factor: float) -> None:
    """Multiply the count map."""
    graph = model.graph
    last = _source(graph.node, COUNT_MAP)
    last.output[:] = [f"{COUNT_MAP}.before"]
    graph.initializer.append(numpy_helper.from_array(np.float32(factor).reshape(1), f"{COUNT_MAP}.factor"))
    inputs = [last.output[0], graph.initializer[-1].name]
    graph.node.append(helper.make_node("Mul", inputs, [COUNT_MAP], f"{COUNT_MAP}.corrected"))


def _means(model: ModelProto, names: Sequence[str], tiles: Sequence[NDArray[np.float32]]) -> Iterator[NDArray]:
    """Give the mean of each channel of some values of a network, over all tiles."""
    sums: Mapping[str, list[NDArray]] = {name: [] for name in names}
    for values in _values(model, names, tiles):
        for name, of in zip(names, values, strict=True):
            sums[name].append(of.mean(axis=(0, 2, 3), dtype=np.float64))
    yield from (np.mean(sums[name], axis=0) for name in names)


def _sums(model: ModelProto, tiles: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Give the count of each tile."""
    return np.array([of.sum(dtype=np.float64) for (of,) in _values(model, [COUNT_MAP], tiles)])


def _values(
    model: ModelProto, names: Sequence[str], tiles: Sequence[NDArray[np.float32]]
) -> Iterator[Sequence[NDArray[np.float32]]]:
    """Give some values of a network for each tile."""
    onnxruntime = import_onnxruntime()
    shown = _copy(model)
    there = {output.name for output in shown.graph.output}
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in there)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    yield from (session.run(list(names), {"image": tile}) for tile in tiles)


def in_half(network: bytes) -> bytes:
    """Give a network whose large constants are kept in 16 bits, and computed with in 32 as before.

    Its constants keep their names. None of our networks has a weight that 16 bits cannot hold.
    """
    model = onnx.load_from_string(network)
    graph = model.graph
    casts = []
    for k, each in enumerate(graph.initializer):
        values = numpy_helper.to_array(each)
        if values.dtype != np.float32 or values.ndim < 2:
            continue
        half = values.astype(np.float16)
        if not np.isfinite(half).all():
            continue
        used = f"{each.name}.float"
        _replace(graph.node, each.name, used)
        graph.initializer[k].CopyFrom(numpy_helper.from_array(half, each.name))
        casts.append(helper.make_node("Cast", [each.name], [used], used, to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def in_single(network: bytes) -> bytes:
    """Give a network of :func:`in_half` whose constants are kept in 32 bits again."""
    model = onnx.load_from_string(network)
    graph = model.graph
    constants = {each.name: each for each in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Cast" and node.input[0] in constants]:
        constant = constants[node.input[0]]
        values = numpy_helper.to_array(constant).astype(np.float32)
        constant.CopyFrom(numpy_helper.from_array(values, constant.name))
        _replace(graph.node, node.output[0], constant.name)
        graph.node.remove(node)
    return bytes(model.SerializeToString())
