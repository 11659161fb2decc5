"""Smaller copies of a plane that its file holds: one of them is read where it shows the network the same."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elmgan.counting.scaling import resize, scaled_shape
from elmgan.errors import ImageError
from elmgan.images import Plane, Tile
from elmgan.light import Normalisation, see

ENLARGED = 1.01
"""A copy is read up to this scale: one that is larger by rounding is not resized."""

GRID = 3
"""Along each side of a plane, parts of it that are compared."""

PART_SIDE = 160
"""Pixels along a part, as the network sees them."""

SEEN_ALIKE = 0.1
"""Root mean square difference of what the network is shown, in standard deviations of that, up to which counts are the
same."""


def level_for(plane: Plane, scale: float, normalisation: Normalisation, *, channel: int | str | None = None) -> Plane:
    """Give the smallest copy of a plane from which the network sees the same at a scale; else the plane itself.

    Copies are made by every program in its own way: by mean values, by every second pixel, with other grey values. What
    counts is that parts of a copy, as the network sees them, look like those of the plane.

    Args:
        plane: The plane, of an open source.
        scale: The network sees the plane resized by this factor.
        normalisation: How grey values are stretched.
        channel: What of colour is taken; see :func:`~elmgan.light.see`.

    Raises:
        ImageError: The plane cannot be read, or is not of a kind that can be counted.
    """
    enough = [copy for copy in plane.levels[1:] if copy.reduction * scale <= ENLARGED]
    for copy in reversed(enough):
        if difference(plane, copy, scale, normalisation, channel=channel) <= SEEN_ALIKE:
            return copy
    return plane


def difference(
    plane: Plane, copy: Plane, scale: float, normalisation: Normalisation, *, channel: int | str | None = None
) -> float:
    """Tell how far a smaller copy of a plane is from it, as the network sees parts of both.

    Returns:
        Root mean square of the differences, in standard deviations of what is seen of the plane.

    Raises:
        ImageError: The plane cannot be read, or is not of a kind that can be counted. A copy of which this is true is
            infinitely far.
    """
    sides = [min(side, round(PART_SIDE / (scale * copy.reduction))) for side in copy.shape]
    corners = [
        [round((side - part) * place / (GRID - 1)) for place in range(GRID)]
        for side, part in zip(copy.shape, sides, strict=True)
    ]
    small = [[Tile(top, left, *sides) for left in corners[1]] for top in corners[0]]
    large = [[_enlarged(tile, copy.reductions, plane.shape) for tile in row] for row in small]
    seen = [see(_read(plane, large), normalisation, channel=channel, cells=plane.view.cells)]
    try:
        seen.append(see(_read(copy, small), normalisation, channel=channel, cells=plane.view.cells))
    except ImageError:
        return np.inf
    shape = scaled_shape(seen[1].grey.shape, copy.reduction * scale)
    shown, other = (resize(np.ascontiguousarray(each.normalised), shape) for each in seen)
    return float(np.sqrt(np.mean((shown - other) ** 2)) / max(float(shown.std()), 1e-6))


def _enlarged(tile: Tile, ratios: Sequence[float], shape: tuple[int, int]) -> Tile:
    """Where a part of a copy is in the plane."""
    height, width = (round(side * ratio) for side, ratio in zip((tile.height, tile.width), ratios, strict=True))
    top, left = (
        min(round(begin * ratio), side - part)
        for begin, ratio, side, part in zip((tile.top, tile.left), ratios, shape, (height, width), strict=True)
    )
    return Tile(top, left, height, width)


def _read(plane: Plane, tiles: Sequence[Sequence[Tile]]) -> NDArray:
    """Read parts of a plane, side by side."""
    return np.concatenate([np.concatenate([plane.read(tile) for tile in row], axis=1) for row in tiles])
