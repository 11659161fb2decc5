"""Pictures for people: the image in grey, what was found outlined, the count in a corner."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from elmgan.counting.picture import OUTLINE, for_display, outlines
from elmgan.light import Grey

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def overlay(grey: Grey, cells: NDArray, text: str) -> NDArray[np.uint8]:
    """Draw the outlines of cells over an image.

    Args:
        grey: The image, (row, column), of any range.
        cells: Mask or label image of the same size, 0 = background.
        text: What is written in the upper left corner.

    Returns:
        Picture of the image's size, (row, column, RGB).
    """
    shown = for_display(grey)
    del grey  # of a large image it takes much memory
    rim = outlines(cells, thickness=max(1, round(max(shown.shape) / 1000)))
    picture = np.repeat(shown[:, :, np.newaxis], 3, axis=2)
    picture[rim] = OUTLINE
    return _with_text(picture, text)


def _with_text(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Write a text into the corner of a picture, which is changed."""
    size = max(12, min(picture.shape[:2]) // 30)
    font = ImageFont.load_default(size)
    place = (size // 2, size // 3)
    right, bottom = ImageDraw.Draw(Image.new("1", (1, 1))).textbbox(place, text, font=font)[2:]
    corner = Image.new("RGB", (int(right) + place[0] + 1, int(bottom) + place[1] + 1), BLACK)
    ImageDraw.Draw(corner).text(place, text, fill=WHITE, font=font)
    part = picture[: corner.height, : corner.width]
    part[:] = np.asarray(corner)[: part.shape[0], : part.shape[1]]
    return picture
