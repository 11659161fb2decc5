import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import elmgan
from bundles import expected_probability, known, squares, tiny_bundle, tiny_onnx, write_tiny
from elmgan.counting import Model, Result, result
from elmgan.engines import Engine, OnnxEngine, OpenVinoEngine, Runtime
from elmgan.errors import ElmganError, ImageError, ModelError, UsageError
from elmgan.light import Normalisation, appearance_of, ranges_of
from elmgan.models import Architecture

TINY = Model(tiny_bundle(), precision="fp32")


@pytest.mark.parametrize("shape", [(96, 120), (101, 83), (7, 300), (1, 1)])
def test_the_result_is_what_the_network_says(shape: tuple[int, int]) -> None:
    image = squares(7, shape)
    counted = TINY.count(image)
    probability = expected_probability(TINY.card.normalisation(image.astype(np.float32)))
    np.testing.assert_allclose(known(counted.probability), probability, atol=1e-5)
    assert np.array_equal(known(counted.mask), probability >= 0.5)
    assert known(counted.count_map).shape == (math.ceil(shape[0] / 4), math.ceil(shape[1] / 4))
    assert counted.estimate == round(float(known(counted.count_map).sum(dtype=np.float64)), 2)
    assert counted.foreground == pytest.approx(known(counted.mask).mean())


def test_squares_are_counted() -> None:
    counted = TINY.count(squares(9))
    assert counted.count == counted.labels().max() == 9
    assert counted.labels().dtype == np.uint32
    assert counted.interval is None
    assert TINY.count(squares(0)).flags == ("empty",)


@pytest.mark.parametrize(("value", "foreground"), [(0.49, 0.0), (0.51, 1.0)])
def test_an_image_that_counts_0_has_no_foreground(value: float, foreground: float) -> None:
    pooled = fake_model(Architecture(depth=3, count_head="pooled", size=(64, 64)), Fake((1, 1, 1, 1), value))
    probability = np.ones((1, 1, 64, 64), np.float32)
    pooled._predict._engine.predict = lambda images: (probability, np.full((1, 1, 1, 1), value, np.float32))  # type: ignore[method-assign]
    assert pooled.count(np.eye(64)).foreground == foreground


def test_padding_counts_nothing() -> None:
    image = squares(9, (96, 120))
    cut = TINY.count(image[:93, :117])  # nothing but background is lost
    assert cut.estimate == pytest.approx(TINY.count(image).estimate, abs=0.1)


def test_tiles_and_the_whole_agree() -> None:
    image = squares(60, (203, 330))
    whole, tiled = TINY.count(image), Model(tiny_bundle(), precision="fp32", tile=64).count(image)
    np.testing.assert_allclose(known(tiled.probability), known(whole.probability), atol=1e-3)
    np.testing.assert_allclose(known(tiled.count_map), known(whole.count_map), atol=1e-4)
    assert tiled.estimate == pytest.approx(whole.estimate, rel=5e-3)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64", ">u2"])
def test_any_numeric_type_is_counted(dtype: str) -> None:
    image = (squares(5) / 20).astype(dtype)
    assert TINY.count(image).count == 5


def test_true_and_false_are_counted() -> None:
    counted = TINY.count(squares(5) > 1000)
    assert (counted.count, counted.flags) == (5, ())


def test_colour_and_channels() -> None:
    grey = squares(5)
    colour = np.stack([grey, grey, grey], axis=2)
    five = np.stack([np.zeros_like(grey), grey, *[np.ones_like(grey)] * 3], axis=2)
    assert TINY.count(colour).count == TINY.count(grey[..., np.newaxis]).count == 5
    assert TINY.count(five, channel=2).count == 5
    with pytest.raises(ImageError, match="5 channels"):
        TINY.count(five)
    with pytest.raises(ImageError):
        TINY.count(five, channel=6)


def test_only_the_counted_channel_is_flagged() -> None:
    both = np.stack([squares(5), np.full((96, 120), 65535, dtype=np.uint16)], axis=2)
    assert TINY.count(both, channel=1).flags == ()


def test_flags_warn_and_change_nothing() -> None:
    """The model that knows up to 9 squares of 10 pixels, shown those and others."""
    usual = [squares(number) for number in (3, 6, 9)]
    bundle = tiny_bundle()
    card = bundle.card.model_copy(
        update={"normalisation": Normalisation(noise_span=0, debris=0)}
    )  # finds cells in much noise
    plain = Model(replace(bundle, card=card))
    greys = [image.astype(np.float32) for image in usual]
    training = ranges_of(
        appearance_of(grey, card.normalisation.stretch(grey), grey > grey.mean(), cells)
        for grey, cells in zip(greys, (3, 6, 9), strict=True)
    )
    training["sharpness"] = (0.2, 0.5)  # the smallest of three would be far above the smallest of many
    model = Model(replace(bundle, card=card.model_copy(update={"training": training})))
    assert [model.count(image).flags for image in usual] == [(), (), ()]

    image = usual[-1].astype(np.float32)
    noise = np.random.default_rng(0).normal(0, np.ptp(image) / 5, image.shape).astype(np.float32)
    shown = {
        "blurred": cv2.GaussianBlur(image, (0, 0), 4),
        "saturated": np.where(image > image.mean(), 4095, image),
        "low-contrast": image + noise,
        "empty": np.zeros_like(image),
        "crowded": squares(24),
        "object-size": cv2.resize(image, None, fx=3, fy=3),
        "unlike-training": np.where(np.arange(120) > 50, 400 - image, image),  # some cells are dark
    }
    for flag, strange in shown.items():
        counted = model.count(strange)
        assert flag in counted.flags, flag
        assert counted.estimate == plain.count(strange).estimate
    assert "object-size" not in model.count(shown["object-size"], scale=1 / 3).flags


@given(
    sides=st.tuples(*[st.integers(0, 40)] * 4).filter(any),
    value=st.sampled_from([0.0, 200.0, 65535.0, math.nan]),
    seed=st.integers(0, 30),
)
def test_a_margin_of_any_value_counts_nothing_and_changes_nothing(
    sides: tuple[int, int, int, int], value: float, seed: int
) -> None:
    top, bottom, left, right = sides
    image = (squares(7) + np.random.default_rng(seed).normal(0, 3, (96, 120))).round().astype(np.float32)
    plain = TINY.count(image)
    around = ((top, bottom), (left, right))
    counted = TINY.count(np.pad(image, around, constant_values=value))
    assert counted.estimate == pytest.approx(plain.estimate, abs=0.011)
    assert np.array_equal(known(counted.mask), np.pad(known(plain.mask), around))
    assert counted.foreground == pytest.approx(plain.foreground)
    assert counted.flags == plain.flags
    margin = ~known(counted.data)
    assert counted.count_in(margin) == pytest.approx(0, abs=0.5)  # values of 4 x 4 pixels that the edge cuts
    assert known(counted.count_map).shape == tuple(-(-side // 4) for side in margin.shape)


@pytest.mark.parametrize("scale", [0.5, 2])
def test_a_margin_changes_nothing_at_another_scale(scale: float) -> None:
    image = squares(7)
    counted = TINY.count(np.pad(image, ((0, 0), (30, 0))), scale=scale)
    assert counted.estimate == pytest.approx(TINY.count(image, scale=scale).estimate, abs=0.011)


@given(row=st.integers(0, 90), column=st.integers(0, 114))
def test_pixels_that_are_no_number_are_neither_counted_nor_foreground(row: int, column: int) -> None:
    image = squares(7).astype(np.float32)
    image[row : row + 6, column : column + 6] = np.nan
    counted = TINY.count(image)
    assert not known(counted.mask)[np.isnan(image)].any()
    assert 6 < known(counted.estimate) < 7.3


def test_the_pooled_head_is_shown_the_whole_image() -> None:
    pooled = fake_model(Architecture(depth=3, count_head="pooled", size=(64, 72)), Fake((1, 1, 1, 1), 12.5))
    image = np.random.default_rng(0).normal(100, 5, (64, 72))
    image[:20] = np.nan
    assert pooled.count(image).estimate == 12.5


def test_the_sign_of_cells_can_be_given() -> None:
    image = squares(20).astype(np.float32)
    assert known(TINY.count(image, cells="bright").estimate) == TINY.count(image).estimate
    assert TINY.count(4000 - image, cells="dark").estimate == TINY.count(image).estimate
    wrong = known(TINY.count(image, cells="dark").mask)  # what is around the squares stands out from them
    assert np.median(image[wrong]) < 300 < np.median(image[~wrong])


class Fake:
    """An engine that gives arrays of the same value."""

    runtime = Runtime("fake", "0", "fp32", "cpu")

    def __init__(self, count_shape: tuple[int, ...] | None = None, value: float = 0.0) -> None:
        self.count_shape = count_shape
        self.value = value

    def predict(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows, columns = image.shape[2:]
        return np.zeros_like(image), np.full(
            self.count_shape or (1, 1, rows // 4, columns // 4), self.value, dtype=np.float32
        )


def fake_model(architecture: Architecture, engine: Fake) -> Model:
    bundle = tiny_bundle()
    return Model(replace(bundle, card=bundle.card.model_copy(update={"architecture": architecture})), engine)


def test_the_pooled_head_takes_one_size() -> None:
    pooled = fake_model(Architecture(depth=3, count_head="pooled", size=(64, 72)), Fake((1, 1, 1, 1), 12.5))
    counted = pooled.count(np.zeros((60, 70), np.uint8))  # padded to that size
    assert (counted.count, known(counted.count_map).shape) == (13, (1, 1))
    with pytest.raises(ImageError, match="the image has 65 x 70 pixels; this model was made for 64 x 72 only"):
        pooled.count(np.zeros((65, 70), np.uint8))


def test_a_network_that_does_not_fit_its_card_is_refused() -> None:
    with pytest.raises(ModelError, match="do not belong together"):
        fake_model(Architecture(depth=3), Fake((1, 1, 1, 1))).count(np.zeros((64, 64), np.uint8))
    with pytest.raises(ModelError, match="no finite numbers"):
        fake_model(Architecture(depth=3), Fake(value=math.nan)).count(np.zeros((64, 64), np.uint8))


@pytest.mark.parametrize("tile", [0, 4, 100])
def test_a_tile_fits_the_network(tile: int) -> None:
    with pytest.raises(UsageError, match="multiples of 8"):
        Model(tiny_bundle(), tile=tile)


@pytest.mark.parametrize("content", [b"", b"not a network", tiny_onnx()[:200]])
@pytest.mark.parametrize("engine", [OnnxEngine, OpenVinoEngine])
def test_what_is_no_network_is_refused(engine: Callable[[bytes], Engine], content: bytes) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded") as error:
        engine(content)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("engine", [OnnxEngine, OpenVinoEngine])
def test_a_network_with_other_outputs_is_refused(engine: Callable[[bytes], Engine]) -> None:
    network = onnx.load_from_string(tiny_onnx())
    del network.graph.output[1]
    with pytest.raises(ModelError, match="maps image to probability; expected image to probability and count_map"):
        engine(network.SerializeToString())


@pytest.mark.parametrize("engine", [OnnxEngine, OpenVinoEngine])
def test_an_engine_that_fails_tells_the_size(engine: Callable[[bytes], Engine]) -> None:
    with pytest.raises(ModelError, match="cannot run on 8 x 8 pixels"):
        engine(tiny_onnx()).predict(np.zeros((1, 2, 8, 8), dtype=np.float32))


@given(st.floats(0, 1e6))
def test_the_count_is_the_shown_estimate_rounded_half_up(value: float) -> None:
    counted = fake_model(Architecture(depth=3, count_head="pooled"), Fake((1, 1, 1, 1), value)).count(np.eye(8))
    assert counted.estimate == float(f"{known(counted.estimate):.2f}") == pytest.approx(value, abs=0.005, rel=1e-6)
    assert counted.count == math.floor(known(counted.estimate) + 0.5)


def test_a_result_has_what_the_model_learned() -> None:
    image = squares(6)
    both = TINY.count(image)
    masks, counts = (Model(tiny_bundle(learned=(what,))).count(image) for what in ("mask", "count"))
    assert (masks.count, masks.estimate, masks.count_map, masks.interval) == (None, None, None, None)
    assert np.array_equal(known(masks.mask), known(both.mask))
    assert (masks.objects, masks.foreground) == (both.objects, both.foreground)
    assert (counts.mask, counts.probability, counts.objects, counts.foreground) == (None, None, None, None)
    assert (counts.count, counts.estimate) == (6, both.estimate)
    assert repr(counts) == f"Result(count=6, estimate={both.estimate}, interval=None, flags=)"
    told = r"there is nothing to separate: this model learned counts alone: .*; use one that learned masks"
    with pytest.raises(UsageError, match=told):
        counts.labels()


def test_what_a_model_did_not_learn_is_not_judged() -> None:
    nothing = squares(0)
    assert Model(tiny_bundle(learned=("mask",))).count(nothing).flags == ("empty",)
    assert Model(tiny_bundle(learned=("count",))).count(nothing).flags == ()
    bundle = tiny_bundle(learned=("mask",))
    assert Model(bundle, Fake(value=math.nan)).count(np.zeros((64, 64), np.uint8)).objects == 0


def test_a_half_is_rounded_up() -> None:
    nothing = np.zeros((1, 1), dtype=np.float32)
    estimates = (0.49, 0.5, 2.5, 3.49)
    assert [Result((1, 1), estimate, nothing > 0, nothing, nothing, ()).count for estimate in estimates] == [0, 1, 3, 3]


def test_labels_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = TINY.count(squares(3))
    labels = counted.labels()
    monkeypatch.delattr(result, "separate")
    assert counted.labels() is labels


def test_a_model_is_loaded_by_path(tmp_path: Path) -> None:
    model = elmgan.load(write_tiny(tmp_path))
    assert model.version == TINY.version
    assert model.count(squares(4)).count == 4
    with pytest.raises(ElmganError):
        elmgan.load(tmp_path / "absent")
