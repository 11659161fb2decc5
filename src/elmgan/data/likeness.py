"""Images that show the same: found by their fingerprints, so that a split does not part them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.data.record import Record, read_grey

FINGERPRINT_SIDE = 64
"""Pixels along each side of a fingerprint, whatever the shape of the image."""

SHADING = FINGERPRINT_SIDE / 8
"""Standard deviation of what is taken for uneven illumination, in pixels of a fingerprint."""

ALIKE = 0.9
"""Correlation of fingerprints from which two images are taken to show the same cells."""

SAME = 0.999
"""Correlation of fingerprints from which two images are taken to be one."""

BLOCK = 256
"""Thumbnails that are compared with all others at a time."""


def fingerprint(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reduce an image to a vector of length 1; the product of two is their correlation, whatever gain and offset.

    What varies slowly over the image is taken off, so that images with few cells are not alike by their illumination.

    Args:
        grey: (row, column).

    Returns:
        FINGERPRINT_SIDE * FINGERPRINT_SIDE values; all are 0 for an image of one value.
    """
    small = cv2.resize(grey, (FINGERPRINT_SIDE, FINGERPRINT_SIDE), interpolation=cv2.INTER_AREA)
    rounding = 1e-5 * float(np.linalg.norm(small))
    small = small - cv2.GaussianBlur(small, (0, 0), SHADING, borderType=cv2.BORDER_REFLECT)
    small -= small.mean()
    length = float(np.linalg.norm(small))
    return np.asarray(small / length if length > rounding else np.zeros_like(small), np.float32).ravel()


def group_alike(
    records: list[Record], *, watch: Callable[[Sequence[Record]], Iterable[Record]] = lambda records: records
) -> list[Record]:
    """Give records whose images are alike a common group, unless the data set has groups already.

    That finds copies in another format, size or contrast, and neighbouring focal planes or times. It does not find the
    same cells in another stain, or parts of one slide: only who took the images knows, and can say so in counts.csv.

    Args:
        records: Of a whole data set.
        watch: Passes the records on one by one, to show progress.

    Raises:
        ImageError: When an image cannot be read.
    """
    if has_groups(records):
        return records
    return join_alike(records, [fingerprint(read_grey(record)) for record in watch(records)])


def has_groups(records: Iterable[Record]) -> bool:
    """Say whether any image of a data set belongs to a group."""
    return any(record.group != record.name for record in records)


def join_alike(records: list[Record], fingerprints: Sequence[NDArray[np.float32]]) -> list[Record]:
    """Give records whose fingerprints correlate, directly or by way of others, the group of the first of them."""
    leader = np.arange(len(records))
    vectors = np.stack(fingerprints)
    for first in range(0, len(records), BLOCK):
        alike = vectors[first : first + BLOCK] @ vectors.T >= ALIKE
        for others in alike[alike.sum(axis=1) > 1]:
            joined = np.unique(leader[others])
            leader[np.isin(leader, joined)] = joined[0]
    return [replace(record, group=records[k].group) for record, k in zip(records, leader, strict=True)]


def all_alike(records: Sequence[Record]) -> bool:
    """Say whether two or more images are all the same, give or take noise; few are opened if they are not.

    Raises:
        ImageError: When an image cannot be read.
    """
    if len(records) < 2:
        return False
    grey = read_grey(records[0])
    vector = fingerprint(grey)
    for record in records[1:]:
        other = read_grey(record)
        if not np.array_equal(other, grey) and vector @ fingerprint(other) < SAME:
            return False
    return True
