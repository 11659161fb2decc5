"""What counting one image gives."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from elmgan.inference.separation import separate


@dataclass(frozen=True, eq=False)
class Result:
    """The cells of one image; arrays are (row, column).

    >>> nothing = np.zeros((4, 4), dtype=np.float32)
    >>> Result(estimate=2.5, mask=nothing > 0, probability=nothing, count_map=nothing, flags=("empty",))
    Result(count=3, estimate=2.50, flags=empty)
    """

    estimate: float
    """Cells in the image: the sum of the count map, to two decimals."""
    mask: NDArray[np.bool_]
    """Where there is cell; the image's size."""
    probability: NDArray[np.float32]
    """Probability of cell, 0..1; the image's size."""
    count_map: NDArray[np.float32]
    """Cells per 4 x 4 pixels; sides are a quarter of the image's, rounded up. One value with the pooled head."""
    flags: tuple[str, ...]
    """Why the count should not be trusted; () when the image looks fine."""
    interval: tuple[float, float] | None = None
    """90 % interval of the count; None if the model has none."""

    @property
    def count(self) -> int:
        """The estimate, rounded half up."""
        return math.floor(self.estimate + 0.5)

    @property
    def foreground(self) -> float:
        """Fraction of the image that is cell, 0..1."""
        return float(self.mask.mean())

    def labels(self) -> NDArray[np.uint32]:
        """Separated cells as a label image, 1..n, 0 = background; computed at the first call."""
        return self._labels

    @cached_property
    def _labels(self) -> NDArray[np.uint32]:
        return separate(self.mask)

    def __repr__(self) -> str:
        return f"Result(count={self.count}, estimate={self.estimate:.2f}, flags={';'.join(self.flags)})"
