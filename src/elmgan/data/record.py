"""One image of a data set and what is known of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import ImageError
from elmgan.images import Plane, View, only_plane, open_image
from elmgan.light import Normalisation, Seen, channel_left, see, to_grey

T = TypeVar("T")


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
        axes: What the axes of the image's file mean, if it does not say so; see :func:`~elmgan.images.open_image`.
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
    axes: str | None = None

    @property
    def file_name(self) -> str:
        """Name of the image as counts.csv has it: with the extension."""
        return self.name + self.image.suffix

    @contextmanager
    def opened(self) -> Iterator[Plane]:
        """Open the image and give the one plane that its view shows.

        Raises:
            ImageError: It cannot be opened, does not have what the view asks for, or has several planes under it.
            UsageError: The axes are none.
        """
        with open_image(self.image, axes=self.axes) as source:
            yield only_plane(source, self.view)


def read_grey(record: Record) -> NDArray[np.float32]:
    """Read the image of a record in grey, (row, column), as its view shows it.

    Raises:
        ImageError: When it cannot be read, or has several channels that are not colour.
    """
    return _of(record, lambda pixels: to_grey(pixels, channel=channel_left(record.view, pixels))).astype(
        np.float32, copy=False
    )


def read_seen(record: Record, normalisation: Normalisation) -> Seen:
    """Read the image of a record as the network sees it.

    Raises:
        ImageError: As :func:`read_grey`.
    """
    view = record.view
    return _of(record, lambda pixels: see(pixels, normalisation, channel=channel_left(view, pixels), cells=view.cells))


def _of(record: Record, reduce: Callable[[NDArray], T]) -> T:
    with record.opened() as plane:
        pixels = plane.read()
    try:
        return reduce(pixels)
    except ImageError as error:
        raise ImageError(f"{record.image}: {error}") from None
