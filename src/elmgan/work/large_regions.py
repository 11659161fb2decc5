"""Cells in the regions of a plane that is too large for memory: added up some rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elmgan.counting import Region, RegionPixels, Streamed
from elmgan.counting.region import covered_share
from elmgan.errors import ElmganError, UsageError, one_line
from elmgan.images import Plane, Tile, only_plane, open_image
from elmgan.models import STRIDE

BAND_SIZE = 1 << 23
"""Pixels of the rows that are looked at at a time."""

CentrePixels = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Rows and columns of the pixels in which the centres of cells are."""


@dataclass
class RegionSum:
    """What a region holds, as it is added up.

    Attributes:
        number: Of the region in its file, or its label.
        region: As it was drawn; without lines of a label image.
        area: Its pixels.
        cells: Sum of the count map.
        centres: Cells whose centre is in it.
        crossing: Whether its line crosses itself.
        overlapping: Whether it shares pixels with another.
    """

    number: int
    region: Region
    area: int = 0
    cells: float = 0.0
    centres: int = 0
    crossing: bool = False
    overlapping: bool = False


@dataclass(frozen=True)
class _Band:
    """Some rows of a plane: where they are, the cells per 4 x 4 pixels there, and the centres of cells."""

    tile: Tile
    count_map: NDArray[np.float32] | None
    centres: CentrePixels = field(default_factory=lambda: (np.zeros(0, np.intp), np.zeros(0, np.intp)))


def _bands(streamed: Streamed, centres: CentrePixels) -> Iterator[_Band]:
    height, width = streamed.shape
    rows = max(STRIDE, BAND_SIZE // width // STRIDE * STRIDE)
    order = np.argsort(centres[0], kind="stable")
    down, right = centres[0][order], centres[1][order]
    for top in range(0, height, rows):
        tile = Tile(top, 0, min(rows, height - top), width)
        of = None if streamed.count_map is None else streamed.count_map.rows(range(top, top + tile.height))
        first, end = np.searchsorted(down, [top, top + tile.height])
        yield _Band(tile, of, (down[first:end], right[first:end]))


def sums_in(regions: Sequence[tuple[int, Region]], streamed: Streamed, centres: CentrePixels) -> list[RegionSum]:
    """Add up what is in regions that were drawn.

    Args:
        regions: Their numbers and themselves.
        streamed: The cells of the plane.
        centres: Of the separated cells.
    """
    sums = [RegionSum(number, region) for number, region in regions]
    boxes = [region.box(streamed.shape) for _, region in regions]
    for band in _bands(streamed, centres):
        times = np.zeros((band.tile.height, band.tile.width), np.uint8)
        here = []
        for each, whole in zip(sums, boxes, strict=True):
            top = max(whole.top, band.tile.top)
            height = min(whole.top + whole.height, band.tile.top + band.tile.height) - top
            if height <= 0 or not whole.width:
                continue
            box = Tile(top, whole.left, height, whole.width)
            inside, crosses = each.region.pixels_in(box)
            part = RegionPixels(box, inside)
            each.crossing |= crosses
            each.area += part.area
            each.centres += int(part.holds(*band.centres).sum())
            if band.count_map is not None:
                share = covered_share(inside, STRIDE)
                row, column = (top - band.tile.top) // STRIDE, box.left // STRIDE
                values = band.count_map[row : row + share.shape[0], column : column + share.shape[1]]
                each.cells += float((values * share).sum(dtype=np.float64))
            seen = box.within(band.tile).of(times)
            np.minimum(seen + inside, 2, out=seen)
            here.append((each, box, inside))
        if times.max(initial=0) > 1:
            for each, box, inside in here:
                each.overlapping |= bool((box.within(band.tile).of(times)[inside] > 1).any())
    return sums


def sums_of_labels(path: Path, streamed: Streamed, centres: CentrePixels) -> list[RegionSum]:
    """Add up what is in the regions of a label image, which need not fit memory either.

    Args:
        path: The label image.
        streamed: The cells of the plane.
        centres: Of the separated cells.

    Raises:
        UsageError: It cannot be read, or is no label image of the plane's size.
    """
    sums: dict[int, RegionSum] = {}
    try:
        with open_image(path, most_pixels=None) as source:
            plane = only_plane(source)
            check_labels(path, plane, streamed.shape)
            for band in _bands(streamed, centres):
                labels = plane.read(band.tile)
                if labels.min(initial=0) < 0:
                    raise UsageError(f"{path}: a label image of regions has whole numbers from 0; found negative ones")
                _add_labels(sums, labels, band)
    except UsageError:
        raise
    except ElmganError as error:
        raise UsageError(f"regions: {one_line(error)}") from None
    return [sums[number] for number in sorted(sums)]


def _add_labels(sums: dict[int, RegionSum], labels: NDArray, band: _Band) -> None:
    numbers, which = np.unique(labels, return_inverse=True)
    which = which.reshape(labels.shape)
    area = np.bincount(which.ravel(), minlength=len(numbers))
    cells = np.zeros(len(numbers))
    if band.count_map is not None:
        for row in range(0, len(labels), STRIDE):  # a row of the map at a time
            rows = which[row : row + STRIDE]
            share = band.count_map[row // STRIDE].repeat(STRIDE)[: labels.shape[1]] / len(rows)
            share[labels.shape[1] // STRIDE * STRIDE :] *= STRIDE / max(1, labels.shape[1] % STRIDE)
            cells += np.bincount(
                rows.ravel(), np.broadcast_to(share / STRIDE, rows.shape).ravel(), minlength=len(numbers)
            )
    down, right = band.centres
    centres = np.bincount(which[down - band.tile.top, right], minlength=len(numbers))
    for k, number in enumerate(numbers.tolist()):
        if number:
            each = sums.setdefault(number, RegionSum(number, Region("", "", ())))
            each.area += int(area[k])
            each.cells += float(cells[k])
            each.centres += int(centres[k])


def check_labels(path: Path, plane: Plane, shape: tuple[int, int]) -> None:
    """Refuse what is no label image of an image's size.

    Raises:
        UsageError: It is none.
    """
    dtype = plane.described.dtype
    if plane.samples > 1 or dtype.kind not in "ui":
        raise UsageError(f"{path}: a label image of regions has whole numbers from 0; found {dtype}")
    if plane.shape != shape:
        sizes = [" x ".join(map(str, each)) for each in (plane.shape, shape)]
        raise UsageError(f"{path} has {sizes[0]} pixels, the image {sizes[1]}: a label image is of the image's size")
