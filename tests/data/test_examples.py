from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from elmgan.data import Record, load_example
from elmgan.errors import DataError, ImageError
from elmgan.light import Normalisation, to_grey

LABELS = np.zeros((20, 30), np.uint16)
LABELS[2:6, 2:8] = 7
LABELS[4:9, 8:12] = 9  # touches the first
LABELS[15:, 25:] = 300  # cut by the corner
DOTS = np.zeros((20, 30), np.uint8)
DOTS[[4, 7, 18], [5, 10, 27]] = 255
IMAGE = np.where(LABELS > 0, 200, 20).astype(np.uint8)


def record(folder: Path, *, image: NDArray = IMAGE, count: float | None = None, **annotations: NDArray) -> Record:
    """A record whose files hold these arrays."""
    files = {name: folder / f"{name}.tif" for name in ("mask", "labels", "dots") if name in annotations}
    for name, path in files.items():
        tifffile.imwrite(path, annotations[name])
    tifffile.imwrite(folder / "image.tif", image)
    return Record(
        "a", folder / "image.tif", files.get("mask"), files.get("labels"), count, "a", "kind", files.get("dots")
    )


def test_labels_are_reduced_to_regions_shares_and_total(tmp_path: Path) -> None:
    example = load_example(record(tmp_path, labels=LABELS, mask=IMAGE), Normalisation())
    np.testing.assert_array_equal(example.regions, np.searchsorted([0, 7, 9, 300], LABELS))
    np.testing.assert_array_equal(example.mask, LABELS > 0)
    np.testing.assert_array_equal(example.image, Normalisation()(to_grey(IMAGE)))
    assert example.shares is not None
    assert example.shares.tolist() == pytest.approx([0, 1 / 24, 1 / 20, 1 / 25])
    assert (example.name, example.kind, example.total) == ("a", "kind", 3)


def test_a_mask_and_a_count_are_enough(tmp_path: Path) -> None:
    colour = np.stack([IMAGE, IMAGE // 2, IMAGE], axis=-1)
    example = load_example(
        record(tmp_path, image=colour, mask=(LABELS > 0) * np.uint8(255), count=3.5), Normalisation()
    )
    np.testing.assert_array_equal(example.regions, LABELS > 0)
    np.testing.assert_array_equal(example.image, Normalisation()(to_grey(colour)))
    assert example.regions is not None
    assert example.regions.dtype == np.uint16
    assert example.shares is None
    assert example.total == 3.5


def test_an_image_without_cells_has_none(tmp_path: Path) -> None:
    example = load_example(record(tmp_path, labels=np.zeros_like(LABELS)), Normalisation())
    assert example.mask is not None
    assert not example.mask.any()
    assert example.total == 0


def test_labels_go_before_dots(tmp_path: Path) -> None:
    assert load_example(record(tmp_path, labels=np.minimum(LABELS, 7), dots=DOTS), Normalisation()).total == 1


def test_a_given_count_goes_before_the_number_of_labels(tmp_path: Path) -> None:
    assert load_example(record(tmp_path, labels=LABELS, count=5), Normalisation()).total == 5


@pytest.mark.parametrize("annotations", [{"mask": LABELS}, {"count": 3}, {"dots": DOTS}])
def test_what_is_not_known_is_none(tmp_path: Path, annotations: dict) -> None:
    example = load_example(record(tmp_path, **annotations), Normalisation())
    assert (example.regions is None) == (example.mask is None) == ("mask" not in annotations)
    assert example.total == (None if "mask" in annotations else 3)
    assert example.shares is None


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({"mask": LABELS.T, "count": 3}, r"mask\.tif: is 30 rows by 20 columns, its image 20 rows by 30 columns"),
        ({"labels": LABELS[:1]}, r"labels\.tif: is 1 rows by 30 columns, its image 20 rows"),
        ({"labels": np.minimum(LABELS, 1), "count": 3}, r"labels\.tif: has one label for 3 cells; if it is a mask"),
        ({"mask": LABELS, "count": 0}, r"mask\.tif: has foreground, but the count is 0; correct the count"),
        ({"mask": 0 * LABELS, "count": 3}, r"mask\.tif: the mask of a has no foreground, and its count is 3"),
        (
            {"mask": 0 * LABELS, "dots": DOTS},
            r"mask\.tif: the mask of a has no foreground, and its count is 3",
        ),
        (
            {"labels": 0 * LABELS, "count": 3},
            r"the label image of a has no foreground, and its count is 3",
        ),
    ],
)
def test_an_annotation_that_does_not_fit_is_refused(tmp_path: Path, annotations: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_example(record(tmp_path, **annotations), Normalisation())


def test_an_image_of_two_channels_is_named(tmp_path: Path) -> None:
    two = record(tmp_path, labels=LABELS)
    tifffile.imwrite(two.image, np.dstack([IMAGE, IMAGE]), planarconfig="contig", photometric="minisblack")
    with pytest.raises(ImageError, match=r"image\.tif: YXC .* has channels 1, 2; name one"):
        load_example(two, Normalisation())
