"""What counting one image gives."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from threading import RLock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elmgan.counting.cells import measured
from elmgan.counting.outlines import Polygon, outlines_of
from elmgan.counting.picture import for_display, outlined_png
from elmgan.counting.region import Region, RegionPixels, covered_share, part_of
from elmgan.counting.separation import separate
from elmgan.errors import UsageError
from elmgan.models import STRIDE, shortcoming
from elmgan.trust import ADVICE, LEVEL, Calibration, ImagePlace

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Result:
    """The cells of one image; arrays are (row, column).

    What the model did not learn is None: the estimate and the count map of one that learned masks alone, the mask and
    the probability of one that learned counts alone.

    >>> nothing = np.zeros((4, 4), dtype=np.float32)
    >>> Result(
    ...     shape=(4, 4), estimate=2.5, mask=nothing > 0, probability=nothing, count_map=nothing, flags=("empty",)
    ... )
    Result(count=3, estimate=2.5, interval=None, flags=empty)
    """

    shape: tuple[int, int]
    """Rows and columns of the image."""
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
    """90 % interval of the count, (low, high) in cells around the estimate; None if the model has none."""
    data: NDArray[np.bool_] | None = None
    """Which pixels hold data, the image's size; None if all do."""
    scale: float = 1.0
    """Factor by which the network saw the image resized."""
    seen_as: str = ""
    """``haematoxylin`` where colour was seen so without being asked; empty otherwise."""
    unlike: str = ""
    """What sets the image apart from those that the model knows, in words, where it is flagged ``unlike-training``."""
    place: ImagePlace | None = None
    """Where the image is among those that the model knows; None where it was not looked at twice."""
    distance: float | None = None
    """Of the image from those that the model knows; None where it was not looked at twice."""
    calibration: Calibration | None = None
    """What gives the interval, and those of parts of the image; None if there is none."""
    doubt: float = 0.0
    """How far the image is from those that the model knows, as the interval takes it."""
    preview: NDArray | None = None
    """The image in grey, made small, (row, column); for the picture in notebooks."""

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
        """Fraction of the pixels with data that is cell, 0..1; None without a mask."""
        if self.mask is None:
            return None
        return float((self.mask if self.data is None else self.mask[self.data]).mean())

    def count_in(self, region: ArrayLike | RegionPixels | Region) -> float:
        """Cells in a part of the image: the sum of the count map there. The parts of an image add up to the whole.

        Where the region cuts a value of the map, which stands for 4 x 4 pixels, it gets the share that it covers.

        Args:
            region: A boolean array of the image's shape, or the vertices of a polygon, each (row, column) in pixels
                from the image's top left corner; a pixel is inside if its centre is.

        Raises:
            UsageError: The region is neither, or there is no count map.

        >>> count_map = np.array([[1, 0], [2, 4]], np.float32)
        >>> result = Result((8, 8), estimate=7, mask=None, probability=None, count_map=count_map, flags=())
        >>> result.count_in([(0, 0), (0, 8), (6, 8), (6, 0)])
        4.0
        >>> right = np.zeros((8, 8), dtype=bool)
        >>> right[:, 4:] = True
        >>> result.count_in(right), result.count_in(~right)
        (4.0, 3.0)
        """
        if self.count_map is None:
            raise UsageError(f"there is nothing to add up: {shortcoming(['mask'])}; use one that learned counts")
        part = part_of(region, self.shape)
        if self._one_number:
            raise UsageError("there is one number for the whole image: use a model with a count map")
        share = covered_share(part.inside, STRIDE)
        top, left = part.box.top // STRIDE, part.box.left // STRIDE
        values = self.count_map[top : top + share.shape[0], left : left + share.shape[1]]
        return float((values * share).sum(dtype=np.float64))

    def interval_of(self, cells: float) -> tuple[float, float] | None:
        """Give the 90 % interval of an image like this one with so many cells, (low, high); None if there is none.

        It is the best that can be said of a part of the image with so many cells. It was measured on whole images: in a
        part, the cells that its line cuts make errors of their own, which it does not know.
        """
        return None if self.calibration is None else self.calibration.interval(cells, self.doubt)

    def labels(self) -> NDArray[np.uint32]:
        """Separated cells as a label image, 1..n, 0 = background; computed at the first call.

        Raises:
            UsageError: There is no mask.
        """
        return self._once("_labels", self._separated)

    def cells(
        self,
        image: ArrayLike | Mapping[str, ArrayLike] | None = None,
        *,
        pixel_size: Mapping[str, float] | None = None,
    ) -> dict[str, NDArray]:
        """Measure the separated cells: place, size and shape of each, and how bright it is.

        Args:
            image: What is measured in them: a (row, column) or (row, column, channel) image, or several by their names.
            pixel_size: x and y -> micrometres, where they are known.

        Returns:
            Column -> one value per cell, in the order of the labels; see :func:`~elmgan.counting.cells.measured`.

        Raises:
            UsageError: There is no mask, or the image has another size.

        >>> mask = np.zeros((8, 8), dtype=bool)
        >>> mask[1:3, 1:5] = True
        >>> result = Result((8, 8), estimate=None, mask=mask, probability=None, count_map=None, flags=())
        >>> cells = result.cells(np.arange(64).reshape(8, 8), pixel_size={"x": 0.5, "y": 0.5})
        >>> [cells[name].tolist() for name in ("cell", "row", "column", "area_um2", "mean")]
        [[1], [1.5], [2.5], [2.0], [14.5]]
        """
        count_map = None if self._one_number else self.count_map
        return measured(self.labels(), _by_name(image), count_map=count_map, pixel_size=pixel_size)

    def outlines(self) -> list[list[Polygon]]:
        """Give the polygons of each separated cell along the edges of its pixels; see :func:`outlines_of`.

        Raises:
            UsageError: There is no mask.
        """
        return self._once("_outlines", lambda: [polygons for _, polygons in outlines_of(self.labels())])

    def _once(self, name: str, work: Callable[[], _T]) -> _T:
        # A lock of each result's own: threads that separate different images do not wait for each other.
        with vars(self).setdefault("_lock", RLock()):
            if name not in vars(self):
                vars(self)[name] = work()
            found: _T = vars(self)[name]
            return found

    def __getstate__(self) -> dict[str, Any]:
        """A lock can be neither copied nor sent to another process."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def _separated(self) -> NDArray[np.uint32]:
        if self.mask is None:
            raise UsageError(f"there is nothing to separate: {shortcoming(['count'])}; use one that learned masks")
        return separate(self.mask, None if self._one_number else self.count_map)

    @property
    def _one_number(self) -> bool:
        """Whether the count map is the one number of the pooled head."""
        blocks = tuple(-(-side // STRIDE) for side in self.shape)
        return self.count_map is not None and self.count_map.shape != blocks

    def _repr_html_(self) -> str:
        """Show the result in a notebook: the picture with the cells outlined, the count, its interval, its flags."""
        things, number = ("object", self.objects) if self.count is None else ("cell", self.count)
        told = f"{number} {things}{'s' * (number != 1)}"
        lines = [f'<span style="font-size:200%;font-weight:bold">{told}</span>']
        if self.interval is not None:
            low, high = self.interval
            lines.append(f"{100 * LEVEL:.0f} % interval: {math.floor(low)} to {math.ceil(high)}")
        lines += [f"<b>{escape(flag)}</b>: {escape(ADVICE.get(flag, ''))}" for flag in self.flags]
        lines += [f"unlike: {escape(self.unlike)}"] if self.unlike else []
        picture = ""
        if self.preview is not None:
            cells = None if self.mask is None else self.labels()
            source = outlined_png(for_display(self.preview), cells)
            picture = f'<img style="max-width:none" alt="the image, {told} outlined" src="{source}">'
        return f'<div style="display:flex;gap:1em">{picture}<div>{"<br>".join(lines)}</div></div>'

    def __repr__(self) -> str:
        found = f"count={self.count}, estimate={self.estimate}, interval={self.interval}"
        return f"Result({found}, flags={';'.join(self.flags)})"


def _by_name(image: ArrayLike | Mapping[str, ArrayLike] | None) -> Mapping[str, ArrayLike]:
    """Give the channels of an image by their names: by number, from 1, or none where there is one."""
    if image is None or isinstance(image, Mapping):
        return image or {}
    pixels = np.asarray(image)
    if pixels.ndim == 3:
        return {str(k + 1): pixels[:, :, k] for k in range(pixels.shape[2])}
    return {"": pixels}
