"""One image of a data set and what is known of it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import ImageError
from elmgan.images import View, only_plane, open_image
from elmgan.light import plane_grey


@dataclass(frozen=True)
class Record:
    """One image of a data set and what is known of it: a mask or labels, a count, or both.

    Attributes:
        name: Of the image in its data set, without extension, with forward slashes.
        image: The image's file.
        mask: File of its cell/background mask (0 = background), if there is one.
        labels: File of its instance labels (0 = background), if there is one; only ever reduced to mask and totals.
        count: Number of cells, if known.
        group: Images of one group show the same cells and must not be parted by a split; the name, if it is alone.
        kind: Images of one kind look alike; splits keep their proportions.
        dots: File with a pixel per cell, if there is one; only ever reduced to the total.
        view: How the image is shown to the network.
        split: ``train``, ``validation``, ``calibration`` or ``test`` where the data set says so, else empty.
    """

    name: str
    image: Path
    mask: Path | None
    labels: Path | None
    count: float | None
    group: str
    kind: str
    dots: Path | None = None
    split: str = ""
    view: View = field(default_factory=View)

    @property
    def file_name(self) -> str:
        """Name of the image as counts.csv has it: with the extension."""
        return self.name + self.image.suffix


def read_grey(record: Record) -> NDArray[np.float32]:
    """Read the image of a record in grey, (row, column), as its view shows it.

    Raises:
        ImageError: When it cannot be read, or has several channels that are not colour.
    """
    with open_image(record.image) as source:
        plane = only_plane(source, record.view)
        try:
            return plane_grey(plane, plane.read()).astype(np.float32, copy=False)
        except ImageError as error:
            raise ImageError(f"{record.image}: {str(error).removeprefix(f'{record.image}: ')}") from None
