"""Generators of earlier GANs, which LFMMG is compared with."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Pix2Pix(nn.Module):
    """The generator of pix2pix (Isola, Zhu, Zhou, Efros 2017): a U-Net of eight strided convolutions, and eight back.

    Args:
        channels: Of the image and of the output; 3 in the paper.
        width: Channels of the first level; 64 in the paper.
    """

    def __init__(self, channels: int = 1, width: int = 64) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, *[8 * width] * 5]
        self.down = nn.ModuleList([nn.Conv2d(channels, width, 4, 2, 1, bias=False)])
        for level, (before, after) in enumerate(pairwise(widths), start=2):
            layers: list[nn.Module] = [nn.LeakyReLU(0.2), nn.Conv2d(before, after, 4, 2, 1, bias=False)]
            layers += [nn.BatchNorm2d(after)] if level < len(widths) else []
            self.down.append(nn.Sequential(*layers))
        self.up = nn.ModuleList()
        for level, (before, after) in enumerate(pairwise(reversed(widths))):
            joined = before if level == 0 else 2 * before
            layers = [nn.ReLU(), nn.ConvTranspose2d(joined, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after)]
            layers += [nn.Dropout(0.5)] if 1 <= level <= 3 else []
            self.up.append(nn.Sequential(*layers))
        self.out = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * width, channels, 4, 2, 1))

    def forward(self, image: Float[Tensor, "n channels row column"]) -> Float[Tensor, "n channels row column"]:
        """Give an image of values -1..1; sides are multiples of 256, of more than 256 while batch norms learn."""
        return torch.tanh(self.with_deepest(image)[0])

    def with_deepest(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Give the image before its tanh, and the features of the deepest level."""
        maps = []
        x = image
        for down in self.down:
            x = down(x)
            maps.append(x)
        x = deepest = maps.pop()
        for up in self.up:
            x = torch.cat([maps.pop(), up(x)], 1)
        return self.out(x), deepest


class FullyConnected(nn.Module):
    """The generator of a traditional GAN (Goodfellow et al. 2014): the flattened image through five linear layers.

    With ``noise`` it is that of a conditional GAN (Mirza, Osindero 2014), whose condition is the image. How the
    comparison that this one stands for joins the two is not public; ours.

    Args:
        size: (rows, columns) of the only images it takes.
        noise: Random values beside the image; 0 for none.
    """

    def __init__(self, size: tuple[int, int], noise: int = 0) -> None:
        super().__init__()
        self.size, self.noise = size, noise
        pixels = size[0] * size[1]
        widths = [128, 256, 512, 1024]
        layers: list[nn.Module] = [nn.Linear(pixels + noise, widths[0]), nn.LeakyReLU(0.2)]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], pixels), nn.Tanh())

    def forward(
        self, image: Float[Tensor, "n 1 row column"], noise: Float[Tensor, "n noise"] | None = None
    ) -> Float[Tensor, "n 1 row column"]:
        """Give a mask of values -1..1; without ``noise`` it is all 0."""
        values = image.flatten(1)
        if self.noise:
            values = torch.cat([values, values.new_zeros(values.shape[0], self.noise) if noise is None else noise], 1)
        mask: Tensor = self.layers(values).unflatten(1, (1, *self.size))
        return mask
