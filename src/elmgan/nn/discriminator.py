"""CMTD, the discriminator: judges pairs of image and mask, and thereby coordinates the two tasks."""

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from elmgan.nn.generator import normalisation

DiscriminatorNorm = Literal["instance", "none"]


class Judgement(NamedTuple):
    """What the discriminator says of a batch of pairs."""

    matrix: Float[Tensor, "n 1 patch_row patch_column"]
    """Discrimination matrix, one value per patch: 1 for a true pair, 0 for one with a predicted mask."""
    count_map: Float[Tensor, "n 1 map_row map_column"]
    """Cells per 16 x 16 pixels that the mask shows on this image, summing to its count."""


class Discriminator(nn.Module):
    """CMTD: coordinated multitasking training discriminator.

    A conditional patch discriminator with a second output that estimates the count from the pair. It learns that from
    true pairs with their true total; a generator whose mask merges or drops cells is then told so, although no cell was
    ever pointed at.

    Args:
        width: Channels of the first block; 64 in the paper.
        norm: ``instance`` as in the paper, or ``none``, which leaves density to be seen by the count output.
    """

    def __init__(self, width: int = 64, norm: DiscriminatorNorm = "instance") -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = [nn.Conv2d(2, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, 2, 1, bias=norm == "none")]
            layers += normalisation(norm, after)
            layers += [nn.LeakyReLU(0.2)]
        self.blocks = nn.Sequential(*layers)
        self.matrix = nn.Sequential(nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(8 * width, 1, 4, padding=1))
        self.count = nn.Conv2d(8 * width, 1, 1)
        nn.init.constant_(self.count.bias, -4.0)  # type: ignore[arg-type]  # begins with almost no cells

    def forward(self, image: Float[Tensor, "n 1 row column"], mask: Float[Tensor, "n 1 row column"]) -> Judgement:
        """Judge pairs of a normalised image and a mask of probabilities 0..1; sides are multiples of 16.

        Both outputs are float32 and have one value per 16 x 16 pixels.
        """
        features = self.blocks(torch.cat([image, 2 * mask - 1], 1))
        return Judgement(self.matrix(features).float(), nn.functional.softplus(self.count(features).float()))
