"""A model as one ONNX file for programs that know nothing of elmgan: from grey values to cells and their number.

It needs the package onnx, which the runtime is not installed with: import it on demand.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike
from onnx import TensorProto, compose, helper, numpy_helper

from elmgan.light import Normalisation, normalise
from elmgan.models import Bundle

NETWORK_PREFIX = "network/"  # stands before every name of model.onnx, so that none is also one of ours
PLANE = [2, 3]  # axes of the rows and columns
TO_THE_END = [np.iinfo(np.int64).max] * 2


def standalone(bundle: Bundle) -> bytes:
    """Give one ONNX graph that normalises an image, runs a model's network on it, and corrects the counts.

    The graph takes ``image``, float32 (1, 1, row, column): the grey values of a whole image as they were read, finite,
    at most 1e15 from 0; of colour the luminance, of a stained slide the haematoxylin. Images may have any size; with
    the pooled head it is that of the architecture. It gives what the model learned, and what ``Model.count`` gives
    without tiles: ``probability``, float32 of the image's shape, cell from the card's threshold on; and ``count_map``,
    float32 (1, 1, row / 4, column / 4), rounded up, or (1, 1, 1, 1) from the pooled head, whose sum is the count.

    It knows nothing of pixels without data: cut off margins of one value, or they are taken for background or cells.
    Nor does it tell a merge of stains, or level an uneven background.

    Args:
        bundle: The model; its network uses version 18 of ONNX's operators or a later one.

    Returns:
        The ONNX file's bytes.
    """
    card, network = bundle.card, compose.add_prefix(onnx.load_from_string(bundle.onnx), NETWORK_PREFIX)
    architecture = card.architecture
    graph = Graph()

    image = graph.value("image")
    sides = graph.Shape(image, start=2)
    missing = graph.Mod(graph.Neg(sides), architecture.multiple)
    padded = graph.Pad(_normalised(image, card.normalisation), graph.Concat([0, 0], missing, axis=0), None, PLANE)
    graph.name(padded, f"{NETWORK_PREFIX}image")
    graph.nodes += network.graph.node

    outputs = {}
    if card.segments:
        outputs["probability"] = graph.Slice(graph.value(f"{NETWORK_PREFIX}probability"), [0, 0], sides, PLANE)
    if card.counts:
        count_map = graph.value(f"{NETWORK_PREFIX}count_map")
        if architecture.maps:
            reduced = (sides + (architecture.stride - 1)) / architecture.stride
            count_map = graph.Slice(count_map, [0, 0], reduced, PLANE)
        outputs["count_map"] = count_map * np.float32(1 if card.calibration is None else card.calibration.gain)
    for name, value in outputs.items():
        graph.name(value, name)

    size = architecture.size or ("row", "column")
    shapes = {"image": size, "probability": size, "count_map": ("map_row", "map_column")}
    described = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, *shape]) for name, shape in shapes.items()
    }
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            card.name,
            [described["image"]],
            [described[name] for name in outputs],
            [*graph.constants, *network.graph.initializer],
        ),
        producer_name="elmgan",
        producer_version=card.elmgan,
        doc_string=bundle.version,
        opset_imports=network.opset_import,
        functions=network.functions,
        ir_version=network.ir_version,
    )
    return bytes(model.SerializeToString())


def _normalised(image: "NodeValue", normalisation: Normalisation) -> "NodeValue":
    """Do what a Normalisation does when called, step by step, in the same precision. Below as well."""
    graph = image.graph
    values = _sorted(_sample(image))
    low, high = (_percentile(values, percentage) for percentage in (normalisation.low, normalisation.high))
    centre = _densest(values, normalisation.background, (high - low) * normalise.ROUNDING)
    least = _noise(image, values) * float(normalisation.noise_span)
    bright = high - centre >= centre - low
    if normalisation.debris:
        low, high, bright = _without_debris(_sample(image), normalisation, (low, centre, high), least)
    between = high - low
    # Not Max, which would pass on NaN: where no data is -3.4e38, some processors give it as the noise.
    span = graph.Where(least > between, least, between).to(np.float32)
    sign = graph.Where(bright, np.float32(1), np.float32(-1))
    reach = span * np.float32(normalisation.limit)
    centred = graph.Max(graph.Min((image - centre.to(np.float32)) * sign, reach), graph.Neg(reach))
    normalised = centred / graph.Where(span > np.float32(0), span, np.float32(1))
    if normalisation.compression:
        compression = normalisation.compression
        normalised = graph.Asinh(normalised * np.float32(compression)) / np.float32(math.asinh(compression))
    return normalised


def _sample(image: "NodeValue") -> "NodeValue":
    graph = image.graph
    step = graph.Ceil(graph.Sqrt(graph.Size(image).to(np.float64) / float(normalise.MOST_PIXELS))).to(np.int64)
    return graph.Slice(image, [0, 0], TO_THE_END, PLANE, graph.Expand(step, [2]))


def _sorted(values: "NodeValue") -> "NodeValue":
    graph = values.graph
    flat = graph.Reshape(values, [-1])
    return graph.TopK(flat, graph.Shape(flat), largest=0, outputs=2)


def _percentile(values: "NodeValue", percentage: float) -> "NodeValue":
    """Give a percentile of sorted values, between two along a line."""
    graph = values.graph
    place = (graph.Shape(values) - 1).to(np.float64) * (percentage / 100)
    below, above = (values.at(rounded.to(np.int64)) for rounded in (graph.Floor(place), graph.Ceil(place)))
    return below + (place - graph.Floor(place)) * (above - below)


def _without_debris(
    seen: "NodeValue", normalisation: Normalisation, ends: "tuple[NodeValue, NodeValue, NodeValue]", noise: "NodeValue"
) -> "tuple[NodeValue, NodeValue, NodeValue]":
    """Give low, high and bright without what lies in few places; ends are low, centre, high."""
    graph, (low, centre, high) = seen.graph, ends
    blocks_along, least = normalise.BLOCKS, normalise.BLOCKS * normalise.LEAST_BLOCK
    sides = graph.Shape(seen, start=2)
    # Of a smaller image nothing is used of this, but it has to run.
    seen = graph.Pad(
        seen, graph.Concat([0, 0], graph.Max(graph.Neg(sides) + least, [0]), axis=0), None, PLANE, mode="edge"
    )
    along = graph.Shape(seen, start=2) / blocks_along
    off = graph.Slice(seen, [0, 0], along * blocks_along, PLANE) - centre.to(np.float32)
    rows, columns = (graph.Gather(along, [k]) for k in (0, 1))
    cut = graph.Reshape(off, graph.Concat([blocks_along], rows, [blocks_along], columns, axis=0))
    blocks = graph.Reshape(graph.Transpose(cut, perm=[0, 2, 1, 3]), [blocks_along**2, -1])
    few = graph.Round((rows * columns - 1).to(np.float64) * (1 - normalise.IN_BLOCK)).to(np.int64)
    found = {}
    for largest in (0, 1):
        reached = graph.Gather(graph.TopK(blocks, few + 1, axis=1, largest=largest, outputs=2), few, axis=1)
        farthest, order = graph.top(graph.Reshape(reached, [-1]), blocks_along**2, largest=largest)
        next_one = graph.Gather(farthest, [normalisation.debris]).to(np.float64)
        rest = graph.Gather(blocks, graph.Slice(order, [normalisation.debris], TO_THE_END[:1]), axis=0)
        percentage = normalisation.high if largest else normalisation.low
        found[largest] = (next_one if largest else graph.Neg(next_one), centre + _percentile(_sorted(rest), percentage))
    (dark, low_of_rest), (bright, high_of_rest) = found[0], found[1]
    stands_out = graph.And(graph.Max(dark, bright) > noise, graph.ReduceMin(sides, keepdims=0) >= least)
    of_noise = noise / normalise.FARTHER
    cuts_low = graph.And(stands_out, centre - low > graph.Max(dark, of_noise) * normalise.FARTHER)
    cuts_high = graph.And(stands_out, high - centre > graph.Max(bright, of_noise) * normalise.FARTHER)
    low, high = graph.Where(cuts_low, low_of_rest, low), graph.Where(cuts_high, high_of_rest, high)
    one_side = graph.And(graph.Or(cuts_low, cuts_high), graph.Xor(dark > noise, bright > noise))
    farther = graph.And(graph.Not(one_side), high - centre >= centre - low)
    return low, high, graph.Or(graph.And(one_side, bright > noise), farther)


def _middle(values: "NodeValue") -> "NodeValue":
    """The two values in the middle, twice the same one where the number is odd."""
    graph = values.graph
    return graph.Gather(values, (graph.Shape(values) - [1, 0]) / 2)


def _densest(values: "NodeValue", share: float, rounding: "NodeValue") -> "NodeValue":
    graph = values.graph
    number = graph.Shape(values)
    length = graph.Round((number - 1).to(np.float64) * share).to(np.int64)
    widths = graph.Slice(values, length, number) - graph.Slice(values, [0], number - length)
    short = widths <= graph.ReduceMin(widths, keepdims=0) + rounding.to(np.float32)
    shortest = graph.Reshape(graph.NonZero(short), [-1])
    return graph.ReduceMean(values.at(_middle(shortest) + (length + np.arange(2)) / 2))


def _noise(image: "NodeValue", values: "NodeValue") -> "NodeValue":
    graph = image.graph
    edged = graph.Pad(image, [1, 1, 1, 1], None, PLANE, mode="edge")  # the same as BORDER_REFLECT for one pixel
    detail = _sample(graph.Abs(graph.Conv(edged, normalise.DETAIL[np.newaxis, np.newaxis])))
    squares = graph.ReduceMean(detail * detail, [3]).to(np.float64)
    mean_square = graph.Sqrt(graph.Reshape(graph.ReduceMean(squares), [1])) / normalise.DETAIL_GAIN
    middle = graph.ReduceMean(_middle(_sorted(detail))).to(np.float64)
    median = middle / (normalise.DETAIL_GAIN * normalise.NORMAL_QUARTILE)
    infinity = np.full(1, np.inf, np.float32)
    steps = graph.Concat(graph.Slice(values, [1], graph.Shape(values)), infinity, axis=0) - values
    step = graph.ReduceMin(graph.Where(steps > np.float32(0), steps, infinity)).to(np.float64)
    return graph.Max(median, graph.Min(mean_square, step / math.sqrt(12)))


class Graph:
    """Nodes and constants of an ONNX graph, as they are added.

    A method of an operator's name adds it and gives its first output. Inputs are values, arrays or numbers, which
    become constants (whole numbers int64, others float64 unless they are NumPy's), or None for one that is left out.
    Attributes are keywords.

    >>> graph = Graph()
    >>> doubled = graph.Abs(graph.value("image")) * np.float32(2)
    >>> [node.op_type for node in graph.nodes], len(graph.constants)
    (['Abs', 'Mul'], 1)
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def value(self, name: str) -> "NodeValue":
        """Return a value that has a name already: an input of the graph, or what other nodes give."""
        return NodeValue(self, name)

    def name(self, value: "NodeValue", name: str) -> None:
        """Give a value one more name."""
        self.nodes.append(helper.make_node("Identity", [value.name], [name]))

    def top(self, values: "NodeValue", number: int, largest: int) -> "tuple[NodeValue, NodeValue]":
        """Sort a vector of so many values; give them and their places."""
        first = self.TopK(values, [number], largest=largest, outputs=2)
        return first, NodeValue(self, f"{first.name.removesuffix('_0')}_1")

    def __getattr__(self, operator: str) -> Callable[..., "NodeValue"]:
        def add(*inputs: "NodeValue | ArrayLike | None", outputs: int = 1, **attributes: Any) -> NodeValue:
            names = [f"{operator}_{len(self.nodes)}_{k}" for k in range(outputs)]
            self.nodes.append(helper.make_node(operator, [self._name(each) for each in inputs], names, **attributes))
            return NodeValue(self, names[0])

        return add

    def _name(self, given: "NodeValue | ArrayLike | None") -> str:
        if given is None:
            return ""
        if isinstance(given, NodeValue):
            return given.name
        values = np.asarray(given)
        name = f"constant_{len(self.constants)}"
        whole = np.issubdtype(values.dtype, np.integer)
        self.constants.append(numpy_helper.from_array(values.astype(np.int64) if whole else values, name))
        return name


@dataclass(frozen=True)
class NodeValue:
    """A value of a graph; what is done to it becomes nodes."""

    graph: Graph
    name: str

    def __add__(self, other: "NodeValue | ArrayLike") -> "NodeValue":
        return self.graph.Add(self, other)

    def __sub__(self, other: "NodeValue | ArrayLike") -> "NodeValue":
        return self.graph.Sub(self, other)

    def __mul__(self, other: "NodeValue | ArrayLike") -> "NodeValue":
        return self.graph.Mul(self, other)

    def __truediv__(self, other: "NodeValue | ArrayLike") -> "NodeValue":
        return self.graph.Div(self, other)

    def __gt__(self, other: "NodeValue | ArrayLike") -> "NodeValue":
        return self.graph.Greater(self, other)

    def __ge__(self, other: "NodeValue | ArrayLike") -> "NodeValue":
        return self.graph.GreaterOrEqual(self, other)

    def __le__(self, other: "NodeValue | ArrayLike") -> "NodeValue":
        return self.graph.LessOrEqual(self, other)

    def to(self, dtype: DTypeLike) -> "NodeValue":
        """Return it as another type."""
        return self.graph.Cast(self, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def at(self, places: "NodeValue") -> "NodeValue":
        """Return a vector's values at some places, as float64."""
        return self.graph.Gather(self, places).to(np.float64)
