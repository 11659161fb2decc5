"""Where a file holds smaller copies of a plane, one that shows the network the same is read; results fit the plane."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bundles import known, squares, tiny_bundle
from elmgan.counting import Model, Streamed, predictor, streaming
from elmgan.counting.levels import level_for
from elmgan.images import Plane, Tile, open_image
from elmgan.light import Normalisation
from pyramids import by_means, write_pyramid

MODEL = Model(tiny_bundle(), "onnxruntime", tile=64)
SMALL = squares(40, (460, 330))
LARGE = np.kron(SMALL, np.ones((4, 4), np.uint16))
"""Its cells are four times as large as those that the model knows."""


@pytest.fixture(autouse=True)
def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "BAND_PIXELS", 1 << 18)
    monkeypatch.setattr(streaming, "ROWS", 50)


def plane_of(path: Path, **view: Any) -> Plane:
    (plane,) = open_image(path).planes(MODEL.view.changed(**view))
    return plane


def noisy(deviation: float) -> NDArray:
    return LARGE + np.random.default_rng(0).normal(0, deviation, LARGE.shape).clip(-150, 150).astype(np.int64)


LEVELS: dict[str, tuple[Sequence[NDArray], int]] = {
    "mean values": (by_means(LARGE), 2),
    "every second pixel": ([LARGE, LARGE[::2, ::2], LARGE[::4, ::4]], 2),
    "every fourth pixel of noise": ([noisy(900), noisy(900)[::4, ::4]], 0),
    "other grey values": ([LARGE, np.sqrt(LARGE[::4, ::4]).astype(np.uint16)], 0),
    "brighter by a factor": ([LARGE, LARGE[::4, ::4] * np.uint16(2)], 1),
    "of another image": ([LARGE, LARGE[::4, ::4][::-1, ::-1]], 0),
    "of one value": ([LARGE, np.full_like(SMALL, 7)], 0),
    "none small enough": ([LARGE], 0),
    "too small": ([LARGE, LARGE[::8, ::8]], 0),
}


@pytest.mark.parametrize("kind", LEVELS)
def test_the_smallest_copy_that_shows_the_same_is_read(kind: str, tmp_path: Path) -> None:
    levels, expected = LEVELS[kind]
    plane = plane_of(write_pyramid(tmp_path / "a.zarr", levels))
    assert level_for(plane, 0.25, Normalisation()).level == expected


def test_at_other_scales(tmp_path: Path) -> None:
    plane = plane_of(write_pyramid(tmp_path / "a.zarr", by_means(LARGE)))
    levels = {scale: level_for(plane, scale, Normalisation()).level for scale in (1, 0.6, 0.5, 0.3, 0.25, 0.125)}
    assert levels == {1: 0, 0.6: 0, 0.5: 1, 0.3: 1, 0.25: 2, 0.125: 3}


def streamed(path: Path, folder: Path) -> Streamed:
    return MODEL.stream(plane_of(path, scale=0.25), scratch=folder)


@pytest.mark.parametrize("shape", [LARGE.shape, (1833, 1311)])
def test_what_is_found_has_the_size_of_the_plane(shape: tuple[int, int], tmp_path: Path) -> None:
    image = LARGE[: shape[0], : shape[1]]
    found = streamed(write_pyramid(tmp_path / "a.zarr", by_means(image)), tmp_path)
    whole = streamed(write_pyramid(tmp_path / "b.zarr", [image]), tmp_path)
    assert (found.seen, whole.seen) == ((shape[0] // 4, shape[1] // 4), shape)
    assert found.shape == whole.shape == shape
    assert (found.count, found.objects, found.flags, found.scale) == (whole.count, 40, whole.flags, 0.25)
    assert found.estimate == pytest.approx(known(whole.estimate), abs=0.1)
    assert found.foreground == pytest.approx(known(whole.foreground), rel=0.02)
    labels, others = (np.concatenate(list(each.labels())) for each in (found, whole))
    assert labels.shape == others.shape == shape
    assert np.count_nonzero((labels > 0) != (others > 0)) < 0.04 * np.count_nonzero(others)
    assert len(np.unique(labels[others == 5])) <= 2  # a cell, and perhaps background
    assert np.array_equal(np.concatenate(list(found.masks())), labels > 0)
    rows = range(100, 1100)
    maps = [known(each.count_map).rows(rows) for each in (found, whole)]
    assert maps[0].shape == maps[1].shape
    np.testing.assert_allclose(maps[0].sum(axis=0), maps[1].sum(axis=0), atol=0.05)
    cells = [piece.cells({"c": image[piece.tile.top :][: piece.tile.height]}) for piece in found.pieces()]
    assert sum(len(each["cell"]) for each in cells) == 40
    for each in (found, whole):
        each.close()


def test_a_margin_without_data(tmp_path: Path) -> None:
    image = np.pad(LARGE, ((160, 0), (0, 320)))
    found = streamed(write_pyramid(tmp_path / "a.zarr", by_means(image)), tmp_path)
    assert (found.seen, found.box) == ((500, 410), Tile(40, 0, *SMALL.shape))
    assert found.objects == 40
    labels = np.concatenate(list(found.labels()))
    assert labels.shape == image.shape
    assert not labels[:160].any()
    assert not labels[:, LARGE.shape[1] :].any()
    assert known(found.count_map).rows(range(image.shape[0])).sum() == pytest.approx(known(found.estimate), abs=0.01)
    found.close()


def test_hardly_a_pixel_of_the_plane_itself_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pyramid(tmp_path / "a.zarr", by_means(np.tile(LARGE, (4, 4))))
    read, pixels = Plane.read, {0: 0, 2: 0}

    def counting(self: Plane, region: Tile | None = None) -> NDArray:
        found = read(self, region)
        pixels[self.level] += found.size
        return found

    monkeypatch.setattr(Plane, "read", counting)
    found = streamed(path, tmp_path)
    assert found.objects == 640
    found.close()
    whole = 16 * LARGE.size
    assert pixels[0] < 0.2 * whole
    assert whole / 16 < pixels[2] < 3 * whole / 16


def test_a_model_that_finds_the_scale_looks_at_the_copy(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.zarr", by_means(LARGE))
    found = MODEL.at([0.25]).stream(plane_of(path, scale="auto"), scratch=tmp_path)
    assert (found.seen, found.scale, found.objects) == (SMALL.shape, 0.25, 40)
    found.close()
