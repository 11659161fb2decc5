"""The plain U-Net that LFMMG is compared with."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class DoubleConvolution(nn.Sequential):
    """Two 3x3 convolutions, each with batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers += [nn.Conv2d(channels, out_channels, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class UNet(nn.Module):
    """U-Net (Ronneberger, Fischer, Brox 2015), padded, upsampling by nearest neighbour and a 3x3 convolution.

    Args:
        width: Channels at full size; doubled at each of four halvings (64..1024, 34.5 M parameters by default).
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = [width * 2**k for k in range(5)]
        self.down = nn.ModuleList(
            DoubleConvolution(before, after) for before, after in zip([1, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            )
            for channels in reversed(widths[:-1])
        )
        self.merge = nn.ModuleList(DoubleConvolution(2 * channels, channels) for channels in reversed(widths[:-1]))
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, image: Float[Tensor, "n 1 row column"]) -> Float[Tensor, "n 1 row column"]:
        """Give the log-odds of cell per pixel; sides are multiples of 16."""
        return self.with_deepest(image)[0]

    def with_deepest(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Give the log-odds, and the features of the deepest level."""
        maps = []
        x = image
        for k, convolve in enumerate(self.down):
            x = convolve(x if k == 0 else self.pool(x))
            maps.append(x)
        deepest = maps.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([maps.pop(), up(x)], 1))
        return self.out(x), deepest
