import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance
from skimage import metrics

from elmgan.scores import SCORES, Score, count_scores, summarise
from elmgan.scores.summary import by_kind, compute, defined, intervals, tally

COUNTS = st.floats(0, 5000).map(lambda count: round(count, 2))
UNIT = st.floats(0, 1)


COUNTED = st.fixed_dictionaries({"truth": COUNTS}, optional={"low": COUNTS, "high": COUNTS})
MASKED = st.fixed_dictionaries(dict.fromkeys(("dice", "iou", "psnr", "ssim"), UNIT))
LABELLED = st.fixed_dictionaries(dict.fromkeys(("ap50", "ap50_95", "f1"), UNIT))
SOME = st.lists(
    st.builds(
        lambda estimate, *known: Score(
            image="a", estimate=estimate, **({"truth": None} | {k: v for part in known for k, v in part.items()})
        ),
        COUNTS,
        COUNTED | st.just({}),
        MASKED | st.just({}),
        LABELLED | st.just({}),
    ),
    max_size=6,
)


@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=20))
def test_counts_against_other_implementations(pairs: list[tuple[float, float]]) -> None:
    estimates, truths = np.array(pairs).T
    scores = count_scores(estimates, truths)
    assert scores["mae"] == pytest.approx(distance.cityblock(estimates, truths) / len(pairs))
    assert scores["rmse"] ** 2 == pytest.approx(metrics.mean_squared_error(truths, estimates))
    assert scores["bias"] == pytest.approx(estimates.mean() - truths.mean(), abs=1e-9)
    relative = [abs(estimate / max(truth, 1) - truth / max(truth, 1)) for estimate, truth in pairs]
    assert scores["relative_error"] == pytest.approx(np.mean(relative), abs=1e-9)


@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=3, max_size=20))
def test_correlation_against_other_implementations(pairs: list[tuple[float, float]]) -> None:
    estimates, truths = np.array(pairs).T
    scores = count_scores(estimates, truths)
    if truths.std() > 0.01:
        expected = 1 - np.sum((estimates - truths) ** 2) / np.sum((truths - truths.mean()) ** 2)
        assert scores["r2"] == pytest.approx(expected, rel=1e-4)
        if estimates.std() > 0.01:
            assert scores["pearson"] == pytest.approx(stats.pearsonr(estimates, truths)[0], abs=1e-4)


def test_too_high_is_a_positive_bias() -> None:
    assert count_scores([12, 11], [10, 10])["bias"] == 1.5


@pytest.mark.parametrize("number", [1, 7])
def test_what_is_not_defined_is_left_out(number: int) -> None:
    scores = count_scores([0.1 + k for k in range(number)], [0.3] * number)
    assert set(scores) == {"mae", "rmse", "relative_error", "bias"}
    assert count_scores([], []) == {}
    assert set(count_scores([0.3] * 3, [1, 2, 3])) == {*scores, "r2"}


@given(SOME, SOME)
def test_tallies_add_up(a: list[Score], b: list[Score]) -> None:
    np.testing.assert_allclose(tally(a) + tally(b), tally(a + b))
    np.testing.assert_allclose(tally(a), tally(a[::-1]))


@given(SOME)
def test_only_known_things_count(scores: list[Score]) -> None:
    values = defined(compute(tally(scores)))
    assert set(values) <= set(SCORES)
    for name in ("dice", "psnr", "ap50_95", "f1"):
        known = [getattr(score, name) for score in scores if getattr(score, name) is not None]
        assert values.get(name) == (pytest.approx(np.mean(known)) if known else None)
    covered = [score.low <= score.truth <= score.high for score in scores if None not in (score.low, score.high)]  # type: ignore[operator]
    assert values.get("coverage") == (pytest.approx(np.mean(covered)) if covered else None)


def counted(errors: list[float]) -> list[Score]:
    return [Score(image="a", truth=float(k), estimate=k + error) for k, error in enumerate(errors)]


def test_intervals_against_another_implementation() -> None:
    rng = np.random.default_rng(3)
    errors = rng.normal(2, 5, 60)
    ends = intervals(np.stack([tally([score]) for score in counted(list(errors))]), rng=rng, resamples=4000)
    for name, values in (("mae", np.abs(errors)), ("bias", errors)):
        low, high = stats.bootstrap((values,), np.mean, method="percentile", rng=4).confidence_interval
        assert ends[name] == pytest.approx((low, high), abs=0.15)
    assert "mean_count" not in ends


def test_intervals_are_drawn_anew_by_the_same_seed() -> None:
    units = np.stack([tally([score]) for score in counted([0.3 * k * k for k in range(9)])])
    first, again, other = (intervals(units, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert intervals(units[:1], rng=np.random.default_rng(1)) == {}
    assert set(intervals(units[:2], rng=np.random.default_rng(1))) == {"mae", "rmse", "relative_error", "bias"}


def test_images_that_belong_together_are_drawn_together() -> None:
    errors = [4.0, -4.0] * 10  # each pair is without bias
    single = np.stack([tally([score]) for score in counted(errors)])
    pairs = single.reshape(10, 2, -1).sum(axis=1)
    low, high = intervals(single, rng=np.random.default_rng(1))["bias"]
    assert low < -1 < 1 < high
    assert intervals(pairs, rng=np.random.default_rng(1))["bias"] == (0, 0)


def test_scores_are_averaged_over_kinds_and_the_kinds_above() -> None:
    def score(kind: str, estimate: float, truth: float, dice: float, ap50: float | None = None) -> Score:
        known = {} if ap50 is None else {"ap50": ap50, "ap50_95": ap50, "f1": ap50}
        return Score(image="a", kind=kind, truth=truth, estimate=estimate, dice=dice, iou=0, psnr=0, ssim=0, **known)  # type: ignore[arg-type]

    table = summarise(
        [score("x/bright", 12, 10, 0.9, 0.5), score("x/dark", 18, 20, 0.8), score("x", 3, 3, 1), score("", 1, 2, 0)]
    )
    assert table == {
        "all": {"images": 4, "mean_count": 8.75, "mae": 1.25, "rmse": 1.5, "bias": -0.25, "dice": 0.675, "ap50": 0.5},
        "x": {"images": 3, "mean_count": 11, "mae": 1.3333, "rmse": 1.633, "bias": 0, "dice": 0.9, "ap50": 0.5},
        "x/bright": {"images": 1, "mean_count": 10, "mae": 2, "rmse": 2, "bias": 2, "dice": 0.9, "ap50": 0.5},
        "x/dark": {"images": 1, "mean_count": 20, "mae": 2, "rmse": 2, "bias": -2, "dice": 0.8},
    }
    assert next(iter(table)) == "all"
    assert summarise([]) == {}


def test_a_kind_named_all_counts_once() -> None:
    assert by_kind([Score(image="a", kind="all", truth=1, estimate=1)]) == {"all": [0]}


def test_of_two_values_the_better_costs_less() -> None:
    cost = {name: meaning.cost for name, meaning in SCORES.items()}
    assert cost["mae"](1) < cost["mae"](2)
    assert cost["dice"](0.9) < cost["dice"](0.8)
    assert cost["bias"](-1) < cost["bias"](2)
    assert not cost["coverage"](0.9) < cost["coverage"](0.5)
