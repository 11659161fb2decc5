from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from elmgan.counting import Predictor, predictor
from elmgan.counting.tiling import Maps, Tiling, assembled, tiles_of
from elmgan.engines import Engine
from elmgan.images import Tile
from elmgan.models import Architecture

sides = st.integers(1, 60)
shapes = st.tuples(sides, sides)


tiles = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(shape=shapes, tile=tiles)
def test_tiles_cover_each_pixel_once(shape: tuple[int, int], tile: tuple[int, int]) -> None:
    times = np.zeros(shape, dtype=int)
    for part in tiles_of(shape, tile):
        assert part.top % tile[0] == part.left % tile[1] == 0
        part.of(times)[:] += 1
    assert (times == 1).all()


@given(shape=shapes, tile=tiles, halo=st.integers(0, 20))
def test_a_grown_tile_has_its_halo_where_the_image_has_it(
    shape: tuple[int, int], tile: tuple[int, int], halo: int
) -> None:
    around = np.pad(np.ones(shape), halo)
    for inner in tiles_of(shape, tile):
        window = inner.grown(halo, shape)
        wanted = Tile(inner.top, inner.left, inner.height + 2 * halo, inner.width + 2 * halo)
        assert window.height * window.width == wanted.of(around).sum()
        image = np.arange(shape[0] * shape[1]).reshape(shape)
        assert np.array_equal(inner.within(window).of(window.of(image)), inner.of(image))


def local(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A network that looks 4 pixels around, and at blocks of 4 x 4."""
    smooth = uniform_filter(image, 9, mode="constant")
    rows, columns = image.shape
    return smooth, smooth.reshape(rows // 4, 4, columns // 4, 4).sum(axis=(1, 3))


def in_tiles(image: NDArray[np.float32], tile: int, halo: int, pixels: int = 1 << 62) -> Maps:
    seen = []

    def predict(part: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        seen.append(part)
        return local(part.of(image))

    tiling = Tiling(image.shape, tile=tile, halo=halo, stride=4, grid=4, pixels=pixels)
    tops = list(range(0, len(image), tiling.height))
    made = assembled((tiling.band(predict, top) for top in reversed(tops)), image.shape, stride=4)
    ((height, width),) = {(part.height, part.width) for part in seen}
    assert max(height, width) <= tile + 2 * halo
    assert all(part.of(image).shape == (height, width) for part in seen)
    return made


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), tile=st.integers(1, 6), halo=st.integers(1, 3))
def test_tiles_give_what_the_whole_image_gives(rows: int, columns: int, tile: int, halo: int) -> None:
    image = np.random.default_rng(rows * columns).random((4 * rows, 4 * columns), dtype=np.float32)
    for pixels in (1 << 62, 100):
        for tiled, whole in zip(in_tiles(image, 4 * tile, 4 * halo, pixels), local(image), strict=True):
            np.testing.assert_allclose(tiled, whole, rtol=1e-4)


def test_a_halo_that_is_too_small_shows() -> None:
    image = np.random.default_rng(0).random((40, 40), dtype=np.float32)
    tiled, _ = in_tiles(image, tile=8, halo=0)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(tiled, local(image)[0], rtol=1e-3)


@pytest.mark.parametrize(("scale", "most"), [(1, 1.5), (0.5, 2), (0.25, 2.5), (0.1, 6)])
def test_rows_that_are_held_where_the_plane_is_seen_smaller(scale: float, most: float) -> None:
    shape, architecture = (40_000, 40_000), Architecture(depth=6)
    runs = Predictor(architecture, cast(Engine, None))
    height = runs.tops_of_bands(shape, scale=scale).step
    assert height >= 1.5 * architecture.halo  # little more than half of what is computed is halo
    held = (height + 2 * architecture.halo) / scale * shape[1]
    assert held <= most * predictor.BAND_PIXELS
