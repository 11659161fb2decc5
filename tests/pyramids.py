"""OME-Zarr images with smaller copies of themselves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray


def write_pyramid(path: Path, levels: Sequence[NDArray], *, axes: str = "yx", chunk: int = 256) -> Path:
    """Write arrays as the levels of one image, OME-Zarr 0.4."""
    root = zarr.open_group(str(path), mode="w", zarr_format=2)
    for number, level in enumerate(levels):
        array = root.create_array(
            str(number),
            shape=level.shape,
            chunks=(*(1,) * (level.ndim - 2), chunk, chunk),
            dtype=level.dtype,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        array[...] = level
    datasets = [{"path": str(number)} for number, _ in enumerate(levels)]
    root.attrs["multiscales"] = [{"version": "0.4", "axes": [{"name": axis} for axis in axes], "datasets": datasets}]
    return path


def halved(image: NDArray) -> NDArray:
    """Mean values of 2 x 2 pixels."""
    rows, columns = (side // 2 for side in image.shape)
    blocks = image[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2)
    return np.asarray(np.round(blocks.mean((1, 3))), image.dtype)


def by_means(image: NDArray, copies: int = 3) -> list[NDArray]:
    """An image, and copies of it that are each half as large as the one before."""
    levels = [image]
    for _ in range(copies):
        levels.append(halved(levels[-1]))
    return levels
