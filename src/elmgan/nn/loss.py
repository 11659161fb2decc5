"""NH, the norm-combined hybrid loss, and the discriminator's own."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Literal, NamedTuple, assert_never

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from elmgan.nn.discriminator import Judgement
from elmgan.nn.generator import Prediction
from elmgan.strict import Strict

MaskNorm = Literal["l1", "l2", "overlap"]
CountNorm = Literal["squared", "relative"]


class LossWeights(Strict):
    """Which norms the loss combines, and with which weights; the defaults are the paper's.

    ``mask_norm``: ``l1`` between masks of -1 and +1, ``l2``, the mean square of their difference, or ``overlap``, cross
    entropy plus one minus Dice.
    ``count_norm``: ``squared`` error, or ``relative``, a smooth L1 of error / sqrt(count + 1), which keeps one crowded
    image from swamping a step.
    """

    mask_norm: MaskNorm = "l1"
    count_norm: CountNorm = "squared"
    mask: float = Field(10.0, ge=0)
    count: float = Field(1.0, ge=0)
    squares: float = Field(1.0, ge=0, description="counts of the squares of a tile, where their totals are known")
    adversarial: float = Field(1.0, ge=0)
    coordination: float = Field(1.0, ge=0, description="count of the predicted mask as the discriminator sees it")


@dataclass(frozen=True)
class Targets:
    """What is known of a batch of windows, float32; NaN where it is not known.

    Attributes:
        mask: 1 cell, 0 background and padding; NaN where the mask is not known.
        seen: 1 where the window lies on the image, 0 where it is padding.
        core: 1 where cells are counted, 0 on padding and on the uncounted margin of a tile.
        total: Cells in the core of each window; NaN without a count.
        squares: Cells in the core's part of each square of a grid on the window; NaN where they are not known.
    """

    mask: Float[Tensor, "n 1 row column"]
    seen: Float[Tensor, "n 1 row column"]
    core: Float[Tensor, "n 1 row column"]
    total: Float[Tensor, " n"]
    squares: Float[Tensor, "n square_row square_column"]

    @property
    def present(self) -> Bool[Tensor, " n"]:
        """Which images are more than padding."""
        return self.seen.flatten(1).any(1)

    @property
    def masked(self) -> Bool[Tensor, " n"]:
        """Which images have a mask, all of it."""
        return ~self.mask.isnan().flatten(1).any(1)

    @property
    def counted(self) -> Bool[Tensor, " n"]:
        """Which images have a count."""
        return ~self.total.isnan()

    def known(self) -> "Known":
        """Count the images by what is known of them."""
        partly = ((self.seen > 0) & ~self.mask.isnan()).flatten(1).any(1)
        sets = (self.present, partly, self.counted, self.masked & self.present, self.masked & self.counted)
        return Known(*(int(chosen.sum()) for chosen in sets))


@dataclass(frozen=True)
class Known:
    """How many images a step's means are over: all of them, also those that other batches or processes hold.

    Attributes:
        images: That are images at all, and not padding.
        masked: With a mask of some of their pixels.
        counted: With a count.
        paired: With a mask of all their pixels, so that image and mask are a pair.
        paired_counted: Those of ``paired`` with a count.
    """

    images: int = 0
    masked: int = 0
    counted: int = 0
    paired: int = 0
    paired_counted: int = 0

    def __add__(self, other: "Known") -> "Known":
        """Count two lots of images together."""
        return Known(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class Sums(NamedTuple):
    """All that the loss sees of a prediction: sums over pixels, so that those of an image's tiles add up to its own."""

    error: Float[Tensor, " n"]
    """Of the mask, by the loss's norm, over the pixels whose mask is known."""
    overlap: Float[Tensor, " n"]
    """Probability of cell on true cell."""
    size: Float[Tensor, " n"]
    """Probability of cell, plus true cell."""
    pixels: Float[Tensor, " n"]
    """Pixels whose mask is known."""
    cells: Float[Tensor, " n"]
    """Predicted in the core."""
    squares: Float[Tensor, "n square_row square_column"]
    """Predicted in the core's part of each square."""


def sums_of(prediction: Prediction, targets: Targets, weights: LossWeights) -> Sums:
    """Sum up what the loss sees of a prediction; only masks where ``seen``, and only counts in the ``core``, are."""
    known = targets.seen * ~targets.mask.isnan()
    mask = targets.mask.nan_to_num()
    logits = prediction.mask_logits
    probability = torch.sigmoid(logits)
    match weights.mask_norm:
        case "l1":
            error = 2 * (probability - mask).abs()
        case "l2":
            error = 4 * (probability - mask) ** 2
        case "overlap":
            error = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
        case unknown:
            assert_never(unknown)
    error, overlap, size, pixels = (
        (values * known).sum((1, 2, 3))
        for values in (error, probability * mask, probability + mask, torch.ones_like(mask))
    )
    squares = totals_in(prediction.count_map, targets.core, targets.squares.shape[1:])
    return Sums(error, overlap, size, pixels, squares.sum((1, 2)), squares)


def totals_in(
    count_map: Float[Tensor, "n 1 map_row map_column"], core: Float[Tensor, "n 1 row column"], grid: Sequence[int]
) -> Float[Tensor, "n square_row square_column"]:
    """Sum a count map over the core's part in each square of a grid, in cells.

    A value belongs to the core when its first pixel does.

    Args:
        count_map: Cells per value.
        core: 1 where cells are counted, 0 elsewhere.
        grid: Rows and columns of the grid; each divides that of the count map.

    >>> core = torch.ones(1, 1, 4, 4)
    >>> core[..., :2] = 0  # the left half is seen, but not counted
    >>> totals_in(torch.full((1, 1, 2, 2), 0.25), core, (1, 2))
    tensor([[[0.0000, 0.5000]]])
    """
    stride = core.shape[-2] // count_map.shape[-2], core.shape[-1] // count_map.shape[-1]
    cells = (count_map * core[..., :: stride[0], :: stride[1]])[:, 0]
    rows, columns = grid
    return cells.reshape(len(cells), rows, cells.shape[1] // rows, columns, cells.shape[2] // columns).sum((2, 4))


def mean_over(values: Float[Tensor, " n"], chosen: Bool[Tensor, " n"], number: int) -> Float[Tensor, ""]:
    """Give what the chosen values add to a mean over ``number`` images, 0 when there are none."""
    return (values * chosen).sum() / max(1, number)


def mask_errors(sums: Sums, targets: Targets, norm: MaskNorm) -> Float[Tensor, " n"]:
    """Compare masks by a norm of :class:`LossWeights`; 0 for an image without any."""
    error = sums.error / sums.pixels.clamp(min=1)
    match norm:
        case "l1" | "l2":
            return error
        case "overlap":
            # A hundredth of the window in both keeps the term calm where hardly anything is to be found.
            calm = 0.01 * targets.seen.sum((1, 2, 3)).clamp(min=1)
            dice = (2 * sums.overlap + calm) / (sums.size + calm)
            return torch.where(sums.pixels > 0, error + 1 - dice, error)
        case unknown:
            assert_never(unknown)


def count_errors(count: Float[Tensor, "*n"], total: Float[Tensor, "*n"], norm: CountNorm) -> Float[Tensor, "*n"]:
    """Compare counts by a norm of :class:`LossWeights`; an unknown one is taken for 0."""
    total = total.nan_to_num(0, torch.inf, -torch.inf)
    match norm:
        case "squared":
            return (count - total) ** 2
        case "relative":
            scale = torch.sqrt(total + 1)
            return F.smooth_l1_loss(count / scale, total / scale, reduction="none")
        case unknown:
            assert_never(unknown)


def generator_loss(sums: Sums, targets: Targets, weights: LossWeights, known: Known) -> dict[str, Tensor]:
    """Give the terms of NH that need no discriminator, weighted, by name.

    mask * norm(mask - predicted mask) + count * norm(count - predicted count)
    + squares * mean over squares of norm(count - predicted count)

    Args:
        sums: Of the predictions of the images, each image whole.
        targets: What is true of them.
        weights: Norms and weights.
        known: How many images the means are over.

    Returns:
        ``mask``, ``count`` and ``squares``, each a number.
    """
    errors = mask_errors(sums, targets, weights.mask_norm)
    counts = count_errors(sums.cells, targets.total, weights.count_norm)
    squares = count_errors(sums.squares, targets.squares, weights.count_norm).mean((1, 2))
    of_squares = ~targets.squares.isnan().any(2).any(1)
    return {
        "mask": weights.mask * mean_over(errors, sums.pixels > 0, known.masked),
        "count": weights.count * mean_over(counts, targets.counted, known.counted),
        "squares": weights.squares * mean_over(squares, of_squares, known.counted),
    }


def adversarial_loss(judgement: Judgement, targets: Targets, weights: LossWeights, known: Known) -> dict[str, Tensor]:
    """Give the terms of NH that come from the discriminator's view of images and predicted masks, weighted, by name.

    adversarial * (least squares to a true pair) and, since CMTD's way of coordinating the tasks is not public,
    coordination * norm(count - count of the predicted mask as the discriminator sees it).

    Args:
        judgement: The discriminator's of the images with their predicted masks.
        targets: What is true of the images.
        weights: Norm and weights.
        known: How many images the means are over.

    Returns:
        ``adversarial`` and ``coordination``, each a number.
    """
    seen_count = totals_in(judgement.count_map, targets.core, (1, 1))[:, 0, 0]
    counts = count_errors(seen_count, targets.total, weights.count_norm)
    return {
        "adversarial": weights.adversarial * mean_over(squares(judgement, 1.0), targets.present, known.images),
        "coordination": weights.coordination * mean_over(counts, targets.counted, known.counted),
    }


def discriminator_loss(
    true_pair: Judgement,
    predicted_pair: Judgement,
    targets: Targets,
    weights: LossWeights,
    known: Known,
    masked: Int64[Tensor, " m"] | None = None,
) -> dict[str, Tensor]:
    """Give the discriminator's terms by name; their sum is its loss.

    Args:
        true_pair: Its judgement of images and true masks, of the images that have one.
        predicted_pair: Its judgement of all images and predicted masks, through which no gradient may reach the
            generator.
        targets: What is true of all images.
        weights: Norm and weight of its count.
        known: How many images the means are over.
        masked: Numbers of the images with a true mask; where they are not given, the device is waited for.

    Returns:
        ``discriminator``, half the least squares of both pairs, and ``discriminator_count``, of the true pair.
    """
    masked = targets.masked.nonzero()[:, 0] if masked is None else masked
    right = mean_over(squares(true_pair, 1.0), targets.present[masked], known.paired)
    wrong = mean_over(squares(predicted_pair, 0.0), targets.present, known.images)
    seen_count = totals_in(true_pair.count_map, targets.core[masked], (1, 1))[:, 0, 0]
    errors = count_errors(seen_count, targets.total[masked], weights.count_norm)
    count = mean_over(errors, targets.counted[masked], known.paired_counted)
    return {"discriminator": (right + wrong) / 2, "discriminator_count": weights.coordination * count}


def squares(judgement: Judgement, truth: float) -> Float[Tensor, " n"]:
    """Give the mean square of each image's patches against what they should say."""
    return ((judgement.matrix - truth) ** 2).mean((1, 2, 3))
