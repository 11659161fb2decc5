"""One image scored, by whatever counts it: through the very path that counts a user's images."""

from collections import Counter as Tally
from collections.abc import Sequence
from typing import Protocol

from elmgan.counting import Model, Result
from elmgan.data import Record, read_truth
from elmgan.errors import ImageError
from elmgan.images import Plane
from elmgan.scores import Score, compare
from elmgan.trust import other_size_told

MOST_FLAGGED = 0.1
"""Share of the images above which their flags are told."""

MOST_REASONS = 2
"""Ways of being unlike training that are named."""


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
    with record.opened() as plane:
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


def of_another_size(scores: Sequence[Score], model: Model) -> str:
    """Say that cells of more than one image in ten are of another size than any that a model knows; else nothing."""

    def told(score: Score) -> str:
        across = score.diameter
        return "" if across is None else other_size_told(across, model.card.training, model.version, scale=score.scale)

    odd = sorted((score for score in scores if told(score)), key=lambda score: (score.diameter or 0) * score.scale)
    if len(odd) <= MOST_FLAGGED * len(scores):
        return ""
    return f"of {len(odd)} of {len(scores)} images, {told(odd[len(odd) // 2])}"


def flagged(scores: Sequence[Score]) -> str:
    """Say how many images are flagged, by what, the commonest first, and how far off their counts are.

    It says nothing where one in ten or fewer are flagged.

    >>> flagged([Score(image="a", truth=1, estimate=3, flags=("blurred",)), Score(image="b", truth=1, estimate=1)])
    '1 of 2 images are flagged, so that their counts are not to be trusted: blurred (1); MAE 2.0, of the others 0.0'
    """
    images = [score for score in scores if score.flags]
    if len(images) <= MOST_FLAGGED * len(scores):
        return ""
    tally = Tally(flag for score in images for flag in score.flags).most_common()
    why = Tally(score.unlike for score in images if score.unlike).most_common(MOST_REASONS)
    reasons = "".join(f"; {words}" for words, _ in why)
    listed = ", ".join(f"{flag} ({number}{reasons * (flag == 'unlike-training')})" for flag, number in tally)
    errors = [_mae(images), _mae([score for score in scores if not score.flags])]
    told = f"; MAE {errors[0]}" + (f", of the others {errors[1]}" if errors[1] else "") if errors[0] else ""
    return (
        f"{len(images)} of {len(scores)} images are flagged, so that their counts are not to be trusted: {listed}{told}"
    )


def _mae(scores: Sequence[Score]) -> str:
    """Write the mean absolute error of the counts that are known; nothing without any."""
    errors = [abs(s.estimate - s.truth) for s in scores if s.estimate is not None and s.truth is not None]
    return f"{sum(errors) / len(errors):.1f}" if errors else ""
