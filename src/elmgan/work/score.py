"""One image scored, by whatever counts it: through the very path that counts a user's images."""

from collections import Counter as Tally
from collections.abc import Sequence
from typing import Protocol

from elmgan.counting import Result
from elmgan.data import Record, read_truth
from elmgan.errors import ImageError
from elmgan.images import Plane, only_plane, open_image
from elmgan.scores import Score, compare

MOST_FLAGGED = 0.1
"""Share of the images above which their flags are told."""


class Counter(Protocol):
    """What counts the cells of an image: a model, or the baseline."""

    def count(self, image: Plane) -> Result:
        """Count the cells of a plane."""
        ...


def score_image(model: Counter, record: Record) -> Score:
    """Count one image and compare; see :func:`count_and_score`."""
    return count_and_score(model, record)[1]


def count_and_score(model: Counter, record: Record) -> tuple[Result, Score]:
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
    score = compare(
        result,
        None if regions is None else regions > 0,
        None if shares is None else regions,
        total,
        image=record.file_name,
        kind=record.kind,
        group=record.group,
    )
    return result, score


def flagged(scores: Sequence[Score]) -> str:
    """Say how many images are flagged and by what, the commonest first; nothing where it is one in ten or fewer.

    >>> flagged([Score(image="a", truth=1, estimate=1, flags=("blurred",)), Score(image="b", truth=1, estimate=1)])
    '1 of 2 images are flagged, so that their counts are not to be trusted: blurred (1)'
    """
    images = sum(bool(score.flags) for score in scores)
    if images <= MOST_FLAGGED * len(scores):
        return ""
    tally = Tally(flag for score in scores for flag in score.flags).most_common()
    listed = ", ".join(f"{flag} ({number})" for flag, number in tally)
    return f"{images} of {len(scores)} images are flagged, so that their counts are not to be trusted: {listed}"
