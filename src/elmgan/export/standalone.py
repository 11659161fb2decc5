"""A model as one ONNX file for programs that know nothing of elmgan: from grey values to cells and their number.

It needs the package onnx, which the runtime is not installed with: import it on demand.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike
from onnx import TensorProto, compose, helper, numpy_helper

from elmgan.light import Normalisation, normalise
from elmgan.light.grey import DARKEST, GLASS, RGB, unmixing
from elmgan.light.see import (
    BLOCK_PIXELS,
    BLOCKS,
    COLOUR_PIXELS,
    COLOURED,
    CURVED,
    FAR_OFF,
    GROUND,
    QUARTER,
    ROUGH,
    SMOOTH,
    UNEVEN,
    WHITISH,
    surface,
)
from elmgan.models import Bundle

OPSET, IR_VERSION = 18, 8  # of a graph without a network; that with one has the network's
NETWORK_PREFIX = "network/"  # stands before every name of model.onnx, so that none is also one of ours
PLANE = [2, 3]  # axes of the rows and columns
TO_THE_END = [np.iinfo(np.int64).max] * 2


def standalone(bundle: Bundle) -> bytes:
    """Give one ONNX graph that normalises an image, runs a model's network on it, and corrects the counts.

    The graph takes ``image``, float32 (1, 1, row, column), or (1, 3, row, column) of colour: the values of a whole
    image as they were read, finite, at most 1e15 from 0. Images may have any size; with the pooled head it is that of
    the architecture. It gives what the model learned, and what ``Model.count`` gives at a scale of 1 without tiles:
    ``probability``, float32 (1, 1, row, column), cell from the card's threshold on; ``count_map``, float32
    (1, 1, row / 4, column / 4), rounded up, or (1, 1, 1, 1) from the pooled head; and ``count``, float32 (1,), its sum.
    A stained slide is seen as haematoxylin, other colour as luminance, and a smooth uneven background is levelled.

    It knows nothing of pixels without data: cut off margins of one value, or they are taken for background or cells.
    Nor does it find the scale, tell a merge of stains, or raise flags.

    Args:
        bundle: The model; its network uses version 18 of ONNX's operators or a later one.

    Returns:
        The ONNX file's bytes.
    """
    return with_network(bundle, lambda image: _seen(image, bundle.card.normalisation).normalised, channels="channel")


TOLD = ("stained", "bright", "debris", "uneven")
"""What :func:`seeing` tells of an image, in this order."""


def seeing(normalisation: Normalisation) -> bytes:
    """Give one ONNX graph of what :func:`standalone` does before the network, for programs that read tiles.

    It takes the same ``image``, and gives ``normalised`` and ``levelled``, float32 (1, 1, row, column): what the
    network is shown, and the grey values that this is made of, without a slope. ``told``, float32 (4,), has 1 or 0 for
    each of :data:`TOLD`: whether the image is seen as haematoxylin, whether cells are brighter than the background,
    and whether debris or an uneven background is remarked.

    Args:
        normalisation: How grey values are stretched.

    Returns:
        The ONNX file's bytes.
    """
    graph = Graph()
    seen = _seen(graph.value("image"), normalisation)
    flat = [graph.Reshape(value.to(np.float32), [1]) for value in (seen.stained, seen.bright, seen.debris, seen.uneven)]
    for name, value in (
        ("normalised", seen.normalised),
        ("levelled", seen.levelled),
        ("told", graph.Concat(*flat, axis=0)),
    ):
        graph.name(value, name)
    image: list[int | str | None] = ["row", "column"]
    shapes: dict[str, list[int | str | None]] = {
        "image": [1, "channel", *image],
        "normalised": [1, 1, *image],
        "levelled": [1, 1, *image],
        "told": [len(TOLD)],
    }
    given, *outputs = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    model = helper.make_model(
        helper.make_graph(graph.nodes, "seeing", [given], outputs, graph.constants),
        producer_name="elmgan",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    return bytes(model.SerializeToString())


def with_network(bundle: Bundle, see: "Callable[[NodeValue], NodeValue]", *, channels: int | str = 1) -> bytes:
    """Give one ONNX graph of what a network is shown of an image, and the network; see :func:`standalone`.

    Args:
        bundle: The model.
        see: Adds the nodes that make of the image what the network is shown.
        channels: Of the image; a name where there may be one or three.
    """
    card, network = bundle.card, compose.add_prefix(onnx.load_from_string(bundle.onnx), NETWORK_PREFIX)
    architecture = card.architecture
    graph = Graph()

    image = graph.value("image")
    sides = graph.Shape(image, start=2)
    missing = graph.Mod(graph.Neg(sides), architecture.multiple)
    padded = graph.Pad(see(image), graph.Concat([0, 0], missing, axis=0), None, PLANE)
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
        total = graph.ReduceSum(outputs["count_map"].to(np.float64), keepdims=0)
        outputs["count"] = graph.Reshape(total.to(np.float32), [1])
    for name, value in outputs.items():
        graph.name(value, name)

    size = architecture.size or ("row", "column")
    shapes = {
        "image": [1, channels, *size],
        "probability": [1, 1, *size],
        "count_map": [1, 1, "map_row", "map_column"],
        "count": [1],
    }
    described = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
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


class SeenValues(NamedTuple):
    """What becomes of an image, and what is remarked of it."""

    normalised: "NodeValue"
    levelled: "NodeValue"
    stained: "NodeValue"
    bright: "NodeValue"
    debris: "NodeValue"
    uneven: "NodeValue"


def _seen(image: "NodeValue", normalisation: Normalisation) -> SeenValues:
    """Do what :func:`elmgan.light.see` does, step by step, in the same precision. Below as well."""
    graph = image.graph
    image, stained = _grey(image)
    statistics = _statistics(image, normalisation, stained)
    slope = _slope(image)
    steep, smooth = slope.is_steep(statistics[1])

    def levelled() -> "Sequence[NodeValue]":
        level = _taken_off(image, slope.terms)
        rest = _slope(level)
        level = _taken_off(level, graph.Where(rest.found, rest.terms, 0.0))
        return level, *_statistics(level, normalisation, stained)

    level, centre, span, sign, debris = graph.either(graph.And(steep, smooth), levelled, lambda: (image, *statistics))
    uneven = graph.And(steep, graph.Or(graph.Not(smooth), slope.is_curved))
    normalised = _stretched((level - centre) * sign, span, normalisation)
    return SeenValues(normalised, level, stained, sign > np.float32(0), debris > np.float32(0), uneven)


def _grey(image: "NodeValue") -> "tuple[NodeValue, NodeValue]":
    """Give one channel of an image of one or three, and whether it is a density of haematoxylin."""
    graph = image.graph
    colour = graph.Expand(image, [1, RGB, 1, 1])  # of one channel three that are alike
    number = graph.Size(graph.Slice(image, [0], [1], [1])).to(np.float64)
    step = graph.Max(graph.Round(graph.Sqrt(number / float(COLOUR_PIXELS))), 1.0).to(np.int64)
    pixels = graph.Reshape(graph.Slice(colour, [0, 0], TO_THE_END, PLANE, graph.Expand(step, [2])), [RGB, -1])
    strongest, weakest = graph.ReduceMax(pixels, [0], keepdims=0), graph.ReduceMin(pixels, [0], keepdims=0)
    in_order = _sorted(strongest)
    dark, bright = _percentile(in_order, 5), _percentile(in_order, 99.5)
    brightness = graph.ReduceMean(pixels, [0], keepdims=0)
    brightest = brightness.to(np.float64) >= _percentile(_sorted(brightness), GLASS)
    ground = graph.Compress(pixels, brightest, axis=1)
    number = graph.Shape(ground, start=1)
    ground = graph.TopK(ground, number, axis=1, largest=0, outputs=2)
    glass = graph.ReduceMean(graph.Gather(ground, (number - [1, 0]) / 2, axis=1), [1])
    densities = _densities(pixels, glass)
    mean = _percentile(_sorted(graph.Abs(graph.ReduceMean(densities, [0], keepdims=0))), 99)
    spread = graph.ReduceMax(densities, [0], keepdims=0) - graph.ReduceMin(densities, [0], keepdims=0)
    differ = _percentile(_sorted(spread), 99)
    signs = (
        graph.ReduceMax(strongest - weakest, keepdims=0) > np.float32(0),
        dark > bright * GROUND,
        graph.ReduceMin(glass, keepdims=0) > graph.ReduceMax(glass, keepdims=0) * np.float32(WHITISH),
        differ > graph.Max(mean * COLOURED[1], COLOURED[0]),
    )
    stained = reduce(graph.And, signs)

    def density() -> "Sequence[NodeValue]":
        weights = unmixing().reshape(1, RGB, 1, 1)
        return [graph.Conv(_densities(colour, graph.Reshape(glass, [1, RGB, 1, 1])), weights)]

    def luminance() -> "Sequence[NodeValue]":
        red, green, blue = (graph.Slice(colour, [k], [k + 1], [1]) for k in range(RGB))
        return [green + (red - green) * np.float32(0.299) + (blue - green) * np.float32(0.114)]

    return graph.either(stained, density, luminance)[0], stained


def _densities(colour: "NodeValue", glass: "NodeValue") -> "NodeValue":
    graph = colour.graph
    share = colour / graph.Where(glass > np.float32(0), glass, np.float32(1))
    return graph.Log(graph.Max(share, np.float32(DARKEST))) * np.float32(-1 / math.log(10))


class SlopeValues(NamedTuple):
    """How a background goes up and down: the terms of its surface, whether there is any, its height, its roughness."""

    terms: "NodeValue"
    found: "NodeValue"
    height: "NodeValue"
    rough: "NodeValue"

    def is_steep(self, span: "NodeValue") -> "tuple[NodeValue, NodeValue]":
        """Say whether it is far from level, given the span of an image, and smooth enough to be taken off."""
        graph = self.terms.graph
        least = span.to(np.float64) * UNEVEN
        steep = reduce(graph.And, (self.found, self.height > least, least > 0.0, self.rough <= ROUGH))
        return steep, self.rough <= SMOOTH

    @property
    def is_curved(self) -> "NodeValue":
        """Say whether it is mostly a dome or a bowl."""
        graph = self.terms.graph
        heights = graph.MatMul(surface()[:, 3:], graph.Slice(self.terms, [3], TO_THE_END[:1], [0]))
        high = graph.ReduceMax(heights, keepdims=0) - graph.ReduceMin(heights, keepdims=0)
        return high / graph.Max(self.height, 1e-30) > CURVED


def _slope(image: "NodeValue") -> SlopeValues:
    """Fit a surface to an image's background."""
    graph, places = image.graph, surface()
    sides = graph.Shape(image, start=2)
    steps = graph.Max(sides / (BLOCKS * BLOCK_PIXELS), [1])
    blocks, large = _blocks(graph.Slice(image, [0, 0], TO_THE_END, PLANE, steps), BLOCKS, BLOCKS)
    levels = _densest_of_rows(blocks)
    across = graph.ReduceMax(levels, keepdims=0) - graph.ReduceMin(levels, keepdims=0)
    found = graph.And(large, across > 0.0)
    weights = graph.Expand(1.0, [BLOCKS**2, 1])
    for _ in range(8):
        weighted = weights * places
        turned = graph.Transpose(weighted)
        terms = _solved(graph.MatMul(turned, weighted), graph.MatMul(turned, levels * weights))
        heights = graph.MatMul(places, terms)
        off = graph.Abs(levels - heights)
        usual = graph.ReduceMean(_middle(_sorted(off)), keepdims=0) / normalise.NORMAL_QUARTILE
        share = off / graph.Max(usual * float(FAR_OFF), across * 1e-6)
        weights = graph.Max(graph.Neg(share * share) + 1.0, 0.0)
        left = graph.ReduceSum((weights > 0.0).to(np.int64), keepdims=0)
        found = graph.And(found, left >= 2 * places.shape[1])
    height = graph.ReduceMax(heights, keepdims=0) - graph.ReduceMin(heights, keepdims=0)
    return SlopeValues(terms, found, height, usual / graph.Max(height, across * 1e-9))


def _solved(matrix: "NodeValue", right: "NodeValue") -> "NodeValue":
    """Solve equations of a positive definite matrix: Gauss and Jordan's elimination without exchanges."""
    graph, number = matrix.graph, surface().shape[1]
    rows = graph.Concat(matrix, right, axis=1)
    for k, unit in enumerate(np.eye(number)[..., np.newaxis]):
        row, column = graph.Slice(rows, [k], [k + 1], [0]), graph.Slice(rows, [k], [k + 1], [1])
        row = row / graph.Slice(column, [k], [k + 1], [0])
        rows = rows - (column - unit) * row
    return graph.Slice(rows, [number], [number + 1], [1])


def _densest_of_rows(blocks: "NodeValue") -> "NodeValue":
    """Give the middle of the shortest interval that holds a quarter of each row; (row, 1)."""
    graph = blocks.graph
    number = graph.Shape(blocks, start=1)
    blocks = graph.TopK(blocks, number, axis=1, largest=0, outputs=2)
    length = graph.Round((number - 1).to(np.float64) * QUARTER).to(np.int64)
    widths = graph.Slice(blocks, length, number, [1]) - graph.Slice(blocks, [0], number - length, [1])
    shortest = widths <= graph.ReduceMin(widths, [1])
    place = graph.CumSum(shortest.to(np.int32), 1)
    found = graph.ReduceMax(place, [1]).to(np.int64)
    ends = []
    for k in range(2):  # of as many that are as short, the one or two in the middle
        wanted = ((found - (1 - k)) / 2 + 1).to(np.int32)
        at = graph.ArgMax(graph.Equal(place, wanted).to(np.int32), axis=1) + (length + k) / 2
        ends.append(graph.GatherElements(blocks, at, axis=1).to(np.float64))
    return (ends[0] + ends[1]) / 2.0


def _taken_off(image: "NodeValue", terms: "NodeValue") -> "NodeValue":
    """Subtract a surface, around its mean, from an image."""
    graph, reach = image.graph, BLOCKS / (BLOCKS - 1)
    sides = graph.Shape(image, start=2)
    along = []
    for k in range(2):
        side = graph.Gather(sides, k)
        end = graph.Sub(reach, graph.Div(reach, side.to(np.float64)))
        step = end * 2.0 / graph.Max(side - 1, 1).to(np.float64)
        along.append(graph.Range(0, side, 1).to(np.float64) * step - end)
    down, across = graph.Reshape(along[0], [-1, 1]), along[1]
    of = [graph.Slice(terms, [k], [k + 1], [0]) for k in range(surface().shape[1])]
    rows, columns = down * of[1] + down * down * of[3], graph.Reshape(of[2], [-1]) * across
    columns = columns + across * across * graph.Reshape(of[5], [-1])
    level = rows - graph.ReduceMean(rows, keepdims=0) + (columns - graph.ReduceMean(columns, keepdims=0))
    height = level + down * across * of[4]
    return (image.to(np.float64) - height).to(np.float32)


def _statistics(image: "NodeValue", normalisation: Normalisation, stained: "NodeValue") -> "tuple[NodeValue, ...]":
    """Give centre, span and sign of an image's stretch, and 1 for debris; of a stained slide, cells are bright."""
    graph, ends = image.graph, None
    values = _sorted(_sample(image))
    low, high = (_percentile(values, percentage) for percentage in (normalisation.low, normalisation.high))
    rounding = (high - low) * normalise.ROUNDING
    centre = _densest(values, normalisation.background, rounding)
    least = _noise(image, values) * float(normalisation.noise_span)
    bright = high - centre >= centre - low
    if normalisation.debris:
        ends = low, high
        low, high, bright = _without_debris(_sample(image), normalisation, (low, centre, high), least)
    between = high - low
    # Not Max, which would pass on NaN: where no data is -3.4e38, some processors give it as the noise.
    span = graph.Where(least > between, least, between).to(np.float32)
    turned = reduce(graph.And, (stained, graph.Not(bright), between > 0.0))
    below = graph.ReduceSum(((low + high) / 2.0 > values.to(np.float64)).to(np.int64))
    of_below = _densest(graph.Slice(values, [0], graph.Max(below, [1])), normalisation.background, rounding)
    centre = graph.Where(turned, of_below, centre)
    sign = graph.Where(graph.Or(bright, turned), np.float32(1), np.float32(-1))
    debris = graph.Identity(np.float32(0))
    if ends is not None:
        same = graph.And(graph.Equal(low, ends[0]), graph.Equal(high, ends[1]))
        debris = graph.Where(same, np.float32(0), np.float32(1))
    return centre.to(np.float32), span, sign, debris


def _stretched(off: "NodeValue", span: "NodeValue", normalisation: Normalisation) -> "NodeValue":
    """Divide differences to the background by the span, clip and compress them."""
    graph = off.graph
    reach = span * np.float32(normalisation.limit)
    centred = graph.Max(graph.Min(off, reach), graph.Neg(reach))
    normalised = centred / graph.Where(span > np.float32(0), span, np.float32(1))
    if normalisation.compression:
        compression = normalisation.compression
        normalised = graph.Asinh(normalised * np.float32(compression)) / np.float32(math.asinh(compression))
    return normalised


def normalised_part(image: "NodeValue", normalisation: Normalisation) -> "NodeValue":
    """Normalise a part of an image whose span has become 0 to 1 already, in which cells are bright.

    The background is looked for in the part, below the middle of the span, and so is the noise.
    """
    graph = image.graph
    values = _sorted(_sample(image))
    below = graph.ReduceSum((graph.Neg(values) >= np.float32(-0.5)).to(np.int64), keepdims=1)
    # A part that is nearly all cell still has some of its darkest pixels to be taken for the background.
    fewest = graph.Max(graph.Shape(values) / 50, [1])
    dark = graph.Slice(values, [0], graph.Max(below, fewest))
    rounding = graph.constant(np.full(1, normalise.ROUNDING))
    everywhere = _densest(values, normalisation.background, rounding)
    centre = graph.Where(everywhere > 0.5, _densest(dark, normalisation.background, rounding), everywhere)
    noise = (_noise(image, values) * float(normalisation.noise_span)).to(np.float32)
    span = graph.Where(noise > np.float32(1), noise, np.float32(1))
    return _stretched(image - centre.to(np.float32), span, normalisation)


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
    blocks, large = _blocks(seen, normalise.BLOCKS, normalise.BLOCKS * normalise.LEAST_BLOCK)
    blocks, number = blocks - centre.to(np.float32), normalise.BLOCKS**2
    few = graph.Round((graph.Shape(blocks, start=1) - 1).to(np.float64) * (1 - normalise.IN_BLOCK)).to(np.int64)
    found = {}
    for largest in (0, 1):
        reached = graph.Gather(graph.TopK(blocks, few + 1, axis=1, largest=largest, outputs=2), few, axis=1)
        farthest, order = graph.top(graph.Reshape(reached, [-1]), number, largest=largest)
        next_one = graph.Gather(farthest, [normalisation.debris]).to(np.float64)
        rest = graph.Gather(blocks, graph.Slice(order, [normalisation.debris], TO_THE_END[:1]), axis=0)
        percentage = normalisation.high if largest else normalisation.low
        found[largest] = (next_one if largest else graph.Neg(next_one), centre + _percentile(_sorted(rest), percentage))
    (dark, low_of_rest), (bright, high_of_rest) = found[0], found[1]
    stands_out = graph.And(graph.Max(dark, bright) > noise, large)
    of_noise = noise / normalise.FARTHER
    cuts_low = graph.And(stands_out, centre - low > graph.Max(dark, of_noise) * normalise.FARTHER)
    cuts_high = graph.And(stands_out, high - centre > graph.Max(bright, of_noise) * normalise.FARTHER)
    low, high = graph.Where(cuts_low, low_of_rest, low), graph.Where(cuts_high, high_of_rest, high)
    one_side = graph.And(graph.Or(cuts_low, cuts_high), graph.Xor(dark > noise, bright > noise))
    farther = graph.And(graph.Not(one_side), high - centre >= centre - low)
    return low, high, graph.Or(graph.And(one_side, bright > noise), farther)


def _blocks(seen: "NodeValue", along: int, least: int) -> "tuple[NodeValue, NodeValue]":
    """Cut an image into so many blocks along each side, (block, pixel), and say whether its sides have so many pixels.

    Of a smaller image nothing is used of them, but it has to run.
    """
    graph = seen.graph
    sides = graph.Shape(seen, start=2)
    missing = graph.Max(graph.Neg(sides) + least, [0])
    seen = graph.Pad(seen, graph.Concat([0, 0], missing, axis=0), None, PLANE, mode="edge")
    each = graph.Shape(seen, start=2) / along
    rows, columns = (graph.Gather(each, [k]) for k in (0, 1))
    cut = graph.Slice(seen, [0, 0], each * along, PLANE)
    cut = graph.Reshape(cut, graph.Concat([along], rows, [along], columns, axis=0))
    blocks = graph.Reshape(graph.Transpose(cut, perm=[0, 2, 1, 3]), [along**2, -1])
    return blocks, graph.ReduceMin(sides, keepdims=0) >= least


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
        self._number = 0

    def value(self, name: str) -> "NodeValue":
        """Return a value that has a name already: an input of the graph, or what other nodes give."""
        return NodeValue(self, name)

    def constant(self, values: ArrayLike) -> "NodeValue":
        """Return a constant as a value."""
        return NodeValue(self, self._name(values))

    def name(self, value: "NodeValue", name: str) -> None:
        """Give a value one more name."""
        self.nodes.append(helper.make_node("Identity", [value.name], [name]))

    def either(
        self,
        condition: "NodeValue",
        then: "Callable[[], Sequence[NodeValue]]",
        otherwise: "Callable[[], Sequence[NodeValue]]",
    ) -> "list[NodeValue]":
        """Give the float32 values of the one or the other, of which only one is computed."""
        branches, outer = [], self.nodes
        for branch in (then, otherwise):
            self.nodes = []
            values = [self.Identity(value) for value in branch()]
            outputs = [helper.make_tensor_value_info(value.name, TensorProto.FLOAT, None) for value in values]
            branches.append(helper.make_graph(self.nodes, "branch", [], outputs))
        self.nodes = outer
        first = self.If(condition, outputs=len(values), then_branch=branches[0], else_branch=branches[1])
        stem = first.name.removesuffix("_0")
        return [NodeValue(self, f"{stem}_{k}") for k in range(len(values))]

    def top(self, values: "NodeValue", number: int, largest: int) -> "tuple[NodeValue, NodeValue]":
        """Sort a vector of so many values; give them and their places."""
        first = self.TopK(values, [number], largest=largest, outputs=2)
        return first, NodeValue(self, f"{first.name.removesuffix('_0')}_1")

    def __getattr__(self, operator: str) -> Callable[..., "NodeValue"]:
        def add(*inputs: "NodeValue | ArrayLike | None", outputs: int = 1, **attributes: Any) -> NodeValue:
            names = [f"{operator}_{self._number}_{k}" for k in range(outputs)]
            self._number += 1
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
