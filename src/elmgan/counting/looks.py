"""Looks at an image at several scales: its place among the images that a model knows, and the scale that suits it."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from elmgan.counting.scaling import resize, resize_rows, rows_for, scaled_shape
from elmgan.counting.streaming import OnDisk
from elmgan.images import Tile
from elmgan.light import Seen, appearance_of
from elmgan.trust import ImagePlace, KnownImages

STEP = 2**0.5
GRID = tuple(round(STEP**k, 6) for k in (2, 1, 0, -1, -2, -3, -4, -5, -6))
"""Scales that are tried, from twice the size of an image to an eighth."""

SMALLER = 1 / STEP
"""Of a scale, at which an image is looked at a second time."""

WINDOW = 1 << 20
"""Pixels, as the network sees them, that a look takes; of larger images it takes the middle."""

IN_MEMORY = 1 << 24
"""Pixels of a window that is read whole; a larger one is shrunk some rows at a time."""

SHRUNK_ROWS = 64
"""Rows, as the network sees them, that are shrunk at a time."""

MOST_ENLARGED = 1 << 26
"""Pixels, as the network sees them, up to which an image is enlarged unasked: they are in memory at once."""

LEAST_SIDE = 32
"""Pixels, as the network sees them, below which there is nothing to look at."""

SIGNAL, UNDER, LITTLE = 0.35, -0.35, 0.15
"""Normalised values: of signal, of what is as far from the background on the other side, and of anything at all."""

DOUBT = (0.1, 0.9)
"""Probabilities between which a pixel is neither cell nor background."""

FEW = 5
"""Cells that are added to counts before their ratio is taken."""

FEWEST_AGREEING = 2
"""Images of a sample that make a scale a usual one; those of the next scales are counted with them."""

MUCH_NEARER = 0.7
"""Another scale than the usual one suits an image, or all that are far at every scale, if it brings them nearer by this
factor."""

Maps = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Probability and count map, as the network gives them."""

Predict = Callable[[NDArray[np.float32]], Maps]
"""Runs the network on a normalised image, as it sees it."""


@dataclass(frozen=True)
class Scaled:
    """The scale at which an image is counted.

    Attributes:
        scale: The factor.
        distance: Of the image at this scale from the images that the model knows; None where that was not looked at.
        own: Whether it is another one than those of the other images.
    """

    scale: float
    distance: float | None = None
    own: bool = False


class _Look:
    """What the network says of an image at one scale; its place is measured when it is asked for."""

    def __init__(self, density: float, measure: Callable[[], ImagePlace]) -> None:
        self.density = density
        """Cells per pixel that is seen."""
        self._measure: Callable[[], ImagePlace] | None = measure
        self._place: ImagePlace | None = None

    @property
    def place(self) -> ImagePlace:
        """All of the place but what takes a second look."""
        if self._place is None:
            assert self._measure is not None, "the image was let go of"
            self._place = self._measure()
            self._measure = None
        return self._place

    def forget(self) -> None:
        """Let go of what was not measured."""
        self._measure = None


class Looks:
    """Looks at one image, each taken once.

    Args:
        predict: Runs the network on a normalised image.
        seen: The image, or a plane whose pixels are read when they are looked at.
        threshold: Probability from which a pixel is cell.
        hint: The scale at which its pixels are as large as those that the model knows; None where that is not told.
    """

    def __init__(self, predict: Predict, seen: Seen | OnDisk, threshold: float, hint: float | None = None) -> None:
        self.hint = hint
        self._predict, self._threshold, self._stretch = predict, threshold, seen.stretch
        self._stained = seen.channel == "haematoxylin"
        self._seen: Seen | OnDisk | None = seen
        self._shape = seen.box.height, seen.box.width
        self._stretched: tuple[Tile, NDArray[np.float32], NDArray[np.bool_] | None] | None = None
        self._taken: dict[float, _Look] = {}
        self._whole: dict[float, Maps] = {}

    def fits(self, scale: float) -> bool:
        """Say whether the image has enough pixels to be looked at at a scale, and not too many to be enlarged."""
        rows, columns = scaled_shape(self._shape, scale)
        return min(rows, columns) >= LEAST_SIDE and (scale <= 1 or rows * columns <= MOST_ENLARGED)

    def place(self, scale: float) -> ImagePlace:
        """Give the place of the image as it is seen at a scale."""
        look = self._look(scale)
        if not self.fits(scale * SMALLER):
            return look.place
        count = look.density * self._pixels(scale)
        smaller = self._look(scale * SMALLER).density * SMALLER**2 * self._pixels(scale)
        return {**look.place, "smaller": math.log((smaller + FEW) / (count + FEW))}

    def forget(self) -> None:
        """Let go of the image: what was measured stays."""
        self._seen = self._stretched = None
        self._whole.clear()
        for look in self._taken.values():
            look.forget()

    def predicted(self, scale: float) -> Maps | None:
        """Give what was predicted of the image at a scale, where a look has taken all of it."""
        return self._whole.get(round(scale, 6))

    def _window(self, scale: float) -> Tile:
        """The middle of the image, of at most as many pixels as a look takes."""
        rows, columns = self._shape
        part = min(1.0, math.sqrt(WINDOW / (rows * columns * scale**2)))
        height, width = max(1, round(rows * part)), max(1, round(columns * part))
        return Tile((rows - height) // 2, (columns - width) // 2, height, width)

    def _pixels(self, scale: float) -> float:
        window = self._window(scale)
        return window.height * window.width * scale**2

    def _look(self, scale: float) -> _Look:
        scale = round(scale, 6)
        if scale not in self._taken:
            window = self._window(scale)
            image, data = self._seen_in(window, scale)
            probability, count_map = self._predict(image)
            if (window.height, window.width) == self._shape:
                self._whole[scale] = probability, count_map
            cells = float(count_map.sum(dtype=np.float64))
            pixels = image.size if data is None else max(1, int(np.count_nonzero(data)))
            measure = partial(place_of, image, probability, cells, self._threshold, data=data, stained=self._stained)
            self._taken[scale] = _Look(cells / pixels, measure)
        return self._taken[scale]

    def _seen_in(self, window: Tile, scale: float) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Give a part of the image as the network sees it at a scale, and which of its pixels hold data."""
        if window.height * window.width > IN_MEMORY:
            return self._shrunk(window, scaled_shape((window.height, window.width), scale))
        if self._stretched is None or self._stretched[0] != window:
            self._stretched = window, *self._stretched_part(window)
        _, stretched, held = self._stretched
        shape = scaled_shape((window.height, window.width), scale)
        image = resize(stretched, shape)
        return image, None if held is None else resize(held.astype(np.float32), shape) >= 0.5

    def _stretched_part(self, window: Tile) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        assert self._seen is not None, "the image was let go of"
        grey, data = self._seen.part(window)
        return np.ascontiguousarray(self._stretch(grey)), data

    def _shrunk(self, window: Tile, shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Give a large part of the image in a smaller shape, with some rows of it in memory at a time."""
        sides = window.height, window.width
        image, held = np.empty(shape, np.float32), np.ones(shape, np.bool_)
        for top in range(0, shape[0], SHRUNK_ROWS):
            wanted = range(top, min(top + SHRUNK_ROWS, shape[0]))
            rows = rows_for(sides, shape, wanted)
            part = Tile(window.top + rows.start, window.left, len(rows), window.width)
            stretched, data = self._stretched_part(part)
            own = slice(wanted.start, wanted.stop)
            image[own] = resize_rows(stretched, rows.start, sides, shape, wanted)
            if data is not None:
                held[own] = resize_rows(data.astype(np.float32), rows.start, sides, shape, wanted) >= 0.5
        return image, None if held.all() else held


def place_of(
    image: NDArray[np.float32],
    probability: NDArray[np.float32],
    cells: float,
    threshold: float = 0.5,
    *,
    data: NDArray[np.bool_] | None = None,
    stained: bool = False,
) -> ImagePlace:
    """Measure what the network says of an image, as it sees it, for its place among others.

    - ``smaller``: log ratio of the count at 0.7 times the scale to the count, each with 5 cells more; from
      :meth:`Looks.place` alone.
    - ``outside``: of the pixels that are cell or stand out from the background by 0.35, the share that is not cell.
    - ``below``: share of the pixels as far below the background.
    - ``inside``: mean probability of the pixels that are cell.
    - ``unsure``: of the pixels with a probability above 0.1, the share that is below 0.9.
    - ``density``, ``diameter``, ``contrast``: logarithms of these measures; see :func:`~elmgan.light.appearance_of`.
    - ``deviation``: standard deviation of the normalised values.
    - ``beyond``: share of the pixels that are farther than 0.15 from the background.
    - ``stained``: 1 for a stained slide that is seen as haematoxylin, else 0.

    Args:
        image: Normalised; (row, column).
        probability: Of cell; of the same shape.
        cells: Number of cells.
        threshold: Probability from which a pixel is cell.
        data: Which pixels hold data: no others are measured. ``None`` if all do.
        stained: Whether it is the density of haematoxylin.
    """
    if data is not None:
        image, probability = np.where(data, image, np.float32(0)), np.where(data, probability, np.float32(0))
    held = image.ravel() if data is None or not data.any() else image[data]
    mask = probability >= threshold if cells >= 0.5 else np.zeros(probability.shape, bool)
    signal = image > SIGNAL
    marked = int(np.count_nonzero(signal | mask))
    maybe, sure = (int(np.count_nonzero(probability > np.float32(bound))) for bound in DOUBT)
    measured = appearance_of(image, np.positive, mask, cells, data=data)
    place: dict[str, float] = {
        "outside": float(np.count_nonzero(signal & ~mask)) / max(marked, 1),
        "below": np.count_nonzero(held < UNDER) / held.size,
        "unsure": (maybe - sure) / max(maybe, 1),
        "density": math.log(measured["density"] + 20),
        "deviation": float(held.std()),
        "beyond": np.count_nonzero(np.abs(held) > LITTLE) / held.size,
        "stained": float(stained),
    }
    if mask.any():
        place["inside"] = float(probability[mask].mean())
    for name in ("diameter", "contrast"):
        if measured.get(name, 0) > 0:
            place[name] = math.log(measured[name])
    return place  # type: ignore[return-value]


def scale_for(looks: Looks, known: KnownImages, usual: Sequence[float] = (1.0,), *, fixed: bool = False) -> Scaled:
    """Choose the scale at which an image is counted.

    It is the one at which its pixels are as large as those that the model knows, where both sizes are known, unless the
    image is far there. Else it is the most frequent of the usual ones, unless the image is much nearer to known ones at
    another of them. If it is far there, it is the one of the grid at which it is nearest, if it is near and much nearer
    there; else the usual one at which it is nearest.

    Args:
        looks: At the image.
        known: The images that the model knows.
        usual: Scales of the other images, the most frequent first.
        fixed: Whether it is to be one of these.
    """
    if looks.hint is not None and not fixed and looks.fits(looks.hint):
        hinted = known.distance(looks.place(looks.hint))
        if hinted <= known.far:
            return Scaled(looks.hint, hinted)
    tried: dict[float, float] = {}
    first = usual[0]
    for scale in usual:
        tried[scale] = known.distance(looks.place(scale))
        if tried[scale] < MUCH_NEARER * tried[first]:
            first = scale
    if tried[first] <= known.far:
        return Scaled(first, tried[first])
    scanned = {} if fixed else _scan(looks, known)
    best = min(scanned, key=scanned.__getitem__, default=1.0)
    least = min(tried, key=tried.__getitem__)
    if scanned.get(best, math.inf) <= min(known.near, MUCH_NEARER * tried[least]) and best not in usual:
        return Scaled(best, scanned[best], own=True)
    return Scaled(least, tried[least])


def usual_scales(images: Sequence[Looks], known: KnownImages, *, known_alone: bool = False) -> list[float]:
    """Find the scales that suit a sample of images, the most frequent first.

    A scale that suits one image alone is not usual: the image may be odd, and is told when it is counted. Where no two
    agree, it is 1.
    Where no image is near to the known ones at any scale, it is the one that brings them nearest on average, if that is
    nearer by much than at their own size.

    Args:
        images: The sample.
        known: The images that the model knows.
        known_alone: Whether it is 1 where no image is near to the known ones at any scale.
    """
    found: Counter[float] = Counter()
    distances: dict[float, list[float]] = {}
    for looks in images:
        own = scale_for(looks, known)
        if own.distance is not None and own.distance <= known.far:
            found[own.scale] += 1
        elif not found:
            for scale, distance in _scan(looks, known).items():
                distances.setdefault(scale, []).append(math.log(distance))
    if found:
        ordered = sorted(found, key=lambda scale: (-found[scale], abs(math.log(scale))))
        return [scale for scale in ordered if _agreeing(scale, found) >= FEWEST_AGREEING] or [1.0]
    if known_alone:
        return [1.0]
    means = {scale: float(np.mean(logs)) for scale, logs in distances.items()}
    best = min(means, key=means.__getitem__, default=1.0)
    return [best if means.get(best, 0) <= means.get(1.0, 0) + math.log(MUCH_NEARER) else 1.0]


def _agreeing(scale: float, found: Mapping[float, int]) -> int:
    """Count the images that a scale, or one next to it, suits."""
    return sum(number for other, number in found.items() if 0.99 / STEP < other / scale < 1.01 * STEP)


def _scan(looks: Looks, known: KnownImages) -> dict[float, float]:
    """Scale -> distance of the image there."""
    return {scale: known.distance(looks.place(scale)) for scale in GRID if looks.fits(scale)}
