"""One image scored, by whatever counts it: through the very path that counts a user's images."""

from typing import Protocol

from elmgan.counting import Result
from elmgan.data import Record, read_truth
from elmgan.errors import ImageError
from elmgan.images import Plane, only_plane, open_image
from elmgan.scores import Score, compare


class Counter(Protocol):
    """What counts the cells of an image: a model, or the baseline."""

    def count(self, image: Plane) -> Result:
        """Count the cells of a plane."""
        ...


def score_image(model: Counter, record: Record) -> Score:
    """Count one image and compare.

    Raises:
        DataError: When the annotation does not fit the image.
        ImageError: When a file cannot be read, or the image is not what the model takes.
        ModelError: When the network fails on it.
    """
    with open_image(record.image) as source:
        plane = only_plane(source, record.view)
        try:
            result = model.count(plane)
        except ImageError as error:
            raise ImageError(f"{record.image}: {str(error).removeprefix(f'{record.image}: ')}") from None
    regions, shares, total = read_truth(record, plane.shape)
    return compare(
        result,
        None if regions is None else regions > 0,
        None if shares is None else regions,
        total,
        image=record.file_name,
        kind=record.kind,
        group=record.group,
    )
