"""Label images as OME-Zarr: what was written comes back, whole or not at all, and others' libraries read it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from elmgan.images import LABELS_AT, View, ZarrLabels, open_image, zarr_format, zarr_labels


def numbers(*shape: int) -> NDArray[np.uint32]:
    return np.random.default_rng(0).integers(0, 1 << 20, shape).astype(np.uint32)


def written(path: Path, pages: NDArray[np.uint32], version: int, rows: int = 7) -> None:
    times, depths, height, width = pages.shape
    size = {"y": 0.5, "x": 0.25, "z": 2.0}
    labels = ZarrLabels(path, times=times, depths=depths, shape=(height, width), pixel_size=size, version=version)
    for t in range(times):
        for z in reversed(range(depths)):
            labels.write((pages[t, z, top : top + rows] for top in range(0, height, rows)), t=t, z=z)
    labels.close()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("pages", [(1, 1), (3, 1), (1, 2), (2, 3)])
def test_labels_come_back(
    tmp_path: Path, version: int, pages: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zarr_labels, "CHUNK", 32)
    monkeypatch.setattr(zarr_labels, "SMALLEST", 20)
    path, labels = tmp_path / "out" / "a.ome.zarr", numbers(*pages, 43, 70)
    written(path, labels, version)
    assert zarr_format(path) == version
    with open_image(path) as source:
        planes = source.planes(View(t="each", z="each"))
        back = np.array([plane.read() for plane in planes])
        size = planes[0].described.pixel_size
    np.testing.assert_array_equal(back, labels.reshape(-1, 43, 70))
    assert (size["y"], size["x"]) == (0.5, 0.25)
    levels = [np.asarray(zarr.open_array(path / LABELS_AT / str(k), mode="r")[:]) for k in range(3)]
    assert [level.shape[-2:] for level in levels] == [(43, 70), (22, 35), (11, 18)]
    np.testing.assert_array_equal(levels[2], levels[0][..., ::4, ::4])
    assert not (path / LABELS_AT / "3").exists()
    assert [each.name for each in path.parent.iterdir()] == ["a.ome.zarr"]


@pytest.mark.parametrize("version", [2, 3])
def test_the_metadata_are_those_of_the_specification(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.ome.zarr"
    written(path, numbers(2, 2, 30, 40), version)
    found: dict[str, dict[str, Any]] = {
        name: zarr.open_group(path / name, mode="r").attrs.asdict() for name in ("", "labels", LABELS_AT)
    }
    if version == 3:
        assert {each["ome"].pop("version") for each in found.values()} == {"0.5"}
        found = {name: each["ome"] for name, each in found.items()}
    assert found["labels"] == {"labels": ["elmgan"]}
    told = {"version": "0.4"} if version == 2 else {}
    assert found[LABELS_AT]["image-label"] == {"source": {"image": "../../"}} | told
    (label,), (image,) = found[LABELS_AT]["multiscales"], found[""]["multiscales"]
    assert label.get("version") == told.get("version")
    assert label["axes"] == [
        {"name": "t", "type": "time"},
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    assert label["datasets"] == [
        {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 0.5, 0.25]}]}
    ]
    assert [each["path"] for each in image["datasets"]] == [f"{LABELS_AT}/0"]
    assert zarr.open_array(path / LABELS_AT / "0", mode="r").dtype == np.uint32


def test_what_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    labels = ZarrLabels(tmp_path / "a.ome.zarr", times=1, depths=1, shape=(9, 9))
    labels.write([numbers(9, 9)], t=0, z=0)
    labels.close(keep=False)
    assert not list(tmp_path.iterdir())


def test_an_earlier_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    for version in (3, 2):
        written(path, numbers(1, 1, 9, 9), version)
    assert zarr_format(path) == 2
