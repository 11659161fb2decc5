"""Windows: totals that add up, masks that stay with their images, margins and overhangs."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from elmgan.data import Example, reduce_labels
from elmgan.training.config import WINDOW_GRID, Augmentation, DataOptions
from elmgan.training.windows import Window, change_grey_values, draw_start, draw_window, mosaic

STILL = Augmentation(flips=False)
seeds = st.integers(0, 2**32)


def discs(shape: tuple[int, int], number: int, radius: float, *, rng: np.random.Generator) -> NDArray[np.uint16]:
    """A label image of discs that may overlap, and that the border may cut."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.uint16)
    for label in range(1, number + 1):
        row, column = rng.uniform(0, shape)
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = label
    return labels


def example(labels: NDArray[np.uint16], *, tiles: bool = True) -> Example:
    """An example whose image is its mask."""
    shares = reduce_labels(labels)
    total = float(np.count_nonzero(shares))
    return Example(
        name="discs",
        kind="",
        image=(labels > 0).astype(np.float32),
        regions=labels if tiles else (labels > 0).astype(np.uint16),
        shares=shares if tiles else None,
        total=total,
    )


def cells(shape: tuple[int, int] = (200, 260), seed: int = 0, *, tiles: bool = True) -> Example:
    return example(discs(shape, 25, 12, rng=np.random.default_rng(seed)), tiles=tiles)


def window(
    source: Example, data: DataOptions, seed: int, augmentation: Augmentation = STILL, multiple: int = 64
) -> Window:
    return draw_window(source, data, augmentation, multiple=multiple, rng=np.random.default_rng(seed))


def box(region: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """First row, row after the last, first column and column after the last of a rectangle of ones."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    limits = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    filled = np.zeros_like(region)
    filled[limits[0] : limits[1], limits[2] : limits[3]] = 1
    assert np.array_equal(filled, region)
    return limits


@given(seed=seeds, shape=st.tuples(st.integers(30, 200), st.integers(30, 200)), flips=st.booleans())
def test_totals_of_windows_add_up_to_the_total_of_the_image(seed: int, shape: tuple[int, int], flips: bool) -> None:
    """A window's total is the sum of one and the same map of shares over its core, and the map's sum is the total."""
    source = cells(shape, seed)
    assert source.shares is not None
    shares = source.shares[source.regions]
    assert shares.sum() == pytest.approx(source.total, rel=1e-4)
    places = np.arange(1, shares.size + 1, dtype=np.float32).reshape(shape)  # an image that says where each pixel was
    drawn = window(replace(source, image=places), DataOptions(tile=64, margin=16), seed, Augmentation(flips=flips))
    counted = np.unique(drawn.image[drawn.core > 0])
    assert len(counted) == drawn.core.sum()
    assert drawn.total == pytest.approx(float(shares.ravel()[counted.astype(int) - 1].sum()), rel=1e-4, abs=1e-5)


@given(seed=seeds, shape=st.tuples(st.integers(30, 200), st.integers(30, 200)), flips=st.booleans())
def test_every_square_has_the_shares_of_its_own_pixels(seed: int, shape: tuple[int, int], flips: bool) -> None:
    source = cells(shape, seed)
    assert source.shares is not None
    shares = source.shares[source.regions]
    places = np.arange(1, shares.size + 1, dtype=np.float32).reshape(shape)
    data = DataOptions(tile=64, margin=16, squares=32)
    drawn = window(replace(source, image=places), data, seed, Augmentation(flips=flips))
    assert drawn.squares.shape == (2, 2)
    assert drawn.squares.sum() == pytest.approx(drawn.total, abs=1e-5)
    for (row, column), total in np.ndenumerate(drawn.squares):
        square = slice(32 * row, 32 * row + 32), slice(32 * column, 32 * column + 32)
        counted = drawn.image[square][drawn.core[square] > 0].astype(int) - 1
        assert total == pytest.approx(float(shares.ravel()[counted].sum()), rel=1e-4, abs=1e-5)


def test_a_window_counts_what_a_person_sees_inside_the_margin() -> None:
    """A cell cut by the core's edge counts by its part inside, one cut by the image's border counts one."""
    labels = np.zeros((128, 128), np.uint16)
    labels[0:3, 50:60] = 1  # what is left of it at the image's upper border
    labels[104:120, 60:70] = 2  # half of it below a core that ends at row 112
    labels[120:126, 20:30] = 3  # in the margin
    source = example(labels)
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(60):
        drawn = draw_window(source, DataOptions(tile=128, margin=16, overhang=0), STILL, multiple=64, rng=rng)
        found.add(round(drawn.total, 3))
        assert drawn.core.all()
    assert found == {3.0}
    tall = example(np.pad(labels, ((0, 64), (0, 0))))
    tops = {
        round(drawn.total, 3)
        for drawn in (window(tall, DataOptions(tile=128, margin=16, overhang=0), seed) for seed in range(300))
        if drawn.core[0, 0]
    }
    assert tops == {1.5}


@given(seed=seeds, zoom=st.floats(0.5, 2.5))
def test_zoom_scales_areas_but_not_totals(seed: int, zoom: float) -> None:
    """The mask up to its pixels: a zoom near 1 leaves out, or doubles, a few rows and columns of them."""
    labels = np.zeros((140, 180), np.uint16)
    rows, columns = np.ogrid[:140, :180]
    for label in range(1, 31):  # apart, and none of them cut
        row, column = label % 5 * 28 + 14.3, label % 6 * 30 + 14.6
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= (8 + label / 7) ** 2] = label
    source = example(labels)
    augmentation = Augmentation(flips=True, zoom=(zoom, zoom))
    drawn = window(source, DataOptions(tile=512, margin=32, overhang=0), seed, augmentation)
    assert drawn.seen.sum() == round(140 * zoom) * round(180 * zoom)
    assert source.mask is not None
    assert drawn.mask.sum() == pytest.approx(source.mask.sum() * zoom**2, rel=0.08)
    assert drawn.total == pytest.approx(source.total, rel=1e-4)


@given(seed=seeds, zoom=st.floats(0.7, 1.4), flips=st.booleans())
def test_a_cell_counts_one_in_the_core_and_nothing_outside(seed: int, zoom: float, flips: bool) -> None:
    rng = np.random.default_rng(seed)
    source = example(discs((70, 80), 1, 5, rng=rng))  # so small that one row of pixels more is a tenth of it
    drawn = window(source, DataOptions(tile=64, margin=16), seed, Augmentation(flips=flips, zoom=(zoom, zoom)))
    near = cv2.dilate(drawn.mask, np.ones((3, 3), np.uint8))  # what may be its pixels at another rounding
    if not (near * drawn.core).any():
        assert drawn.total == pytest.approx(0, abs=1e-4)
    elif np.array_equal(near * drawn.core, near * drawn.seen):
        assert drawn.total == pytest.approx(1, rel=0.02)
    else:
        assert 0 <= drawn.total < 1.02


@given(seed=seeds, tiles=st.booleans())
def test_flips_keep_the_total_of_whole_images(seed: int, tiles: bool) -> None:
    source = cells(seed=seed, tiles=tiles)
    drawn = window(source, DataOptions(), seed, Augmentation(flips=True))
    assert drawn.image.shape == (256, 320)
    assert box(drawn.seen) == box(drawn.core) == (0, 200, 0, 260)
    assert drawn.total == source.total
    assert source.mask is not None
    assert drawn.mask.sum() == source.mask.sum()
    assert np.array_equal(drawn.image, drawn.mask)


def test_every_turn_of_a_square_window_occurs() -> None:
    source = cells((96, 96))
    drawn = [window(source, DataOptions(), seed, Augmentation(flips=True), multiple=32) for seed in range(100)]
    turns = {np.rot90(mirrored, k).tobytes() for mirrored in (source.image, source.image.T) for k in range(4)}
    assert {one.image.tobytes() for one in drawn} == turns


@given(seed=seeds, zoom=st.floats(0.6, 1.7), tile=st.sampled_from([64, 128, None]))
def test_the_mask_stays_with_the_image(seed: int, zoom: float, tile: int | None) -> None:
    """The image is the mask: where its pixels were not mixed of both, it says what the mask has to be."""
    drawn = window(cells(seed=seed), DataOptions(tile=tile, margin=16), seed, Augmentation(zoom=(zoom, zoom)))
    pure = (drawn.image < 1e-4) | (drawn.image > 1 - 1e-4)
    assert pure.mean() > 0.75
    assert np.array_equal(drawn.image[pure] > 0.5, drawn.mask[pure] > 0)


@given(
    seed=seeds,
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    tile=st.sampled_from([64, 128]),
    margin=st.sampled_from([0, 16]),
    overhang=st.integers(0, 80),
)
def test_seen_and_core(seed: int, shape: tuple[int, int], tile: int, margin: int, overhang: int) -> None:
    source = example(np.ones(shape, np.uint16))
    options = DataOptions(tile=tile, margin=margin, overhang=overhang)
    drawn = window(source, options, seed, Augmentation(flips=False))
    assert drawn.image.shape == drawn.mask.shape == drawn.seen.shape == drawn.core.shape == (tile, tile)
    # The image is 1 throughout, so its mask says where it was put.
    assert np.array_equal(drawn.mask, drawn.seen)
    assert (drawn.image[drawn.seen == 0] == 0).all()
    assert drawn.total == pytest.approx(drawn.core.sum() / source.image.size, rel=1e-4, abs=1e-6)
    seen = box(drawn.seen)
    assert (drawn.core <= drawn.seen).all()
    if not drawn.core.any():  # no more than the margin of the image was seen
        return
    core = box(drawn.core)
    for axis, side in enumerate(shape):
        (begins, ends), (first, last) = seen[2 * axis : 2 * axis + 2], core[2 * axis : 2 * axis + 2]
        assert ends - begins >= min(side, tile) - overhang
        assert first % WINDOW_GRID == 0
        # An edge of the image that is seen is counted up to; an edge of the window has its margin.
        assert first - begins in (0, margin)
        assert ends - last in (0, margin)
        if begins > 0:
            assert first == begins
        if ends < tile:
            assert last == ends
        else:
            assert last % WINDOW_GRID == 0 or last == ends


@given(seed=seeds, rows=st.integers(1, 200), columns=st.integers(1, 200), multiple=st.sampled_from([16, 64]))
def test_whole_images_are_padded_to_multiples(seed: int, rows: int, columns: int, multiple: int) -> None:
    source = example(np.ones((rows, columns), np.uint16), tiles=False)
    drawn = window(source, DataOptions(tile=128, margin=16), seed, Augmentation(), multiple)
    assert all(0 <= side - length < multiple for side, length in zip(drawn.image.shape, (rows, columns), strict=True))
    assert all(side % multiple == 0 for side in drawn.image.shape)
    assert box(drawn.seen) == box(drawn.core) == (0, rows, 0, columns)
    assert drawn.total == 1


def test_tiles_reach_beyond_every_side_of_the_image() -> None:
    source = cells((200, 200))
    seen = [box(window(source, DataOptions(tile=64, margin=16, overhang=32), seed).seen) for seed in range(1500)]
    assert {top for top, _, _, _ in seen} == {left for _, _, left, _ in seen} == {0, 16, 32}
    assert min(bottom for _, bottom, _, _ in seen) == min(right for _, _, _, right in seen) == 32
    assert sum(limits == (0, 64, 0, 64) for limits in seen) > len(seen) / 2


def test_grey_values_change_as_much_as_asked_and_the_padding_stays_0() -> None:
    wild = Augmentation(gain=(0.5, 2), offset=0.1, noise=0.2, blur=1.5, invert=0.5)
    source = cells(tiles=False)
    inverted = 0
    for seed in range(40):
        drawn = window(source, DataOptions(), seed, wild)
        assert drawn.image.dtype == np.float32
        assert (drawn.image[drawn.seen == 0] == 0).all()
        background = drawn.image[(drawn.seen > 0) & (drawn.mask == 0)]
        foreground = drawn.image[drawn.mask > 0]
        assert abs(float(np.median(background))) < 0.15
        contrast = float(np.median(foreground) - np.median(background))
        assert 0.45 < abs(contrast) < 2.05
        inverted += contrast < 0
    assert 8 < inverted < 32


def test_gamma_leaves_0_and_1_and_the_sign_as_they_are() -> None:
    values = np.array([[-1, -0.25, 0, 0.25, 1]], np.float32)
    source = Example("", "", values, None, None, 1)
    darker = 0
    for seed in range(40):
        drawn = window(source, DataOptions(), seed, Augmentation(flips=False, gamma=(0.5, 2))).image[0, :5]
        np.testing.assert_allclose(drawn[[0, 2, 4]], [-1, 0, 1])
        assert drawn[3] == -drawn[1]
        assert 0.25**2 <= drawn[3] <= 0.25**0.5
        darker += int(drawn[3] < 0.25)
    assert 8 < darker < 32


def test_shading_is_as_uneven_as_asked_and_smooth() -> None:
    flat = Example("", "", np.zeros((256, 256), np.float32), None, None, 1)
    shades = [window(flat, DataOptions(), seed, Augmentation(shading=0.2)).image for seed in range(200)]
    uneven = [shade for shade in shades if shade.any()]
    assert 70 < len(uneven) < 130
    assert 0.05 < np.mean([shade.std() for shade in uneven]) < 0.12
    assert max(np.abs(np.diff(shade)).max() / shade.std() for shade in uneven) < 0.15


def test_added_noise_has_the_same_deviation_fine_and_coarse() -> None:
    flat = np.zeros((256, 256), np.float32)
    spread: dict[str, list[float]] = {"none": [], "fine": [], "coarse": []}
    for seed in range(200):
        noise = change_grey_values(flat, Augmentation(noise=0.2), rng=np.random.default_rng(seed))
        alike = float((noise[1:] * noise[:-1]).mean()) / (float(noise.var()) + 1e-9)  # of one pixel and the next
        spread["none" if not noise.any() else "coarse" if alike > 0.5 else "fine"].append(float(noise.std()))
    assert len(spread["none"]) > 60
    for kind in ("fine", "coarse"):
        assert len(spread[kind]) > 30
        assert 0.19 < max(spread[kind]) < 0.21


@pytest.mark.parametrize("side", [1, 5, 40, 64, 300])
@pytest.mark.parametrize("overhang", [0, 20, 32, 400])
def test_every_tile_sees_something_of_the_image(side: int, overhang: int) -> None:
    rng = np.random.default_rng(0)
    starts = {draw_start(side, 64, overhang, rng=rng) for _ in range(500)}
    assert all(-64 < start < side for start in starts)
    assert min(starts) >= min(0, side - 64) - overhang
    assert max(starts) <= max(0, side - 64) + overhang


def test_without_augmentation_nothing_changes() -> None:
    source = cells(tiles=False)
    drawn = window(source, DataOptions(), 3)
    assert np.array_equal(drawn.image[:200, :260], source.image)
    assert source.mask is not None
    assert np.array_equal(drawn.mask[:200, :260] > 0, source.mask)


@given(seed=seeds, rows=st.integers(1, 40), columns=st.integers(1, 40), number=st.sampled_from([2, 4]))
def test_a_mosaic_shows_every_part_once_and_adds_the_totals(seed: int, rows: int, columns: int, number: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.permutation(number * rows * columns).astype(np.float32).reshape(number, rows, columns) + 1
    regions = rng.integers(0, 2, images.shape, np.uint16)
    sources = [
        Example("part", "", image, region, None, float(rng.integers(100)))
        for image, region in zip(images, regions, strict=True)
    ]
    parts = [draw_window(source, DataOptions(), Augmentation(flips=True), multiple=1, rng=rng) for source in sources]
    whole = mosaic(parts, multiple=16)
    assert all(side % 16 == 0 for side in whole.image.shape)
    assert box(whole.seen) == box(whole.core) == (0, rows * (number // 2), 0, columns * 2)
    assert np.array_equal(np.sort(whole.image[whole.seen > 0]), np.arange(images.size) + 1)
    assert not whole.image[whole.seen == 0].any()
    # Each part's image and mask stay together.
    assert np.array_equal(np.sort(whole.image[whole.mask > 0]), np.sort(images[regions > 0]))
    assert whole.total == sum(source.total or 0 for source in sources)


def test_what_is_not_known_of_a_part_is_not_known_of_its_place_in_the_mosaic() -> None:
    known = cells((32, 48), tiles=False)
    sources = [known, replace(known, regions=None), replace(known, total=None), known]
    parts = [window(source, DataOptions(), 0, multiple=1) for source in sources]
    whole = mosaic(parts, multiple=64)
    assert box(np.isnan(whole.mask).astype(np.float32)) == (0, 32, 48, 96)
    assert np.isnan(whole.total)
    assert mosaic(parts[:2], multiple=64).total == 2 * parts[0].total


def test_a_window_depends_on_its_rng_alone() -> None:
    wild = Augmentation(
        zoom=(0.7, 1.4), gain=(0.5, 2), gamma=(0.5, 2), offset=0.1, shading=0.1, noise=0.2, blur=1.5, invert=0.5
    )
    one, same, other = (window(cells(), DataOptions(tile=64, margin=16), seed, wild) for seed in (5, 5, 6))
    assert np.array_equal(one.image, same.image)
    assert not np.array_equal(one.image, other.image)
