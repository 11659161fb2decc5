"""What counting one image gives."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import UsageError
from elmgan.inference.separation import separate
from elmgan.models import shortcoming


@dataclass(frozen=True, eq=False)
class Result:
    """The cells of one image; arrays are (row, column).

    What the model did not learn is None: the estimate and the count map of one that learned masks alone, the mask and
    the probability of one that learned counts alone.

    >>> nothing = np.zeros((4, 4), dtype=np.float32)
    >>> Result(estimate=2.5, mask=nothing > 0, probability=nothing, count_map=nothing, flags=("empty",))
    Result(count=3, estimate=2.5, flags=empty)
    """

    estimate: float | None
    """Cells in the image: the sum of the count map, to two decimals."""
    mask: NDArray[np.bool_] | None
    """Where there is cell; the image's size."""
    probability: NDArray[np.float32] | None
    """Probability of cell, 0..1; the image's size."""
    count_map: NDArray[np.float32] | None
    """Cells per 4 x 4 pixels; sides are a quarter of the image's, rounded up. One value with the pooled head."""
    flags: tuple[str, ...]
    """Why the count should not be trusted; () when the image looks fine."""
    interval: tuple[float, float] | None = None
    """90 % interval of the count; None if the model has none."""

    @property
    def count(self) -> int | None:
        """The estimate, rounded half up; None without one."""
        return None if self.estimate is None else math.floor(self.estimate + 0.5)

    @property
    def objects(self) -> int | None:
        """Number of separated cells, which need not be the count; None without a mask."""
        return None if self.mask is None else int(self.labels().max())

    @property
    def foreground(self) -> float | None:
        """Fraction of the image that is cell, 0..1; None without a mask."""
        return None if self.mask is None else float(self.mask.mean())

    def labels(self) -> NDArray[np.uint32]:
        """Separated cells as a label image, 1..n, 0 = background; computed at the first call.

        Raises:
            UsageError: There is no mask.
        """
        return self._labels

    @cached_property
    def _labels(self) -> NDArray[np.uint32]:
        if self.mask is None:
            raise UsageError(f"there is nothing to separate: {shortcoming(['count'])}; use one that learned masks")
        return separate(self.mask)

    def __repr__(self) -> str:
        return f"Result(count={self.count}, estimate={self.estimate}, flags={';'.join(self.flags)})"
