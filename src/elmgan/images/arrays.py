"""Arrays in memory, or computed when asked, as a file is: what their axes mean, and planes read from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import ImageError, UsageError
from elmgan.images.reader import AXES, Scene
from elmgan.images.scenes import describe_scene
from elmgan.images.tile import Tile

AXIS_NAMES = {axis.lower(): axis for axis in AXES} | {
    "time": "T",
    "frame": "T",
    "depth": "Z",
    "plane": "Z",
    "channel": "C",
    "ch": "C",
    "row": "Y",
    "column": "X",
    "col": "X",
    "sample": "S",
    "rgb": "S",
}
"""Name of an axis, in lower case -> what it means."""

MOST_COLOURS = 16
"""Longer last axes of an array of three that does not name its axes are no channels."""


class ArrayReader:
    """Reads the planes of an array: NumPy's or xarray's, Dask's or Zarr's, of which only what is asked for is computed.

    Axes that the array names itself, as xarray's do, are taken by their names (see :data:`AXIS_NAMES`). Others are rows
    and columns, then colour or channels, unless they are given.

    Args:
        image: The array.
        axes: A letter of TZCYXS per axis, for an array that does not name them.
        channels: Names of the channels, for an array that does not name them.
        pixel_size: x, y, z -> micrometres, as far as they are known.

    Raises:
        ImageError: There are no rows and columns, an axis of which only one place could be meant, or no grey values.
        UsageError: The axes that are given do not fit the array.
    """

    kind = "array"
    suffixes: frozenset[str] = frozenset()
    in_parts = True

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """No file is an array in memory."""
        return False

    def __init__(
        self,
        image: Any,
        axes: str | None = None,
        *,
        channels: Sequence[str] = (),
        pixel_size: dict[str, float] | None = None,
    ) -> None:
        named = axis_names(image)
        self._pixels = as_numpy(image)
        shape = tuple(self._pixels.shape)
        if axes is not None:
            meant = list(_given(axes, shape))
        elif named is not None:
            meant = [AXIS_NAMES.get(name.lower(), name) for name in named]
            if "C" in meant and not channels:
                channels = channels_of(image, named[meant.index("C")])
        else:
            meant = list(_usual(shape))
        strange = [f"{name} of length {length}" for name, length in zip(meant, shape, strict=True) if len(name) > 1]
        if long := [told for told in strange if not told.endswith(" of length 1")]:
            raise ImageError(f"has an axis {long[0]}, which is not known: give one of its places at a time")
        if len(set(meant)) < len(meant):
            raise ImageError(f"has axes {', '.join(named or meant)}, of which two mean the same; rename one")
        self._axes = meant
        sizes = {axis: length for axis, length in zip(meant, shape, strict=True) if len(axis) == 1}
        scene, _ = describe_scene(sizes, np.dtype(self._pixels.dtype), channels=channels, pixel_size=pixel_size)
        self.scenes: Sequence[Scene] = (scene,)

    def read(self, scene: int, *, t: int, z: int, channel: int | None, region: Tile) -> NDArray:
        """Read a part of a plane; see :class:`~elmgan.images.reader.Reader`."""
        described = self.scenes[scene]
        colour = "S" in described.axes and ("C" in described.axes or channel is None)
        rows, columns = (
            slice(first, first + length) for first, length in ((region.top, region.height), (region.left, region.width))
        )
        taken: dict[str, int | slice] = {"T": t, "Z": z, "Y": rows, "X": columns}
        taken["C"] = channel or 0
        taken["S"] = slice(None) if colour else (channel or 0) if "S" in described.axes else 0
        index = tuple(taken.get(axis, 0) for axis in self._axes)
        left = [axis for axis, place in zip(self._axes, index, strict=True) if isinstance(place, slice)]
        part = np.array(self._pixels[index])  # computed here, if it is not yet, and in memory of its own
        return np.ascontiguousarray(part.transpose([left.index(axis) for axis in "YXS" if axis in left]))

    def close(self) -> None:
        """Do nothing: the array is its owner's."""


def as_numpy(image: Any) -> Any:
    """Give what takes NumPy's indices and knows its shape and dtype: the array itself, or one that shares its pixels.

    Tensors of PyTorch come to the processor, without their gradients; bfloat16, which NumPy lacks, becomes float32.
    """
    if hasattr(image, "detach"):
        image = image.detach().cpu()
        return (image.float() if str(image.dtype) == "torch.bfloat16" else image).numpy()
    if axis_names(image) is not None and hasattr(image, "data"):
        image = image.data  # of xarray: Dask's, where it is
    lazy = all(hasattr(image, name) for name in ("shape", "dtype", "__getitem__"))
    return image if lazy else np.asarray(image)


def axis_names(image: Any) -> tuple[str, ...] | None:
    """Give the names of an array's axes, if it has some that say which are rows and columns.

    That is ``dims``, as xarray calls them, or ``axes``: a letter or name per axis.

    >>> class Named:
    ...     dims, shape = ("c", "y", "x"), (2, 8, 9)
    >>> axis_names(Named()), axis_names(np.zeros((8, 9)))
    (('c', 'y', 'x'), None)
    """
    for attribute in ("dims", "axes"):
        names = getattr(image, attribute, None)
        if isinstance(names, str | tuple | list) and all(isinstance(name, str) for name in names):
            meant = {AXIS_NAMES.get(name.lower()) for name in names}
            if len(names) == len(getattr(image, "shape", ())) and {"Y", "X"} <= meant:
                return tuple(names)
    return None


def channels_of(image: Any, axis: str) -> tuple[str, ...]:
    """Give the texts that an array of xarray has along an axis; none where it has numbers, or nothing."""
    coordinates = getattr(image, "coords", {})
    if axis not in coordinates:
        return ()
    names = np.asarray(coordinates[axis]).tolist()
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def _given(axes: str, shape: tuple[int, ...]) -> str:
    letters = axes.upper()
    known = set(letters) <= set(AXES) and len(set(letters)) == len(letters) and {"Y", "X"} <= set(letters)
    if not known or len(letters) != len(shape):
        raise UsageError(
            f"axes is {axes}; an array of shape {shape} takes {len(shape)} letters of {AXES}, each once, with Y and X"
        )
    return letters


def _usual(shape: tuple[int, ...]) -> str:
    """What axes mean of which nothing is said, as in Model.count."""
    if len(shape) == 2:
        return "YX"
    if len(shape) == 3 and shape[2] <= MOST_COLOURS:
        return "YXS" if shape[2] == 3 else "YXC"
    raise ImageError(f"has the shape {shape} and does not say what its axes are: name them, as in axes='ZYX'")
