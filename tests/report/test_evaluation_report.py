from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from bundles import squares, tiny_bundle
from elmgan.counting import Failure, Model
from elmgan.data import Record
from elmgan.report import run_record
from elmgan.report.evaluation import MOST_FAILED, WORST, Case, evaluation_report, worst
from elmgan.report.score_plots import Counts, agreement, bland_altman, error_by_count, predicted_against_true
from elmgan.scores import Score
from elmgan.scores.metrics import metrics_of
from elmgan.trust import REMEDY
from pages import Links

MODEL = Model(tiny_bundle())


def score(name: str, truth: float | None, estimate: float, **fields: Any) -> Score:
    return Score(image=name, group=name, truth=truth, estimate=estimate, **fields)


def page(scores: list[Score], others: list[Score], cases: list[Case], failed: list[Failure]) -> str:
    run = run_record(MODEL, {}) | {"seconds": 2.5}
    return evaluation_report(metrics_of(scores, others, failed, seed=3, run=run), scores, others, cases)


def test_the_page_loads_nothing_and_shows_everything() -> None:
    name = "<script>alert('x')</script> & $facts"
    mask = {"dice": 0.91234, "iou": 0.8, "psnr": 20.0, "ssim": 0.9}
    scores = [score(name, 10, 12.25, kind="a<b/c", **mask), score("plain", 30, 29, kind="d")]
    others = [score(name, 10, 500, kind="a<b/c", **mask), score("plain", 30, 30, kind="d")]
    picture = "data:image/jpeg;base64,"
    read = Links(page(scores, others, [Case(scores[0], picture, picture)], [Failure(image="b.tif", error="is <bad>")]))
    assert all(address.startswith("data:") for address in read.loaded)
    assert len(read.loaded) == 3  # two pictures and the icon
    assert read.tags.count("script") == 1  # the page's own
    assert read.tags.count("svg") == 3
    for shown in (name, "10 → 12.2", "0.9123", "a<b/c", "b.tif", "is <bad>", MODEL.version, "2000 draws with seed 3"):
        assert shown in read.text


def test_a_page_of_masks_alone_has_no_plots() -> None:
    mask = {"dice": 0.5, "iou": 0.4, "psnr": 10.0, "ssim": 0.3}
    scores = [score("a", None, 3, **mask), score("b", None, 4, **mask)]
    read = Links(page(scores, scores, [], []))
    assert "svg" not in read.tags
    assert "MAE" not in read.text
    assert "0.5000 to 0.5000" in read.text


def test_the_page_says_in_words_how_good_the_counts_are() -> None:
    scores = [score("a", 10, 12, low=9, high=14, flags=("blurred",)), score("b", 20, 20, low=30, high=31)]
    read = Links(page(scores, scores, [], []))
    for shown in (
        "A count is 1.0 cells off on average, where an image has 15.0 cells.",
        "On average 1.0 cells too many are counted.",
        "50 % of the true counts lie in their interval; 90 % should.",
        f"1 of 2 images are flagged, most often blurred (1): {REMEDY['blurred']}.",
    ):
        assert shown in read.text


def test_a_page_of_failures_alone() -> None:
    failure = Failure(image="a.tif", error="damaged")
    read = Links(page([], [], [], [failure]))
    assert "These are in no score." in read.text
    assert "svg" not in read.tags
    assert "metrics.json has 7 more" in Links(page([], [], [], [failure] * (MOST_FAILED + 7))).text


def test_the_worst_images_come_first_and_once() -> None:
    scores = [score(str(k), k, k + (-1) ** k * k, dice=0.9 - 0.01 * k) for k in range(20)]
    scores += [score("uncounted", None, 5, dice=0.1), score("unmasked", 1, 1)]
    names = [each.image for each in worst(scores)]
    assert names[:WORST] == ["19", "18", "17", "16", "15", "14"]
    assert names[WORST:] == ["uncounted", "13", "12", "11", "10", "9"]
    assert worst([]) == []


def test_a_case_shows_truth_and_result(tmp_path: Path) -> None:
    image = squares(3)
    tifffile.imwrite(tmp_path / "a.tif", image)
    tifffile.imwrite(tmp_path / "mask.tif", (image > 1000).astype(np.uint8))
    record = Record("a", tmp_path / "a.tif", tmp_path / "mask.tif", None, 3, "a", "")
    case = Case.of(MODEL, record, Score(image="a", truth=3, estimate=3))
    assert case.truth.startswith("data:image/jpeg;base64,")
    assert case.truth != case.found


@pytest.mark.parametrize("number", [1, 2, 60])
@pytest.mark.parametrize("draw", [predicted_against_true, bland_altman, error_by_count])
def test_plots_of_any_counts(number: int, draw: Any) -> None:
    for truth in (0.0, 7.0):
        scores = [score(f"{k}", truth, truth) for k in range(number)] + [score("uncounted", None, 3)]
        plot = ElementTree.fromstring(draw(Counts.of(scores, scores)))
        assert len(plot.findall("circle")) == number * (1 if draw is bland_altman else 2)


def test_limits_of_agreement_hold_95_percent() -> None:
    errors = np.random.default_rng(1).normal(2, 3, 5000)
    scores = [score("a", 100, 100 + error) for error in errors]
    bias, reach = agreement(Counts.of(scores, scores))
    assert np.mean(np.abs(errors - bias) <= reach) == pytest.approx(0.95, abs=0.01)
