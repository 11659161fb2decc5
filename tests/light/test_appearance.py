import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from elmgan.light import Appearance, appearance_of, ranges_of


def discs(diameter: float, apart: float, number: int = 3) -> NDArray[np.bool_]:
    """Discs in a row, whose centres are so many pixels apart."""
    shape = round(2 * diameter), round(number * apart + diameter)
    rows, columns = np.indices(shape)
    centres = [(shape[0] / 2, diameter + k * apart) for k in range(number)]
    distances = [np.hypot(rows - row, columns - column) for row, column in centres]
    return np.asarray(np.min(distances, axis=0) < diameter / 2)


def grey(mask: NDArray[np.bool_], blur: float = 0, noise: float = 0.02) -> NDArray[np.float32]:
    """The mask's image through a microscope, with noise."""
    sharp = mask.astype(np.float32)
    image = np.asarray(cv2.GaussianBlur(sharp, (0, 0), blur), np.float32) if blur else sharp
    return image + np.random.default_rng(0).normal(0, noise, mask.shape).astype(np.float32)


def look(
    image: NDArray[np.float32], mask: NDArray[np.bool_] | None, cells: float | None, scale: float = 1
) -> Appearance:
    """The appearance to a network that sees the grey values as they are."""
    return appearance_of(image, np.positive, mask, cells, scale=scale)


@given(diameter=st.floats(8, 60), touch=st.floats(0.95, 1.5))
def test_the_diameter_is_that_of_the_cells_also_where_they_touch(diameter: float, touch: float) -> None:
    mask = discs(diameter, touch * diameter)
    of_this_area = (4 * mask.sum() / 3 / np.pi) ** 0.5
    assert look(grey(mask), mask, 3)["diameter"] == pytest.approx(of_this_area, rel=0.1, abs=1)


def test_the_diameter_is_the_same_over_many_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.tile(discs(20, 22), (3, 2))
    whole = look(grey(mask), mask, None)["diameter"]
    monkeypatch.setattr("elmgan.light.appearance.BAND", 7)
    assert look(grey(mask), mask, None)["diameter"] == pytest.approx(whole)


def test_diameter_and_density_are_those_that_the_network_sees() -> None:
    mask = discs(20, 30)
    there = look(grey(mask), mask, 3)
    twice = look(grey(mask), mask, 3, scale=2)
    assert there["density"] == 3e6 / mask.size
    assert (twice["diameter"], twice["density"]) == (2 * there["diameter"], there["density"] / 4)
    assert twice["sharpness"] == pytest.approx(there["sharpness"] / 2)
    assert all(twice[measure] == there[measure] for measure in ("darkness", "agreement", "contrast"))


@given(seed=st.integers(0, 1000))
def test_agreement_is_the_size_of_the_correlation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image, mask = rng.normal(size=(20, 30)).astype(np.float32), rng.random((20, 30)) < 0.3
    expected = np.corrcoef(image.ravel(), mask.ravel())[0, 1]
    assert look(image, mask, None)["agreement"] == pytest.approx(abs(expected), abs=1e-4)


def test_darkness_tells_bright_cells_from_dark_ones() -> None:
    mask = discs(20, 30)
    assert look(grey(mask), mask, 3)["darkness"] == 0
    assert look(-grey(mask), mask, 3)["darkness"] == 1
    assert "darkness" not in look(0.1 * grey(mask), mask, 3)


def test_darkness_is_that_of_the_image_also_where_normalisation_turns_it() -> None:
    mask = discs(20, 30)
    bright = grey(mask)
    turned = appearance_of(200 - 50 * bright, lambda image: np.divide(200 - image, 50, dtype=np.float32), mask, 3)
    straight = appearance_of(200 + 50 * bright, lambda image: np.divide(image - 200, 50, dtype=np.float32), mask, 3)
    assert (turned["darkness"], straight["darkness"]) == (1, 0)


def test_sharpness_and_contrast_are_those_of_the_image() -> None:
    mask = discs(20, 30)
    image = grey(mask, 2)
    there = look(image, mask, 3)
    compressed = appearance_of(200 - 50 * image, lambda values: np.arcsinh((200 - values) / 5), mask, 3)
    assert [compressed[of] for of in ("sharpness", "contrast")] == pytest.approx(
        [there[of] for of in ("sharpness", "contrast")], rel=1e-3
    )


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("blur", [2, 4])
def test_sharpness_is_the_steepness_of_a_blurred_edge(blur: float, sign: int) -> None:
    mask = discs(200, 250, number=1)  # so large that hardly more than the edge is blurred
    slope = 1 / (blur * (2 * np.pi) ** 0.5)  # of a step behind a Gaussian
    image = sign * grey(mask, blur)
    assert look(image, mask, 3)["sharpness"] == pytest.approx(slope, rel=0.15)
    assert look(sign * grey(mask), mask, 3)["sharpness"] == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
def test_contrast_is_in_standard_deviations_of_the_noise(noise: float) -> None:
    mask = discs(20, 30)
    assert look(grey(mask, noise=noise), mask, 3)["contrast"] == pytest.approx(1 / noise, rel=0.1)


def test_what_is_not_there_is_not_measured() -> None:
    flat, nothing = np.zeros((8, 8), np.float32), np.zeros((8, 8), bool)
    assert look(flat, None, None) == {}
    assert look(flat, None, 2) == look(flat, nothing, 2) == look(flat, ~nothing, 2)
    assert look(flat, nothing, 2) == {"density": 2e6 / 64}
    assert look(flat, np.eye(8, dtype=bool), 2).keys() == {"density", "diameter"}


def test_pixels_without_data_leave_no_measure_that_is_no_number() -> None:
    mask = discs(20, 30)
    image = grey(mask)
    image[0, :5] = np.finfo(np.float32).min
    measured = look(image, mask, 3)
    assert "contrast" not in measured
    assert all(np.isfinite(value) for value in measured.values())


@pytest.mark.parametrize("margin", [-50.0, 0.0, 1e6])
def test_a_margin_without_data_changes_no_measure(margin: float) -> None:
    mask = discs(20, 30)
    image = grey(mask, 1.5)
    alone = look(image, mask, 3)
    padded, wider = np.pad(image, 40, constant_values=margin), np.pad(mask, 40)
    data = np.pad(np.ones_like(mask), 40)
    measured = appearance_of(padded, np.positive, wider, 3, data=data)
    assert measured == pytest.approx(alone, rel=0.05)  # the noise at the border is not measured


def test_a_range_passes_over_the_odd_image() -> None:
    usual: list[Appearance] = [{"diameter": size} for size in np.linspace(10, 20, 1001).tolist()]
    low, high = ranges_of([*usual, {"diameter": 500.0}, {}])["diameter"]
    assert (low, high) == pytest.approx((10.1, 19.9), abs=0.02)
    assert ranges_of([]) == {}
