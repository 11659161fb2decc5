"""Small pictures that a page carries in itself."""

import base64

import cv2
from numpy.typing import NDArray

from elmgan.counting.picture import OUTLINE, for_display, nearest, outlines, shrunk
from elmgan.light import Grey

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
    small: NDArray = for_display(shrunk(grey, side))
    if cells is not None:
        small = cv2.cvtColor(small, cv2.COLOR_GRAY2BGR)
        small[outlines(nearest(cells, small.shape[:2]))] = colour[::-1]
    # Colour at full resolution, or the outlines would fade.
    options = [cv2.IMWRITE_JPEG_QUALITY, 80, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    encoded = cv2.imencode(".jpg", small, options)[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
