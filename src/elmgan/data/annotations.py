"""Annotations of an image, read from their files and reduced to what the method may see: mask and totals."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.data.record import Record
from elmgan.errors import DataError
from elmgan.images import read_image

Truth = tuple[NDArray[np.uint16] | None, NDArray[np.float32] | None, float | None]
"""Regions, shares and total of an image, as an :class:`~elmgan.data.Example` has them."""


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask, (row, column): cell wherever any channel is not 0.

    Raises:
        ImageError: When the file cannot be read.
    """
    return as_mask(read_image(path))


def as_mask(pixels: NDArray) -> NDArray[np.bool_]:
    """Take pixels as a mask: cell wherever any channel is not 0."""
    mask: NDArray[np.bool_] = pixels != 0
    return mask if mask.ndim == 2 else np.asarray(mask.any(axis=2))


def read_labels(path: Path) -> NDArray[np.uint16]:
    """Read instance labels, (row, column), renumbered 1..n in the order of their values; 0 is background.

    Raises:
        DataError: When the file has more than one channel, values that are no whole numbers from 0, or more than 65535
            labels.
        ImageError: When the file cannot be read.
    """
    values = read_image(path)
    if values.ndim != 2:
        raise DataError(f"{path}: labels have one channel, found {values.shape[2]}; save them as a grey image")
    found = np.unique(values)
    if found[0] < 0 or (found != np.trunc(found)).any():
        raise DataError(f"{path}: labels are whole numbers from 0, found others; save them as integers")
    cells = found[found > 0]
    if len(cells) > np.iinfo(np.uint16).max:
        raise DataError(f"{path}: more than 65535 labels; cut the image into parts")
    return np.searchsorted(cells, values, side="right").astype(np.uint16)


def count_dots(path: Path) -> int:
    """Count the dots of a dot image: every pixel that is not 0 in any channel is one.

    Pixels that touch are two dots, as in crowded images of VGG's cells, of which up to one in twenty touches another.
    Where most pixels touch, they were not meant as dots each.

    Raises:
        DataError: When the pixels form fewer than half as many spots.
        ImageError: When the file cannot be read.
    """
    dots = read_mask(path)
    pixels = int(np.count_nonzero(dots))
    spots = int(cv2.connectedComponents(dots.view(np.uint8))[0]) - 1
    if pixels > 2 * spots:
        raise DataError(
            f"{path}: {pixels} pixels are not 0, in {spots} spots; mark each cell by one pixel on a background of 0, "
            "or write the counts to counts.csv"
        )
    return pixels


def reduce_labels(labels: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Give each label's share per pixel, so that the shares over any part of the image add up to its total.

    A cell cut by the edge of that part counts by the fraction of its visible area inside; one cut by the image's own
    border counts one.

    Args:
        labels: Label image, (row, column), 0 = background.

    Returns:
        Cells per pixel of each label, 1 / its area; 0 for the background and for labels that do not occur.

    >>> reduce_labels(np.array([[0, 1, 1], [0, 2, 0]], np.uint16))
    array([0. , 0.5, 1. ], dtype=float32)
    """
    areas = np.bincount(labels.ravel()).astype(np.float32)
    areas[0] = np.inf
    return np.divide(1, areas, out=np.zeros_like(areas), where=areas > 0)


def read_truth(record: Record, shape: tuple[int, ...]) -> Truth:
    """Read what is known of an image of this shape: regions, shares and total, each ``None`` where it is not.

    Labels go before a mask; a count before the number of labels, and that before the number of dots.

    Raises:
        DataError: When an annotation's size is not the image's, when labels or dots are none, or when mask and count
            contradict each other.
        ImageError: When a file cannot be read.
    """
    regions = shares = None
    total = record.count
    file = record.labels or record.mask
    if file is not None:
        regions = read_mask(file).astype(np.uint16) if record.labels is None else read_labels(file)
        if regions.shape != shape:
            raise DataError(wrong_size(file, regions.shape, shape))
    if regions is not None and record.labels is not None:
        shares = reduce_labels(regions)
        total = float(len(shares) - 1) if total is None else total
    if total is None and record.dots is not None:
        total = float(count_dots(record.dots))
    if regions is not None and total is not None:
        check_agreement(record, int(regions.max()), total)
    return regions, shares, total


def check_agreement(record: Record, found: int, total: float) -> None:
    """Hold a count against the mask, or the labels, of which so many were found; a mask has one or none.

    Raises:
        DataError: For cells without foreground, foreground without cells, or all cells in one label.
    """
    file = record.labels or record.mask
    what = "the mask" if record.labels is None else "the label image"
    if found and not total:
        raise DataError(f"{file}: has foreground, but the count is 0; correct the count, or remove this file")
    if total and not found:
        raise DataError(
            f"{file}: {what} of {record.name} has no foreground, and its count is {total:g}; correct the count, or "
            "remove this file"
        )
    if record.labels is not None and found == 1 and total >= 2:
        raise DataError(f"{file}: has one label for {total:g} cells; if it is a mask, move it to masks")


def wrong_size(file: Path, found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """Say that an annotation is not of its image's size."""
    return (
        f"{file}: is {found[0]} rows by {found[1]} columns, its image {expected[0]} rows by {expected[1]} columns; "
        "both must be the same: export it again at the size of the image"
    )
