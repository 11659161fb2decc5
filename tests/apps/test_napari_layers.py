"""Layers as planes, and counts as layers again; without napari."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from bundles import squares, write_tiny
from elmgan.apps.napari.job import count_layers, counted_before
from elmgan.apps.napari.layers import CountedLayer, cells_in, guess_axes, layer_source, polygon_of
from elmgan.counting import Model, Result
from elmgan.errors import ElmganError, ImageError, UsageError
from elmgan.images import View, write_image
from elmgan.models import read_bundle
from elmgan.work import count_images
from elmgan.work.earlier import read_earlier

NUMBERS = np.array([[1, 4, 2], [8, 3, 6]])
"""Squares of each plane, (time, depth)."""
STACK = np.stack([np.stack([squares(number) for number in times]) for times in NUMBERS])


@dataclass
class Layer:
    """What the plugin takes of a layer of napari."""

    data: Any
    name: str = "cells"
    rgb: bool = False
    multiscale: bool = False
    scale: Any = None
    translate: Any = None
    axis_labels: tuple[str, ...] = ()
    metadata: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        pixels = self.data[0] if self.multiscale else self.data
        self.ndim = pixels.ndim - self.rgb
        self.scale = np.ones(self.ndim) if self.scale is None else np.array(self.scale, float)
        self.translate = np.zeros(self.ndim) if self.translate is None else np.array(self.translate, float)


def counted(folder: Path, layer: Layer, axes: str, **texts: str) -> CountedLayer:
    (total, nothing), *steps = count_layers([(layer, axes)], write_tiny(folder), texts)
    assert nothing is None
    assert len(steps) == total
    planes = [step for _, step in steps if step is not None]
    for of_layer, row, result in planes:
        of_layer.add(row, result)
    return planes[0][0]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, [8, 8]),
        ({"z": "each"}, [1, 4, 2, 8, 3, 6]),
        ({"z": "2", "t": "2"}, [3]),
        ({"z": "each", "t": " 1 "}, [1, 4, 2]),
    ],
)
def test_planes_are_counted_as_the_view_says(tmp_path: Path, texts: dict[str, str], expected: list[int]) -> None:
    found = counted(tmp_path, Layer(STACK), "TZYX", **texts)
    counts = [row.count for row in found.rows]
    if "z" in texts:
        assert counts == expected
    else:  # squares are at the same places, so that the maximum shows the most
        assert counts == [4, 8]
    assert found.labels is not None
    assert found.mask is not None
    assert found.count_map is not None
    assert found.mask.ndim == found.count_map.ndim == 4
    for number, row in enumerate(found.rows):
        assert found.labels[found.place(number)].max() == row.objects
        assert np.array_equal(found.mask[found.place(number)] > 0, found.labels[found.place(number)] > 0)
        assert found.count_map[found.place(number)].sum() == pytest.approx(row.estimate, abs=0.01)


def world(placing: dict[str, Any], shape: tuple[int, ...], axis: int) -> NDArray:
    """Where the places along an axis are in the world."""
    return np.asarray(placing["translate"][axis] + placing["scale"][axis] * np.arange(shape[axis]))


@pytest.mark.parametrize(
    ("texts", "times", "depths"),
    [({}, [10, 12], [9]), ({"z": "each"}, [10, 12], [4, 9, 14]), ({"z": "3", "t": "2"}, [12], [14])],
)
def test_what_was_counted_lies_where_the_layer_is(
    tmp_path: Path, texts: dict[str, str], times: list[float], depths: list[float]
) -> None:
    layer = Layer(STACK, scale=(2, 5, 0.5, 0.25), translate=(10, 4, 100, 200))
    found = counted(tmp_path, layer, "TZYX", **texts)
    assert found.mask is not None
    assert found.count_map is not None
    placing = found.placing()
    assert world(placing, found.mask.shape, 0).tolist() == times
    assert world(placing, found.mask.shape, 1).tolist() == depths
    if not texts:  # one plane is as deep as the stack
        assert placing["scale"][1] == 15
    assert (placing["scale"][2:].tolist(), placing["translate"][2:].tolist()) == ([0.5, 0.25], [100, 200])
    of_map = found.placing(4)
    assert of_map["scale"][2:].tolist() == [2, 1]
    # The outer edges of the first values are those of the image.
    edge = of_map["translate"][2:] - of_map["scale"][2:] / 2
    assert edge.tolist() == [100 - 0.25, 200 - 0.125]


def test_a_plane_is_found_by_what_is_shown(tmp_path: Path) -> None:
    layer = Layer(STACK)
    each = CountedLayer(layer, "TZYX", layer_source(layer, "TZYX").planes(View(z="each")))
    nothing = Result((96, 120), None, None, None, None, ())
    assert each.number_at((0, 0, 0, 0)) is None
    for row in counted(tmp_path, layer, "TZYX", z="each").rows[:5]:
        each.add(row, nothing)
    assert each.number_at((1, 0, 7, 7)) == 3
    assert each.number_at((1, 2, 0, 0)) is None
    projected = counted(tmp_path, layer, "TZYX")
    assert [projected.number_at((time, 2, 0, 0)) for time in (0, 1)] == [0, 1]


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (Layer(squares(5)), "YX"),
        (Layer(np.repeat(squares(5)[..., np.newaxis], 3, axis=2), rgb=True), "YX"),
        (Layer(np.repeat(squares(5)[..., np.newaxis], 4, axis=2), rgb=True), "YX"),
        (Layer([squares(5), squares(5)[::2, ::2]], multiscale=True), "YX"),
        (Layer(dask.array.from_array(np.stack([squares(0), squares(5)]), chunks=(1, 40, 40))), "ZYX"),
        (Layer(np.stack([squares(5), squares(5)]), axis_labels=("z", "y", "x")), "ZYX"),
        (Layer(squares(5), axis_labels=("axis -2", "axis -1")), "YX"),
    ],
)
def test_layers_of_every_kind_are_counted(tmp_path: Path, layer: Layer, axes: str) -> None:
    assert guess_axes(layer) == axes
    found = counted(tmp_path, layer, axes)
    assert [row.count for row in found.rows] == [5]
    assert found.mask is not None
    assert found.mask.ndim == layer.ndim
    assert found.mask.shape[-2:] == (96, 120)


def test_a_channel_is_chosen(tmp_path: Path) -> None:
    layer = Layer(np.stack([squares(2), squares(7)]), axis_labels=("c", "y", "x"))
    found = counted(tmp_path, layer, guess_axes(layer), channel="2")
    assert (found.rows[0].count, found.rows[0].channel) == (7, "2")
    assert found.mask is not None
    assert (found.mask.shape, found.placing()["scale"][0], found.placing()["translate"][0]) == ((1, 96, 120), 2, 0.5)
    with pytest.raises(ImageError, match=r"cells: .*name one with --channel"):
        counted(tmp_path, layer, "CYX")


def test_what_cannot_be_counted_is_told(tmp_path: Path) -> None:
    layer = Layer(STACK)
    with pytest.raises(UsageError, match="cells has 6 axes: say what they are"):
        guess_axes(Layer(np.zeros((1,) * 6)))
    for axes, texts, told in (("ZYX", {}, "takes 4 letters"), ("TZYX", {"z": "top"}, "expected max, mean, each")):
        with pytest.raises(ElmganError, match=told):
            counted(tmp_path, layer, axes, **texts)


def test_cells_inside_shapes_add_up(tmp_path: Path) -> None:
    found = counted(tmp_path, Layer(squares(9)), "YX")
    assert found.count_map is not None
    left, right = (np.array([(0, a), (0, b), (96, b), (96, a)], float) for a, b in ((0, 50), (50, 120)))
    parts = [cells_in(found.count_map, (96, 120), region) for region in (left, right)]
    assert sum(parts) == pytest.approx(found.rows[0].estimate, abs=0.01)
    corners = np.array([[0, 0], [0, 20], [10, 20], [10, 0]])
    ellipse = polygon_of(corners, "ellipse")
    area = 0.5 * abs(
        np.dot(ellipse[:, 0], np.roll(ellipse[:, 1], 1)) - np.dot(ellipse[:, 1], np.roll(ellipse[:, 0], 1))
    )
    assert area == pytest.approx(np.pi * 5 * 10, rel=0.01)
    assert polygon_of(corners, "polygon").tolist() == corners.tolist()


def test_an_earlier_count_is_opened(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    write_image(images / "one.tif", squares(5))
    tifffile.imwrite(images / "stack.tif", STACK, imagej=True, metadata={"axes": "TZYX"})
    model = Model(read_bundle(write_tiny(tmp_path)))
    count_images([images], out, model, view=View(z="each"))
    earlier = read_earlier(out)
    rows = [row for rows in earlier.rows.values() for row in rows]
    assert [row.count for row in rows] == [5, *NUMBERS.ravel()]
    for row, pixels in zip(rows[1:], STACK.reshape(6, 96, 120), strict=True):
        image, mask = counted_before(out, earlier, row)
        assert np.array_equal(image, pixels)
        assert mask is not None
        assert mask.mean() == pytest.approx(row.foreground, abs=1e-4)
    (out / "masks" / "one.tif").unlink()
    assert counted_before(out, earlier, rows[0])[1] is None
    images.rename(tmp_path / "elsewhere")
    with pytest.raises(ImageError, match=r"one\.tif is in none of the folders"):
        counted_before(out, earlier, rows[0])
