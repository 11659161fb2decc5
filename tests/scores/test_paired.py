"""Differences of two methods on the same images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmgan.scores import Score
from elmgan.scores.paired import Difference, differences
from elmgan.scores.summary import Tally, tally

SEEDS, UNITS = 3, 12


def tallies(errors: np.ndarray, dices: np.ndarray) -> Tally:
    """Of counts of 10, 11, ... with these errors, (seed, unit)."""
    return np.stack(
        [
            np.stack(
                [
                    tally([Score(image=str(k), truth=10 + k, estimate=10 + k + error, dice=d, iou=d, psnr=d, ssim=d)])
                    for k, (error, d) in enumerate(zip(of_seed, dice, strict=True))
                ]
            )
            for of_seed, dice in zip(errors, dices, strict=True)
        ]
    )


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((SEEDS, UNITS))


def test_by_hand() -> None:
    these, those = tallies(1 + drawn(0), drawn(1)), tallies(3 + drawn(2), drawn(3))
    found = differences(these, those, rng=np.random.default_rng(0))
    for name, ours, theirs in (("mae", 1 + drawn(0), 3 + drawn(2)), ("dice", drawn(1), drawn(3))):
        by_seed = ours.mean(axis=1) - theirs.mean(axis=1)
        assert found[name].by_seed == pytest.approx(by_seed)
        assert found[name].value == pytest.approx(by_seed.mean())
        # A mean's bootstrap interval is close to that of the normal distribution: 1.96 standard errors to both sides.
        error = (ours - theirs).mean(axis=0).std() / np.sqrt(UNITS)
        assert found[name].high - found[name].value == pytest.approx(1.96 * error, rel=0.25)
        assert found[name].value - found[name].low == pytest.approx(1.96 * error, rel=0.25)
    assert found["mae"].sure
    squared = [np.sqrt((part**2).mean(axis=1)) for part in (1 + drawn(0), 3 + drawn(2))]
    assert found["rmse"].by_seed == pytest.approx(squared[0] - squared[1])


@given(st.integers(0, 2**32 - 1))
def test_the_same_images_are_drawn_for_both(seed: int) -> None:
    """So that a method that is better on every image by the same is so without doubt, however images differ."""
    hard = 5 * drawn(seed)
    found = differences(tallies(hard, drawn(1)), tallies(hard + 0.5, drawn(1)), rng=np.random.default_rng(seed))
    assert [found["mae"].low, found["mae"].high] == pytest.approx([-0.5, -0.5])
    assert found["mae"].sure
    assert (found["dice"].low, found["dice"].value, found["dice"].high) == (0, 0, 0)
    assert not found["dice"].sure


def test_the_other_way_round() -> None:
    these, those = tallies(drawn(0), drawn(1)), tallies(drawn(2), drawn(3))
    there = differences(these, those, rng=np.random.default_rng(5))
    back = differences(those, these, rng=np.random.default_rng(5))
    for name in ("mae", "dice"):
        turned = back[name].times(-1)
        assert (turned.low, turned.value, turned.high) == pytest.approx(
            (there[name].low, there[name].value, there[name].high)
        )
        assert turned.by_seed == pytest.approx(there[name].by_seed)


@pytest.mark.parametrize(
    ("ends", "seeds", "sure"),
    [((0.1, 0.3), (0.2, 0.2), True), ((-0.1, 0.3), (0.2, 0.2), False), ((0.1, 0.3), (0.5, -0.1), False)],
)
def test_what_is_sure(ends: tuple[float, float], seeds: tuple[float, ...], sure: bool) -> None:
    assert Difference(0.2, *ends, seeds).sure == sure


def test_what_cannot_be_compared() -> None:
    ours, theirs = tallies(drawn(0), drawn(1)), tallies(drawn(2), drawn(3))
    with pytest.raises(ValueError, match=r"seeds and units differ: \(3, 12\) and \(2, 12\)"):
        differences(ours, theirs[:2], rng=np.random.default_rng(0))
    assert differences(ours[:, :1], theirs[:, :1], rng=np.random.default_rng(0)) == {}
