"""Where a file holds smaller copies of a plane, one that shows the network the same is read; results fit the plane."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from bundles import knowing_bundle, known, squares, tiny_bundle
from elmgan.counting import Model, OnDisk, Streamed, predictor, streaming
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


@contextmanager
def opened(path: Path, **view: Any) -> Iterator[Plane]:
    with open_image(path) as source:
        (plane,) = source.planes(MODEL.view.changed(**view))
        yield plane


def noisy(deviation: float) -> NDArray:
    return LARGE + np.random.default_rng(0).normal(0, deviation, LARGE.shape).clip(-150, 150).astype(np.int64)


def sparse(block: NDArray) -> NDArray:
    """A large plane of background with little to see, and that neither in the middle nor at the edges."""
    noise = np.random.default_rng(0).normal(200, 10, (1024, 1024))
    plane = np.kron(noise, np.ones((4, 4))).astype(np.uint16)
    for top, left in ((300, 300), (200, 2600), (1300, 1200), (2800, 400), (2900, 2900)):
        plane[top : top + block.shape[0], left : left + block.shape[1]] = block
    return plane


SPARSE = sparse(LARGE[:800, :800])
LEVELS: dict[str, tuple[Sequence[NDArray], int]] = {
    "mean values": (by_means(LARGE), 2),
    "every second pixel": ([LARGE, LARGE[::2, ::2], LARGE[::4, ::4]], 2),
    "every fourth pixel of noise": ([noisy(900), noisy(900)[::4, ::4]], 0),
    "other grey values": ([LARGE, np.sqrt(LARGE[::4, ::4]).astype(np.uint16)], 0),
    "twice as bright": ([LARGE, LARGE[::4, ::4] * np.uint16(2)], 1),
    "of another image": ([LARGE, LARGE[::4, ::4][::-1, ::-1]], 0),
    "of one value": ([LARGE, np.full_like(SMALL, 7)], 0),
    "none small enough": ([LARGE], 0),
    "too small": ([LARGE, LARGE[::8, ::8]], 0),
    "narrower than high": ([LARGE, LARGE[::2, ::8]], 0),
    "of few cells": (by_means(SPARSE), 2),
    "of few cells, other grey values": ([SPARSE, np.sqrt(100 * SPARSE[::4, ::4]).astype(np.uint16)], 0),
    "rounded up": ([each[:1837, :1319] for each in (LARGE,)] + [LARGE[:1840:4, :1320:4]], 1),
    "rounded down": (by_means(LARGE[:1839, :1319]), 2),
    "of which a part was left out": ([LARGE, np.pad(LARGE[:1200:4, ::4], ((0, 160), (0, 0)))], 0),
    "narrow": ([LARGE[:601], LARGE[:604:4, ::4]], 1),
}


def level_of(plane: Plane, scale: float) -> int:
    look = partial(OnDisk, normalisation=Normalisation())
    return level_for(look(plane), scale, look).plane.level


@pytest.mark.parametrize("kind", LEVELS)
def test_the_smallest_copy_that_shows_the_same_is_read(kind: str, tmp_path: Path) -> None:
    levels, expected = LEVELS[kind]
    with opened(write_pyramid(tmp_path / "a.zarr", levels)) as plane:
        assert level_of(plane, 0.25) == expected


def test_at_other_scales(tmp_path: Path) -> None:
    with opened(write_pyramid(tmp_path / "a.zarr", by_means(LARGE))) as plane:
        levels = {scale: level_of(plane, scale) for scale in (1, 0.6, 0.5, 0.3, 0.25, 0.125)}
    assert levels == {1: 0, 0.6: 0, 0.5: 1, 0.3: 1, 0.25: 2, 0.125: 3}


def test_a_damaged_copy_is_passed_over(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.zarr", by_means(LARGE))
    (path / "2" / "1" / "1").write_bytes(b"damaged")
    with opened(path) as plane:
        assert level_of(plane, 0.25) == 1


@pytest.mark.parametrize("stray", [False, True])
def test_a_copy_without_a_chunk_is_none_but_where_the_plane_has_none(stray: bool, tmp_path: Path) -> None:
    plane = np.pad(LARGE, ((0, 0), (0, 1200)))  # a whole chunk of each level of this one holds 0, and is not written
    path = write_pyramid(tmp_path / "a.zarr", by_means(plane), chunk=128)
    assert not (path / "2" / "0" / "4").exists()
    with opened(path) as whole:
        assert level_of(whole, 0.25) == 2
    (path / "2" / "1" / "1").unlink()
    if stray:
        (path / "2" / "90").mkdir()
        (path / "2" / "90" / "0").write_bytes(b"")
    with opened(path) as whole:
        assert level_of(whole, 0.25) == 1


def test_a_plane_of_which_little_holds_data(tmp_path: Path) -> None:
    plane = np.full((4096, 4096), np.nan, np.float32)
    plane[3000:3800, 2900:3700] = LARGE[:800, :800]
    copies = [plane, plane[::2, ::2], plane[::4, ::4]]
    with opened(write_pyramid(tmp_path / "a.zarr", copies)) as whole:
        assert level_of(whole, 0.25) == 2


@pytest.mark.parametrize("view", [{"channel": 2}, {"z": "max", "channel": 1}, {"z": 2, "channel": 2}])
def test_the_plane_of_the_view_is_compared(view: dict[str, Any], tmp_path: Path) -> None:
    planes = np.array([[LARGE, LARGE[::-1]], [LARGE[:, ::-1], LARGE[::-1, ::-1] // 2]])
    copies = [planes, planes[..., ::4, ::4]]
    wrong = [planes, np.where(np.arange(2).reshape(1, 2, 1, 1) == 1, copies[1][:, :, ::-1], copies[1])]
    for name, levels, expected in (("a", copies, 1), ("b", wrong, 0)):
        with opened(write_pyramid(tmp_path / f"{name}.zarr", levels, axes="czyx"), **view) as plane:
            assert level_of(plane, 0.25) == expected


@pytest.mark.parametrize("channel", [None, "red"])
def test_copies_of_colour(channel: str | None, tmp_path: Path) -> None:
    colour = np.stack([LARGE // 20, LARGE[::-1] // 18, LARGE // 30], axis=2).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(colour, photometric="rgb", subifds=1, tile=(256, 256))
        file.write(colour[::4, ::4], photometric="rgb", subfiletype=1, tile=(256, 256))
    with opened(tmp_path / "a.tif") as plane:
        look = partial(OnDisk, normalisation=Normalisation(), channel=channel)
        assert level_for(look(plane), 0.25, look).plane.level == 1


def streamed(path: Path, folder: Path, model: Model = MODEL, scale: float | str = 0.25) -> Streamed:
    with opened(path, scale=scale) as plane:
        return model.stream(plane, scratch=folder)


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


def test_the_plane_itself_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert whole <= pixels[0] < 1.2 * whole
    assert 2 * whole / 16 <= pixels[2] < 3 * whole / 16


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(knowing_bundle(tmp_path_factory.mktemp("known") / "images"), "onnxruntime", tile=64)


@pytest.mark.parametrize("enlarged", [1, 4, 12])
@pytest.mark.parametrize("usual", [(0.25,), (1.0,), (0.25, 1.0)])
@pytest.mark.parametrize("scale", ["auto", 0.25])
def test_the_scale_is_that_of_the_plane_alone(
    enlarged: int, usual: tuple[float, ...], scale: float | str, knowing: Model, tmp_path: Path
) -> None:
    image = np.kron(np.tile(squares(24), (2, 2)), np.ones((enlarged, enlarged), np.uint16))
    model = knowing.at(usual)
    found = streamed(write_pyramid(tmp_path / "a.zarr", by_means(image)), tmp_path, model, scale)
    alone = streamed(write_pyramid(tmp_path / "b.zarr", [image]), tmp_path, model, scale)
    assert (found.scale, found.distance, found.unlike, found.interval is None) == (
        *(alone.scale, alone.distance, alone.unlike),
        alone.interval is None,
    )
    assert found.flags == alone.flags
    assert found.estimate == pytest.approx(known(alone.estimate), rel=0.02, abs=0.3)
    assert found.objects == alone.objects
    if alone.scale <= 0.5:
        assert found.seen != found.shape
    for each in (found, alone):
        each.close()
