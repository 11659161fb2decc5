"""What readers of many formats share: a scene from a file's own axes."""

from collections.abc import Mapping, Sequence

import numpy as np

from elmgan.errors import ImageError
from elmgan.images.reader import AXES, Scene

SAVE_AS_TIFF = "save it as OME-TIFF in the microscope's program or in Fiji"

LONG_NAMES = {"M": "tiles", "λ": "emission wavelengths", "Λ": "excitation wavelengths"}


def describe_scene(
    sizes: Mapping[str, int],
    dtype: np.dtype,
    *,
    channels: Sequence[str] = (),
    pixel_size: Mapping[str, float] | None = None,
    name: str = "",
) -> tuple[Scene, str]:
    """Describe a scene by the axes that its file has.

    One axis that is not of :data:`AXES`, such as the tiles of a mosaic, is taken for T, and the scene's note says so.

    Args:
        sizes: Axis of the file -> length, in the file's order.
        dtype: Of the pixels, in any byte order.
        channels: Their names; left out unless there is one for each.
        pixel_size: x, y, z -> micrometres; what is not above 0 is left out, and z where there is no such axis.
        name: Of the scene.

    Returns:
        The scene, and the axis of the file that is its T; T itself where there is no other.

    Raises:
        ImageError: There are no rows or columns, more than one axis that is not known, or pixels that are not grey
            values or colour.

    >>> describe_scene({"M": 4, "C": 1, "X": 9, "Y": 8}, np.dtype(">u2"))[0].axes
    'TYX'
    """
    axes = "".join(sizes)
    shape = f"axes {axes} of shape {tuple(sizes.values())}"
    if not {"Y", "X"} <= set(sizes):
        raise ImageError(f"has {shape} without rows and columns of one image; such scans are not counted")
    if min(sizes.values()) < 1:
        raise ImageError(f"has {shape} and no pixels")
    if dtype.kind not in "buif":
        raise ImageError(f"has pixels of type {dtype}, which are not grey values; {SAVE_AS_TIFF}")
    long = [axis for axis in sizes if sizes[axis] > 1 and axis not in "YXS"]
    unknown = [axis for axis in long if axis not in AXES]
    if len(unknown) > 1 or (unknown and "T" in long):
        raise ImageError(
            f"has {shape}; more than one axis beside Z and C cannot be counted: save its parts as files of their own"
        )
    if sizes.get("S", 3) not in (1, 3):
        raise ImageError(f"has {shape}; colour has 3 samples: {SAVE_AS_TIFF}")
    order = [*long, "Y", "X", *(["S"] if sizes.get("S") == 3 else [])]
    note = "" if not unknown else _note(unknown[0], sizes[unknown[0]])
    count = sizes.get("C", 1)
    scene = Scene(
        axes="".join("T" if axis in unknown else axis for axis in order),
        shape=tuple(sizes[axis] for axis in order),
        dtype=dtype.newbyteorder("="),
        channels=tuple(channels) if len(channels) == count and ("C" in order or sizes.get("S") != 3) else (),
        pixel_size={
            axis: float(size)
            for axis, size in (pixel_size or {}).items()
            if 0 < size < np.inf and (axis != "z" or "Z" in order)
        },
        name=name,
        note=note,
    )
    return scene, unknown[0] if unknown else "T"


def _note(axis: str, length: int) -> str:
    if axis == "M":
        return "tiles that the file does not join are counted one by one; cells in their overlap are counted twice"
    return (
        f"its {length} {LONG_NAMES.get(axis, f'planes along axis {axis}')} are counted one by one, as time points are"
    )


def unreadable(name: str, fault: ImageError) -> Scene:
    """Hold the place of a scene that cannot be read, so that the others keep their numbers."""
    return Scene("YX", (0, 0), np.dtype(np.uint8), name=name, fault=str(fault))


def checked_scenes(scenes: Sequence[Scene]) -> tuple[Scene, ...]:
    """Return the scenes, or raise the first fault where none can be read."""
    if not scenes:
        raise ImageError("holds no image")
    if all(scene.fault for scene in scenes):
        raise ImageError(scenes[0].fault)
    return tuple(scenes)
