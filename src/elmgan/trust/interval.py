"""The interval of a count: what images with known counts taught of how far off counts may be."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from elmgan.strict import Strict

LEVEL = 0.9
"""Share of images whose true count an interval is to hold."""


FEWEST = 20
"""Images of different cells that an interval takes."""


NEAR_ENOUGH, SHARE, AND_CELLS = 0.3, 0.75, 4
"""Of an image that is farther from known ones than the first, in units of the distance up to which images are near,
a count may be off by more: for each such unit by so large a share of the estimate and so many cells. The page on
calibration says how they were chosen.
"""


def spread(estimate: ArrayLike, doubt: ArrayLike = 0.0) -> NDArray[np.float64]:
    """Say how far off estimates of counts may be, one beside another, in cells.

    Near the images that a model knows errors grow with the count about as those of Poisson's distribution do, and those
    of an empty image are not nothing: sqrt(estimate + 1). Farther off they are shares of the count, the larger the
    farther.

    Args:
        estimate: Cells.
        doubt: Distance of the image from those that the model knows, in units of that up to which images are near.

    >>> spread([0, 99])
    array([ 1., 10.])
    >>> spread(96, doubt=[0.3, 0.8]).round(1).tolist()
    [9.8, 47.3]
    """
    above_none: NDArray[np.float64] = np.maximum(estimate, 0.0)
    far = np.maximum(np.asarray(doubt, dtype=np.float64) - NEAR_ENOUGH, 0)
    return np.sqrt(above_none + 1) + SHARE * far * (above_none + AND_CELLS)


class Calibration(Strict):
    """What images with known counts taught of a model's counts: a correction, and how far off they may be.

    An interval is the estimate plus and minus ``quantile`` times its :func:`spread`. The correction is a factor and has
    no constant part: a constant would be added once per tile or image, so that the counts of parts would no longer add
    up, and an empty image would have cells.

    >>> Calibration(data="mine", images=20, groups=20, gain=1.1, quantile=0.5).interval(99.0)
    (94.0, 104.0)
    """

    data: str = Field(max_length=100_000, description="where the images come from")
    images: int = Field(ge=1, le=10**12, description="images with a known count")
    groups: int = Field(
        ge=1, le=10**12, description="groups of images that show the same cells, as many as images if none do"
    )
    gain: float = Field(
        gt=0, le=1e30, description="what the network's counts are multiplied by; 1 leaves them as they are"
    )
    quantile: float | None = Field(
        ge=0, le=1e30, description="of |count - estimate| / spread, for the level; null without an interval"
    )
    level: float = Field(LEVEL, gt=0, lt=1, description="share of images whose true count the interval holds")

    def interval(self, estimate: float, doubt: float = 0.0) -> tuple[float, float] | None:
        """Give the interval of an estimate, in cells to two decimals: from 0, and around it; None if there is none.

        Args:
            estimate: Cells.
            doubt: See :func:`spread`.
        """
        if self.quantile is None:
            return None
        middle, reach = max(0.0, estimate), self.quantile * float(spread(estimate, doubt))
        return max(0.0, round(middle - reach, 2)), round(middle + reach, 2)

    @property
    def correction(self) -> str:
        """Say in words for people what becomes of the network's counts."""
        return "counts are left as they are" if self.gain == 1 else f"counts are multiplied by {self.gain:.3f}"

    @property
    def promise(self) -> str:
        """Say in words for people what the interval promises, or why there is none."""
        if self.quantile is None:
            return f"no interval: {self.groups} images of different cells are too few, it takes {FEWEST}"
        return (
            f"the {100 * self.level:.0f} % interval holds the true count of {100 * self.level:.0f} % of images on "
            f"average, if they are of the same kind as the {self.images} of {self.data} that it was measured on; "
            "of a single image, or of images of another kind, it promises nothing"
        )
