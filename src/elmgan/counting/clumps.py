"""How cells clump: the pieces of a mask that comes in rows from top to bottom, and how many cells each holds."""

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.counting.region import pixels_in_blocks
from elmgan.models import STRIDE

NO_CLUMP = 2
"""Cells in a piece of a mask up to which it is no clump: two that touch are none, nor a large one that counts more."""

ROWS = 1024
"""Of an image whose cells are added up at a time."""


class Clumps:
    """The pieces of a mask; see :func:`clumped_share`."""

    def __init__(self) -> None:
        self._piece = [0]  # to which each is joined, itself or one with a smaller number; the background is 0
        self._cells: list[NDArray[np.floating]] = [np.zeros(1)]
        self._above: NDArray[np.signedinteger] | None = None

    def add(self, mask: NDArray[np.bool_], density: NDArray[np.float32]) -> None:
        """Take the next rows; but for the last time, a multiple of four.

        Args:
            mask: (row, column), true where there is a cell.
            density: Cells per pixel of the mask, one value for 4 x 4 pixels.
        """
        number, here = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8))
        pieces = np.asarray(here, np.int32)
        inside = np.flatnonzero(mask)
        row, column = np.divmod(inside, mask.shape[1])
        each = density.ravel()[row // STRIDE * density.shape[1] + column // STRIDE]
        self._cells.append(np.bincount(pieces.ravel()[inside], each, minlength=number)[1:].astype(np.float64))
        first = len(self._piece)
        self._piece += range(first, first + number - 1)
        top, bottom = (np.where(line > 0, line + (first - 1), 0) for line in (pieces[0], pieces[-1]))
        if self._above is not None:
            self._join(self._above, top)
        self._above = bottom

    @property
    def share(self) -> float:
        """Of the cells that lie in pieces with more than two of them; 0..1, 0 without cells."""
        whole = [self._whole(piece) for piece in range(len(self._piece))]
        cells = np.bincount(whole, np.concatenate(self._cells))
        total = float(cells.sum())
        return float(cells[cells > NO_CLUMP].sum()) / total if total > 0 else 0.0

    def _join(self, above: NDArray[np.signedinteger], below: NDArray[np.signedinteger]) -> None:
        """Join what touches across the line between two rows, corners too."""
        columns = len(below)
        for step in (-1, 0, 1):
            left, right = max(0, -step), columns - max(0, step)
            pairs = np.stack([above[left:right], below[left + step : right + step]])
            for one, other in np.unique(pairs[:, pairs.min(axis=0) > 0], axis=1).T.tolist():
                low, high = sorted((self._whole(one), self._whole(other)))
                self._piece[high] = low

    def _whole(self, piece: int) -> int:
        """The piece that one is part of, which is noted for what lies on the way."""
        last = piece
        while self._piece[last] != last:
            last = self._piece[last]
        while self._piece[piece] != last:
            self._piece[piece], piece = last, self._piece[piece]
        return last


def clumped_share(mask: NDArray[np.bool_], count_map: NDArray[np.float32]) -> float:
    """Give the share of the cells that lie in pieces of a mask with more than two of them; 0..1, 0 without cells.

    Args:
        mask: Where there is cell; (row, column).
        count_map: Cells per 4 x 4 pixels; all are on the mask.

    >>> mask = np.array([[True] * 4 + [False] * 4 + [True] * 8])
    >>> clumped_share(mask, np.array([[1, 0, 1.5, 1.5]], np.float32))
    0.75
    """
    density = np.divide(count_map, np.maximum(pixels_in_blocks(mask, STRIDE), 1), dtype=np.float32)
    clumps = Clumps()
    for top in range(0, len(mask), ROWS):
        clumps.add(mask[top : top + ROWS], density[top // STRIDE : (top + ROWS) // STRIDE])
    return clumps.share
