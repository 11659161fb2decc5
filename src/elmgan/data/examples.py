"""Examples: images as a network learns from them, with instance labels reduced to what the method may see."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elmgan.data.folder import Record, read_labels, read_mask
from elmgan.errors import DataError, ImageError
from elmgan.imaging import Normalisation, read_image, to_grey


@dataclass(frozen=True)
class Example:
    """One image in memory with its annotation.

    Attributes:
        name: As in its record.
        kind: As in its record.
        image: Normalised, (row, column).
        regions: 0 = background; otherwise an index into ``shares``, or 1 where those are not known. (row, column)
        shares: What a visible pixel of each region adds to a total, cells per pixel: 1 / its visible area, index 0
            being 0. ``None`` when only the total of the whole image is known.
        total: Cells in the whole image; one that the image's border cuts counts one.
    """

    name: str
    kind: str
    image: NDArray[np.float32]
    regions: NDArray[np.uint16]
    shares: NDArray[np.float32] | None
    total: float

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Cell or background, (row, column)."""
        return self.regions > 0


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


def load_example(record: Record, normalisation: Normalisation) -> Example:
    """Read one record's image and annotation.

    Raises:
        DataError: When the annotation does not fit the image; see :func:`read_truth`.
        ImageError: When a file cannot be read, or the image has several channels that are not colour.
    """
    image = read_image(record.image)
    try:
        grey = to_grey(image)
    except ImageError as error:
        raise ImageError(f"{record.image}: {error}") from None
    return Example(record.name, record.kind, normalisation(grey), *read_truth(record, grey.shape))


def read_truth(record: Record, shape: tuple[int, ...]) -> tuple[NDArray[np.uint16], NDArray[np.float32] | None, float]:
    """Read what is known of an image of this shape: regions, shares and total, as an :class:`Example` has them.

    Labels go before a mask, a count before the number of labels.

    Raises:
        DataError: When mask or count is lacking, its size is not the image's, or the labels are a mask.
        ImageError: When a file cannot be read.
    """
    file = record.labels or record.mask
    if file is None:
        raise DataError(f"{record.image}: has neither mask nor labels")
    regions = read_mask(file).astype(np.uint16) if record.labels is None else read_labels(file)
    if regions.shape != shape:
        raise DataError(f"{file}: is {describe(regions.shape)}, its image {describe(shape)}; both must be the same")
    if record.labels is None:
        if record.count is None:
            raise DataError(f"{record.image}: has neither count nor labels")
        return regions, None, record.count
    cells = int(regions.max())
    total = float(cells) if record.count is None else record.count
    if cells == 1 and total >= 2:
        raise DataError(f"{file}: has one label for {total:g} cells; if it is a mask, move it to masks")
    return regions, reduce_labels(regions), total


def describe(shape: tuple[int, ...]) -> str:
    """Name an array's size for a person."""
    return f"{shape[0]} rows by {shape[1]} columns"
