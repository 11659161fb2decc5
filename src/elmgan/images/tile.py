"""Rectangles of pixels: what is read of a plane, and what a network is shown at a time."""

from dataclasses import dataclass

from numpy.typing import NDArray


@dataclass(frozen=True)
class Tile:
    """A rectangle of pixels, half-open: rows ``top`` to ``top + height``, columns ``left`` to ``left + width``.

    >>> import numpy as np
    >>> image = np.arange(12).reshape(3, 4)
    >>> Tile(1, 2, height=2, width=1).of(image)
    array([[ 6],
           [10]])
    """

    top: int
    left: int
    height: int
    width: int

    def of(self, image: NDArray) -> NDArray:
        """View of the tile's pixels in a (row, column) or (row, column, sample) image."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def grown(self, halo: int, shape: tuple[int, int]) -> "Tile":
        """Return the tile with ``halo`` pixels more on each side, as far as an image of (rows, columns) has them."""
        top, left = max(self.top - halo, 0), max(self.left - halo, 0)
        bottom, right = min(self.top + self.height + halo, shape[0]), min(self.left + self.width + halo, shape[1])
        return Tile(top, left, bottom - top, right - left)

    def within(self, window: "Tile") -> "Tile":
        """Return the same pixels, counted from the corner of a window."""
        return Tile(self.top - window.top, self.left - window.left, self.height, self.width)

    def reduced(self, stride: int) -> "Tile":
        """Return the same area in a map that has one value per ``stride`` x ``stride`` pixels."""
        return Tile(self.top // stride, self.left // stride, self.height // stride, self.width // stride)


def reduction_of(side: int, smaller: int) -> float:
    """How many pixels of a side one of a smaller copy stands for: a whole number, if that leaves hardly a pixel over.

    >>> reduction_of(1001, 500), reduction_of(1001, 501), reduction_of(1000, 300)
    (2, 2, 3.3333333333333335)
    """
    whole = round(side / smaller)
    return whole if smaller in (side // whole, -(-side // whole)) else side / smaller
