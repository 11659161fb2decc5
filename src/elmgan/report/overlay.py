"""Pictures for people: the image in grey, what was found outlined, the count in a corner."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from elmgan.light import Grey

OUTLINE = (255, 128, 0)  # orange: no kind of colour vision takes it for a grey
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


def for_display(grey: Grey) -> NDArray[np.uint8]:
    """Stretch an image to 0..255; the darkest and the brightest 0.3 % of the pixels are clipped.

    >>> for_display(np.array([[5, 6, 7]], dtype=np.float32))
    array([[  0, 127, 255]], dtype=uint8)
    >>> for_display(np.full((1, 3), 5, dtype=np.float32))
    array([[0, 0, 0]], dtype=uint8)
    """
    low, high = (np.float32(value) for value in np.percentile(grey, (0.3, 99.7)))
    if low == high:  # the bright pixels are few
        low, high = np.float32(grey.min()), np.float32(grey.max())
    if low == high:
        return np.zeros(grey.shape, dtype=np.uint8)
    stretched = (np.clip(grey.astype(np.float32, copy=False), low, high) - low) / (high - low)
    return (255 * stretched).astype(np.uint8)


def outlines(cells: NDArray, thickness: int = 1) -> NDArray[np.bool_]:
    """Find the rim of each object of a mask or label image, inside the object; objects that touch each have their own.

    >>> outlines(np.array([[1, 1, 1, 2],
    ...                    [1, 1, 1, 2],
    ...                    [1, 1, 1, 0]])).astype(int)
    array([[0, 0, 1, 1],
           [0, 0, 1, 1],
           [0, 0, 1, 0]])
    """
    around = np.pad(cells, 1, mode="edge")
    rim = np.zeros(cells.shape, dtype=bool)
    for neighbour in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
        rim |= neighbour != cells
    inside = cells != 0
    rim &= inside
    if thickness == 1:
        return rim
    thick: NDArray[np.bool_] = cv2.dilate(rim.astype(np.uint8), np.ones((thickness, thickness), np.uint8)) > 0
    thick &= inside
    return thick


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
