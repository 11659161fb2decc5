"""A plane of which only some rows are in memory is counted as a whole one is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from bundles import known, squares, tiny_bundle
from elmgan.counting import Model, Result, Streamed, predictor, streaming
from elmgan.errors import ImageError
from elmgan.images import Plane, View, open_image
from elmgan.light import Normalisation
from elmgan.models import Learned

MODEL = Model(tiny_bundle(), "onnxruntime", tile=64)


@pytest.fixture(autouse=True)
def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "BAND_PIXELS", 1 << 14)
    monkeypatch.setattr(streaming, "ROWS", 50)


def both(image: NDArray, folder: Path, model: Model = MODEL, **view: Any) -> tuple[Result, Streamed]:
    tifffile.imwrite(folder / "image.tif", image, photometric="rgb" if image.ndim == 3 else "minisblack")
    with open_image(folder / "image.tif") as source:
        (plane,) = source.planes(model.view.changed(**view))
        return model.count(plane), model.stream(plane, scratch=folder)


def assert_alike(whole: Result, streamed: Streamed) -> None:
    try:
        compare(whole, streamed)
    finally:
        streamed.close()


def compare(whole: Result, streamed: Streamed) -> None:
    assert (streamed.count, streamed.objects, streamed.flags) == (whole.count, whole.objects, whole.flags)
    assert streamed.estimate == pytest.approx(known(whole.estimate), abs=0.011)
    assert streamed.foreground == pytest.approx(known(whole.foreground), abs=1e-4)
    assert streamed.scale == whole.scale
    assert streamed.interval == (None if whole.interval is None else pytest.approx(whole.interval, abs=0.05))
    assert np.array_equal(np.concatenate(list(streamed.labels())), whole.labels())
    assert np.array_equal(np.concatenate(list(streamed.masks())), known(whole.mask))


SCENES: dict[str, NDArray] = {
    "grey": squares(40, (460, 330)),
    "8 bit": (squares(25, (301, 203)) // 20).astype(np.uint8),
    "empty": np.random.default_rng(0).normal(500, 4, (300, 200)).astype(np.uint16),
    "slope": squares(40, (460, 330)) + np.linspace(0, 3000, 330).astype(np.uint16),
}


@pytest.mark.parametrize("kind", SCENES)
def test_the_numbers_and_the_cells_are_the_same(kind: str, tmp_path: Path) -> None:
    assert_alike(*both(SCENES[kind], tmp_path))


@pytest.mark.parametrize("scale", [0.5, 0.73, 1.4])
def test_at_any_scale(scale: float, tmp_path: Path) -> None:
    assert_alike(*both(SCENES["grey"], tmp_path, scale=scale))


def test_pixels_without_data_are_left_out(tmp_path: Path) -> None:
    image = SCENES["grey"].astype(np.float32)
    image[200:260, 100:200] = np.nan
    assert_alike(*both(image, tmp_path))
    padded = np.pad(SCENES["grey"], ((40, 0), (0, 80)))  # by multiples of four, as the count map's values
    assert_alike(*both(padded, tmp_path))


@pytest.mark.parametrize("learned", [("mask",), ("count",)])
def test_a_model_of_masks_or_counts_alone(learned: Learned, tmp_path: Path) -> None:
    model = Model(tiny_bundle(learned=learned), "onnxruntime", tile=64)
    whole, streamed = both(SCENES["grey"], tmp_path, model)
    assert (streamed.count, streamed.objects, streamed.flags) == (whole.count, whole.objects, whole.flags)
    assert (streamed.foreground is None) == (whole.foreground is None)
    streamed.close()


def test_progress_is_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image.tif", SCENES["grey"])
    told: list[float] = []
    with open_image(tmp_path / "image.tif") as source:
        MODEL.stream(source.planes(MODEL.view)[0], watch=told.append).close()
    assert told == sorted(told)
    assert len(told) > 2
    assert told[-1] == 1


def test_rows_are_read_about_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "image.tif", squares(60, (900, 200)))
    read = Plane.read
    rows = 0

    def counting(self: Plane, region: Any = None) -> NDArray:
        nonlocal rows
        rows += region.height
        return read(self, region)

    monkeypatch.setattr(Plane, "read", counting)
    with open_image(tmp_path / "image.tif") as source:
        MODEL.stream(source.planes(MODEL.view)[0]).close()
    assert 1800 <= rows < 2100  # once for what the light is like, once for the network


def test_a_tile_that_is_cut_off_fails_the_plane(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, squares(60, (640, 256)), tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset, size = file.pages.first.dataoffsets[20], file.pages.first.databytecounts[20]
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = bytes(size)
    path.write_bytes(content)
    with open_image(path) as source, pytest.raises(ImageError, match=r"image\.tif: .*damaged"):
        MODEL.stream(source.planes(MODEL.view)[0])


def test_stains_that_differ_are_refused(tmp_path: Path) -> None:
    one, other = (squares(number, (300, 300)) / 20 for number in (30, 12))
    merge = np.stack([one, other[::-1], np.full_like(one, 9)], axis=2)
    merge = (merge + np.random.default_rng(0).normal(0, 2, merge.shape)).clip(0, 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "merge.tif", merge, photometric="rgb")
    with open_image(tmp_path / "merge.tif") as source:
        (plane,) = source.planes(View())
        with pytest.raises(ImageError, match="several stains"):
            MODEL.count(plane)
        with pytest.raises(ImageError, match="several stains"):
            MODEL.stream(plane)


def test_a_model_for_one_size_is_no_model_for_large_planes(tmp_path: Path) -> None:
    bundle = tiny_bundle()
    card = bundle.card.model_copy(
        update={"architecture": bundle.card.architecture.model_copy(update={"count_head": "pooled", "size": (64, 64)})}
    )
    assert isinstance(card.normalisation, Normalisation)
    model = Model(bundle, "onnxruntime")
    model.card = card
    tifffile.imwrite(tmp_path / "image.tif", SCENES["grey"])
    with open_image(tmp_path / "image.tif") as source, pytest.raises(ImageError, match="too large for tiny"):
        model.stream(source.planes(View())[0])
