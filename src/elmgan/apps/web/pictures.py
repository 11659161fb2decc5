"""What the page shows of a plane: the image, outlines, the mask and the count map, whole or in part."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.apps.web.refusal import RefusedError
from elmgan.images import Plane, Tile, View, open_image
from elmgan.images.write import packed_png
from elmgan.light import plane_grey
from elmgan.report import OUTLINE, for_display, outlines

Layer = Literal["image", "outlines", "mask", "count-map", "thumbnail"]

THUMBNAIL = 160
"""Longer side of a thumbnail, in pixels."""

MOST_KEPT = 300 << 20
"""Bytes of arrays that are kept, so that what is looked at is not read again at each step."""

FILL = (0, 158, 255)
"""Red, green and blue of the mask."""

JPEG_QUALITY = 90

SHOWN_WHOLE = 1 << 24
"""Pixels of planes that are read whole to be shown, and kept; of larger ones only what is asked for is read."""

ROWS_READ = 512
"""Of a large plane, read or worked on at a time."""

Asked = tuple[int, int, int | None, int | None]
"""Top, left, height and width of a part that is asked for; None is as far as the image goes."""


class RecentArrays:
    """Keeps the arrays that were asked for last."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._lock = Lock()
        self._kept: OrderedDict[tuple[object, ...], NDArray] = OrderedDict()

    def get(self, key: tuple[object, ...], make: Callable[[], NDArray]) -> NDArray:
        """Give the array of a key; it is made where it is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while self._kept and sum(array.nbytes for array in self._kept.values()) > self._most:
                self._kept.popitem(last=False)
        return made

    def forget(self, belongs: Callable[[tuple[object, ...]], bool]) -> None:
        """Drop the arrays of some keys."""
        with self._lock:
            for key in [key for key in self._kept if belongs(key)]:
                del self._kept[key]


def displayed(path: Path, view: View, place: tuple[int, int, int | str], most_pixels: int | None) -> NDArray[np.uint8]:
    """Give a plane as people see it: grey stretched over its range, (row, column), or colour, (row, column, RGB).

    Raises:
        ImageError: It cannot be read.
        RefusedError: The image has no such plane.
    """
    with open_image(path, most_pixels=most_pixels) as source:
        plane = plane_at(source.planes(view.changed(scene=place[0], t=place[1], z=place[2])))
        return _for_people(plane, plane.read())


def displayed_part(
    path: Path, view: View, place: tuple[int, int, int | str], asked: Asked, side: int, most_pixels: int | None
) -> NDArray[np.uint8]:
    """Give a part of a large plane, its longer side at most ``side`` pixels, as people see it.

    Raises:
        ImageError: It cannot be read.
        RefusedError: The image has no such plane, or the plane no such part.
    """
    with open_image(path, most_pixels=most_pixels) as source:
        plane = plane_at(source.planes(view.changed(scene=place[0], t=place[1], z=place[2])))
        region = region_within(plane.shape, *asked)
        return _for_people(plane, read_sampled(plane, region, shape_within((region.height, region.width), side)))


def cells_part(path: Path, page: int, asked: Asked, side: int) -> NDArray:
    """Give a part of large masks or labels, its longer side at most ``side`` pixels.

    Raises:
        ImageError: They cannot be read.
        RefusedError: They have no such part.
    """
    with open_image(path, most_pixels=None) as source:
        plane = source.planes(View(z="each"))[page]
        region = region_within(plane.shape, *asked)
        return read_sampled(plane, region, shape_within((region.height, region.width), side))


def read_sampled(plane: Plane, region: Tile, shape: tuple[int, int]) -> NDArray:
    """Read a part of a plane some rows at a time: each pixel of the picture is the one at its centre."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp)
        for new, old in zip(shape, (region.height, region.width), strict=True)
    )
    parts = []
    for top in range(0, region.height, ROWS_READ):
        here = rows[(rows >= top) & (rows < top + ROWS_READ)]
        if len(here):
            height = min(ROWS_READ, region.height - top)
            read = plane.read(Tile(region.top + top, region.left, height, region.width))
            parts.append(read[np.ix_(here - top, columns)])
    return np.concatenate(parts)


def _for_people(plane: Plane, pixels: NDArray) -> NDArray[np.uint8]:
    if plane.samples == 3 and plane.view.channel is None and pixels.dtype == np.uint8:
        return pixels
    return for_display(plane_grey(plane, pixels))


def plane_at(planes: list[Plane]) -> Plane:
    """Give the one plane of a place.

    Raises:
        RefusedError: There is none.
    """
    if not planes:
        raise RefusedError(404, "the image has no such plane")
    return planes[0]


def page_of(path: Path, page: int) -> NDArray:
    """Read one page of a file of masks or labels that a count wrote."""
    with open_image(path) as source:
        planes = source.planes(View(z="each"))
        pixels = planes[min(page, len(planes) - 1)].read()
    return pixels.astype(np.uint16) if pixels.dtype == np.uint32 and pixels.max() < 1 << 16 else pixels


def picture(shown: NDArray[np.uint8], region: Tile, side: int) -> bytes:
    """Pack a part of a displayed plane as JPEG, its longer side at most ``side`` pixels."""
    part = region.of(shown)
    rows, columns = shape_within(part.shape[:2], side)
    if (rows, columns) != part.shape[:2]:
        part = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return _jpeg(part)


def thumbnail_picture(shown: NDArray[np.uint8], cells: NDArray | None) -> bytes:
    """Pack a displayed plane as a small JPEG, its cells outlined where they are known."""
    rows, columns = shape_within(shown.shape[:2], THUMBNAIL)
    small = cv2.resize(shown, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.uint8)
    if cells is not None:
        if small.ndim == 2:
            small = np.repeat(small[:, :, np.newaxis], 3, axis=2)
        small[outlines(sampled(cells, Tile(0, 0, *cells.shape), (rows, columns)))] = OUTLINE
    return _jpeg(small)


def drawn_layer(cells: NDArray, region: Tile, side: int, *, filled: bool) -> bytes:
    """Pack a part of a mask or label image as PNG that is clear where no cell is: filled, or its outlines.

    Args:
        cells: 0 is background.
        region: The part.
        side: Longer side of the picture, at most.
        filled: Whether cells are filled.
    """
    part = sampled(cells, region, shape_within((region.height, region.width), side))
    drawn = part != 0 if filled else outlines(part)
    picture = np.zeros((*part.shape, 4), np.uint8)
    picture[drawn] = (*(FILL if filled else OUTLINE)[::-1], 255)  # OpenCV's order
    return _png(picture)


def map_layer(count_map: NDArray[np.float32], side: int) -> bytes:
    """Pack a count map as PNG, the clearer the fewer cells are in a place; its brightest places are the densest.

    Of a large map each pixel of the picture is the mean of some.
    """
    rows, columns = shape_within(count_map.shape, side)
    small = np.asarray(cv2.resize(count_map, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)
    most = float(np.percentile(small[small > 0], 99.5)) if (small > 0).any() else 1.0
    share = np.clip(small / most, 0, 1)
    coloured = cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_INFERNO)
    clear = (255 * np.minimum(1, 2 * np.sqrt(share))).astype(np.uint8)
    return _png(np.dstack([coloured, clear]))


def shape_within(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Rows and columns of a picture of this shape whose longer side is at most ``side``.

    >>> shape_within((100, 50), 20), shape_within((10, 5), 20)
    ((20, 10), (10, 5))
    """
    scale = min(1.0, side / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def sampled(cells: NDArray, region: Tile, shape: tuple[int, int]) -> NDArray:
    """Scale a part of a label image, whose labels must not be mixed: each pixel takes the label at its centre.

    >>> sampled(np.array([[1, 2, 3, 4]], np.uint8), Tile(0, 0, 1, 4), (1, 2))
    array([[2, 4]], dtype=uint8)
    """
    part = region.of(cells)
    if part.shape == shape:
        return part
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp) for new, old in zip(shape, part.shape, strict=True)
    )
    return part[np.ix_(rows, columns)]


def region_within(shape: tuple[int, ...], top: int, left: int, height: int | None, width: int | None) -> Tile:
    """Give the part of an image that is asked for, as far as it has it; all of it where no size is given.

    Raises:
        RefusedError: It lies outside.
    """
    rows, columns = shape[:2]
    if top >= rows or left >= columns:
        raise RefusedError(400, f"the image has {rows} x {columns} pixels, and the region begins beyond them")
    return Tile(top, left, min(height or rows, rows - top), min(width or columns, columns - left))


def centres_of(labels: NDArray) -> NDArray[np.float64]:
    """Give the centre of each labelled cell, (cell, 2), (row, column), in pixels; corners are at whole numbers.

    >>> centres_of(np.array([[0, 1, 1], [0, 1, 1]], np.uint8))
    array([[1., 2.]])
    """
    sizes, sums = np.zeros(int(labels.max(initial=0)) + 1), np.zeros((int(labels.max(initial=0)) + 1, 2))
    for top in range(0, len(labels), ROWS_READ):
        rows, columns = np.nonzero(labels[top : top + ROWS_READ])
        found = labels[top + rows, columns].astype(np.intp)
        sizes += np.bincount(found, minlength=len(sizes))
        for axis, along in enumerate((top + rows, columns)):
            sums[:, axis] += np.bincount(found, along + 0.5, len(sizes))
    there = np.flatnonzero(sizes)
    return sums[there] / sizes[there, np.newaxis]


def mask_png(mask: NDArray) -> bytes:
    """Pack a mask as PNG of 0 and 255."""
    return packed_png(np.where(mask != 0, np.uint8(255), np.uint8(0)))


def _jpeg(shown: NDArray[np.uint8]) -> bytes:
    ordered = np.ascontiguousarray(shown[..., ::-1]) if shown.ndim == 3 else shown
    # Colour at full resolution, or the outlines would fade.
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return bytes(cv2.imencode(".jpg", ordered, options)[1].tobytes())


def _png(picture: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes())
