from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.color import hed_from_rgb, separate_stains

from elmgan.errors import ImageError
from elmgan.images import Tile, read_image
from elmgan.light import Cells, Normalisation, see, to_grey

NORMALISATION = Normalisation()


def cells(seed: int, shape: tuple[int, int] = (160, 200), number: int = 20) -> NDArray[np.float32]:
    """Blurred discs of 1 on 0, without noise."""
    rng = np.random.default_rng(seed)
    image = np.zeros(shape, np.float32)
    for row, column in rng.integers(0, shape, (number, 2)):
        cv2.circle(image, (int(column), int(row)), 7, 1, cv2.FILLED)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5))


def noisy(image: NDArray, seed: int = 0, noise: float = 2) -> NDArray[np.float32]:
    return (image + np.random.default_rng(seed).normal(0, noise, image.shape)).astype(np.float32)


def eight_bits(image: NDArray) -> NDArray[np.uint8]:
    return np.asarray(image.clip(0, 255).round().astype(np.uint8))


@given(seed=st.integers(0, 50), top=st.integers(0, 40), left=st.integers(0, 40), value=st.sampled_from([0, 105, 200]))
def test_a_margin_changes_nothing_of_what_is_seen_inside(seed: int, top: int, left: int, value: int) -> None:
    image = eight_bits(noisy(100 + 80 * cells(seed)))
    plain = see(image, NORMALISATION)
    padded = see(np.pad(image, ((top, 3), (left, 0)), constant_values=value), NORMALISATION)
    assert padded.stretch == plain.stretch
    assert padded.box == Tile(top, left, *image.shape)
    np.testing.assert_array_equal(padded.box.of(padded.normalised), plain.normalised)
    assert not padded.normalised[padded.data == False].any()  # noqa: E712


def test_what_has_data_everywhere_is_seen_as_it_is() -> None:
    image = eight_bits(noisy(100 + 80 * cells(1)))
    seen = see(image, NORMALISATION)
    assert seen.data is None
    assert seen.grey.dtype == np.uint8
    np.testing.assert_array_equal(seen.normalised, NORMALISATION(image))


@pytest.mark.parametrize("cells_are", ["bright", "dark"])
def test_the_sign_can_be_given_and_the_background_is_on_its_other_side(cells_are: Cells) -> None:
    """More than half of the image is cell: whoever looks for the densest grey values takes cells for the background."""
    covered = cells(2, number=260)
    sign = 1 if cells_are == "bright" else -1
    image = noisy(128 + sign * 60 * covered)
    assert see(image, NORMALISATION).stretch.bright == (cells_are == "dark")
    seen = see(image, NORMALISATION, cells=cells_are)
    assert seen.stretch.bright == (cells_are == "bright")
    assert seen.stretch.centre == pytest.approx(128, abs=15)
    assert np.median(seen.normalised[covered > 0.9]) > 0.5


@given(seed=st.integers(0, 50))
def test_a_sign_that_is_right_changes_nothing(seed: int) -> None:
    image = noisy(100 + 80 * cells(seed))
    assert see(image, NORMALISATION, cells="bright").stretch == see(image, NORMALISATION).stretch


def ramp(direction: tuple[float, float], power: int = 1) -> NDArray[np.float64]:
    down, across = np.mgrid[0:1:160j, 0:1:200j]
    slope = direction[0] * down + direction[1] * across
    return np.asarray(((slope - slope.min()) / np.ptp(slope)) ** power)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("direction", [(1, 0), (0, 1), (0.7, -0.7)])
@pytest.mark.parametrize(("share", "power"), [(0.5, 1), (1, 1), (2, 2)])
def test_a_smooth_background_is_levelled(share: float, power: int, direction: tuple[float, float], sign: int) -> None:
    flat = noisy(1000 + sign * 80 * cells(3))
    image = flat + np.float32(80 * share) * ramp(direction, power).astype(np.float32)
    plain, seen, padded = (see(each, NORMALISATION) for each in (flat, image, np.pad(image, 9)))
    assert seen.remarks == padded.remarks
    assert seen.remarks == () or power == 2  # what is mostly a bowl may be a cell
    assert abs(NORMALISATION(image) - plain.normalised).mean() > 0.1
    assert abs(seen.normalised - plain.normalised).mean() < 0.05
    assert abs(padded.box.of(padded.normalised) - plain.normalised).mean() < 0.05


@pytest.mark.parametrize("share", [0, 0.1])
def test_a_background_that_is_nearly_level_is_left_alone(share: float) -> None:
    image = noisy(1000 + 80 * cells(3) + 80 * share * ramp((1, 0)))
    np.testing.assert_array_equal(see(image, NORMALISATION).grey, image)


def test_an_uneven_background_that_is_not_smooth_is_told() -> None:
    image = noisy(1000 + 80 * cells(3) + 100 * ramp((0, 1), 6))
    seen = see(image, NORMALISATION)
    assert seen.remarks == ("uneven",)
    np.testing.assert_array_equal(seen.grey, image)


def bar(image: NDArray, value: float) -> NDArray:
    image[150:154, 130:190] = value
    return image


def text(image: NDArray, value: float) -> NDArray:
    letters = cv2.putText(np.zeros(image.shape, np.uint8), "20 um", (5, 155), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1, 1)
    image[letters > 0] = value
    return image


def dirt(image: NDArray, value: float) -> NDArray:
    image[cv2.circle(np.zeros(image.shape, np.uint8), (60, 60), 11, 1, cv2.FILLED) > 0] = value
    return image


@pytest.mark.parametrize("value", [2000, -1000], ids=["bright", "dark"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("put", [bar, text, dirt])
def test_debris_and_burned_in_text_change_nothing_elsewhere(
    put: Callable[[NDArray, float], NDArray], sign: int, value: float
) -> None:
    clean = noisy(500 + sign * 80 * cells(3, number=40))
    image = put(clean.copy(), value)
    plain, seen = see(clean, NORMALISATION), see(image, NORMALISATION)
    assert seen.remarks == ("debris",)
    assert seen.stretch.bright == (sign == 1)
    assert seen.stretch.span == pytest.approx(plain.stretch.span, rel=0.15)
    same = image == clean
    assert abs(seen.normalised - plain.normalised)[same].max() < 0.1


def stained(density: NDArray, glass: tuple[int, int, int] = (240, 225, 235)) -> NDArray[np.uint8]:
    """Haematoxylin of a density on glass, under transmitted light."""
    stain = np.array([0.65, 0.7, 0.29]) / np.linalg.norm([0.65, 0.7, 0.29])
    return eight_bits(noisy(glass * 10 ** -(density[..., np.newaxis] * stain), noise=1))


def test_a_stained_slide_is_seen_as_haematoxylin() -> None:
    slide = stained(cells(4))
    seen, density = see(slide, NORMALISATION), to_grey(slide, channel="haematoxylin")
    assert seen.channel == "haematoxylin"
    assert seen.stretch.bright
    np.testing.assert_allclose(seen.normalised, NORMALISATION(density), atol=0.05)
    assert see(slide, NORMALISATION, channel="luminance").channel == "luminance"
    assert see(slide, NORMALISATION, cells="bright").channel is None
    assert see(slide, NORMALISATION, cells="dark").channel is None


@pytest.mark.parametrize("value", [0, 255])
def test_a_margin_does_not_hide_a_stained_slide(value: int) -> None:
    slide = stained(cells(4))
    seen = see(np.pad(slide, ((0, 0), (70, 30), (0, 0)), constant_values=value), NORMALISATION)
    assert seen.channel == "haematoxylin"
    np.testing.assert_allclose(seen.box.of(seen.normalised), see(slide, NORMALISATION).normalised, atol=0.02)


@pytest.mark.parametrize("colour", [(1, 0, 0), (1, 0, 1), (0, 0, 1), (0, 1, 0), (1, 0.6, 0)])
@pytest.mark.parametrize("ground", [0, 0.2, 0.4])
def test_fluorescence_in_one_colour_is_not_stained(colour: tuple[float, ...], ground: float) -> None:
    cells_alone = ground + (1 - ground) * cells(4)
    image = eight_bits(noisy(220 * cells_alone[..., np.newaxis] * np.array(colour)))
    assert see(image, NORMALISATION).channel is None


def test_a_single_large_cell_is_told_where_it_is_taken_for_the_background() -> None:
    down, across = np.mgrid[-64:64, -64:64]
    blob = noisy(100 + 80 * np.exp(-(down**2 + across**2) / (2 * 45**2)))
    assert "uneven" in see(blob, NORMALISATION).remarks


def test_colour_of_any_type_has_the_same_haematoxylin() -> None:
    slide = stained(cells(4))
    densities = [to_grey(slide.astype(dtype), channel="haematoxylin") for dtype in (np.uint8, np.uint16, np.float32)]
    np.testing.assert_allclose(densities[0], densities[2], atol=1e-5)
    np.testing.assert_array_equal(densities[1], densities[2])


def test_what_is_not_stained_is_seen_as_luminance() -> None:
    grey = eight_bits(noisy(200 - 120 * cells(4)))
    tinted = eight_bits(grey[..., np.newaxis] * np.array([1, 0.9, 0.7]))
    on_dark = eight_bits(noisy(np.dstack([15 + 150 * cells(seed) for seed in (4, 5, 6)])))
    for image in (np.dstack([grey] * 3), tinted, on_dark):
        assert see(image, NORMALISATION).channel is None


@pytest.mark.parametrize("part", ["nuinsseg/images/*", "foreign/images/blood_*"])
def test_real_slides_are_seen_as_haematoxylin(shared_data: Path, part: str) -> None:
    images = sorted(shared_data.glob(part))[::10]
    assert images
    assert {see(read_image(path), NORMALISATION).channel for path in images} == {"haematoxylin"}


def three_stains(noise: float = 2) -> NDArray[np.uint8]:
    return eight_bits(noisy(np.dstack([15 + 150 * cells(seed) for seed in (4, 5, 6)]), noise=noise))


def test_a_merge_is_told_unless_a_channel_is_chosen() -> None:
    merge = three_stains()
    assert see(merge, NORMALISATION).remarks == ("merge",)
    assert see(np.pad(merge, ((0, 0), (20, 0), (0, 0))), NORMALISATION).remarks == ("merge",)
    assert see(merge, NORMALISATION, channel=2).remarks == ()
    assert see(merge, NORMALISATION, channel="luminance").remarks == ()
    two = merge.copy()
    two[..., 0] = 0
    assert see(two, NORMALISATION).remarks == ("merge",)


def test_one_stain_and_bright_field_are_no_merge() -> None:
    stain = 150 * cells(4)[..., np.newaxis]
    one = [
        eight_bits(noisy(15 + stain * colour, noise=2)) for colour in ([0, 0, 1], [0.05, 0.4, 1], [1, 1, 1], [0, 1, 1])
    ]
    grey = eight_bits(noisy(15 + stain[..., 0]))
    for image in (
        *one,
        np.dstack([grey] * 3),
        cv2.applyColorMap(grey, cv2.COLORMAP_HOT)[..., ::-1],
        255 - three_stains(),
    ):
        assert "merge" not in see(image, NORMALISATION).remarks


def test_real_tissue_and_plain_fluorescence_are_neither_merged_nor_uneven(shared_data: Path) -> None:
    tissue, plain = sorted((shared_data / "nuinsseg/images").iterdir()), sorted(shared_data.glob("bbbc039/images/*"))
    assert not any("merge" in see(read_image(path), NORMALISATION).remarks for path in tissue[::20])
    assert not any(see(read_image(path), NORMALISATION).remarks for path in plain[::20])


@given(seed=st.integers(0, 100))
def test_haematoxylin_is_what_colour_deconvolution_gives(seed: int) -> None:
    colour = np.random.default_rng(seed).uniform(0.02, 1, (12, 15, 3))
    colour[:3] = 1  # glass
    expected = separate_stains(colour, hed_from_rgb)[..., 0] * np.log(1e-6) / -np.log(10)
    found = to_grey(colour * 200, channel="haematoxylin")
    scale = np.linalg.norm(expected) / np.linalg.norm(np.maximum(found, 0))
    np.testing.assert_allclose(scale * np.maximum(found, 0), np.abs(expected), atol=1e-2)


def test_more_stain_is_larger_and_the_glass_is_0() -> None:
    density = np.tile(np.linspace(0, 1, 100), (60, 1))
    density[:10] = 0
    slide = 230 * 10 ** -(density[..., np.newaxis] * np.array([0.65, 0.70, 0.29]))
    found = to_grey(eight_bits(slide), channel="haematoxylin")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:10], 0, atol=0.02)
    np.testing.assert_allclose(found[20], density[20] * np.linalg.norm([0.65, 0.70, 0.29]), atol=0.03)
    assert see(eight_bits(slide), NORMALISATION, channel="haematoxylin").stretch.bright


def test_red_is_the_first_of_three() -> None:
    np.testing.assert_array_equal(to_grey(three_stains(), channel="red"), three_stains()[..., 0])


def test_an_image_without_any_number_is_refused() -> None:
    with pytest.raises(ImageError, match="no pixel holds data"):
        see(np.full((5, 6), np.nan), NORMALISATION)
    with pytest.raises(ImageError, match="no pixel holds data"):
        see(np.full((5, 6, 3), np.nan), NORMALISATION, channel="haematoxylin")
