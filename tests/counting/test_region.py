"""Counts in parts of an image."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.measure import points_in_poly

from bundles import known, squares, tiny_bundle
from elmgan.counting import Model, Result
from elmgan.counting.region import Region, pixels_of
from elmgan.errors import UsageError
from elmgan.trust import Calibration

MODEL = Model(tiny_bundle())
sides = st.integers(1, 40)
shapes = st.tuples(sides, sides)
places = st.floats(-10, 50)
points = st.tuples(places, places)


def counted(shape: tuple[int, int], *, rng: np.random.Generator) -> Result:
    """The result of an image of this shape, with any count map."""
    count_map = rng.random([math.ceil(side / 4) for side in shape], np.float32)
    return Result(shape, float(count_map.sum()), None, None, count_map, ())


@given(shape=shapes, parts=st.integers(1, 5), seed=st.integers(0, 1000))
def test_the_parts_add_up_to_the_whole(shape: tuple[int, int], parts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    result, part_of = counted(shape, rng=rng), rng.integers(0, parts, shape)
    total = sum(result.count_in(part_of == part) for part in range(parts))
    assert total == pytest.approx(result.estimate, rel=1e-5)


@given(shape=shapes, inside=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_polygons_that_share_edges_hold_each_pixel_once(shape: tuple[int, int], inside: tuple[float, float]) -> None:
    rows, columns = shape
    middle = (rows * inside[0], columns * inside[1])
    corners = [(0, 0), (0, columns), (rows, columns), (rows, 0)]
    triangles = [pixels_of([middle, corners[k - 1], corners[k]], shape) for k in range(4)]
    assert (np.sum(triangles, axis=0) == 1).all()


@given(shape=shapes, polygon=st.lists(points, min_size=3, max_size=6))
def test_a_polygon_holds_the_pixels_whose_centres_it_holds(
    shape: tuple[int, int], polygon: list[tuple[float, float]]
) -> None:
    vertices = np.add(polygon, (0.0123, 0.0377))  # no centre on an edge, where the two may differ
    centres = np.argwhere(np.ones(shape)) + 0.5
    expected = points_in_poly(centres, vertices)  # type: ignore[no-untyped-call]
    assert np.array_equal(pixels_of(vertices, shape).ravel(), expected)


@given(shape=shapes, polygons=st.lists(st.lists(points, min_size=3, max_size=6), min_size=1, max_size=3))
def test_a_region_holds_what_an_odd_number_of_its_rings_hold(
    shape: tuple[int, int], polygons: list[list[tuple[float, float]]]
) -> None:
    rings = [np.array(polygon) for polygon in polygons]
    part = Region("", "", rings).part(shape)
    inside = np.logical_xor.reduce([pixels_of(ring, shape) for ring in rings])
    assert np.array_equal(part.box.of(inside), part.inside)
    assert part.area == inside.sum()
    result = counted(shape, rng=np.random.default_rng(0))
    assert result.count_in(part) == pytest.approx(result.count_in(inside), rel=1e-5)
    rows, columns = np.nonzero(np.ones(shape))
    assert np.array_equal(part.holds(rows, columns), inside.ravel())


@pytest.mark.parametrize(
    ("vertices", "remarks"),
    [
        ([(1, 1), (1, 5), (5, 5), (5, 1)], ()),
        ([(-0.4, -0.4), (-0.4, 10.3), (10.3, 10.3), (10.3, -0.4)], ()),
        ([(1, 1), (1, 50), (5, 50), (5, 1)], ("partly-outside",)),
        ([(11, 1), (11, 5), (15, 5), (15, 1)], ("outside",)),
        ([(-9, -9), (-9, 0), (0, 0), (0, -9)], ("outside",)),
        ([(1.1, 1.1), (1.1, 1.3), (1.3, 1.3)], ("empty",)),
        ([(1, 1), (9, 9), (1, 9), (9, 1)], ("self-crossing",)),
        ([(1, 1), (1, 8), (8, 8), (8, 1)] * 2, ("empty", "self-crossing")),
        ([(0, 0), (0, 8), (8, 8), (8, 4), (-3, 4), (-3, 9), (9, 9), (9, 0)], ("partly-outside", "self-crossing")),
    ],
)
def test_what_is_odd_about_a_region_is_remarked(vertices: list[tuple[float, float]], remarks: tuple[str, ...]) -> None:
    part = Region("", "", [np.array(vertices, float)]).part((10, 10))
    assert part.remarks == remarks


def test_regions_far_away_take_no_memory() -> None:
    part = Region("", "", [np.array([(-1e300, -1e300), (-1e300, 5), (1e300, 5), (1e300, -1e300)])]).part((10, 10))
    assert part.area == 50
    assert part.remarks == ("partly-outside",)


def test_the_interval_of_a_part_is_that_of_an_image_of_its_count() -> None:
    calibration = Calibration(data="mine", images=20, groups=20, gain=1, quantile=0.5)
    result = Result(
        (8, 8), 99, None, None, np.full((2, 2), 24.75), (), calibration.interval(99), calibration=calibration
    )
    assert result.interval_of(99) == result.interval == (94, 104)
    assert result.interval_of(0) == (0, 0.5)
    assert counted((8, 8), rng=np.random.default_rng(0)).interval_of(3) is None


def test_the_interval_of_a_part_knows_how_far_the_image_is() -> None:
    calibration = Calibration(data="mine", images=20, groups=20, gain=1, quantile=0.5)
    near, far = (
        Result((8, 8), 9, None, None, np.full((2, 2), 2.25), (), calibration=calibration, doubt=doubt)
        for doubt in (0.0, 0.8)
    )
    assert known(far.interval_of(3))[1] > known(near.interval_of(3))[1]
    assert far.interval_of(3) == calibration.interval(3, 0.8)


def test_cells_are_found_where_they_are() -> None:
    result = MODEL.count(squares(6, (93, 118)))
    assert result.count_in(np.ones((93, 118), bool)) == pytest.approx(result.estimate, abs=0.01)
    assert result.count_in([(0, 0), (0, 40), (93, 40), (93, 0)]) == pytest.approx(2, abs=0.1)  # of the six in a row


def test_a_cut_value_counts_by_the_share_that_is_covered() -> None:
    result = Result((6, 5), 10, None, None, np.array([[4, 2], [3, 1]], np.float32), ())
    assert result.count_in([(0, 0), (0, 3), (5, 3), (5, 0)]) == 4 * 3 / 4 + 3 * (3 / 4) * (1 / 2)


@pytest.mark.parametrize(
    ("region", "told"),
    [
        (np.ones((5, 6), bool), r"the region has the shape \(5, 6\), the image \(6, 5\): both must be the same"),
        (
            np.ones((6, 5), np.uint8),
            r"boolean array of the image's shape \(6, 5\), .*found type uint8 and shape \(6, 5\)",
        ),
        ([(0, 0), (0, 5)], r"three or more \(row, column\) vertices of a polygon; .*shape \(2, 2\)"),
        (["a", "b", "c"], "found type <U1"),
        ([(0, 0), (0, 5), (math.nan, 5)], "a vertex of the region is NaN or infinite"),
    ],
)
def test_what_is_no_region_is_refused(region: NDArray, told: str) -> None:
    result = counted((6, 5), rng=np.random.default_rng(0))
    with pytest.raises(UsageError, match=told):
        result.count_in(region)


def test_what_has_no_place_is_not_counted_in_parts() -> None:
    pooled = Result((6, 5), 3, None, None, np.full((1, 1), 3, np.float32), ())
    with pytest.raises(UsageError, match="one number for the whole image: use a model with a count map"):
        pooled.count_in(np.ones((6, 5), bool))
    masks = Model(tiny_bundle(learned=("mask",))).count(squares(1))
    with pytest.raises(UsageError, match="masks alone and cannot count"):
        masks.count_in(known(masks.mask))
