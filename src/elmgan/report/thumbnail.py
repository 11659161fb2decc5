"""Small pictures that a page carries in itself."""

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.light import Grey
from elmgan.report.overlay import OUTLINE, for_display, outlines

THUMBNAIL_SIDE = 280
"""Longer side of a thumbnail, in pixels."""


def thumbnail(
    grey: Grey, cells: NDArray | None = None, *, colour: tuple[int, int, int] = OUTLINE, side: int = THUMBNAIL_SIDE
) -> str:
    """Make a small picture of an image, as a data URI.

    Args:
        grey: The image, (row, column), of any range.
        cells: Mask or label image of the same size, 0 = background, whose objects are outlined.
        colour: Red, green and blue of the outlines, 0..255.
        side: Longer side of the picture, in pixels; smaller images stay as they are.
    """
    scale = min(1, side / max(grey.shape))
    rows, columns = (max(1, round(length * scale)) for length in grey.shape)
    resized = np.empty((rows, columns), grey.dtype)
    cv2.resize(grey, (columns, rows), resized, interpolation=cv2.INTER_AREA)  # OpenCV's (width, height)
    small: NDArray = for_display(resized)
    if cells is not None:
        small = cv2.cvtColor(small, cv2.COLOR_GRAY2BGR)
        small[outlines(_nearest(cells, (rows, columns)))] = colour[::-1]
    # Colour at full resolution, or the outlines would fade.
    options = [cv2.IMWRITE_JPEG_QUALITY, 80, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    encoded = cv2.imencode(".jpg", small, options)[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _nearest(cells: NDArray, shape: tuple[int, int]) -> NDArray:
    """Scale labels of any type, which must not be mixed, to a smaller shape: each pixel takes the label at its centre.

    >>> _nearest(np.array([[1, 2, 3, 4, 5, 6]], np.uint32), (1, 2))
    array([[2, 5]], dtype=uint32)
    """
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp) for new, old in zip(shape, cells.shape, strict=True)
    )
    return cells[np.ix_(rows, columns)]
