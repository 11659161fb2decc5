"""How near an image is to the images that a model knows: a distance in a small space of measures, and what it tells."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from elmgan.strict import Strict

PlaceMeasure = Literal[
    "smaller",
    "outside",
    "below",
    "inside",
    "unsure",
    "density",
    "diameter",
    "contrast",
    "deviation",
    "beyond",
    "stained",
]
"""What an image's place is made of; :func:`elmgan.counting.looks.place_of` says what each is."""

MEASURES: tuple[PlaceMeasure, ...] = get_args(PlaceMeasure)

ImagePlace = Mapping[PlaceMeasure, float]
"""Measure -> value; without those that an image has none of, for want of foreground say."""

UNLIKE: Mapping[PlaceMeasure, tuple[str, str]] = {
    "smaller": ("half the cells are lost at a smaller scale", "more cells are found at a smaller scale"),
    "outside": ("hardly anything outside the mask", "much signal outside the mask"),
    "below": ("nothing on the other side of the background", "dark things beside bright ones"),
    "inside": ("cells that the model is not sure of", "cells that the model is too sure of"),
    "unsure": ("no doubtful pixels at all", "many doubtful pixels"),
    "density": ("fewer cells", "more cells"),
    "diameter": ("smaller cells", "larger cells"),
    "contrast": ("fainter cells", "cells that stand out more"),
    "deviation": ("a flatter image", "a busier image"),
    "beyond": ("less that stands out", "more that stands out"),
    "stained": ("no stained slide", "a stained slide"),
}
"""Measure -> what an image is whose value is below, or above, those of all known images."""

FACTORS = ("density", "diameter")
"""Measures of which people are told the factor: logarithms of what can be counted or seen."""

LEAST_TOLD, LARGEST_TOLD = 1.2, math.log(1000)
"""A factor from which it is told, and the logarithm of the largest that is."""

MOST_WORDS = 2
"""Measures that are named of one image."""

SAME_PLACE = 0.01
"""Distance up to which two places are of one image, whose numbers were rounded."""

NEAREST = 3
"""Known images whose distances are averaged."""

SPREAD = (10, 90)
"""Percentiles of a measure over the known images, whose difference is the unit in which it is compared."""

NEAR_UP_TO, FAR_BEYOND = 95, 98
"""Percentiles of the distances of known images from the others: near is up to the one, far is beyond the other."""

FEWEST_KNOWN = 20
"""Images without which there is nothing to compare with."""

Bounded = Annotated[float, Field(ge=-1e9, le=1e9)]


class ComparedImages(NamedTuple):
    """Places of known images as they are compared: (image, measure), in units of each measure's spread, NaN for none.

    A value is made so by taking off its measure's ``middle``, and dividing by its ``unit``.
    """

    images: NDArray[np.float64]
    calibrated: NDArray[np.float64]
    middle: NDArray[np.float64]
    unit: NDArray[np.float64]


class KnownImages(Strict):
    """The places of the images that a model knows: the content of known.json; numbers, no pixels.

    The scale of an image is found by the images that trained the model alone, so that a calibration changes no count.
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
    ] = Field(description="a row per image that trained the model; null where it has no value")
    calibrated: Annotated[
        tuple[Annotated[tuple[Bounded | None, ...], Field(max_length=100)], ...], Field(max_length=100_000)
    ] = Field((), description="the same of the images that calibrated it")
    pixel_size: float | None = Field(
        None, gt=0, le=1e6, description="micrometres along a pixel that the network saw of them; null if not known"
    )

    @model_validator(mode="after")
    def _rows_fit(self) -> Self:
        if any(len(row) != len(self.measures) for row in (*self.images, *self.calibrated)):
            raise ValueError("a row needs a value, or null, for each measure")
        return self

    @classmethod
    def of(cls, places: Sequence[ImagePlace], *, pixel_size: float | None = None) -> "KnownImages":
        """Put the places of images together, to four significant digits."""
        return cls(measures=MEASURES, images=_rows_of(places), pixel_size=pixel_size)

    def with_calibrated(self, places: Sequence[ImagePlace]) -> "KnownImages":
        """Return the images that trained the model and these, in place of those that calibrated it before."""
        return self.model_copy(update={"calibrated": _rows_of(places)})

    @property
    def usable(self) -> bool:
        """Whether they are enough to compare with, and of measures that this program takes, not necessarily all."""
        return set(self.measures) <= set(MEASURES) and len(self.images) >= FEWEST_KNOWN

    @property
    def compared(self) -> ComparedImages:
        """Give the places of those that trained the model, and that calibrated it, as :meth:`distance` takes them."""
        rows, middle, unit, _, _ = _compared(self)
        calibrated = _values(self.calibrated, self.measures) if self.calibrated else np.empty((0, len(MEASURES)))
        return ComparedImages(rows, (calibrated - middle) / unit, middle, unit)

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
        """Of a typical cell, in pixels as the network sees them: the median over the images; NaN without any."""
        column = self.measures.index("diameter")
        found = [value for row in self.images if (value := row[column]) is not None]
        return float(np.exp(np.median(found))) if found else math.nan

    def distance(self, place: ImagePlace) -> float:
        """Say how far an image is from the nearest ones that trained the model."""
        rows, middle, unit, _, _ = _compared(self)
        return _nearest(_distances(rows, (_row(place) - middle) / unit))

    def unlike(self, place: ImagePlace) -> str:
        """Say in words what most sets an image apart from those that trained the model.

        It is what lies beyond the values of all of them, the farthest first, or else what sets it apart from the
        nearest one.

        >>> rows = [{**dict.fromkeys(MEASURES, 0.01 * k), "diameter": 3 + 0.01 * k} for k in range(30)]
        >>> known = KnownImages.of(rows)
        >>> known.unlike({**rows[4], "diameter": 3.29 + math.log(3)})
        'larger cells (3 times)'
        """
        rows, middle, unit, _, _ = _compared(self)
        row = (_row(place) - middle) / unit
        some = np.isfinite(rows).any(axis=0) & np.isfinite(row)
        off = np.zeros(len(row))
        off[some] = row[some] - np.clip(row[some], np.nanmin(rows[:, some], axis=0), np.nanmax(rows[:, some], axis=0))
        if not off.any():
            off = np.nan_to_num(row - rows[int(np.argmin(_distances(rows, row)))])
        told = []
        for k in np.argsort(-np.abs(off), kind="stable")[:MOST_WORDS]:
            if abs(off[k]) < max(abs(off)) / 2 or not off[k]:
                break
            name = MEASURES[k]
            words = UNLIKE[name][int(off[k] > 0)]
            factor = math.exp(min(abs(off[k]) * unit[k], LARGEST_TOLD)) if name in FACTORS else 1
            told.append(f"{words} ({factor:.2g} times)" if factor >= LEAST_TOLD else words)
        return " and ".join(told)

    def doubt(self, distance: float | None) -> float:
        """Give a distance in units of that up to which images are near; 0 where it is not known."""
        return 0.0 if distance is None else distance / max(self.near, 1e-9)

    def among(self, places: Sequence[ImagePlace]) -> list[float]:
        """Say how far each of some images is from those that trained the model, or from the others of these."""
        rows, middle, unit, _, _ = _compared(self)
        own = (np.array([_row(place) for place in places]).reshape(-1, len(MEASURES)) - middle) / unit
        found = []
        for k, row in enumerate(own):
            others = np.delete(own, k, axis=0)
            found.append(min(_nearest(_distances(each, row)) for each in (rows, others) if len(each)))
        return found

    def least_distance(self, place: ImagePlace, *, itself: bool = True) -> float:
        """Say how far an image is from the nearest ones that trained the model, or that calibrated it.

        Args:
            place: Of the image.
            itself: Whether an image that calibrated the model is near for that. If not, others have to be near.
        """
        least = self.distance(place)
        if not self.calibrated:
            return least
        _, middle, unit, _, _ = _compared(self)
        rows = (_values(self.calibrated, self.measures) - middle) / unit
        distances = _distances(rows, (_row(place) - middle) / unit)
        if not itself:
            distances = distances[distances > SAME_PLACE]
        return min(least, _nearest(distances)) if len(distances) else least


def _rows_of(places: Sequence[ImagePlace]) -> tuple[tuple[float | None, ...], ...]:
    """Give a row per different image, to four significant digits."""
    rows = (
        tuple(float(f"{place[name]:.4g}") if math.isfinite(place.get(name, math.nan)) else None for name in MEASURES)
        for place in places
    )
    return tuple(dict.fromkeys(rows))


def _values(rows: Sequence[Sequence[float | None]], measures: Sequence[str]) -> NDArray[np.float64]:
    """Give rows with a column for each of MEASURES, NaN where they have no value."""
    values = np.full((len(rows), len(MEASURES)), np.nan)
    given = np.array(rows, np.float64)  # None becomes NaN
    for k, name in enumerate(MEASURES):
        if name in measures:
            values[:, k] = given[:, list(measures).index(name)]
    return values


def _row(place: ImagePlace) -> NDArray[np.float64]:
    return np.array([place.get(name, np.nan) for name in MEASURES])


@cache
def _compared(
    known: KnownImages,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float, float]:
    """Rows in units of each measure's spread, the middle and the unit of each, and the distances of near and far."""
    values = _values(known.images, known.measures)
    middle, unit = np.zeros(values.shape[1]), np.ones(values.shape[1])
    for k, column in enumerate(values.T):
        if (found := column[np.isfinite(column)]).size:
            low, high = np.percentile(found, SPREAD)
            middle[k] = np.median(found)
            # Of a normal distribution, one standard deviation. Some measures are 0 in most images, and not in a few.
            unit[k] = max((high - low) / 2.56, found.std() / 2, 1e-6)
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
