"""Label images for tests: drawn ones with every shape that is hard, and any."""

import cv2
import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint32]


def drawn_cells(shape: tuple[int, int] = (120, 160), *, rng: np.random.Generator, number: int = 30) -> Labels:
    """Ellipses that touch, overlap and are cut by the border, numbered in any order, some of them with holes."""
    labels = np.zeros(shape, np.int32)
    for k in range(1, number + 1):
        centre = tuple(int(side) for side in rng.integers(-2, np.add(shape, 2))[::-1])
        axes = tuple(int(length) for length in rng.integers(2, 14, 2))
        cv2.ellipse(labels, centre, axes, float(rng.integers(0, 180)), 0, 360, k, cv2.FILLED)
        if k % 4 == 0:
            cv2.circle(labels, centre, min(axes) // 2, 0, cv2.FILLED)
    return labels.astype(np.uint32)


HARD: dict[str, list[str]] = {
    "one pixel": ["1"],
    "one pixel inside": ["...", ".1.", "..."],
    "a line": ["11111"],
    "a diagonal": ["1..", ".1.", "..1"],
    "a ring": ["111", "1.1", "111"],
    "a cell in the hole of another": ["11111", "1...1", "1.2.1", "1...1", "11111"],
    "holes that touch at a corner": ["11111", "1.111", "11.11", "11111"],
    "a bay that is closed by a corner": ["1111", "1..1", "11.1", "11.."],
    "two parts": ["11.11", "11.11"],
    "corners and a hole": ["111..", "1.1..", "111..", "...11", "...11"],
    "neighbours": ["1122", "1122", "3344", "3344"],
    "a chessboard": ["1.1.", ".1.1", "1.1.", ".1.1"],
    "numbers that are missing": ["2.5", "2.5"],
    "nothing": ["...", "..."],
}
"""What -> rows of pixels: digits for cells, dots for background."""


def label_image(rows: list[str]) -> Labels:
    """Pixels as they are written in :data:`HARD`."""
    return np.array([[int(pixel.replace(".", "0")) for pixel in row] for row in rows], np.uint32)
