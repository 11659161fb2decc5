"""Grey values as the networks see them: the background at 0, what stands out from it up to about 1.

``elmgan.export.standalone`` does the same as nodes of ONNX; what changes here changes there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Grey = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
"""One channel as read: (row, column). What is neither uint8 nor uint16 is float32."""

Cells = Literal["auto", "bright", "dark"]
"""Whether cells are brighter or darker than the background; auto finds out."""

MOST_PIXELS = 2**18
"""Statistics of larger images are taken from a regular grid of at most this many pixels.

The bundled model's counts move by less than a thousandth from those with every pixel's statistics; to sort all pixels
takes longer than the rest of the normalisation.
"""

# Second difference along rows and columns: it removes any plane, so that little but noise is left.
DETAIL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
DETAIL_GAIN = 6.0  # root of the sum of squares: white noise of deviation 1 comes out with deviation 6
LARGEST = float(np.finfo(np.float32).max)
ROUNDING = 1e-3  # lengths that differ by this share of the image's span are not told apart
BLOCKS, LEAST_BLOCK = 16, 4  # blocks along each side, and pixels along each side of a block in the sample
IN_BLOCK = 0.98  # share of a block's pixels that what it reaches is farther than
FARTHER = 2.5  # of known images, 5 of 200 reach so much farther in few places
NORMAL_QUARTILE = 0.6745  # median of |x| for x of the standard normal distribution


class Normalisation(BaseModel):
    """Background to 0, the span between two percentiles to 1, clipped; the same for any gain and offset of the camera.

    The background is where grey values lie closest: in the middle of the shortest interval that holds a share of the
    pixels. Cells may so cover more than half of an image, where a median would be one of theirs. Whichever percentile
    is farther from it belongs to what stands out, and becomes positive: dark cells on a bright ground look like bright
    cells on a dark one.

    An image without objects is not stretched until its noise looks like cells: the span is at least ``noise_span``
    standard deviations of the noise. A bright speck widens the span, and would leave the cells dim; therefore x becomes
    asinh(compression x) / asinh(compression), which is steepest at the background and flat at the top. Debris, a scale
    bar, text: what reaches farther than all else and lies in few places neither widens the span nor decides what stands
    out. The statistics are the whole image's, never a tile's.

    >>> normalise = Normalisation()
    >>> image = np.full((64, 64), 100, dtype=np.float32)
    >>> image[8:24, 8:24] = 300
    >>> normalised = normalise(image)
    >>> float(normalised[0, 0]), float(normalised[16, 16])
    (0.0, 1.0)
    >>> bool(np.array_equal(normalise(7 - image), normalised))
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    background: float = Field(0.25, gt=0, lt=1, description="share of the pixels that the background holds at least")
    low: float = Field(0.2, ge=0, le=100, description="percentile where the span begins")
    high: float = Field(99.8, ge=0, le=100, description="percentile where the span ends")
    noise_span: float = Field(36, ge=0, description="least span, in standard deviations of the noise")
    limit: float = Field(3, gt=0, description="values are clipped to [-limit, limit] before they are compressed")
    compression: float = Field(10, ge=0, description="the larger, the dimmer the brightest; 0 is linear")
    debris: int = Field(
        14,
        ge=0,
        le=64,
        description="of 16 x 16 blocks of the image, the number to which debris and burned-in text keep",
    )

    @model_validator(mode="after")
    def _percentiles_in_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be less than high ({self.high:g})")
        return self

    def __call__(self, grey: Grey) -> NDArray[np.float32]:
        """Normalise a whole (row, column) image of finite values; float32 out, the input is left as it is.

        An image of one value becomes 0 everywhere.
        """
        return self.stretch(grey)(grey)

    def stretch(self, grey: Grey, data: NDArray[np.bool_] | None = None, cells: Cells = "auto") -> "Stretch":
        """Give what becomes of each value of a whole image, to be applied to any part of it.

        Args:
            grey: The image, (row, column).
            data: Which of its pixels count; there is at least one. ``None`` if all do.
            cells: Whether what stands out is brighter or darker than the background, which is then looked for on the
                other side of the middle of the span if it would lie on the wrong one.
        """
        return self.stretch_of(GridSample.of(grey, data), cells)

    def stretch_of(self, taken: "GridSample", cells: Cells = "auto") -> "Stretch":
        """Give what becomes of each value of the image that a sample was taken of; see :meth:`stretch`."""
        values = _sorted(taken.held)
        low, high = (_percentile(values, percentage) for percentage in (self.low, self.high))
        rounding = ROUNDING * (high - low)
        centre = densest(values, self.background, rounding)
        noise = self.noise_span * _noise(taken, values)
        ends, bright = (low, high), high - centre >= centre - low
        if self.debris and min(taken.grey.shape) >= BLOCKS * LEAST_BLOCK:
            low, high, bright = self._without_debris(taken.grey, taken.data, low, centre, high, noise)
        debris = (low, high) != ends
        if cells != "auto" and bright != (cells == "bright") and low < high:
            bright = not bright
            middle = np.searchsorted(values, (low + high) / 2)
            centre = densest(values[:middle] if bright else values[middle:], self.background, rounding)
        return Stretch(self, centre, float(np.float32(max(high - low, noise))), bright, debris)

    def _without_debris(
        self, seen: Grey, data: NDArray[np.bool_] | None, low: float, centre: float, high: float, noise: float
    ) -> tuple[float, float, bool]:
        """Give the ends of the span without what lies in few places, and whether cells are brighter by that.

        Of 16 x 16 blocks, those few are passed over in which grey values reach farthest from the background, if they
        reach much farther than in the next one. Something has to reach beyond the noise in that one, too, to either
        side: a few lone cells are no debris. What reaches beyond it to one side alone is what stands out.

        Args:
            seen: The sample of the image.
            data: Which of its pixels count.
            low: Lower end of the span.
            centre: The background.
            high: Upper end.
            noise: What reaches no farther from the background is noise.
        """
        rows, columns = (side // BLOCKS for side in seen.shape)
        off = np.subtract(seen[: BLOCKS * rows, : BLOCKS * columns], np.float32(centre), dtype=np.float32)
        if data is not None:
            off[~data[: BLOCKS * rows, : BLOCKS * columns]] = 0
        blocks = off.reshape(BLOCKS, rows, BLOCKS, columns).swapaxes(1, 2).reshape(BLOCKS**2, -1)
        few = round((1 - IN_BLOCK) * (blocks.shape[1] - 1))
        blocks = np.partition(blocks, (few, blocks.shape[1] - 1 - few), axis=1)
        lowest, highest = blocks[:, few], blocks[:, -1 - few]
        last, first = (np.argsort(each, kind="stable") for each in (lowest, -highest))  # as ONNX does
        dark, bright = -float(lowest[last[self.debris]]), float(highest[first[self.debris]])
        ends = low, high
        if max(dark, bright) > noise:
            if centre - low > FARTHER * max(dark, noise / FARTHER):
                low = centre + _percentile(np.sort(blocks[last[self.debris :]], axis=None), self.low)
            if high - centre > FARTHER * max(bright, noise / FARTHER):
                high = centre + _percentile(np.sort(blocks[first[self.debris :]], axis=None), self.high)
        if (low, high) != ends and (dark > noise) != (bright > noise):
            return low, high, bright > noise
        return low, high, high - centre >= centre - low


@dataclass(frozen=True)
class Stretch:
    """A normalisation with the statistics of one image."""

    normalisation: Normalisation
    centre: float
    """The grey value of the background."""
    span: float
    """The difference to it that becomes 1; 0 in an image of one value."""
    bright: bool
    """Whether what stands out is brighter than the background."""
    debris: bool = False
    """Whether something that reaches much farther than all else lies in few places."""

    def __call__(self, grey: Grey) -> NDArray[np.float32]:
        """Normalise some of the image's pixels; the input is left as it is."""
        span, rule = np.float32(self.span), self.normalisation
        if span == 0:
            return np.zeros(grey.shape, np.float32)
        centred = np.subtract(grey, np.float32(self.centre), dtype=np.float32)
        if not self.bright:
            np.negative(centred, out=centred)
        # Clipped before it is divided, so that no quotient can overflow; the reach could, where no data is -3.4e38.
        reach = min(float(np.float32(rule.limit)) * self.span, LARGEST)
        np.clip(centred, -reach, reach, out=centred)
        centred /= span
        if rule.compression:
            centred *= np.float32(rule.compression)
            np.arcsinh(centred, out=centred)
            centred /= np.float32(math.asinh(rule.compression))
        return centred


@dataclass(frozen=True)
class GridSample:
    """What the statistics of an image are taken from: its pixels on a regular grid; all are (row, column)."""

    grey: Grey
    detail: NDArray[np.float32]
    """Differences to the neighbours; see :func:`second_differences`."""
    data: NDArray[np.bool_] | None
    """Which of the pixels hold data; None if all do."""
    whole: NDArray[np.bool_] | None
    """Which of them have data on all sides."""
    held: Grey
    """Those that hold data, in any shape; if there is none, all that the image has."""

    @classmethod
    def of(cls, grey: Grey, data: NDArray[np.bool_] | None = None) -> Self:
        """Take the sample of a whole image."""
        seen: Any = sample(grey)  # of the image's type
        detail = second_differences(grey)
        if data is None:
            return cls(seen, detail, None, None, seen)
        held = sample(data)
        return cls(seen, detail, held, sample(surrounded(data)), seen[held] if held.any() else grey[data])

    @classmethod
    def of_nine(cls, nine: Grey, data: NDArray[np.bool_] | None = None) -> Self:
        """Take it of the pixels at :func:`places`, of (three rows, three columns) for each one of the grid.

        >>> image = np.random.default_rng(0).normal(100, 5, (1300, 900)).astype(np.float32)
        >>> nine = image[np.ix_(*(places(axis, image.shape) for axis in (0, 1)))]
        >>> one, other = GridSample.of(image), GridSample.of_nine(nine)
        >>> bool((one.grey == other.grey).all() and np.allclose(one.detail, other.detail, atol=1e-3))
        True
        """
        parts = [[nine[down::3, across::3] for across in range(3)] for down in range(3)]
        detail = np.zeros(parts[0][0].shape, np.float32)
        for row, weights in zip(parts, DETAIL.tolist(), strict=True):
            for part, weight in zip(row, weights, strict=True):
                detail += np.float32(weight) * part.astype(np.float32)
        seen: Any = np.ascontiguousarray(parts[1][1])
        if data is None:
            return cls(seen, detail, None, None, seen)
        held = np.ascontiguousarray(data[1::3, 1::3])
        whole = np.logical_and.reduce([data[down::3, across::3] for down in range(3) for across in range(3)])
        return cls(seen, detail, held, whole, seen[held])


def places(axis: int, shape: tuple[int, int]) -> NDArray[np.intp]:
    """Give the rows or columns that a sample is taken of, each with those next to it; at the border, itself again."""
    middles = np.arange(0, shape[axis], step_of(shape))
    return np.asarray(np.clip(middles[:, np.newaxis] + (-1, 0, 1), 0, shape[axis] - 1).ravel())


def sample(image: NDArray) -> NDArray:
    """Every pixel of the image, or of a large one those on a regular grid."""
    step = step_of(image.shape)
    return image[::step, ::step]


def second_differences(grey: Grey) -> NDArray[np.float32]:
    """Where :func:`sample` takes pixels, the difference to the neighbours: of what varies, little but the noise.

    Noise of standard deviation 1 that differs from pixel to pixel gives values of standard deviation ``DETAIL_GAIN``.
    """
    step, last = step_of(grey.shape), len(grey) - 1
    rows = np.arange(0, len(grey), step)[:, np.newaxis] + (-1, 0, 1)  # only those that are looked at
    bands = grey[np.clip(rows, 0, last).ravel()]
    detail = cv2.filter2D(bands, cv2.CV_32F, DETAIL, borderType=cv2.BORDER_REFLECT)
    return np.ascontiguousarray(detail[1::3, ::step])


def surrounded(data: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which pixels have data on all sides, so that no difference to a neighbour is one to a pixel without."""
    whole = cv2.erode(data.view(np.uint8), np.ones((3, 3), np.uint8))
    return whole.view(np.bool_)


def step_of(shape: Sequence[int]) -> int:
    """Give the distance between the pixels of a sample, along rows and columns."""
    return math.ceil(math.sqrt(shape[0] * shape[1] / MOST_PIXELS))


def _sorted(grey: Grey) -> NDArray[np.float32]:
    """Sort all grey values; whole numbers need only be counted."""
    if grey.dtype.kind == "f":
        return np.sort(grey, axis=None)
    numbers = np.bincount(grey.ravel())
    return np.repeat(np.arange(len(numbers), dtype=np.float32), numbers)


def _percentile(values: NDArray[np.float32], percentage: float) -> float:
    """Give a percentile of sorted values as NumPy does, which would sort them again: between two along a line."""
    place = percentage / 100 * (len(values) - 1)
    below, part = int(place), place % 1
    low, high = float(values[below]), float(values[min(below + 1, len(values) - 1)])
    return low + part * (high - low)


def densest(values: NDArray[np.float32], share: float, rounding: float) -> float:
    """Give the middle of the shortest interval that holds a share of sorted values.

    Of several that are as short, up to ``rounding``, it is the middle one: the same from either end, so that the
    negative of an image has the negative of its background.
    """
    length = round(share * (len(values) - 1))
    with np.errstate(over="ignore"):  # the span of all float32 is not one
        widths = values[length:] - values[: len(values) - length]
        shortest = np.flatnonzero(widths <= widths.min() + np.float32(min(rounding, LARGEST)))
    first, last = int(shortest[(len(shortest) - 1) // 2]), int(shortest[len(shortest) // 2])
    return (float(values[first + length // 2]) + float(values[last + (length + 1) // 2])) / 2


def _noise(taken: GridSample, values: NDArray[np.float32]) -> float:
    """Estimate the standard deviation of an image's noise; ``values`` are the sample's pixels, sorted.

    After Immerkaer, Fast noise variance estimation, CVIU 64 (1996) 300, with the median in place of the mean, so that
    edges of cells do not count as noise. In a dim 8-bit image most neighbours hold the same grey level and the median
    is 0. There the mean square of the same differences is believed, up to the rounding error of the grey levels:
    step / sqrt(12), where the step is the least difference between two values that occur.
    """
    detail = taken.detail
    if taken.whole is not None:
        detail = detail[taken.whole]
        if not detail.size:
            return 0
    mean_square = cv2.norm(detail, cv2.NORM_L2) / math.sqrt(detail.size) / DETAIL_GAIN
    median = float(np.median(np.abs(detail))) / (DETAIL_GAIN * NORMAL_QUARTILE)
    steps = np.diff(values)
    step = float(steps.min(where=steps > 0, initial=np.inf))
    return max(median, min(mean_square, step / math.sqrt(12)))
