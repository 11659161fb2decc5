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
    picture = np.repeat(for_display(grey)[:, :, np.newaxis], 3, axis=2)
    picture[outlines(cells, thickness=max(1, round(max(grey.shape) / 1000)))] = OUTLINE
    return _with_text(picture, text)


def _with_text(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    size = max(12, min(picture.shape[:2]) // 30)
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size)
    place = (size // 2, size // 3)
    right, bottom = draw.textbbox(place, text, font=font)[2:]
    draw.rectangle((0, 0, right + place[0], bottom + place[1]), fill=BLACK)
    draw.text(place, text, fill=WHITE, font=font)
    return np.asarray(canvas)
