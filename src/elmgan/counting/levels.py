"""Smaller copies of a plane that its file holds: one of them is read where it shows the network the same."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from elmgan.counting.scaling import resize
from elmgan.counting.streaming import OnDisk
from elmgan.errors import ImageError
from elmgan.images import Plane, Tile

ENLARGED = 1.01
"""A copy is read up to this scale: one that is larger by rounding is not resized."""

SQUARE_WITHIN = 1.02
"""A copy's pixels stand for as many of the plane along rows and columns, but for this factor."""

SECTORS, IN_SECTOR = 3, 5
"""Along a side of a plane, sectors of which one part each is compared; along each sector, blocks to choose from."""

EDGE = 2
"""Pixels of a copy by which its data may end elsewhere than those of the plane."""

PART_SIDE = 160
"""Pixels along a part, as the network sees them."""

SEEN_ALIKE = 0.1
"""Root mean square difference of what the network is shown, in standard deviations of that, up to which counts are the
same."""

LEAST_SEEN = 0.02
"""Standard deviation of what the network is shown, below which nothing is there to compare."""


def level_for(on_disk: OnDisk, scale: float, look: Callable[[Plane], OnDisk]) -> OnDisk:
    """Give the smallest copy of a plane from which the network sees the same at a scale; else the plane itself.

    Copies are made by every program in its own way: by mean values, by every second pixel, with other grey values. What
    counts is that parts of a copy, as the network sees them, look like those of the plane. A copy that cannot be read
    is passed over.

    Args:
        on_disk: The plane.
        scale: The network sees the plane resized by this factor.
        look: Looks at a copy in the same way.

    Raises:
        ImageError: The plane cannot be read.
    """
    for copy in reversed(on_disk.plane.levels[1:]):
        down, across = copy.reductions
        if max(down, across) * scale <= ENLARGED and 1 / SQUARE_WITHIN <= down / across <= SQUARE_WITHIN:
            try:
                seen = look(copy)
            except ImageError:
                continue
            if _holds_as_much(on_disk, seen) and difference(on_disk, seen, scale) <= SEEN_ALIKE:
                return seen
    return on_disk


def difference(on_disk: OnDisk, copy: OnDisk, scale: float) -> float:
    """Tell how far a smaller copy of a plane is from it, as the network sees parts of both at a scale of the plane.

    The parts lie all over the plane, where there is most to see.

    Returns:
        Root mean square of the differences, in standard deviations of what is seen of the plane; infinite where nothing
        is seen.

    Raises:
        ImageError: A part cannot be read.
    """
    at = scale * copy.plane.reduction
    shown: list[NDArray[np.float32]] = []
    of_copy: list[NDArray[np.float32]] = []
    for part in _parts(on_disk, copy, at):
        shape = max(1, round(part.height * at)), max(1, round(part.width * at))
        shown.append(_seen(on_disk, _enlarged(part, copy.plane.reductions), shape))
        of_copy.append(_seen(copy, part, shape))
    seen = np.concatenate(shown) if shown else np.zeros(1, np.float32)
    deviation = float(seen.std())
    if deviation < LEAST_SEEN:
        return np.inf
    return float(np.sqrt(np.mean((seen - np.concatenate(of_copy)) ** 2))) / deviation


def _holds_as_much(on_disk: OnDisk, copy: OnDisk) -> bool:
    """Say whether a copy holds data where the plane does: what lies beyond would be lost, however alike the rest is."""
    box, own, (down, across) = on_disk.box, _enlarged(copy.box, copy.plane.reductions), copy.plane.reductions
    off_down = own.top - box.top, own.top + own.height - box.top - box.height
    off_across = own.left - box.left, own.left + own.width - box.left - box.width
    return max(map(abs, off_down)) <= EDGE * down and max(map(abs, off_across)) <= EDGE * across


def _seen(on_disk: OnDisk, tile: Tile, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Give the pixels of a part, as the network sees it in a shape."""
    seen = on_disk.surveyed.seen(on_disk.plane.read(tile), tile)
    return resize(np.ascontiguousarray(seen.normalised), shape).ravel()


def _enlarged(tile: Tile, ratios: tuple[float, float]) -> Tile:
    """Where a part of a copy is in the plane."""
    top, bottom = (round(row * ratios[0]) for row in (tile.top, tile.top + tile.height))
    left, right = (round(column * ratios[1]) for column in (tile.left, tile.left + tile.width))
    return Tile(top, left, bottom - top, right - left)


def _parts(on_disk: OnDisk, copy: OnDisk, at: float) -> Iterator[Tile]:
    """Give the parts that are compared, of the copy, which the network sees at this scale: where the plane has data."""
    box, own, ratios = on_disk.box, copy.box, copy.plane.reductions
    # The last pixel of a copy may stand for fewer of the plane than others.
    top, bottom = _both((box.top, box.height), (own.top, own.height), ratios[0])
    left, right = _both((box.left, box.width), (own.left, own.width), ratios[1])
    height, width = min(round(PART_SIDE / at), bottom - top), min(round(PART_SIDE / at), right - left)
    if height < 1 or width < 1:
        return
    for row, column in _busiest(on_disk):
        first = int(np.clip(row / ratios[0] - height / 2, top, bottom - height))
        yield Tile(first, int(np.clip(column / ratios[1] - width / 2, left, right - width)), height, width)


def _both(side: tuple[int, int], own: tuple[int, int], ratio: float) -> tuple[int, int]:
    """Give where the pixels of a copy begin and end that have data, and stand for nothing but data of the plane.

    Args:
        side: First pixel with data of the plane, and their number, along an axis.
        own: The same of the copy.
        ratio: How many pixels of the plane one of the copy stands for.
    """
    return max(own[0], math.ceil(side[0] / ratio)), min(sum(own), math.floor(sum(side) / ratio))


def _busiest(on_disk: OnDisk) -> Iterator[tuple[float, float]]:
    """Give the row and column of the middle of that block of each sector of a plane which has most to see."""
    preview, box = on_disk.surveyed.preview, on_disk.box
    grey = np.where(np.isfinite(preview), preview, 0).reshape(*preview.shape[:2], -1).mean(axis=2, dtype=np.float64)
    down, across = (side / small for side, small in zip(on_disk.plane.shape, grey.shape, strict=True))
    number = SECTORS * IN_SECTOR + 1
    rows = np.linspace(box.top, box.top + box.height, number) / down
    columns = np.linspace(box.left, box.left + box.width, number) / across
    for sector in np.ndindex(SECTORS, SECTORS):
        best = (-1.0, 0.0, 0.0)
        for block in np.ndindex(IN_SECTOR, IN_SECTOR):
            row, column = (IN_SECTOR * of + each for of, each in zip(sector, block, strict=True))
            top, bottom, left, right = rows[row], rows[row + 1], columns[column], columns[column + 1]
            pixels = grey[int(top) : max(int(bottom), int(top) + 1), int(left) : max(int(right), int(left) + 1)]
            best = max(best, (float(pixels.std()), (top + bottom) / 2 * down, (left + right) / 2 * across))
        yield best[1:]
