"""The bundled models in eight bits against themselves in fp32, on images that trained nothing: hardly worse."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bundles import known
from elmgan.counting import Model, Result
from elmgan.engines import OnnxEngine
from elmgan.engines.libraries import has_int8
from elmgan.engines.openvino_engine import OpenVinoEngine
from elmgan.images import read_image
from elmgan.models import find_bundle, read_bundle, shipped
from elmgan.scores import dice
from elmgan.scores.similarity import match
from prepare import bbbc039, dsb2018, nuinsseg

SPLIT = Path(__file__).parents[2] / "experiments" / "nuclei" / "split.csv"
EVERY = {"bbbc039": 1, "dsb2018": 1, "nuinsseg": 4}
"""Of the held-out images of a set, every such one is counted."""


@dataclass(frozen=True)
class Truth:
    """What is known of an image; the count is None where masks are all there is."""

    image: NDArray
    labels: NDArray
    count: float | None


@pytest.fixture(scope="module")
def held_out(shared_data: Path) -> dict[str, list[Truth]]:
    with SPLIT.open(newline="", encoding="utf-8") as lines:
        sides = {row["image"]: row["side"] for row in csv.DictReader(lines)}
    found = defaultdict(list)
    for read in (bbbc039, dsb2018, nuinsseg):
        name = read.__name__
        items = [item for item in read(shared_data) if sides.get(item.name, "train") != "train"]
        for item in items[:: EVERY[name]]:
            labels: NDArray = np.array([]) if item.labels is None else item.labels
            if item.mask is not None:
                labels = read_image(item.mask) > 0
            found[name].append(Truth(read_image(item.image), labels, item.count))
    return dict(found)


@pytest.mark.slow
@pytest.mark.skipif(not has_int8(), reason="a processor that adds up eight bits with overflow")
@pytest.mark.parametrize("name", shipped())
def test_eight_bits_count_and_segment_as_fp32_does(name: str, held_out: dict[str, list[Truth]]) -> None:
    bundle = read_bundle(find_bundle(name))
    full = counted(Model(bundle, "onnxruntime", precision="fp32"), held_out)
    for engine in ("onnxruntime", "openvino"):
        eight = counted(Model(bundle, engine, precision="int8"), held_out)
        for kind, truths in held_out.items():
            assert_as_good(eight[kind], full[kind], truths, f"{engine}, {kind}")
        pairs = [pair for kind in held_out for pair in zip(eight[kind], full[kind], strict=True)]
        assert np.mean([one.flags == other.flags for one, other in pairs]) >= 0.98, engine


def counted(model: Model, held_out: dict[str, list[Truth]]) -> dict[str, list[Result]]:
    """Count all images."""
    return {kind: [model.count(truth.image, scale=1.0) for truth in truths] for kind, truths in held_out.items()}


def assert_as_good(eight: list[Result], full: list[Result], truths: list[Truth], what: str) -> None:
    """Check that results are hardly worse than others, of images of one kind."""
    assert mean_dice(eight, truths) > mean_dice(full, truths) - 0.002, what
    if truths[0].count is None:
        return
    sums = [sum(known(result.estimate) for result in results) for results in (eight, full)]
    assert sums[0] == pytest.approx(sums[1], rel=0.005), what
    assert mean_error(eight, truths) < mean_error(full, truths) + 0.1, what
    assert mean_ap50(eight, truths) > mean_ap50(full, truths) - 0.005, what


@pytest.mark.skipif(not has_int8(), reason="a processor that adds up eight bits with overflow")
def test_folds_are_openvinos_own() -> None:
    bundle = read_bundle(find_bundle("nuclei"))
    engine = OpenVinoEngine.of(bundle, precision="int8")
    kinds = [node.get_type_name() for node in engine._network.get_ordered_ops()]
    assert kinds.count("DepthToSpace") == bundle.card.architecture.depth
    assert "Transpose" not in kinds
    image = np.random.default_rng(0).normal(0, 0.5, (1, 1, 128, 192)).astype(np.float32)
    for found, expected in zip(
        engine.predict(image), OnnxEngine.of(bundle, precision="int8").predict(image), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=0.05)


def mean_error(results: list[Result], truths: list[Truth]) -> float:
    pairs = zip(results, truths, strict=True)
    return float(np.mean([abs(known(result.estimate) - known(truth.count)) for result, truth in pairs]))


def mean_dice(results: list[Result], truths: list[Truth]) -> float:
    pairs = zip(results, truths, strict=True)
    return float(np.mean([dice(known(result.mask), truth.labels > 0) for result, truth in pairs]))


def mean_ap50(results: list[Result], truths: list[Truth]) -> float:
    pairs = zip(results, truths, strict=True)
    return float(np.mean([match(result.labels(), truth.labels).average_precision() for result, truth in pairs]))
