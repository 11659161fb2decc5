"""Warnings beside a count: images that it should not be trusted on without a look."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elmgan.light import Appearance, Measure, Ranges

SENSOR_BITS = (8, 10, 12, 14, 16)
"""Depths of cameras and files, whose data often lie in a wider type."""

# docs/flags.md says how these were chosen, and how many images of which kind they flag.
SATURATED_SHARE = 0.2
LEAST_CONTRAST = 6
FACTOR = 1.33  # by which training zoomed the images of the first shipped models
ROOM = 0.1
DOUBTFUL = 0.1, 0.9
DOUBTFUL_SHARE = 0.5

MEANING = {
    "blurred": "edges of cells are softer than in the images that the model learned from",
    "saturated": "many cells are as bright as the file can hold, so that their detail is lost",
    "low-contrast": "cells hardly stand out from the noise",
    "empty": "no cell was found",
    "crowded": "cells lie closer together than in the images that the model learned from",
    "object-size": "cells are of another size than in the other images or in training",
    "unlike-training": "the image does not look like any that the model knows",
    "unsure": "the model hesitates over most of what it found",
    "uneven": "the background goes up or down much",
    "debris": "something is far brighter or darker than all else, such as text or dirt",
    "merge": "several stains are in one picture",
    "unchecked": "the image was looked at once, so that an unlike one is not noticed",
}
"""Flag -> what is the matter, as a sentence without its full stop."""

REMEDY = {
    "blurred": "focus again; if cells are large, look whether the scale is right",
    "saturated": "expose less",
    "low-contrast": "expose longer",
    "empty": "look whether there is really none",
    "crowded": "count some by hand, and train with such images",
    "object-size": "look at the outlines, and give the scale if it is wrong",
    "unlike-training": "choose another model, or train one",
    "unsure": "say whether cells are bright or dark (--cells), choose another model, or train one",
    "uneven": "look at the outlines; subtract the background before if cells were missed",
    "debris": "look whether it was counted, and cut it off",
    "merge": "name one with --channel",
    "unchecked": "leave --quick out",
}
"""Flag -> what to do."""

OF_COUNT = ("unchecked",)
"""Flags that say how images were counted: all images of a count have them, so that they tell none from another."""

ADVICE = {flag: f"{meaning}: {REMEDY[flag]}" for flag, meaning in MEANING.items()}
"""Flag -> what is the matter, and what to do, in one line."""


def flags_of(
    image: NDArray,
    mask: NDArray[np.bool_] | None,
    appearance: Appearance | None = None,
    training: Ranges | None = None,
    *,
    probability: NDArray[np.float32] | None = None,
    data: NDArray[np.bool_] | None = None,
    far: bool | None = None,
    remarks: Collection[str] = (),
) -> tuple[str, ...]:
    """Name what is suspicious about an image.

    - ``blurred``: sharpness below training's range.
    - ``saturated``: more than a fifth of the foreground is at the ceiling, in any channel, and no less than of the
      background; where there is no foreground, more than a fifth of the image. The ceiling is the image's largest
      value, if that is the largest of its type or 2^k - 1 for k of 8, 10, 12, 14, 16 (or 1, for floats). The white
      background of a bright-field image is as it should be, also where the mask takes in a rim of it.
    - ``low-contrast``: contrast below 6.
    - ``empty``: the mask has no foreground.
    - ``crowded``: density above training's range, or more of the cells in clumps.
    - ``object-size``: diameter outside training's range, or as remarked: the image has another scale than the others.
    - ``unlike-training``: darkness is outside training's range, or the image is far from those that the model knows;
      where that is not known, agreement is below training's range.
    - ``unsure``: of the pixels with a probability above 0.1, more than half are not above 0.9, and the mask has
      foreground.
    - ``uneven``, ``debris``, ``merge``: as remarked of the light.
    - ``unchecked``: as remarked: the image was looked at once.

    The ranges of density, diameter and agreement are widened by a factor of 1.33, that of darkness by 0.1.

    A rule is passed over where what it takes is not known.

    Args:
        image: As read; (row, column) or (row, column, channel).
        mask: Its foreground, (row, column). ``None`` where it is not known: the image is not called empty then, and is
            judged as a whole.
        appearance: What was measured of the image; see :func:`~elmgan.light.appearance_of`.
        training: What images the model was trained on.
        probability: Of cell, 0..1; (row, column).
        data: Which pixels hold data, of which alone is spoken here. ``None`` if all do.
        far: Whether the image is far from those that the model knows; ``None`` where that is not known.
        remarks: What was remarked of the light (see :func:`~elmgan.light.see`) and of the scale.

    >>> image = np.full((4, 4), 40, dtype=np.uint8)
    >>> image[:2] = 255
    >>> flags_of(image, image > 40), flags_of(image, image == 40), flags_of(image, image > 255)
    (('saturated',), (), ('saturated', 'empty'))
    >>> flags_of(image, image == 40, {"diameter": 30, "darkness": 0.1}, {"diameter": (10, 19), "darkness": (0, 0.05)})
    ('object-size',)
    """
    tally = PixelTally.of(image, mask, probability=probability, data=data)
    return flags_by(tally, appearance, training, far=far, remarks=remarks)


@dataclass
class PixelTally:
    """Numbers of pixels by which an image is judged; those of its parts add up.

    Attributes:
        top: The largest value, and whether it is as large as any can be.
        clipped: Pixels of that value in any channel, of those with data.
        clipped_inside: Of those, the ones in the foreground.
        inside: Pixels of the foreground; None where it is not known.
        held: Pixels with data.
        doubtful: Pixels that may be cell.
        sure: Pixels that are cell for sure.
    """

    top: float = -math.inf
    clipped: int = 0
    clipped_inside: int = 0
    inside: int | None = None
    held: int = 0
    doubtful: int = 0
    sure: int = 0
    ceilings: Collection[float] = ()

    @classmethod
    def of(
        cls,
        image: NDArray,
        mask: NDArray[np.bool_] | None,
        *,
        probability: NDArray[np.float32] | None = None,
        data: NDArray[np.bool_] | None = None,
    ) -> "PixelTally":
        """Count the pixels of an image, or of a part of it; see :func:`flags_of`."""
        found = cls(inside=None if mask is None else int(np.count_nonzero(mask)))
        found.held = math.prod(image.shape[:2]) if data is None else int(np.count_nonzero(data))
        if probability is not None:
            found.doubtful, found.sure = (int(np.count_nonzero(probability > np.float32(bound))) for bound in DOUBTFUL)
        if image.dtype == np.bool_ or not found.held:  # there is nothing below its ceiling but 0
            return found
        found.top = float(image.max() if data is None else image[data].max())
        ceilings: set[float] = {2**bits - 1 for bits in SENSOR_BITS}
        ceilings.add(np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1)
        found.ceilings = ceilings
        if found.top in ceilings:
            clipped = image == found.top
            clipped = clipped.any(axis=2) if clipped.ndim == 3 else clipped
            clipped = clipped if data is None else clipped & data
            found.clipped = int(np.count_nonzero(clipped))
            found.clipped_inside = int(np.count_nonzero(clipped & mask)) if mask is not None else 0
        return found

    def __add__(self, other: "PixelTally") -> "PixelTally":
        """Add up two parts of an image; what reaches the larger of their largest values counts as clipped."""
        top = max(self.top, other.top)
        reached = [part for part in (self, other) if part.top == top]
        return PixelTally(
            top,
            sum(part.clipped for part in reached),
            sum(part.clipped_inside for part in reached),
            None if self.inside is None or other.inside is None else self.inside + other.inside,
            self.held + other.held,
            self.doubtful + other.doubtful,
            self.sure + other.sure,
            self.ceilings or other.ceilings,
        )

    @property
    def empty(self) -> bool:
        """Whether the mask has no foreground."""
        return self.inside == 0

    @property
    def saturated(self) -> bool:
        """Whether more than a fifth of the foreground is at the ceiling, and no less than of the background."""
        if self.top not in self.ceilings or not self.held:
            return False
        if not self.inside:
            return self.clipped / self.held > SATURATED_SHARE
        share = self.clipped_inside / self.inside
        return share > SATURATED_SHARE and share >= self.clipped / self.held

    @property
    def unsure(self) -> bool:
        """Whether more than half of what may be cell is not so for sure, and there is foreground."""
        return not self.empty and self.doubtful - self.sure > DOUBTFUL_SHARE * self.doubtful


def flags_by(
    tally: PixelTally,
    appearance: Appearance | None = None,
    training: Ranges | None = None,
    *,
    far: bool | None = None,
    remarks: Collection[str] = (),
) -> tuple[str, ...]:
    """Name what is suspicious about an image, given the numbers of its pixels; see :func:`flags_of`."""
    appearance, training = appearance or {}, training or {}
    known = appearance.keys() & training.keys()

    def below(measure: Measure, factor: float, difference: float = 0) -> bool:
        return measure in known and appearance[measure] < training[measure][0] / factor - difference

    def above(measure: Measure, factor: float, difference: float = 0) -> bool:
        return measure in known and appearance[measure] > training[measure][1] * factor + difference

    dark = darkness_told(appearance, training) is not None
    found = {
        "blurred": below("sharpness", 1),
        "saturated": tally.saturated,
        "low-contrast": appearance.get("contrast", math.inf) < LEAST_CONTRAST,
        "empty": tally.empty,
        "crowded": above("density", FACTOR) or above("clumped", 1),
        "object-size": "object-size" in remarks or below("diameter", FACTOR) or above("diameter", FACTOR),
        "unlike-training": dark or (below("agreement", FACTOR) if far is None else far),
        "unsure": tally.unsure,
        "uneven": "uneven" in remarks,
        "debris": "debris" in remarks,
        "merge": "merge" in remarks,
        "unchecked": "unchecked" in remarks,
    }
    return tuple(name for name, present in found.items() if present)


def darkness_told(appearance: Appearance, training: Ranges) -> str | None:
    """Say that cells are darker or brighter than the background, where in training they were not; None if they were.

    >>> darkness_told({"darkness": 0.9}, {"darkness": (0, 0.1)})
    'dark things on a bright ground'
    """
    if "darkness" not in appearance or "darkness" not in training:
        return None
    low, high = training["darkness"]
    if appearance["darkness"] > high + ROOM:
        return "dark things on a bright ground"
    return "bright things on a dark ground" if appearance["darkness"] < low - ROOM else None


def other_size_told(across: float, training: Ranges, name: str, *, scale: float = 1) -> str:
    """Say that cells are larger or smaller than any that a model knows, and which scale shows them in their size.

    Args:
        across: Diameter of a typical cell, in pixels of the image.
        training: Ranges of the images that trained the model.
        name: Of the model.
        scale: Factor by which the network sees the image resized.

    Returns:
        What is said; nothing if the cells are not of another size, or if the model does not know theirs.

    >>> other_size_told(45, {"diameter": (10, 19)}, "nuclei")
    'cells are about 45 pixels across, 3.3 times those that nuclei knows: give --scale 0.31'
    >>> other_size_told(45, {"diameter": (10, 19)}, "nuclei", scale=0.5)
    ''
    """
    if "diameter" not in training:
        return ""
    low, high = training["diameter"]
    usual, seen = math.sqrt(low * high), across * scale
    if low / FACTOR <= seen <= high * FACTOR:
        return ""
    resized = "" if scale == 1 else f", {seen:.0f} at scale {scale:.3g}"
    return (
        f"cells are about {across:.0f} pixels across{resized}, {seen / usual:.2g} times those that {name} knows: "
        f"give --scale {usual / across:.2g}"
    )
