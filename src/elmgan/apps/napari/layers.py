"""Layers of napari as sources of planes, and what was counted of them as layers again. Nothing here needs napari."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elmgan.counting import Result, Row
from elmgan.errors import UsageError
from elmgan.images import ArrayReader, Plane, Source, View, array_source
from elmgan.images.arrays import AXIS_NAMES

USUAL_AXES = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}
"""Number of a layer's axes -> what they are taken for, where the layer does not say."""

CIRCLE = 72
"""Corners of the polygon that stands for an ellipse."""

WITH_INSIDE = ("polygon", "rectangle", "ellipse")
"""Shapes that have an inside."""


def guess_axes(layer: Any) -> str:
    """Say what the axes of an image layer are taken for, one letter each, colour left out."""
    labels = [AXIS_NAMES.get(str(label).lower(), "") for label in getattr(layer, "axis_labels", ())]
    if len(labels) == layer.ndim and all(labels) and {"Y", "X"} <= set(labels) and len(set(labels)) == len(labels):
        return "".join(labels)
    if layer.ndim not in USUAL_AXES:
        raise UsageError(f"{layer.name} has {layer.ndim} axes: say what they are, one letter of TZCYX each")
    return USUAL_AXES[layer.ndim]


def layer_source(layer: Any, axes: str) -> Source:
    """Open an image layer as a file is opened; of several scales the finest, of colour without alpha.

    Raises:
        ImageError: It holds no image.
        UsageError: The axes do not fit it.
    """
    pixels = layer.data[0] if layer.multiscale else layer.data
    if layer.rgb:
        pixels, axes = pixels[..., :3], f"{axes}S"
    return array_source(ArrayReader(pixels, axes), layer.name)


@dataclass
class CountedLayer:
    """What was counted of a layer, in arrays with the layer's axes, of which those of colour and samples are left out.

    An axis that the view projects, or of which it takes a channel, has the length 1 and is as long in the world as the
    layer's.

    Args:
        layer: The image layer.
        axes: A letter per axis of the layer.
        planes: Those that are counted.

    Attributes:
        rows: Plane by plane, as far as they are counted.
        mask: Where there is cell, 0 and 1.
        labels: The separated cells of each plane, from 1.
        count_map: Cells per 4 x 4 pixels.
    """

    layer: Any
    axes: str
    planes: Sequence[Plane]
    rows: list[Row] = field(default_factory=list)
    mask: NDArray[np.uint8] | None = None
    labels: NDArray[np.int32] | None = None
    count_map: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        self._times = sorted({plane.t for plane in self.planes})
        self._depths = list(dict.fromkeys(plane.z for plane in self.planes))

    def add(self, row: Row, result: Result) -> None:
        """Keep what was counted of the next plane."""
        place = self.place(len(self.rows))
        self.rows.append(row)
        if result.mask is not None:
            if self.mask is None or self.labels is None:
                self.mask, self.labels = (np.zeros(self._shape(result.shape), dtype) for dtype in (np.uint8, np.int32))
            self.mask[place], self.labels[place] = result.mask, result.labels()
        if result.count_map is not None and result.count_map.size > 1:
            if self.count_map is None:
                self.count_map = np.zeros(self._shape(result.count_map.shape), np.float32)
            self.count_map[place] = result.count_map

    def place(self, number: int) -> tuple[Any, ...]:
        """Give the index of a plane, by its number, in the arrays; what is left of them is (row, column)."""
        plane = self.planes[number]
        index = {"T": self._times.index(plane.t), "Z": self._depths.index(plane.z), "C": 0}
        return tuple(index.get(axis, slice(None)) for axis in self.axes)

    def number_at(self, step: Sequence[int]) -> int | None:
        """Give the number of the plane that is shown at indices into the layer; None where it was not counted."""
        shown = dict(zip(self.axes, step, strict=True))
        for number, plane in enumerate(self.planes[: len(self.rows)]):
            at_depth = isinstance(plane.z, str) or shown.get("Z", plane.z - 1) == plane.z - 1
            if at_depth and shown.get("T", plane.t - 1) == plane.t - 1:
                return number
        return None

    def placing(self, block: int = 1) -> dict[str, Any]:
        """Give what puts the arrays where the layer is, as layers of napari take it; of values of so many pixels."""
        scale, translate = (np.array(each, float) for each in (self.layer.scale, self.layer.translate))
        own = scale.copy()
        lengths = dict(zip(self.axes, self._lengths(), strict=True))
        for k, axis in enumerate(self.axes):
            if axis in "YX":
                scale[k] *= block
                translate[k] += (block - 1) / 2 * own[k]
            elif self._is_one_place(axis):
                translate[k] += (self._first(axis) - 1) * own[k]
            elif axis == "C" or not self._is_each(axis):
                scale[k] *= lengths[axis]
                translate[k] += (lengths[axis] - 1) / 2 * own[k]
        placing = {"scale": scale, "translate": translate}
        kept = ("rotate", "shear", "affine", "units", "axis_labels")
        return placing | {name: getattr(self.layer, name) for name in kept if hasattr(self.layer, name)}

    def _lengths(self) -> list[int]:
        pixels = self.layer.data[0] if self.layer.multiscale else self.layer.data
        return list(pixels.shape[: len(self.axes)])

    def _shape(self, sides: tuple[int, ...]) -> tuple[int, ...]:
        length = {"T": len(self._times), "Z": len(self._depths), "C": 1, "Y": sides[0], "X": sides[1]}
        return tuple(length[axis] for axis in self.axes)

    def _is_each(self, axis: str) -> bool:
        return axis == "T" or not isinstance(self._depths[0], str)

    def _is_one_place(self, axis: str) -> bool:
        """Whether the view takes one time point or focal plane by its number."""
        found: list[Any] = list(self._times) if axis == "T" else list(self._depths) if axis == "Z" else []
        return len(found) == 1 and not isinstance(found[0], str)

    def _first(self, axis: str) -> int:
        return int(self._times[0] if axis == "T" else self._depths[0])


def polygon_of(vertices: NDArray, kind: str) -> NDArray[np.float64]:
    """Give the corners of a shape's outline, (corner, axis), from what napari keeps of it.

    >>> polygon_of(np.array([[0, 0], [0, 4], [2, 4], [2, 0]]), "ellipse").max(axis=0).round(1).tolist()
    [2.0, 4.0]
    """
    corners = np.asarray(vertices, np.float64)
    if kind != "ellipse":
        return corners
    centre, across, down = corners.mean(axis=0), (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angles = np.linspace(0, 2 * np.pi, CIRCLE, endpoint=False)[:, np.newaxis]
    return np.asarray(centre + np.cos(angles) * across + np.sin(angles) * down)


def regions_of(shapes: Any, layer: Any) -> list[NDArray[np.float64]]:
    """Give the outlines of the shapes of a layer that have an inside, (corner, (row, column)), in pixels of an image.

    The image's corners are (0, 0) and its shape, where napari has the centre of its first pixel at (0, 0).
    """
    regions = []
    for vertices, kind in zip(shapes.data, shapes.shape_type, strict=True):
        if kind in WITH_INSIDE:
            world = [shapes.data_to_world(corner)[-2:] for corner in polygon_of(vertices, kind)]
            before = [0.0] * (layer.ndim - 2)
            regions.append(np.array([layer.world_to_data([*before, *corner])[-2:] for corner in world]) + 0.5)
    return regions


def cells_in(count_map: NDArray[np.float32], shape: tuple[int, int], region: NDArray[np.float64]) -> float:
    """Give the number of cells of a plane of this shape inside an outline; see :meth:`elmgan.Result.count_in`."""
    return Result(shape, None, None, None, count_map, ()).count_in(region)


def view_of(texts: dict[str, str], view: View) -> View:
    """Give a view with what was typed, where something was.

    Raises:
        UsageError: A text is none that its field takes.
    """
    return view.changed(**{name: text.strip() for name, text in texts.items() if text.strip()})
