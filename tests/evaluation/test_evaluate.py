from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from bundles import squares, tiny_bundle
from elmgan.data import Record
from elmgan.errors import DataError, ImageError
from elmgan.evaluation import Score, score_image, summarise
from elmgan.inference import Model

CELLS = 7
IMAGE = squares(CELLS)
LABELS = cv2.connectedComponents((IMAGE > 1000).astype(np.uint8))[1].astype(np.uint16)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(tiny_bundle())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "image.tif", IMAGE)
    tifffile.imwrite(tmp_path / "mask.tif", (LABELS > 0).astype(np.uint8))
    tifffile.imwrite(tmp_path / "labels.tif", LABELS)
    return tmp_path


def test_an_image_is_counted_as_a_user_counts_it(model: Model, files: Path) -> None:
    record = Record("a", files / "image.tif", None, files / "labels.tif", None, "a", "")
    score = score_image(model, record)
    result = model.count(IMAGE)
    assert (score.record, score.estimate, score.truth) == (record, result.estimate, CELLS)
    assert score.dice == pytest.approx(
        2 * np.sum(result.mask & (LABELS > 0)) / (result.mask.sum() + (LABELS > 0).sum())
    )
    assert float(score.dice or 0) > 0.9
    assert score.ap50 == 1


def test_without_labels_there_is_no_average_precision(model: Model, files: Path) -> None:
    record = Record("a", files / "image.tif", files / "mask.tif", None, 5, "a", "")
    with_labels = score_image(model, Record("a", files / "image.tif", None, files / "labels.tif", 5, "a", ""))
    score = score_image(model, record)
    assert score == Score(record, with_labels.estimate, 5, with_labels.dice, None)


def test_what_is_not_known_is_not_scored(model: Model, files: Path) -> None:
    image, mask = files / "image.tif", files / "mask.tif"
    counted = score_image(model, Record("a", image, None, None, 5, "a", ""))
    assert (counted.truth, counted.dice) == (5, None)
    masked = score_image(model, Record("b", image, mask, None, None, "b", ""))
    assert (masked.truth, masked.ap50) == (None, None)
    assert masked.dice is not None
    assert summarise([masked])["all"].keys() == {"images", "dice"}
    both = summarise([counted, masked])["all"]
    assert both["dice"] == pytest.approx(masked.dice, abs=1e-4)
    assert (both["images"], both["mean_count"]) == (2, 5)


def test_what_cannot_be_compared_is_named(model: Model, files: Path) -> None:
    tifffile.imwrite(files / "mask.tif", LABELS[:1])  # would fit by broadcasting
    with pytest.raises(DataError, match=r"mask\.tif: is 1 rows by 120 columns, its image 96 rows"):
        score_image(model, Record("a", files / "image.tif", files / "mask.tif", None, 5, "a", ""))
    tifffile.imwrite(files / "image.tif", np.dstack([IMAGE, IMAGE]), planarconfig="contig", photometric="minisblack")
    with pytest.raises(ImageError, match=r"image\.tif.* 2 channels"):
        score_image(model, Record("a", files / "image.tif", files / "mask.tif", None, 5, "a", ""))


def test_scores_are_averaged_over_kinds_and_the_kinds_above() -> None:
    def score(kind: str, estimate: float, truth: float, dice: float, ap50: float | None = None) -> Score:
        return Score(Record("a", Path("a.tif"), None, None, truth, "a", kind), estimate, truth, dice, ap50)

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
