"""NH, the norm-combined hybrid loss, and the discriminator's own."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from elmgan.models.schema import Strict
from elmgan.nn.discriminator import Judgement
from elmgan.nn.generator import Prediction


class LossWeights(Strict):
    """Which norms the loss combines, and with which weights; the defaults are the paper's.

    ``mask_norm``: ``l1`` between masks of -1 and +1, or ``overlap``, cross entropy plus one minus Dice.
    ``count_norm``: ``squared`` error, or ``relative``, a smooth L1 of error / sqrt(count + 1), which keeps one crowded
    image from swamping a step.
    """

    mask_norm: Literal["l1", "overlap"] = "l1"
    count_norm: Literal["squared", "relative"] = "squared"
    mask: float = Field(10.0, ge=0)
    count: float = Field(1.0, ge=0)
    adversarial: float = Field(1.0, ge=0)
    coordination: float = Field(1.0, ge=0, description="count of the predicted mask as the discriminator sees it")


@dataclass(frozen=True)
class Targets:
    """What is known of a batch of windows, float32; NaN where it is not known.

    Attributes:
        mask: 1 cell, 0 background and padding; NaN all over an image without a mask.
        seen: 1 where the window lies on the image, 0 where it is padding.
        core: 1 where cells are counted, 0 on padding and on the uncounted margin of a tile.
        total: Cells in the core of each window; NaN without a count.
    """

    mask: Float[Tensor, "n 1 row column"]
    seen: Float[Tensor, "n 1 row column"]
    core: Float[Tensor, "n 1 row column"]
    total: Float[Tensor, " n"]

    @property
    def masked(self) -> Bool[Tensor, " n"]:
        """Which images have a mask."""
        return ~self.mask.isnan().flatten(1).any(1)

    def only(self, images: Bool[Tensor, " n"]) -> "Targets":
        """Give the targets of some of the images."""
        return Targets(self.mask[images], self.seen[images], self.core[images], self.total[images])


def total_in(
    count_map: Float[Tensor, "n 1 map_row map_column"], core: Float[Tensor, "n 1 row column"]
) -> Float[Tensor, " n"]:
    """Sum a count map over the core, in cells per image; a value belongs to the core when its first pixel does.

    >>> core = torch.ones(1, 1, 4, 4)
    >>> core[..., :2] = 0  # the left half is seen, but not counted
    >>> total_in(torch.full((1, 1, 2, 2), 0.25), core)
    tensor([0.5000])
    """
    stride = core.shape[-2] // count_map.shape[-2], core.shape[-1] // count_map.shape[-1]
    return (count_map * core[..., :: stride[0], :: stride[1]]).sum((1, 2, 3))


def mask_term(logits: Tensor, targets: Targets, norm: str) -> Tensor:
    """Compare masks over the pixels seen, by a norm of :class:`LossWeights`; images without a mask are left out."""
    masked = targets.masked
    if not masked.any():
        return 0 * logits.sum()
    logits, targets = logits[masked], targets.only(masked)
    pixels = targets.seen.sum()
    probability = torch.sigmoid(logits)
    if norm == "l1":
        return 2 * ((probability - targets.mask).abs() * targets.seen).sum() / pixels
    entropy = (F.binary_cross_entropy_with_logits(logits, targets.mask, reduction="none") * targets.seen).sum() / pixels
    overlap = (probability * targets.mask * targets.seen).sum((1, 2, 3))
    size = ((probability + targets.mask) * targets.seen).sum((1, 2, 3))
    area = targets.seen.sum((1, 2, 3))
    # A hundredth of the window in both keeps the term calm where hardly anything is to be found.
    dice = (2 * overlap + 0.01 * area) / (size + 0.01 * area)
    return entropy + 1 - dice.mean()


def count_term(count: Tensor, total: Tensor, norm: str) -> Tensor:
    """Compare counts by a norm of :class:`LossWeights`, averaged over the images that have one."""
    counted = ~total.isnan()
    if not counted.any():
        return 0 * count.sum()
    count, total = count[counted], total[counted]
    if norm == "squared":
        return F.mse_loss(count, total)
    scale = torch.sqrt(total + 1)
    return F.smooth_l1_loss(count / scale, total / scale)


def generator_loss(
    prediction: Prediction, targets: Targets, judgement: Judgement | None, weights: LossWeights
) -> dict[str, Tensor]:
    """Give the terms of NH, weighted, by name; their sum is the generator's loss.

    L_G = mask * norm(mask - predicted mask) + count * norm(count - predicted count) + adversarial * least squares

    and, since CMTD's way of coordinating the tasks is not public, coordination * norm(count - count of the predicted
    mask as the discriminator sees it).

    Args:
        prediction: The generator's of the images.
        targets: What is true of them. Only masks where ``seen``, and only counts in the ``core``, are compared.
        judgement: The discriminator's of images and predicted masks; without one the last two terms are absent.
        weights: Norms and weights.

    Returns:
        ``mask``, ``count`` and, with a judgement, ``adversarial`` and ``coordination``; each a number.
    """
    terms = {
        "mask": weights.mask * mask_term(prediction.mask_logits, targets, weights.mask_norm),
        "count": weights.count
        * count_term(total_in(prediction.count_map, targets.core), targets.total, weights.count_norm),
    }
    if judgement is not None:
        terms["adversarial"] = weights.adversarial * F.mse_loss(judgement.matrix, torch.ones_like(judgement.matrix))
        seen_count = total_in(judgement.count_map, targets.core)
        terms["coordination"] = weights.coordination * count_term(seen_count, targets.total, weights.count_norm)
    return terms


def discriminator_loss(
    true_pair: Judgement, predicted_pair: Judgement, targets: Targets, weights: LossWeights
) -> dict[str, Tensor]:
    """Give the discriminator's terms by name; their sum is its loss.

    Args:
        true_pair: Its judgement of images and true masks, of the images that have one.
        predicted_pair: Its judgement of images and predicted masks, through which no gradient may reach the generator.
        targets: What is true of the images.
        weights: Norm and weight of its count.

    Returns:
        ``discriminator``, half the least squares of both pairs, and ``discriminator_count``, of the true pair.
    """
    right = F.mse_loss(true_pair.matrix, torch.ones_like(true_pair.matrix))
    wrong = F.mse_loss(predicted_pair.matrix, torch.zeros_like(predicted_pair.matrix))
    targets = targets.only(targets.masked)
    count = count_term(total_in(true_pair.count_map, targets.core), targets.total, weights.count_norm)
    return {"discriminator": (right + wrong) / 2, "discriminator_count": weights.coordination * count}
