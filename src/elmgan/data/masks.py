"""What a mask is made of: cell and background, or labels, classes, soft edges, a picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.data.faults import Faults

MOST_CLASSES = 3
"""Values besides 0 that may be kinds of cells and their borders; more are soft edges, a picture, or labels."""

LEAST_AREA, LEAST_FILL = 5, 0.15
"""Of labels: median pixels of each, and median share of the rectangle around it. Values of soft edges lie scattered."""

FAR = 2.5
"""Pixels from the edge of the foreground; smoothing and resizing leave no values in between as far as that."""

FAINT = 0.15
"""What JPEG adds to or takes from flat areas, of the range of the values."""


@dataclass(frozen=True)
class MaskLook:
    """A mask's contents.

    Attributes:
        share: Pixels that are not 0, of all, 0..1.
        border: The same, of the pixels along the image's border.
        values: How many different values it has; of colours, how many colours.
        sort: ``two values`` (or one), ``no background`` (two values, none of them 0), ``classes``, ``labels``,
            ``colours`` (labels in colour), ``soft`` (smoothed or resized), ``damaged`` (as by JPEG), or ``picture``.
    """

    share: float
    border: float
    values: int
    sort: str


def look_at(mask: NDArray) -> MaskLook:
    """See what a mask is made of.

    Args:
        mask: As it is stored, (row, column) or (row, column, channel).

    >>> look_at(np.array([[0, 255], [0, 255]], np.uint8))
    MaskLook(share=0.5, border=0.5, values=2, sort='two values')
    """
    numbers = _as_numbers(mask)
    values = values_of(numbers)
    cells = numbers != 0
    border = np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]])
    if len(values) == 1 or (len(values) == 2 and 0 in values):
        sort = "two values"
    elif len(values) == 2:
        sort = "no background"
    elif len(values) > MOST_CLASSES and _are_labels(numbers):
        sort = "labels" if numbers.dtype != np.uint64 else "colours"
    elif len(values) <= MOST_CLASSES + 1:
        sort = "classes"
    else:
        sort = _softness(mask if mask.ndim == 2 else mask.max(axis=2))
    return MaskLook(float(cells.mean()), float(border.mean()), len(values), sort)


def values_of(numbers: NDArray) -> NDArray:
    """Give the different values of an array in their order."""
    if numbers.dtype in (np.uint8, np.uint16):  # much faster than to sort them
        return np.flatnonzero(np.bincount(numbers.ravel()))
    return np.unique(numbers)


def _as_numbers(mask: NDArray) -> NDArray:
    """Give each colour a number, 0 for black; grey values stay as they are."""
    if mask.ndim == 2:
        return mask
    first, *others = (mask[..., channel] for channel in range(mask.shape[2]))
    if all(np.array_equal(first, other) for other in others):
        return first
    if mask.dtype not in (np.uint8, np.uint16):
        return np.asarray(mask.max(axis=2))
    packed = first.astype(np.uint64)
    for other in others:
        packed = (packed << np.uint64(16)) | other
    return packed


def _are_labels(numbers: NDArray) -> bool:
    """Say whether the pixels of each value lie together, as those of a cell do."""
    if numbers.dtype.kind == "f" and (numbers != np.trunc(numbers)).any():
        return False
    rows, columns = np.nonzero(numbers)
    values = numbers[rows, columns]
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    areas = np.diff(starts, append=len(values))
    sides = [
        np.maximum.reduceat(places[order], starts) - np.minimum.reduceat(places[order], starts) + 1
        for places in (rows, columns)
    ]
    fill = areas / (sides[0] * sides[1])
    return bool(np.median(areas) >= LEAST_AREA and np.median(fill) >= LEAST_FILL)


def _softness(grey: NDArray) -> str:
    """Tell smoothed masks, masks damaged by JPEG and pictures by where the values in between lie, and how far off."""
    low, high = float(grey.min()), float(grey.max())
    level = (grey.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    inside = (level > 0.5).astype(np.uint8)
    edge = sum(cv2.distanceTransform(side, cv2.DIST_L2, 3) for side in (inside, 1 - inside))
    between = (level > 0) & (level < 1)
    if np.mean((level > FAINT) & (level < 1 - FAINT)) > 0.5:
        return "picture"
    far = level[between & (edge > FAR)]
    if far.size < 0.1 * np.count_nonzero(between):
        return "soft"
    return "damaged" if np.mean(np.minimum(far, 1 - far) <= FAINT) >= 0.9 else "picture"


def is_in_alpha(path: Path) -> bool:
    """Say whether a file's alpha channel holds a picture and nothing else does: alpha is not read as a mask."""
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 4:
        return False
    varied = [bool(pixels[..., channel].min() != pixels[..., channel].max()) for channel in range(4)]
    return varied == [False, False, False, True]


def check_look(path: Path, look: MaskLook, faults: Faults) -> None:
    """Take down what is wrong or odd with a mask as such."""
    if look.values == 1 and is_in_alpha(path):
        faults.add("alpha", f"{path}: its picture is in the alpha channel, which is not read; save it in grey")
    if look.sort in ("soft", "damaged", "picture"):
        cause = {
            "soft": "its edges are soft, as after smoothing or resizing",
            "damaged": "it has values in between, as after JPEG compression, smoothing or resizing",
            "picture": "it is a picture or a map of probabilities",
        }[look.sort]
        faults.add(
            look.sort,
            f"{path}: holds {look.values} values where a mask has two: {cause}; set all above half of the largest "
            "value to 255, all else to 0, and save it as PNG or TIFF",
        )
    elif look.sort == "no background":
        faults.add("no 0", f"{path}: has two values, and none of them is 0; set the background to 0")


def check_looks(looks: Mapping[Path, MaskLook], faults: Faults) -> None:
    """Take down a fault where instance labels lie in the place of masks, and note other masks of several values.

    Three cells drawn in three colours look like labels in one mask; in most masks only labels do.
    """
    several = {path: look for path, look in looks.items() if look.sort in ("classes", "labels", "colours")}
    labels = {path: look for path, look in several.items() if look.sort != "classes"}
    if labels and 2 * len(labels) >= sum(look.values > MOST_CLASSES for look in several.values()):
        path, look = max(labels.items(), key=lambda item: item[1].values)
        what, remedy = "numbers", "move them"
        if look.sort == "colours":
            what, remedy = "colours", "save them in grey, a number for each cell, and move them"
        faults.add(
            "labels",
            f"{path.parent}/ holds {look.values - 1} {what}: these are instance labels; {remedy} to labels/",
        )
        return
    for path, look in several.items():
        faults.note(
            "classes",
            f"{path}: holds {look.values} values; all but 0 are taken for cell. If each value is a cell, these are "
            "instance labels: move them to labels/",
        )
