"""How near an image is to the images that a model knows: a distance in a small space of measures, and what it tells."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from elmgan.strict import Strict

PlaceMeasure = Literal[
    "smaller", "outside", "below", "inside", "unsure", "density", "diameter", "contrast", "deviation", "beyond"
]
"""What an image's place is made of; :func:`elmgan.counting.looks.place_of` says what each is."""

MEASURES: tuple[PlaceMeasure, ...] = get_args(PlaceMeasure)

ImagePlace = Mapping[PlaceMeasure, float]
"""Measure -> value; without those that an image has none of, for want of foreground say."""

NEAREST = 3
"""Known images whose distances are averaged."""

SPREAD = (10, 90)
"""Percentiles of a measure over the known images, whose difference is the unit in which it is compared."""

NEAR_UP_TO, FAR_BEYOND = 95, 98
"""Percentiles of the distances of known images from the others: near is up to the one, far is beyond the other."""

FEWEST_KNOWN = 20
"""Images without which there is nothing to compare with."""

Bounded = Annotated[float, Field(ge=-1e9, le=1e9)]


class KnownImages(Strict):
    """The places of the images that a model knows: the content of known.json; numbers, no pixels.

    The distance of an image is the mean over the three nearest of the root mean square of the differences, each in
    units of its spread over the known images. What either of two images has no value for is passed over.

    >>> rows = [dict.fromkeys(MEASURES, 0.01 * k) for k in range(30)]
    >>> known = KnownImages.of(rows)
    >>> known.distance(rows[4]) < known.near < known.far < known.distance(dict.fromkeys(MEASURES, 9.0))
    True
    """

    measures: Annotated[tuple[str, ...], Field(max_length=100)] = Field(description="names of the columns")
    images: Annotated[
        tuple[Annotated[tuple[Bounded | None, ...], Field(max_length=100)], ...], Field(max_length=100_000)
    ] = Field(description="a row per image; null where it has no value")

    @classmethod
    def of(cls, places: Sequence[ImagePlace]) -> "KnownImages":
        """Put the places of images together, to four significant digits."""
        rows = tuple(
            tuple(float(f"{place[name]:.4g}") if name in place else None for name in MEASURES) for place in places
        )
        return cls(measures=MEASURES, images=rows)

    def together(self, other: "KnownImages") -> "KnownImages":
        """Return these images and others."""
        return KnownImages(measures=self.measures, images=(*self.images, *other.images))

    @property
    def usable(self) -> bool:
        """Whether they are enough to compare with, and of the measures that this program takes."""
        return self.measures == MEASURES and len(self.images) >= FEWEST_KNOWN

    @property
    def near(self) -> float:
        """The distance up to which an image is as near as most known images are to the others."""
        return _compared(self)[3]

    @property
    def far(self) -> float:
        """The distance beyond which an image is farther than nearly all known images are from the others."""
        return _compared(self)[4]

    @property
    def diameter(self) -> float:
        """Of a typical cell, in pixels as the network sees them: the median over the images."""
        column = self.measures.index("diameter")
        return float(np.exp(np.median([row[column] for row in self.images if row[column] is not None])))

    def distance(self, place: ImagePlace) -> float:
        """Say how far an image is from the nearest ones."""
        rows, middle, unit, _, _ = _compared(self)
        return _nearest(_distances(rows, (_row(place) - middle) / unit))


def _row(place: ImagePlace) -> NDArray[np.float64]:
    return np.array([place.get(name, np.nan) for name in MEASURES])


@cache
def _compared(
    known: KnownImages,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float, float]:
    """Rows in units of each measure's spread, the middle and the unit of each, and the distances of near and far."""
    values = np.array([[np.nan if value is None else value for value in row] for row in known.images], np.float64)
    middle = np.nanmedian(values, axis=0)
    low, high = np.nanpercentile(values, SPREAD, axis=0)
    # Of a normal distribution, one standard deviation. Some measures are 0 in most images, and not in a few.
    unit = np.maximum(np.maximum((high - low) / 2.56, np.nanstd(values, axis=0) / 2), 1e-6)
    rows = (values - middle) / unit
    own = []
    for k, row in enumerate(rows):
        distances = _distances(rows, row)
        distances[k] = np.inf
        own.append(_nearest(distances))
    near, far = np.percentile(own, (NEAR_UP_TO, FAR_BEYOND))
    return rows, middle, unit, float(near), float(far)


def _distances(rows: NDArray[np.float64], row: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square of the differences from each row; infinite where no measure is shared."""
    squares = (rows - row) ** 2
    shared = np.isfinite(squares)
    number = shared.sum(axis=1)
    sums = np.where(shared, squares, 0).sum(axis=1)
    return np.where(number > 0, np.sqrt(sums / np.maximum(number, 1)), np.inf)


def _nearest(distances: NDArray[np.float64]) -> float:
    return float(np.sort(distances)[:NEAREST].mean())
