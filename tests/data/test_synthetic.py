import csv
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator, default_rng
from pydantic import ValidationError

from elmgan.data import read_data_set
from elmgan.data.synthetic import SyntheticScene, draw, random_scene, sample_scene, write_data_set
from elmgan.errors import UsageError

# Nothing but cells of even brightness: what is seen is the truth.
BARE = SyntheticScene(
    texture=0,
    shading=0,
    background=0,
    haze=0,
    gradient=0,
    blur=0,
    photons=1e9,
    noise=0,
    offset=0,
    brightness_spread=0.1,
)


@given(seed=st.integers(0, 2**32), rows=st.integers(16, 90), columns=st.integers(16, 90))
def test_truth_of_any_scene_is_consistent(seed: int, rows: int, columns: int) -> None:
    rng = default_rng(seed)
    scene = random_scene((rows, columns), rng=rng)
    drawn = draw(scene, rng=rng)
    assert drawn.image.shape == drawn.labels.shape == drawn.mask.shape == (rows, columns)
    assert drawn.image.dtype == (np.uint8 if scene.bits == 8 else np.uint16)
    assert drawn.count <= scene.cells
    assert np.array_equal(np.unique(drawn.labels[drawn.mask]), np.arange(1, drawn.count + 1))
    for label in range(1, drawn.count + 1):
        cell = drawn.labels == label
        assert np.count_nonzero(cell) >= 12
        assert cv2.connectedComponents(cell.astype(np.uint8))[0] == 2


@pytest.mark.parametrize("bright_on_dark", [True, False])
def test_image_shows_the_labelled_cells_and_no_others(bright_on_dark: bool) -> None:
    scene = BARE.model_copy(update={"overlap": 0.4, "clustering": 0.8, "bright_on_dark": bright_on_dark})
    drawn = draw(scene, rng=default_rng(1))
    nothing = drawn.image[~drawn.mask]
    assert nothing.min() == nothing.max()
    assert np.array_equal(drawn.image > nothing[0] if bright_on_dark else drawn.image < nothing[0], drawn.mask)


def test_a_covered_cell_is_seen_by_a_fifth_at_least() -> None:
    circles = {"radius_spread": 0, "eccentricity": 0, "irregularity": 0, "mitotic": 0, "overlap": 1, "clustering": 1}
    drawn = draw(BARE.model_copy(update=circles), rng=default_rng(2))
    uncut = np.unique(drawn.labels[26:-26, 26:-26])[1:]  # more than a diameter away from the image's border
    shares = np.bincount(drawn.labels.ravel())[uncut] / (np.pi * BARE.radius**2)
    assert 0.19 < shares.min() < 0.5


def test_cells_apart_have_the_area_of_their_radius() -> None:
    scene = BARE.model_copy(update={"cells": 30, "overlap": 0, "radius_spread": 0, "irregularity": 0.2, "mitotic": 0})
    drawn = draw(scene, rng=default_rng(3))
    areas = np.bincount(drawn.labels.ravel())[1:]
    assert drawn.count == 30
    assert np.median(areas) == pytest.approx(np.pi * scene.radius**2, rel=0.03)


def test_a_full_image_takes_no_more_cells() -> None:
    drawn = draw(SyntheticScene(rows=64, columns=64, cells=300), rng=default_rng(4))
    assert 5 < drawn.count < 30


def test_an_empty_scene_has_no_cells() -> None:
    drawn = draw(SyntheticScene(rows=40, columns=50, cells=0), rng=default_rng(5))
    assert drawn.count == 0
    assert not drawn.mask.any()


def test_noise_is_that_of_the_photons_and_the_camera() -> None:
    scene = SyntheticScene(cells=0, background=0.5, haze=0, gradient=0, photons=400, noise=15, exposure=0.5, bits=16)
    image = draw(scene, rng=default_rng(6)).image / (scene.exposure * 65535) * scene.photons
    assert image.std() == pytest.approx(np.sqrt(0.5 * 400 + 15**2), rel=0.01)


def test_the_same_random_numbers_draw_the_same_image() -> None:
    first, again, other = (draw(SyntheticScene(cells=20), rng=default_rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels, other.labels)


def test_random_scenes_vary() -> None:
    scenes = [random_scene(rng=default_rng(seed)) for seed in range(200)]
    assert {scene.bits for scene in scenes} == {8, 16}
    assert {scene.bright_on_dark for scene in scenes} == {True, False}
    assert min(scene.cells for scene in scenes) == 0
    assert max(scene.cells for scene in scenes) > 500
    assert all(6 <= scene.radius <= 30 for scene in scenes)


def test_faults_of_a_scene_are_named_together() -> None:
    with pytest.raises(ValidationError, match=r"(?s)overlap.*blurr"):
        SyntheticScene.model_validate({"overlap": 2, "blurr": 1})


def test_a_hundred_cells_take_less_than_a_fifth_of_a_second() -> None:
    def seconds() -> float:
        start = time.process_time()
        assert draw(SyntheticScene(), rng=default_rng(9)).count == 100
        return time.process_time() - start

    assert min(seconds() for _ in range(5)) < 0.2


def test_a_data_set_holds_images_and_their_truth(tmp_path: Path) -> None:
    write_data_set(tmp_path / "set", 3, seed=1, size=(96, 128))
    names = [f"synthetic_{number:03d}.tif" for number in range(3)]
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["counts.csv", "images", "labels", "masks"]
    with (tmp_path / "set" / "counts.csv").open(newline="") as table:
        counts = {row["image"]: int(row["count"]) for row in csv.DictReader(table)}
    assert list(counts) == names
    for name in names:
        image, mask, labels = (
            tifffile.imread(tmp_path / "set" / kind / name) for kind in ("images", "masks", "labels")
        )
        assert image.shape == mask.shape == labels.shape == (96, 128)
        assert np.array_equal(mask, np.where(labels > 0, 255, 0))
        assert counts[name] == labels.max() == len(np.unique(labels)) - 1


def test_a_data_set_is_read_without_a_fault(tmp_path: Path) -> None:
    write_data_set(tmp_path, 2, seed=1, size=(64, 64))
    assert [(record.name, record.count) for record in read_data_set(tmp_path)] == [
        ("synthetic_000", tifffile.imread(tmp_path / "labels/synthetic_000.tif").max()),
        ("synthetic_001", tifffile.imread(tmp_path / "labels/synthetic_001.tif").max()),
    ]


def test_an_image_depends_on_the_seed_and_its_number_only(tmp_path: Path) -> None:
    for folder, images, seed in (("one", 1, 1), ("two", 2, 1), ("other", 1, 2)):
        write_data_set(tmp_path / folder, images, seed=seed, size=(64, 64), scenes=random_scene)
    one, two, other = (
        (tmp_path / folder / "images/synthetic_000.tif").read_bytes() for folder in ("one", "two", "other")
    )
    assert one == two != other


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="already holds something"):
        write_data_set(tmp_path, 1, seed=1)
    with pytest.raises(UsageError, match=r"notes\.txt"):
        write_data_set(tmp_path / "notes.txt", 1, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_interrupted_data_set_leaves_nothing(tmp_path: Path) -> None:
    drawn: list[SyntheticScene] = []

    def interrupted(size: tuple[int, int], *, rng: Generator) -> SyntheticScene:
        if drawn:
            raise KeyboardInterrupt
        drawn.append(sample_scene(size, rng=rng))
        return drawn[0]

    with pytest.raises(KeyboardInterrupt):
        write_data_set(tmp_path, 2, seed=1, size=(64, 64), scenes=interrupted)
    assert not list(tmp_path.iterdir())
