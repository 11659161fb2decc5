"""Counts in parts of an image."""

import math
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import label
from skimage.measure import points_in_poly

from bundles import glued, known, squares, tiny_bundle
from elmgan.counting import Model, Result
from elmgan.counting.region import clumped_share, pixels_of
from elmgan.errors import UsageError

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


@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)), seed=st.integers(0, 1000), rows=st.sampled_from([4, 1024])
)
def test_clumps_are_pieces_of_more_than_two_cells(shape: tuple[int, int], seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    coarse = random.random([math.ceil(side / 8) for side in shape]) < 0.5
    mask = coarse.repeat(8, axis=0).repeat(8, axis=1)[: shape[0], : shape[1]]
    blocks = mask[::4, ::4]
    count_map = np.where(blocks, random.random(blocks.shape), 0).astype(np.float32)
    pieces, number = label(blocks, np.ones((3, 3)))
    cells = np.array([count_map[pieces == k].sum() for k in range(1, number + 1)])
    expected = cells[cells > 2].sum() / cells.sum() if cells.size else 0
    with patch("elmgan.counting.region.ROWS", rows):
        assert clumped_share(mask, count_map, 4) == pytest.approx(expected, abs=1e-5)


def test_an_image_with_more_clumps_than_training_is_flagged() -> None:
    bundle = tiny_bundle()
    model = Model(replace(bundle, card=bundle.card.model_copy(update={"training": {"clumped": (0, 0.4)}})))
    assert model.count(glued(3)).flags == ()
    assert model.count(glued(6)).flags == ("crowded",)
    assert MODEL.count(glued(6)).flags == ()
