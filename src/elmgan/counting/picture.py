"""Small pictures of what was counted: the image in grey, the cells outlined."""

import base64
import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.light import Grey

PREVIEW_SIDE = 360
"""Longer side of the picture that a result keeps of its image, in pixels."""

MOST_SORTED = 1 << 24
"""Pixels of an image whose range is looked for; of a larger one these are every so many rows and columns."""

STRIP_OF_PICTURE = 1 << 20
"""Pixels of an image that are worked on at once."""

OUTLINE = (255, 128, 0)  # orange: no kind of colour vision takes it for a grey


def shrunk(grey: NDArray, side: int) -> NDArray:
    """Give an image, (row, column), with its longer side cut down to so many pixels; a smaller one as it is."""
    scale = min(1, side / max(grey.shape))
    rows, columns = (max(1, round(length * scale)) for length in grey.shape)
    resized = np.empty((rows, columns), grey.dtype)
    cv2.resize(grey, (columns, rows), resized, interpolation=cv2.INTER_AREA)  # OpenCV's (width, height)
    return resized


def for_display(grey: Grey) -> NDArray[np.uint8]:
    """Stretch an image to 0..255; the darkest and the brightest 0.3 % of the pixels are clipped.

    >>> for_display(np.array([[5, 6, 7]], dtype=np.float32))
    array([[  0, 127, 255]], dtype=uint8)
    >>> for_display(np.full((1, 3), 5, dtype=np.float32))
    array([[0, 0, 0]], dtype=uint8)
    """
    step = math.ceil(math.sqrt(grey.size / MOST_SORTED))
    low, high = (np.float32(value) for value in np.percentile(grey[::step, ::step], (0.3, 99.7)))
    if low == high:  # the bright pixels are few
        low, high = np.float32(grey.min()), np.float32(grey.max())
    shown = np.zeros(grey.shape, dtype=np.uint8)
    if low == high:
        return shown
    for rows in _strips(grey.shape):
        stretched = (np.clip(grey[rows].astype(np.float32, copy=False), low, high) - low) / (high - low)
        shown[rows] = (255 * stretched).astype(np.uint8)
    return shown


def _strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Parts of an image that are worked on one after the other, so that little of it is in memory a second time."""
    rows = max(1, STRIP_OF_PICTURE // max(1, shape[1]))
    for top in range(0, shape[0], rows):
        yield slice(top, min(shape[0], top + rows))


def outlines(cells: NDArray, thickness: int = 1) -> NDArray[np.bool_]:
    """Find the rim of each object of a mask or label image, inside the object; objects that touch each have their own.

    >>> outlines(np.array([[1, 1, 1, 2],
    ...                    [1, 1, 1, 2],
    ...                    [1, 1, 1, 0]])).astype(int)
    array([[0, 0, 1, 1],
           [0, 0, 1, 1],
           [0, 0, 1, 0]])
    """
    rim = np.zeros(cells.shape, dtype=bool)
    for rows in _strips(cells.shape):
        above, below = int(rows.start > 0), int(rows.stop < len(cells))
        around = np.pad(cells[rows.start - above : rows.stop + below], ((1 - above, 1 - below), (1, 1)), mode="edge")
        here, part = cells[rows], rim[rows]
        for neighbour in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
            part |= neighbour != here
        part &= here != 0
    if thickness == 1:
        return rim
    thick: NDArray[np.bool_] = cv2.dilate(rim.view(np.uint8), np.ones((thickness, thickness), np.uint8)).view(np.bool_)
    thick &= cells != 0
    return thick


def nearest(cells: NDArray, shape: tuple[int, int]) -> NDArray:
    """Scale labels of any type, which must not be mixed, to a smaller shape: each pixel takes the label at its centre.

    >>> nearest(np.array([[1, 2, 3, 4, 5, 6]], np.uint32), (1, 2))
    array([[2, 5]], dtype=uint32)
    """
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp) for new, old in zip(shape, cells.shape, strict=True)
    )
    return cells[np.ix_(rows, columns)]


def outlined_png(small: NDArray[np.uint8], cells: NDArray | None) -> str:
    """Give a small grey picture with cells outlined, as a data URI that a page can hold.

    Args:
        small: (row, column).
        cells: Mask or label image, 0 = background, of any size of the same shape; or None.
    """
    picture = cv2.cvtColor(small, cv2.COLOR_GRAY2BGR)
    if cells is not None:
        picture[outlines(nearest(cells, small.shape))] = OUTLINE[::-1]
    return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode()
