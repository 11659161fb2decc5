"""Outlines of cells along the edges of their pixels: valid polygons of the very pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon, is_ccw

from elmgan.counting import Result, outlines
from elmgan.counting.outlines import outlines_of
from elmgan.counting.region import Region
from label_images import HARD, drawn_cells, label_image


def assert_exact(labels: NDArray[np.uint32]) -> None:
    found = dict(outlines_of(labels))
    assert list(found) == np.unique(labels[labels > 0]).tolist()
    for number, polygons in found.items():
        area = MultiPolygon([(shell[:, ::-1], [hole[:, ::-1] for hole in holes]) for shell, *holes in polygons])
        assert area.is_valid
        assert area.area == np.count_nonzero(labels == number)
        rings = [ring.astype(float) for polygon in polygons for ring in polygon]
        part = Region("", "", rings).part(labels.shape)
        assert np.array_equal(part.box.of(labels == number), part.inside)
        for shell, *holes in polygons:
            assert is_ccw(Polygon(shell[:, ::-1]).exterior)
            assert not any(is_ccw(Polygon(hole[:, ::-1]).exterior) for hole in holes)
            sides = [np.diff(np.vstack([ring, ring[:2]]), axis=0) for ring in (shell, *holes)]
            assert all(((side[1:] != 0) != (side[:-1] != 0)).all() for side in sides), "a corner at each vertex"


@pytest.mark.parametrize("what", HARD)
def test_hard_shapes(what: str) -> None:
    assert_exact(label_image(HARD[what]))


@pytest.mark.parametrize("pixels", [outlines.PIXELS_LOOKED_AT, 100])
def test_drawn_cells(monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    monkeypatch.setattr(outlines, "PIXELS_LOOKED_AT", pixels)
    assert_exact(drawn_cells(rng=np.random.default_rng(0)))


@given(labels=arrays(np.uint32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2)))
def test_any_labels(labels: NDArray[np.uint32]) -> None:
    assert_exact(labels)


def test_a_cell_in_parts_has_several_polygons() -> None:
    found = {what: [len(polygons) for _, polygons in outlines_of(label_image(HARD[what]))] for what in HARD}
    assert found["two parts"] == found["corners and a hole"] == [2]
    assert found["a chessboard"] == [8]
    assert found["holes that touch at a corner"] == found["a ring"] == [1]


def test_outlines_of_a_result() -> None:
    mask = np.zeros((8, 12), bool)
    mask[1:4, 1:4] = mask[1:4, 7:11] = True
    result = Result(mask.shape, None, mask, None, None, ())
    assert [polygons[0][0].tolist() for polygons in result.outlines()] == [
        [[1, 1], [1, 4], [4, 4], [4, 1]],
        [[1, 7], [1, 11], [4, 11], [4, 7]],
    ]
    assert result.outlines() is result.outlines()
