"""One image scored, by whatever counts it: through the very path that counts a user's images."""

from typing import Protocol

from numpy.typing import NDArray

from elmgan.counting import Result
from elmgan.data import Record, read_truth
from elmgan.errors import ImageError
from elmgan.images import read_image
from elmgan.scores import Score, compare


class Counter(Protocol):
    """What counts the cells of an image: a model, or the baseline."""

    def count(self, image: NDArray) -> Result:
        """Count the cells of a (row, column) or (row, column, channel) image."""
        ...


def score_image(model: Counter, record: Record) -> Score:
    """Count one image and compare.

    Raises:
        DataError: When the annotation does not fit the image.
        ImageError: When a file cannot be read, or the image is not what the model takes.
        ModelError: When the network fails on it.
    """
    image = read_image(record.image)
    try:
        result = model.count(image)
    except ImageError as error:
        raise ImageError(f"{record.image}: {error}") from None
    regions, shares, total = read_truth(record, image.shape[:2])
    return compare(
        result,
        None if regions is None else regions > 0,
        None if shares is None else regions,
        total,
        image=record.file_name,
        kind=record.kind,
        group=record.group,
    )
