"""How cells clump, and what is said of it."""

import math
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label

from bundles import glued, known, squares, tiny_bundle
from elmgan.counting import Model
from elmgan.counting.clumps import Clumps, clumped_share
from elmgan.images import open_image


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
    with patch("elmgan.counting.clumps.ROWS", rows):
        assert clumped_share(mask, count_map) == pytest.approx(expected, abs=1e-5)


def test_an_image_with_more_clumps_than_training_is_flagged() -> None:
    bundle = tiny_bundle()
    model = Model(replace(bundle, card=bundle.card.model_copy(update={"training": {"clumped": (0, 0.4)}})))
    assert model.count(glued(3)).flags == ()
    assert model.count(glued(6)).flags == ("crowded",)
    assert Model(bundle).count(glued(6)).flags == ()


def test_clumps_of_a_large_plane_are_those_of_the_image(tmp_path: Path) -> None:
    """Read some rows at a time, with a clump that goes on from one strip to the next."""
    bundle, image = tiny_bundle(), squares(200, (900, 160))
    image[300:800, 60:70] = 3000
    tifffile.imwrite(tmp_path / "a.tif", image)
    model = Model(replace(bundle, card=bundle.card.model_copy(update={"training": {"clumped": (0, 0.4)}})), tile=64)
    clumps = Clumps()
    with open_image(tmp_path / "a.tif") as source, patch("elmgan.counting.model.Clumps", lambda: clumps):
        streamed = model.stream(source.planes()[0])
        streamed.close()
    whole = model.count(image)
    assert clumps.share == pytest.approx(clumped_share(known(whole.mask), known(whole.count_map)), abs=0.01)
    assert streamed.flags == whole.flags == ()
