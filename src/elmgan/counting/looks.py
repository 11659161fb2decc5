"""Looks at an image at several scales: its place among the images that a model knows, and the scale that suits it."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elmgan.counting.scaling import resize, scaled_shape
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

LEAST_SIDE = 32
"""Pixels, as the network sees them, below which there is nothing to look at."""

SIGNAL, UNDER, LITTLE = 0.35, -0.35, 0.15
"""Normalised values: of signal, of what is as far from the background on the other side, and of anything at all."""

DOUBT = (0.1, 0.9)
"""Probabilities between which a pixel is neither cell nor background."""

FEW = 5
"""Cells that are added to counts before their ratio is taken."""

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


class Looks:
    """Looks at one image, each taken once.

    Args:
        predict: Runs the network on a normalised image.
        seen: The image.
        threshold: Probability from which a pixel is cell.
    """

    def __init__(self, predict: Predict, seen: Seen, threshold: float) -> None:
        self._predict, self._threshold = predict, threshold
        self._image = np.ascontiguousarray(seen.stretch(np.ascontiguousarray(seen.box.of(seen.grey))))
        self._taken: dict[float, tuple[float, ImagePlace]] = {}
        self._whole: dict[float, Maps] = {}

    def fits(self, scale: float) -> bool:
        """Say whether the image has enough pixels to be looked at at a scale."""
        return min(scaled_shape(self._image.shape, scale)) >= LEAST_SIDE

    def place(self, scale: float) -> ImagePlace:
        """Give the place of the image as it is seen at a scale."""
        density, place = self._look(scale)
        if not self.fits(scale * SMALLER):
            return place
        count = density * self._pixels(scale)
        smaller = self._look(scale * SMALLER)[0] * SMALLER**2 * self._pixels(scale)
        return {**place, "smaller": math.log((smaller + FEW) / (count + FEW))}

    def predicted(self, scale: float) -> Maps | None:
        """Give what was predicted of the image at a scale, where a look has taken all of it."""
        return self._whole.get(round(scale, 6))

    def _window(self, scale: float) -> Tile:
        """The middle of the image, of at most as many pixels as a look takes."""
        rows, columns = self._image.shape
        part = min(1.0, math.sqrt(WINDOW / (rows * columns * scale**2)))
        height, width = max(1, round(rows * part)), max(1, round(columns * part))
        return Tile((rows - height) // 2, (columns - width) // 2, height, width)

    def _pixels(self, scale: float) -> float:
        window = self._window(scale)
        return window.height * window.width * scale**2

    def _look(self, scale: float) -> tuple[float, ImagePlace]:
        """Cells per pixel that is seen at a scale, and all of the place but what takes a second look."""
        scale = round(scale, 6)
        if scale not in self._taken:
            part = self._window(scale).of(self._image)
            image = resize(np.ascontiguousarray(part), scaled_shape(part.shape, scale))
            probability, count_map = self._predict(image)
            if part.shape == self._image.shape:
                self._whole[scale] = probability, count_map
            cells = float(count_map.sum(dtype=np.float64))
            self._taken[scale] = cells / image.size, place_of(image, probability, cells, self._threshold)
        return self._taken[scale]


def place_of(
    image: NDArray[np.float32], probability: NDArray[np.float32], cells: float, threshold: float = 0.5
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

    Args:
        image: Normalised; (row, column).
        probability: Of cell; of the same shape.
        cells: Number of cells.
        threshold: Probability from which a pixel is cell.
    """
    mask = probability >= threshold if cells >= 0.5 else np.zeros(probability.shape, bool)
    signal = image > SIGNAL
    marked = int(np.count_nonzero(signal | mask))
    maybe, sure = (int(np.count_nonzero(probability > np.float32(bound))) for bound in DOUBT)
    measured = appearance_of(image, np.positive, mask, cells)
    place: dict[str, float] = {
        "outside": float(np.count_nonzero(signal & ~mask)) / max(marked, 1),
        "below": np.count_nonzero(image < UNDER) / image.size,
        "unsure": (maybe - sure) / max(maybe, 1),
        "density": math.log(measured["density"] + 20),
        "deviation": float(image.std()),
        "beyond": np.count_nonzero(np.abs(image) > LITTLE) / image.size,
    }
    if mask.any():
        place["inside"] = float(probability[mask].mean())
    for name in ("diameter", "contrast"):
        if measured.get(name, 0) > 0:
            place[name] = math.log(measured[name])
    return place  # type: ignore[return-value]


def scale_for(looks: Looks, known: KnownImages, usual: Sequence[float] = (1.0,), *, fixed: bool = False) -> Scaled:
    """Choose the scale at which an image is counted.

    It is the first of the usual ones at which the image is near to known ones. If there is none, it is the one of the
    grid at which it is nearest, if it is near there and much nearer; else the usual one at which it is nearest.

    Args:
        looks: At the image.
        known: The images that the model knows.
        usual: Scales of the other images, the most frequent first.
        fixed: Whether it is to be one of these.
    """
    tried: dict[float, float] = {}
    for scale in usual:
        tried[scale] = known.distance(looks.place(scale))
        if tried[scale] <= known.near:
            return Scaled(scale, tried[scale])
    scanned = {} if fixed else _scan(looks, known)
    best = min(scanned, key=scanned.__getitem__, default=1.0)
    least = min(tried, key=tried.__getitem__)
    if scanned.get(best, math.inf) <= min(known.near, MUCH_NEARER * tried[least]) and best not in usual:
        return Scaled(best, scanned[best], own=True)
    return Scaled(least, tried[least])


def usual_scales(images: Sequence[Looks], known: KnownImages) -> list[float]:
    """Find the scales that suit a sample of images, the most frequent first.

    Where no image is near to the known ones at any scale, it is the one that brings them nearest on average, if that is
    nearer by much than at their own size.
    """
    found: Counter[float] = Counter()
    distances: dict[float, list[float]] = {}
    for looks in images:
        own = scale_for(looks, known)
        if own.distance is not None and own.distance <= known.near:
            found[own.scale] += 1
        elif not found:
            for scale, distance in _scan(looks, known).items():
                distances.setdefault(scale, []).append(math.log(distance))
    if found:
        return [scale for scale, _ in sorted(found.items(), key=lambda item: (-item[1], abs(math.log(item[0]))))]
    means = {scale: float(np.mean(logs)) for scale, logs in distances.items()}
    best = min(means, key=means.__getitem__, default=1.0)
    return [best if means.get(best, 0) <= means.get(1.0, 0) + math.log(MUCH_NEARER) else 1.0]


def _scan(looks: Looks, known: KnownImages) -> dict[float, float]:
    """Scale -> distance of the image there."""
    return {scale: known.distance(looks.place(scale)) for scale in GRID if looks.fits(scale)}
