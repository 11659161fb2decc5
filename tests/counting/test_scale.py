"""The scale at which images are counted: found out, given, or told to be unlike all others."""

from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import elmgan
from bundles import knowing_bundle, known, planes, squares, tiny_bundle, write_sized, zoomed
from elmgan.counting import Model
from elmgan.counting.looks import Looks, scale_for
from elmgan.data.synthetic import SyntheticScene, draw
from elmgan.engines import Engine, open_engine
from elmgan.errors import UsageError
from elmgan.images import View, open_image
from elmgan.light import Normalisation, see
from elmgan.models import Bundle, read_bundle, write_bundle
from elmgan.trust import KnownImages


def at_scales_of(model: Model, folder: Path, images: list[NDArray]) -> Model:
    with planes(folder / "images", images, View()) as sample:
        return model.at_scales_of(sample)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return knowing_bundle(tmp_path_factory.mktemp("known") / "images")


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> Model:
    return Model(bundle)


@pytest.fixture(scope="module")
def known_images(bundle: Bundle) -> KnownImages:
    return known(bundle.known)


def test_images_of_a_known_size_are_counted_as_they_are(model: Model, known_images: KnownImages) -> None:
    result = model.count(squares(12))
    assert (result.count, result.scale, result.flags) == (12, 1, ())
    assert known(result.distance) <= known_images.near
    assert result.interval is not None


@pytest.mark.parametrize("factor", [2, 4])
def test_a_larger_image_is_counted_at_a_smaller_scale_and_told(model: Model, factor: float) -> None:
    large = zoomed(squares(12), factor)
    result = model.count(large)
    assert result.scale == pytest.approx(1 / factor, rel=0.45)
    assert known(result.estimate) == pytest.approx(12, rel=0.15)
    assert "object-size" in result.flags
    assert result.interval is None
    assert known(result.mask).shape == large.shape
    assert known(model.count(large, quick=True).estimate) > 30, (
        "without the scale it is wrong: the test tests something"
    )


def test_the_scale_of_a_folder_is_no_surprise_in_it(model: Model, tmp_path: Path) -> None:
    """Four images at three times the size; one of another size among them is told."""
    large = [zoomed(squares(number), 3) for number in (8, 12, 20, 30)]
    of_folder = at_scales_of(model, tmp_path, large)
    assert len(of_folder.usual) <= 2
    assert all(scale == pytest.approx(1 / 3, rel=0.45) for scale in of_folder.usual)
    for image, number in zip(large, (8, 12, 20, 30), strict=True):
        result = of_folder.count(image)
        assert "object-size" not in result.flags
        assert known(result.estimate) == pytest.approx(number, rel=0.15)
    small = of_folder.count(squares(20))
    assert "object-size" in small.flags
    assert known(small.estimate) == pytest.approx(20, rel=0.15)
    assert model.usual == (1.0,), "the model that was given is as it was"


def test_a_given_scale_is_taken_and_the_diameter_gives_one(model: Model, known_images: KnownImages) -> None:
    large = zoomed(squares(12), 3)
    scale = model.scale_of(known_images.diameter * 3)
    assert scale == pytest.approx(1 / 3, rel=0.01)
    result = model.count(large, scale=scale)
    assert (result.scale, "object-size" in result.flags) == (scale, False)
    assert known(result.estimate) == pytest.approx(12, rel=0.15)
    assert model.count(squares(12), scale=2).scale == 2


def test_the_usual_scale_that_is_nearest_by_far_is_taken(model: Model) -> None:
    """Most images of the folder are larger; at half its size, this one is near to known ones, but not as near."""
    assert model.at((0.5, 1.0)).count(squares(12)).scale == 1
    assert model.at((1.0, 0.5)).count(zoomed(squares(12), 2)).scale == 0.5


def test_a_large_image_alone_is_told(model: Model, tmp_path: Path) -> None:
    """Whether it is large, or odd, is not known."""
    alone = at_scales_of(model, tmp_path, [zoomed(squares(12), 3)])
    assert alone.usual == (1.0,)
    assert "object-size" in alone.count(zoomed(squares(12), 3)).flags


def test_an_odd_image_makes_no_scale_usual(model: Model, tmp_path: Path) -> None:
    images = [squares(8), squares(12), squares(15), zoomed(squares(20), 3)]
    assert at_scales_of(model, tmp_path, images).usual == (1.0,)


def test_calibration_holds_at_the_scale_that_shows_known_cells(bundle: Bundle) -> None:
    calibration = known(bundle.card.calibration).model_copy(update={"gain": 2.0})
    doubled = Model(replace(bundle, card=bundle.card.model_copy(update={"calibration": calibration})))
    large = zoomed(squares(12), 3)
    shown = doubled.count(large, scale=1 / 3)
    assert known(shown.estimate) == pytest.approx(24, rel=0.15)
    assert shown.interval is not None
    as_it_is = doubled.count(large, scale=1)
    assert "unlike-training" in as_it_is.flags
    assert known(as_it_is.estimate) == pytest.approx(108, rel=0.15), "nothing is corrected that was never calibrated"
    assert as_it_is.interval is None


def test_pixels_without_data_do_not_take_an_image_away(model: Model) -> None:
    image = squares(12).astype(np.float32)
    margin = np.pad(image, ((0, 90), (60, 0)), constant_values=np.nan)
    assert known(model.count(margin).distance) == pytest.approx(known(model.count(image).distance), abs=0.02)
    turned = cv2.warpAffine(image, cv2.getRotationMatrix2D((60, 48), 20, 1), (120, 96), borderValue=(float("nan"),) * 4)
    result = model.count(turned)
    assert (result.scale, "unlike-training" in result.flags) == (1, False)


def test_an_image_unlike_all_is_flagged_and_has_no_interval(model: Model, known_images: KnownImages) -> None:
    noise = np.random.default_rng(0).normal(500, 200, (96, 120)).astype(np.float32)
    result = model.count(noise)
    assert "unlike-training" in result.flags
    assert known(result.distance) > known_images.far
    assert result.interval is None


def test_a_quick_count_looks_once_and_says_so(model: Model) -> None:
    result = model.count(squares(12), quick=True)
    assert (result.count, result.flags, result.place, result.distance) == (12, ("unchecked",), None, None)
    assert result.interval is None, "nobody looked whether the model knows such images"


def test_a_model_that_knows_no_images_counts_as_before(tmp_path: Path) -> None:
    plain = Model(tiny_bundle())
    image = zoomed(squares(12), 3)
    result = plain.count(image)
    assert (result.scale, result.distance) == (1, None)
    assert at_scales_of(plain, tmp_path, [image]) is plain
    with pytest.raises(UsageError, match="does not say how large its cells were: give --scale"):
        plain.scale_of(30)


def test_what_is_known_is_kept_in_the_bundle_and_part_of_the_version(bundle: Bundle, tmp_path: Path) -> None:
    write_bundle(tmp_path / "model", bundle)
    again = read_bundle(tmp_path / "model")
    assert again.known == bundle.known
    assert again.version == bundle.version != replace(bundle, known=None).version


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.7, 1, 2, 4, 6])
def test_the_shipped_model_counts_at_any_magnification(factor: float) -> None:
    drawn = draw(SyntheticScene(rows=320, columns=384, cells=60), rng=np.random.default_rng(5))
    counter: Any = elmgan.load("nuclei")
    as_drawn = known(counter.count(drawn.image).estimate)
    result = counter.count(zoomed(drawn.image, factor))
    assert as_drawn == pytest.approx(60, rel=0.15)
    assert known(result.estimate) == pytest.approx(as_drawn, rel=0.15)


def test_images_too_small_are_not_reduced_and_too_large_ones_not_enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elmgan.counting.looks.MOST_ENLARGED", 96 * 120 * 3)
    looks = Looks(lambda image: (image, image), see(squares(3), Normalisation()), 0.5)
    assert [looks.fits(scale) for scale in (2, 1.4, 1, 0.5, 0.25)] == [False, True, True, True, False]


def test_each_scale_is_looked_at_once(known_images: KnownImages) -> None:
    noise = np.random.default_rng(0).normal(500, 200, (260, 300)).astype(np.float32)
    shapes: list[tuple[int, ...]] = []

    def predict(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        shapes.append(image.shape)
        return np.abs(image), np.abs(image)

    looks = Looks(predict, see(noise, Normalisation()), 0.5)
    assert known(scale_for(looks, known_images).distance) > known_images.far
    assert len(shapes) > 6
    assert max(Counter(shapes).values()) == 1


@pytest.mark.parametrize("gap", [False, True])
def test_a_large_window_is_shrunk_some_rows_at_a_time(gap: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).normal(500, 200, (260, 300)).astype(np.float32)
    if gap:
        image[100:140, 30:90] = np.nan
    shown: list[NDArray[np.float32]] = []

    def predict(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        shown.append(image)
        return np.abs(image), np.abs(image)

    whole = Looks(predict, see(image, Normalisation()), 0.5).place(0.4)
    monkeypatch.setattr("elmgan.counting.looks.IN_MEMORY", 1000)
    monkeypatch.setattr("elmgan.counting.looks.SHRUNK_ROWS", 7)
    in_rows = Looks(predict, see(image, Normalisation()), 0.5).place(0.4)
    for one, other in zip(shown[: len(shown) // 2], shown[len(shown) // 2 :], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert in_rows == pytest.approx(whole, abs=1e-4)


@pytest.fixture(scope="module")
def sized(bundle: Bundle) -> Model:
    """The model, whose images had pixels of 1 micrometre."""
    return Model(replace(bundle, known=known(bundle.known).model_copy(update={"pixel_size": 1.0})))


@pytest.mark.parametrize(("size", "factor", "scale"), [(0.5, 2, 0.5), (0.98, 1, 1)])
def test_the_pixel_size_is_tried_first(sized: Model, tmp_path: Path, size: float, factor: float, scale: float) -> None:
    write_sized(tmp_path / "a.tif", zoomed(squares(12), factor), size)
    with open_image(tmp_path / "a.tif") as source:
        result = sized.count(source.planes()[0])
        given = sized.count(source.planes(View(scale=1))[0])
    assert result.scale == pytest.approx(scale, rel=0.01)
    assert known(result.estimate) == pytest.approx(12, rel=0.1)
    assert "object-size" not in result.flags
    assert result.interval is not None
    assert given.scale == 1


def test_a_pixel_size_that_does_not_fit_is_passed_over(sized: Model, tmp_path: Path) -> None:
    for size in (0.35, 1e-3, 1e5):
        write_sized(tmp_path / "a.tif", squares(12), size)
        with open_image(tmp_path / "a.tif") as source:
            result = sized.count(source.planes()[0])
        assert (result.count, result.scale, result.flags) == (12, 1, ())


def test_the_pixel_size_of_a_folder_is_its_usual_scale(sized: Model, tmp_path: Path) -> None:
    for k in range(3):
        write_sized(tmp_path / f"{k}.tif", zoomed(squares(9 + 3 * k), 3), 1 / 3)
    with ExitStack() as opened:
        sources = [opened.enter_context(open_image(tmp_path / f"{k}.tif")) for k in range(3)]
        [usual] = sized.at_scales_of([source.planes()[0] for source in sources]).usual
    assert usual == pytest.approx(1 / 3, rel=0.01)


def test_the_pixel_size_is_kept_in_the_bundle(sized: Model, bundle: Bundle, tmp_path: Path) -> None:
    write_bundle(tmp_path / "model", replace(bundle, known=sized.known))
    again = read_bundle(tmp_path / "model")
    assert known(again.known).pixel_size == 1
    assert again.version != bundle.version


class CountingEngine:
    """Runs a network, and counts how often."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.runtime, self.runs = engine, engine.runtime, 0

    def predict(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.runs += 1
        return self._engine.predict(images)


def test_what_was_looked_at_for_the_scale_is_not_looked_at_again_unless_it_changed(
    bundle: Bundle, tmp_path: Path
) -> None:
    engine = CountingEngine(open_engine(bundle, "onnxruntime", precision="fp32"))
    model = Model(bundle, engine)
    with planes(tmp_path / "sample", [squares(12), squares(9)], View()) as sample:
        ready = model.at_scales_of(sample)
        runs, again = engine.runs, [model.at(ready.usual).count(plane) for plane in sample]
        assert engine.runs > runs
        runs = engine.runs
        tifffile.imwrite(tmp_path / "sample" / "1.tif", squares(5))
    with open_image(tmp_path / "sample" / "0.tif") as same, open_image(tmp_path / "sample" / "1.tif") as other:
        found = ready.count(same.planes(View())[0])
        assert engine.runs == runs
        assert (found.estimate, found.flags, found.distance) == (again[0].estimate, again[0].flags, again[0].distance)
        assert np.array_equal(found.labels(), again[0].labels())
        assert ready.count(other.planes(View())[0]).count == 5
        assert engine.runs > runs
