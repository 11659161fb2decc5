import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy.spatial import distance
from skimage import metrics

from elmgan.scores import average_precision, dice
from elmgan.scores.similarity import THRESHOLDS, iou, match, psnr, ssim

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=8)
LABELS = st.integers(0, 4) | st.sampled_from([70, 1000])
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(*[arrays(np.uint16, shape, elements=LABELS)] * 2))
MASKS = SHAPES.flatmap(lambda shape: st.tuples(*[arrays(np.bool_, shape)] * 2))
Mask = NDArray[np.bool_]


@given(MASKS)
def test_masks_against_another_implementation(masks: tuple[Mask, Mask]) -> None:
    found, truth = masks
    if found.any() or truth.any():
        assert dice(found, truth) == pytest.approx(1 - distance.dice(found.ravel(), truth.ravel()))
        assert iou(found, truth) == pytest.approx(1 - distance.jaccard(found.ravel(), truth.ravel()))
    else:
        assert dice(found, truth) == iou(found, truth) == 1


def prediction(shape: tuple[int, int], seed: int) -> tuple[NDArray[np.float32], Mask]:
    """A mask, and a probability that is like it to a degree."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.random((shape[0] // 4 + 1, shape[1] // 4 + 1)) < 0.3, np.ones((4, 4), bool))
    truth = truth[: shape[0], : shape[1]]
    noise = rng.random(shape, np.float32)
    return np.clip(truth + rng.uniform(0, 0.8) * (noise - 0.5), 0, 1).astype(np.float32), truth


@given(st.integers(0, 1000), st.integers(11, 40), st.integers(11, 40))
def test_images_against_another_implementation(seed: int, rows: int, columns: int) -> None:
    probability, truth = prediction((rows, columns), seed)
    true = truth.astype(np.float32)
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    expected = metrics.structural_similarity(true, probability, **window)  # type: ignore[no-untyped-call]
    assert ssim(probability, truth) == pytest.approx(expected, abs=1e-5)
    error = metrics.mean_squared_error(true, probability)
    if error > 1e-9:
        expected = metrics.peak_signal_noise_ratio(true, probability, data_range=1)  # type: ignore[no-untyped-call]
        assert psnr(probability, truth) == pytest.approx(expected, abs=1e-4)


@given(MASKS)
def test_images_of_any_size(masks: tuple[Mask, Mask]) -> None:
    found, truth = masks
    assert -1 <= ssim(found.astype(np.float32), truth) <= 1 + 1e-6
    assert ssim(truth.astype(np.float32), truth) == pytest.approx(1)
    assert 0 <= psnr(found.astype(np.float32), truth) <= 100
    assert psnr(truth.astype(np.float32), truth) == 100  # where it would be infinite


def loops(found: NDArray, truth: NDArray, threshold: float) -> tuple[float, float]:
    """Average precision and F1, pair by pair of objects, each a set of pixels."""

    def objects(labels: NDArray) -> list[set[tuple[int, ...]]]:
        return [set(zip(*np.nonzero(labels == label), strict=True)) for label in np.unique(labels) if label]

    ours, theirs = objects(found), objects(truth)
    hits = sum(len(a & b) / len(a | b) > threshold for a in ours for b in theirs)
    wrong = len(ours) - hits
    missed = len(theirs) - hits
    if not ours and not theirs:
        return 1.0, 1.0
    return hits / (hits + wrong + missed), 2 * hits / (2 * hits + wrong + missed)


@given(PAIRS, st.sampled_from(THRESHOLDS))
def test_objects_against_loops(labels: tuple[NDArray, NDArray], threshold: float) -> None:
    found, truth = labels
    matches = match(found, truth)
    assert (matches.average_precision(threshold), matches.f1(threshold)) == loops(found, truth, threshold)
    assert average_precision(truth, found, threshold) == matches.average_precision(threshold)
    assert average_precision(found, found.astype(np.uint32) * 3, threshold) == 1


def test_the_thresholds_are_those_of_the_benchmark() -> None:
    assert THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_an_iou_of_the_threshold_is_no_hit() -> None:
    truth = np.array([[1, 1, 0]])
    assert average_precision(np.array([[1, 0, 0]]), truth) == 0
    assert average_precision(np.array([[1, 1, 1]]), truth) == 1


def test_many_cells_need_no_table_of_all_pairs() -> None:
    labels = np.arange(90_000).reshape(300, 300)  # as a table: 8 billion pairs
    assert average_precision(labels, labels) == 1
