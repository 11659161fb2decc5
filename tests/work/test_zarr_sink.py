"""Label images as OME-Zarr, as a count writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from bundles import squares, tiny_bundle
from elmgan.counting import Model, streaming
from elmgan.images import View, ZarrLabels, open_image, zarr_format
from elmgan.work import count_images

MODEL = Model(tiny_bundle(), "onnxruntime", tile=64)


def planes(path: Path) -> NDArray:
    with open_image(path) as source:
        return np.array([plane.read() for plane in source.planes(View(t="each", z="each"))])


def count(images: Path, out: Path, **options: Any) -> None:
    counted = count_images([images], out, MODEL, labels=True, exports=["zarr"], **options)
    assert not counted.failures


@pytest.mark.parametrize("streamed", [False, True])
def test_they_hold_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streamed: bool) -> None:
    monkeypatch.setattr(streaming, "STREAMED", 1000 if streamed else 1 << 26)
    images, out = tmp_path / "images", tmp_path / "out"
    (images / "plate").mkdir(parents=True)
    tifffile.imwrite(images / "plate" / "one.tif", squares(6, (150, 90)))
    stack = np.array([[squares(n, (100, 70))] for n in (1, 2, 3)])
    tifffile.imwrite(images / "stack.tif", stack, imagej=True, metadata={"axes": "TZYX"})
    count(images, out)
    for name, pages in (("plate/one", 1), ("stack", 3)):
        made, expected = planes(out / "zarr" / f"{name}.ome.zarr"), planes(out / "labels" / f"{name}.tif")
        np.testing.assert_array_equal(made, expected)
        assert len(made) == pages
        assert all(page.any() for page in made)
    assert sorted(path.name for path in (out / "zarr").iterdir()) == ["plate", "stack.ome.zarr"]
    assert not (out / ".elmgan-scratch").exists()


def test_what_is_there_is_kept_and_a_half_one_is_made_again(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for number in (1, 2):
        tifffile.imwrite(images / f"{number}.tif", squares(number))
    count(images, out)
    first, second = (out / "zarr" / f"{number}.ome.zarr" for number in (1, 2))
    before = first.stat().st_ino
    (second / ".zattrs").unlink()
    count(images, out, resume=True)
    assert first.stat().st_ino == before
    assert planes(second).any()
    count_images([images], out, MODEL)  # without them: what an earlier count wrote is removed
    assert not (out / "zarr").exists()


def test_an_image_that_is_ome_zarr_gets_labels_of_its_version(tmp_path: Path) -> None:
    images, pixels = tmp_path / "images", squares(3)
    for version in (2, 3):
        image = ZarrLabels(images / f"{version}.zarr", times=1, depths=1, shape=pixels.shape, version=version)
        image.write([pixels.astype(np.uint32)], t=0, z=0)
        image.close()
    count(images, tmp_path / "out")
    made = [tmp_path / "out" / "zarr" / f"{version}.ome.zarr" for version in (2, 3)]
    assert [zarr_format(path) for path in made] == [2, 3]
    assert all(planes(path).max() == 3 for path in made)


def test_labels_of_an_earlier_count_are_no_images(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", squares(3))
    count(tmp_path, tmp_path / "out")
    again = count_images([tmp_path], tmp_path / "out", MODEL, resume=True)
    assert [row.image for row in again.rows] == ["a.tif"]
