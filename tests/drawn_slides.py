"""Drawings of stained slides."""

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.light.grey import STAINS


def slide(cells: int, *, seed: int = 0, dtype: type = np.uint8) -> NDArray:
    """A drawing of a stained slide: blue nuclei and pink all over, in light that is somewhat yellow."""
    random = np.random.default_rng(seed)
    amounts = np.stack([np.zeros((220, 260)), cv2.GaussianBlur(random.uniform(0, 0.5, (220, 260)), (0, 0), 4)])
    for k in range(cells):
        row, column = 24 + 32 * (k // 7), 24 + 34 * (k % 7)
        cv2.circle(amounts[0], (column, row), 9, 1, cv2.FILLED)
    stains = np.array(STAINS[:2]) / np.linalg.norm(STAINS[:2], axis=1, keepdims=True)
    light = np.array([245, 240, 220]) * 10 ** -np.tensordot(amounts, stains, (0, 0))
    drawn = np.clip(light + random.normal(0, 1, light.shape), 0, 255)
    return np.asarray(drawn.round() if np.issubdtype(dtype, np.integer) else drawn, dtype)
