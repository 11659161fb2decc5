"""What a data set holds, in numbers."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from elmgan.data.annotations import as_mask
from elmgan.data.faults import Faults
from elmgan.data.likeness import fingerprint, has_groups, join_alike
from elmgan.data.masks import look_at
from elmgan.data.record import Record
from elmgan.errors import ImageError
from elmgan.images import read_image
from elmgan.light import diameter_of, plane_grey

MOST_BARS = 15
"""Bars of a histogram."""


@dataclass(frozen=True)
class Survey:
    """A data set in numbers; all but the last six are numbers of images.

    Attributes:
        images: All of them.
        masks: With a mask or labels.
        counts: Whose number of cells is known.
        labels: With instance labels.
        dots: With a dot image.
        sizes: Rows x columns, the commonest first.
        types: Type of the pixels, and how many channels, the commonest first.
        kinds: Kinds, if the data set names any.
        splits: Sides, if the data set names them.
        histogram: Of the cells per image: bounds, half-open, and how many images lie between them.
        foreground: Least and greatest share of an image that its mask, or its labels, cover, 0..1; empty without any.
        diameter: Least, median and greatest diameter of the cells in an image, in pixels; empty without foreground.
        values: Least and greatest number of different values in a mask; empty without masks that are used.
        groups: Number of groups: those of the data set, or where it names none, of images that are alike.
        alike: Names of images that were found to be alike, a list per group.
        cells: Least, median, mean and most cells per image, and all of them; empty when no count is known.
    """

    images: int
    masks: int
    counts: int
    labels: int
    dots: int
    sizes: dict[str, int]
    types: dict[str, int]
    kinds: dict[str, int]
    splits: dict[str, int]
    histogram: list[tuple[float, float, int]]
    foreground: tuple[float, ...]
    diameter: tuple[float, ...]
    values: tuple[int, ...]
    groups: int
    alike: list[list[str]]
    cells: dict[str, float]


def survey(
    records: list[Record], *, watch: Callable[[Sequence[Record]], Iterable[Record]] = lambda records: records
) -> Survey:
    """Open every image of a data set and add up what is known of them.

    Args:
        records: The data set.
        watch: Passes the records on one by one, to show progress.

    Raises:
        DataError: When images cannot be read, naming all of them.
    """
    faults = Faults()
    sizes: Counter[str] = Counter()
    types: Counter[str] = Counter()
    fingerprints = []
    shares: list[float] = []
    diameters: list[float] = []
    values: list[int] = []
    for record in watch(records):
        try:
            with record.opened() as plane:
                pixels = plane.read()
            fingerprints.append(fingerprint(plane_grey(plane, pixels).astype(np.float32, copy=False)))
            if (file := record.labels or record.mask) is not None:
                mask = read_image(file)
                look = look_at(mask)
                shares.append(look.share)
                regions = mask if record.labels else as_mask(mask)
                diameters += [diameter_of(regions)] if look.share > 0 else []
                values += [] if record.labels else [look.values]
        except ImageError as error:
            text = str(error)
            faults.add("file", text if str(record.image) in text else f"{record.image}: {text}")
            continue
        colour = ", colour" if pixels.ndim == 3 else ""
        sizes[f"{plane.shape[0]} x {plane.shape[1]}"] += 1
        types[f"{plane.described.dtype}{colour}"] += 1
    faults.raise_if_any("the data set")
    grouped = records if has_groups(records) else join_alike(records, fingerprints)
    groups: dict[str, list[str]] = {}
    for record in grouped:
        groups.setdefault(record.group, []).append(record.name)
    totals = np.array([record.count for record in records if record.count is not None])
    return Survey(
        images=len(records),
        masks=sum(bool(record.mask or record.labels) for record in records),
        counts=len(totals),
        labels=sum(record.labels is not None for record in records),
        dots=sum(record.dots is not None for record in records),
        sizes=dict(sizes.most_common()),
        types=dict(types.most_common()),
        kinds=numbers(record.kind for record in records),
        splits=numbers(record.split for record in records),
        histogram=histogram(totals),
        foreground=(min(shares), max(shares)) if shares else (),
        diameter=tuple(np.quantile(diameters, (0, 0.5, 1)).tolist()) if diameters else (),
        values=(min(values), max(values)) if values else (),
        groups=len(groups),
        alike=[] if grouped is records else [names for names in groups.values() if len(names) > 1],
        cells=summary(totals),
    )


def numbers(words: Iterable[str]) -> dict[str, int]:
    """Count the words that are not empty, in the order of the alphabet."""
    return dict(sorted(Counter(word for word in words if word).items()))


def summary(totals: NDArray[np.float64]) -> dict[str, float]:
    """Give least, median, mean, most and sum of some totals."""
    if totals.size == 0:
        return {}
    numbers = {
        "least": totals.min(),
        "median": np.median(totals),
        "mean": totals.mean(),
        "most": totals.max(),
        "all": totals.sum(),
    }
    return {name: float(value) for name, value in numbers.items()}


def histogram(totals: NDArray[np.float64]) -> list[tuple[float, float, int]]:
    """Count totals in at most MOST_BARS equal steps of 1, 2 or 5 times a power of ten: low, high (half-open), number.

    >>> histogram(np.array([23.5, 24, 41, 60]))
    [(20.0, 25.0, 2), (25.0, 30.0, 0), (30.0, 35.0, 0), (35.0, 40.0, 0), (40.0, 45.0, 1), (45.0, 50.0, 0), \
(50.0, 55.0, 0), (55.0, 60.0, 0), (60.0, 65.0, 1)]
    """
    if totals.size == 0:
        return []
    steps = (digit * 10**power for power in count() for digit in (1, 2, 5))
    step = next(step for step in steps if totals.max() // step - totals.min() // step < MOST_BARS)
    first = int(totals.min() // step)
    images = np.bincount((totals // step).astype(int) - first)
    return [(float(k * step), float((k + 1) * step), int(number)) for k, number in enumerate(images, first)]
