import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy.spatial import distance
from skimage import metrics

from elmgan.evaluation import average_precision, count_scores, dice

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=8)
COUNTS = st.floats(0, 5000).map(lambda count: round(count, 2))
LABELS = st.integers(0, 4) | st.sampled_from([70, 1000])
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(*[arrays(np.uint16, shape, elements=LABELS)] * 2))


@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=20))
def test_counts_against_other_implementations(pairs: list[tuple[float, float]]) -> None:
    estimates, truths = np.array(pairs).T
    scores = count_scores(estimates, truths)
    assert scores["mae"] == pytest.approx(distance.cityblock(estimates, truths) / len(pairs))
    assert scores["rmse"] ** 2 == pytest.approx(metrics.mean_squared_error(truths, estimates))
    assert scores["bias"] == pytest.approx(estimates.mean() - truths.mean(), abs=1e-9)


def test_too_high_is_a_positive_bias() -> None:
    assert count_scores([12, 11], [10, 10])["bias"] == 1.5


@given(SHAPES.flatmap(lambda shape: st.tuples(*[arrays(np.bool_, shape)] * 2)))
def test_dice_against_another_implementation(masks: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> None:
    found, truth = masks
    if found.any() or truth.any():
        assert dice(found, truth) == pytest.approx(1 - distance.dice(found.ravel(), truth.ravel()))
    else:
        assert dice(found, truth) == 1


def loops(found: NDArray, truth: NDArray, threshold: float) -> float:
    """Average precision, pair by pair of objects, each a set of pixels."""

    def objects(labels: NDArray) -> list[set[tuple[int, ...]]]:
        return [set(zip(*np.nonzero(labels == label), strict=True)) for label in np.unique(labels) if label]

    ours, theirs = objects(found), objects(truth)
    hits = sum(len(a & b) / len(a | b) > threshold for a in ours for b in theirs)
    wrong = len(ours) - hits
    missed = len(theirs) - hits
    return hits / (hits + wrong + missed) if ours or theirs else 1.0


@given(PAIRS, st.sampled_from([0.5, 0.6, 0.75]))
def test_average_precision_against_loops(labels: tuple[NDArray, NDArray], threshold: float) -> None:
    found, truth = labels
    assert average_precision(found, truth, threshold) == pytest.approx(loops(found, truth, threshold))
    assert average_precision(truth, found, threshold) == average_precision(found, truth, threshold)
    assert average_precision(found, found.astype(np.uint32) * 3, threshold) == 1


def test_an_iou_of_the_threshold_is_no_hit() -> None:
    truth = np.array([[1, 1, 0]])
    assert average_precision(np.array([[1, 0, 0]]), truth) == 0
    assert average_precision(np.array([[1, 1, 1]]), truth) == 1


def test_many_cells_need_no_table_of_all_pairs() -> None:
    labels = np.arange(90_000).reshape(300, 300)  # as a table: 8 billion pairs
    assert average_precision(labels, labels) == 1
