from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from bundles import known, squares, tiny_bundle
from elmgan.counting import Model, Result
from elmgan.data import Record
from elmgan.errors import DataError, ImageError
from elmgan.scores import dice, summarise
from elmgan.scores.score import compare
from elmgan.work import score_image

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
    larger = cv2.dilate(LABELS, np.ones((3, 3), np.uint8))  # an IoU of 96 / 144 each
    tifffile.imwrite(files / "labels.tif", larger)
    record = Record("a", files / "image.tif", None, files / "labels.tif", None, "a", "")
    score = score_image(model, record)
    result = model.count(IMAGE)
    assert (score.image, score.estimate, score.truth) == ("a.tif", result.estimate, CELLS)
    assert (score.low, score.high) == (None, None)
    assert score.dice == dice(known(result.mask), larger > 0)
    assert score.ap50 == score.f1 == 1
    assert score.ap50_95 == pytest.approx(0.4)  # right up to 0.65


def test_without_labels_there_is_no_average_precision(model: Model, files: Path) -> None:
    record = Record("a", files / "image.tif", files / "mask.tif", None, 5, "a", "")
    with_labels = score_image(model, Record("a", files / "image.tif", None, files / "labels.tif", 5, "a", ""))
    scores = asdict(score_image(model, record))
    unknown = {"ap50": None, "ap50_95": None, "f1": None}
    assert scores == asdict(with_labels) | unknown


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


def test_each_part_of_the_truth_may_be_lacking() -> None:
    mask = LABELS > 0
    result = Result(
        mask.shape, 6.4, mask, mask.astype(np.float32), np.full((1, 1), 6.4, np.float32), (), interval=(5.0, 8.0)
    )
    known = {
        name: value for name, value in asdict(compare(result, None, None, 7, image="a")).items() if value is not None
    }
    assert set(known) == {"image", "kind", "group", "truth", "estimate", "low", "high", "flags", "unlike", "scale"}
    assert (known["low"], known["high"]) == (5, 8)
    score = compare(result, mask, None, None, image="a")
    assert (score.truth, score.dice, score.iou, score.psnr, score.ap50) == (None, 1, 1, 100, None)


def test_what_cannot_be_compared_is_named(model: Model, files: Path) -> None:
    tifffile.imwrite(files / "mask.tif", LABELS[:1])  # would fit by broadcasting
    with pytest.raises(DataError, match=r"mask\.tif: is 1 rows by 120 columns, its image 96 rows"):
        score_image(model, Record("a", files / "image.tif", files / "mask.tif", None, 5, "a", ""))
    tifffile.imwrite(files / "image.tif", np.dstack([IMAGE, IMAGE]), planarconfig="contig", photometric="minisblack")
    with pytest.raises(ImageError, match=r"image\.tif: YXC .* has channels 1, 2; name one"):
        score_image(model, Record("a", files / "image.tif", files / "mask.tif", None, 5, "a", ""))
