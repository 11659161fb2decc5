"""Near-duplicates: which images are joined, and which are not."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from elmgan.data import Record, group_alike, read_data_set
from elmgan.data.likeness import ALIKE, fingerprint, join_alike
from elmgan.data.synthetic import SyntheticScene, draw


def records(number: int) -> list[Record]:
    return [Record(f"{k}", Path(f"{k}.tif"), None, None, 1, f"{k}", "") for k in range(number)]


def field(seed: int, cells: int = 20, shape: tuple[int, int] = (200, 260), **options: float) -> NDArray[np.float32]:
    """A synthetic image."""
    scene = SyntheticScene(rows=shape[0], columns=shape[1], cells=cells, **options)
    return draw(scene, rng=np.random.default_rng(seed)).image.astype(np.float32)


def likeness(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(fingerprint(one) @ fingerprint(other))


@pytest.mark.parametrize(
    "changed",
    [
        lambda image, rng: 3 * image + 1000,
        lambda image, rng: image + rng.normal(0, 10, image.shape),
        lambda image, rng: cv2.resize(image, (130, 100), interpolation=cv2.INTER_AREA),
        lambda image, rng: cv2.GaussianBlur(image, (0, 0), 2),
        lambda image, rng: image * np.linspace(0.7, 1.3, 260),
        lambda image, rng: np.roll(image, 1, axis=0),
    ],
    ids=["contrast", "noise", "size", "focus", "illumination", "drift"],
)
def test_another_picture_of_the_same_cells_is_alike(changed) -> None:  # type: ignore[no-untyped-def]
    image = field(1)
    assert likeness(image, changed(image, np.random.default_rng(0)).astype(np.float32)) > ALIKE


@pytest.mark.parametrize("cells", [0, 2, 20, 80])
def test_other_cells_under_the_same_lamp_are_not_alike(cells: int) -> None:
    lamp = 1 - 0.3 * np.hypot(*np.mgrid[-1:1:200j, -1:1:260j]).astype(np.float32) ** 2
    images = [lamp * field(seed, cells, gradient=0) for seed in range(8)]
    vectors = np.stack([fingerprint(image) for image in images])
    assert (vectors @ vectors.T)[~np.eye(8, dtype=bool)].max() < ALIKE - 0.1


@pytest.mark.parametrize("value", [0, 1, 255, 65535, 0.1])
def test_an_image_of_one_value_is_like_no_other(value: float) -> None:
    assert not fingerprint(np.full((70, 90), value, np.float32)).any()


@given(
    pairs=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=12),
    block=st.integers(1, 13),
)
def test_groups_are_the_connected_components(pairs: list[tuple[int, int]], block: int) -> None:
    alike = np.eye(12)
    for one, other in pairs:
        alike[one, other] = alike[other, one] = 1
    # Vectors whose products are these: longer than 1, so that any pairs can be had.
    values, vectors = np.linalg.eigh((ALIKE + 0.01) * alike + 20 * np.eye(12))
    thumbnails = (vectors * np.sqrt(values)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("elmgan.data.likeness.BLOCK", block)
        joined = join_alike(records(12), list(thumbnails))
    _, expected = connected_components(coo_array(alike))
    names = [record.group for record in joined]
    assert names == [str(np.flatnonzero(expected == component)[0]) for component in expected]


def write(folder: Path, images: dict[str, NDArray[np.float32]], table: str = "") -> list[Record]:
    """Write a data set of masks alone and read it."""
    for name, image in images.items():
        for part, pixels in (("images", image.astype(np.uint8)), ("masks", (image > 0).astype(np.uint8))):
            (folder / part).mkdir(exist_ok=True)
            tifffile.imwrite(folder / part / f"{name}.tif", pixels)
    if table:
        (folder / "counts.csv").write_text(table)
    return read_data_set(folder)


def test_images_that_are_alike_are_a_group(tmp_path: Path) -> None:
    a, b, c = (field(seed, shape=(80, 90)) for seed in (1, 2, 3))
    found = write(tmp_path, {"a": a, "b": b, "c": c, "d": a[::2, ::2] * np.float32(0.5), "e": b})
    watched = []

    def watch(records: Sequence[Record]) -> Iterator[Record]:
        for record in records:
            watched.append(record.name)
            yield record

    joined = group_alike(found, watch=watch)
    assert joined == [
        replace(record, group=group) for record, group in zip(found, ("a", "b", "c", "a", "b"), strict=True)
    ]
    assert watched == ["a", "b", "c", "d", "e"]


def test_groups_of_the_data_set_are_not_touched(tmp_path: Path) -> None:
    a, b = (field(seed, shape=(80, 90)) for seed in (1, 2))
    found = write(tmp_path, {"a": a, "b": b, "c": a, "d": b}, "image,count,group\na,,p\nb,,p\n")
    assert [record.group for record in group_alike(found)] == ["p", "p", "c", "d"]


def test_neighbouring_planes_in_the_real_dsb2018_are_found(shared_data: Path) -> None:
    """Two slices of an embryo, known from a look at them; other embryos of the same kind are near in neither way."""
    stems = ["20b20ab049", "cb4df20a83", "f29fd9c52e", "f4c4db3df4", "538b7673d5", "a102535b0e"]
    paths = [next((shared_data / "dsb2018/images").glob(f"{stem}*.png")) for stem in stems]
    found = [Record(path.stem[:10], path, None, None, 1, path.stem[:10], "") for path in paths]
    assert [record.group for record in group_alike(found)] == [stems[0], *stems[:1], *stems[2:]]
