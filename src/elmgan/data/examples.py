"""Examples: images as a network learns from them, with what is known of each reduced to what the method may see."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.counting.scaling import resize, scaled_shape
from elmgan.data.annotations import read_truth, reduce_labels
from elmgan.data.record import Record, read_seen
from elmgan.light import Normalisation


@dataclass(frozen=True)
class Example:
    """One image in memory with its annotation.

    Attributes:
        name: As in its record.
        kind: As in its record.
        image: Normalised, (row, column).
        regions: 0 = background; otherwise an index into ``shares``, or 1 where those are not known. (row, column)
            ``None`` when there is no mask.
        shares: What a visible pixel of each region adds to a total, cells per pixel: 1 / its visible area, index 0
            being 0. ``None`` when totals of the image's parts are not known.
        total: Cells in the whole image; one that the image's border cuts counts one. ``None`` when it is not known.
    """

    name: str
    kind: str
    image: NDArray[np.float32]
    regions: NDArray[np.uint16] | None
    shares: NDArray[np.float32] | None
    total: float | None

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """Cell or background, (row, column); ``None`` when there is no mask."""
        return None if self.regions is None else self.regions > 0


def load_example(record: Record, normalisation: Normalisation) -> Example:
    """Read one record's image and annotation, at the size at which its view shows them.

    Raises:
        DataError: When an annotation does not fit the image; see :func:`~elmgan.data.read_truth`.
        ImageError: When a file cannot be read, or the image has several channels that are not colour.
    """
    seen = read_seen(record, normalisation)
    image = seen.normalised
    regions, shares, total = read_truth(record, image.shape)
    if (smaller := scaled_shape(image.shape, record.view.factor)) != image.shape:
        image = resize(image, smaller)
        if regions is not None:
            regions = np.asarray(cv2.resize(regions, smaller[::-1], interpolation=cv2.INTER_NEAREST))
            shares = None if shares is None else reduce_labels(regions)
    return Example(record.name, record.kind, image, regions, shares, total)
