from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from elmgan.counting import hills, separate, separation
from elmgan.data.synthetic import SyntheticScene, draw
from elmgan.scores import average_precision


def assert_partition(mask: NDArray[np.bool_], labels: NDArray[np.uint32]) -> None:
    """The labels cover the mask and nothing else, each in one piece, numbered in reading order."""
    assert labels.dtype == np.uint32
    assert np.array_equal(labels > 0, mask)
    names, first = np.unique(labels[mask], return_index=True)
    assert names.tolist() == list(range(1, len(names) + 1))
    assert np.all(np.diff(first) > 0)
    assert all(cv2.connectedComponents((labels == name).astype(np.uint8))[0] == 2 for name in names)


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)))
def test_any_mask_is_partitioned(mask: NDArray[np.bool_]) -> None:
    assert_partition(mask, separate(mask))


@given(seed=st.integers(0, 2**32), sigma=st.floats(1, 6))
def test_blobs_are_partitioned(seed: int, sigma: float) -> None:
    mask = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal((70, 50)), (0, 0), sigma) > 0
    assert_partition(mask, separate(mask))


@pytest.mark.parametrize("radius", [5, 12, 40])
def test_touching_discs_are_split_at_any_size(radius: int) -> None:
    mask = np.zeros((5 * radius, 8 * radius), np.uint8)
    for column in (2 * radius, 4 * radius - radius // 4, 6 * radius - radius // 2):
        cv2.circle(mask, (column, 2 * radius), radius, 1, cv2.FILLED)
    assert cv2.connectedComponents(mask)[0] == 2
    assert separate(mask > 0).max() == 3


@pytest.mark.parametrize("axes", [(9, 5), (30, 12), (60, 20)])
@pytest.mark.parametrize("angle", [0, 20, 45])
def test_an_ellipse_is_one_cell(axes: tuple[int, int], angle: int) -> None:
    mask = cv2.ellipse(np.zeros((150, 150), np.uint8), (75, 75), axes, angle, 0, 360, 1, cv2.FILLED)
    assert separate(mask > 0).max() == 1


@pytest.mark.parametrize("size", [9, 60])
def test_a_box_is_one_cell(size: int) -> None:
    assert separate(np.pad(np.ones((size, 2 * size), bool), 5)).max() == 1


def test_a_thread_binds_no_cells_and_is_none() -> None:
    mask = np.zeros((40, 100), np.uint8)
    cv2.circle(mask, (20, 20), 12, 1, cv2.FILLED)
    cv2.line(mask, (20, 20), (75, 20), 1)
    assert separate(mask > 0).max() == 1
    cv2.circle(mask, (75, 20), 12, 1, cv2.FILLED)
    assert separate(mask > 0).max() == 2


def test_empty_and_full_masks() -> None:
    assert separate(np.zeros((7, 9), bool)).max() == 0
    assert np.array_equal(separate(np.ones((7, 9), bool)), np.ones((7, 9)))


def counted(mask: NDArray[np.bool_], cells: float) -> NDArray[np.float32]:
    """A count map that spreads so many cells evenly over a mask."""
    blocks = np.add.reduceat(
        np.add.reduceat(mask.astype(np.float32), np.arange(0, mask.shape[0], 4), 0), np.arange(0, mask.shape[1], 4), 1
    )
    return np.asarray(cells * blocks / blocks.sum(), np.float32)


def dumbbell(distance: int) -> NDArray[np.bool_]:
    """Two discs of radius 20 that overlap, the more so the nearer."""
    mask = np.zeros((60, 120), np.uint8)
    for column in (40, 40 + distance):
        cv2.circle(mask, (column, 30), 20, 1, cv2.FILLED)
    return mask > 0


@pytest.mark.parametrize(("distance", "by_shape"), [(17, 1), (24, 2)])
def test_the_count_decides_where_the_neck_is_slight(distance: int, by_shape: int) -> None:
    mask = dumbbell(distance)
    assert separate(mask).max() == by_shape
    assert separate(mask, counted(mask, 1)).max() == 1
    assert separate(mask, counted(mask, 2)).max() == 2


def test_the_shape_decides_where_it_is_clear() -> None:
    apart, disc = dumbbell(38), dumbbell(0)
    assert separate(apart, counted(apart, 1)).max() == 2
    assert separate(disc, counted(disc, 2)).max() == 1


def test_what_is_not_counted_is_no_cell() -> None:
    mask = dumbbell(70)
    map_of_one = counted(mask, 2)
    map_of_one[:, 16:] = 0
    labels = separate(mask, map_of_one)
    assert labels.max() == 1
    assert np.array_equal(labels > 0, mask & (np.arange(120) < 64))
    assert separate(mask, np.zeros_like(map_of_one)).max() == 0


@given(seed=st.integers(0, 2**32), cells=st.floats(0, 50))
def test_cells_by_shape_and_count_are_pieces_of_the_mask(seed: int, cells: float) -> None:
    rng = np.random.default_rng(seed)
    mask = cv2.GaussianBlur(rng.standard_normal((70, 50)), (0, 0), 3) > 0
    labels = separate(mask, counted(mask, cells) * rng.random((18, 13), np.float32))
    assert_partition(labels > 0, labels)
    assert not labels[~mask].any()


@given(seed=st.integers(0, 2**32), sigma=st.floats(1, 6), rows=st.integers(1, 90), counts=st.booleans())
def test_a_large_mask_is_separated_as_a_small_one(seed: int, sigma: float, rows: int, counts: bool) -> None:
    rng = np.random.default_rng(seed)
    mask = cv2.GaussianBlur(rng.standard_normal((rows, 50)), (0, 0), sigma) > 0
    assume(mask.any())
    count_map = counted(mask, 20) * rng.random((-(-rows // 4), 13), np.float32) if counts else None
    whole = separate(mask, count_map)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(separation, "STRIP_PIXELS", 400)  # of 8 rows
        patch.setattr(hills, "SOME", 150)
        assert np.array_equal(separate(mask, count_map), whole)


@given(seed=st.integers(0, 2**32), sigma=st.floats(1, 9))
def test_distances_are_the_nearest_numbers_to_the_true_ones(seed: int, sigma: float) -> None:
    mask = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal((90, 70)), (0, 0), sigma) > 0
    assume(not mask.all())
    found = hills._distance(mask.view(np.uint8))
    assert np.array_equal(found, distance_transform_edt(mask).astype(np.float32))


def test_clustered_cells_are_found() -> None:
    scene = SyntheticScene(cells=150, clustering=0.8, overlap=0.05, eccentricity=0.5)
    drawn = draw(scene, rng=np.random.default_rng(1))
    joined = cv2.connectedComponents(drawn.mask.astype(np.uint8))[0] - 1
    assert joined < 0.6 * drawn.count
    assert separate(drawn.mask).max() == pytest.approx(drawn.count, rel=0.05)


def test_cells_are_cut_no_worse_than_by_a_plain_watershed() -> None:
    drawn = draw(
        SyntheticScene(cells=100, clustering=0.8, overlap=0.05, eccentricity=0.5), rng=np.random.default_rng(2)
    )
    distance = cv2.distanceTransform(drawn.mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    markers = np.zeros(drawn.mask.shape, np.int32)
    peaks = peak_local_max(distance, min_distance=7, exclude_border=False)  # type: ignore[no-untyped-call]
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    plain = watershed(-distance, markers, mask=drawn.mask)  # type: ignore[no-untyped-call]
    assert average_precision(separate(drawn.mask), drawn.labels) >= average_precision(plain, drawn.labels)


def test_real_nuclei_are_counted_better_than_by_components(shared_data: Path) -> None:
    error, joined = [], []
    for path in sorted((shared_data / "dsb2018" / "labels").iterdir())[::27]:
        labels = np.asarray(Image.open(path))
        count = len(np.unique(labels)) - 1
        error.append(abs(int(separate(labels > 0).max()) - count))
        joined.append(abs(cv2.connectedComponents((labels > 0).astype(np.uint8))[0] - 1 - count))
    assert np.mean(error) < 0.5 * np.mean(joined)
