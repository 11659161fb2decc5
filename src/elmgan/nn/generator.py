"""LFMMG, the generator: one light network that predicts the mask and the count of an image."""

from typing import Literal, NamedTuple, assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn

from elmgan.errors import UsageError
from elmgan.models import STRIDE, Architecture, Norm, Upsampling
from elmgan.nn.fbu import FBU, fold

NormLayer = Norm | Literal["none"]

PRESETS = {
    "paper": Architecture(
        width=64, norm="instance", dropout=0.5, mask_head="paper", count_head="pooled", size=(256, 256)
    ),
    "base": Architecture(width=32),
    "small": Architecture(width=16),
}
"""The paper's network, and ours: fixed statistics and a count map, so that images of any size can be tiled."""


class Prediction(NamedTuple):
    """What the generator says of a batch of images."""

    mask_logits: Float[Tensor, "n 1 row column"]
    """Log-odds of cell per pixel, float32.

    The paper's output is ``tanh(mask_logits / 2)``, and the probability (tanh + 1) / 2.
    """
    count_map: Float[Tensor, "n 1 map_row map_column"]
    """Cells per value, float32, summing to the count.

    The heads ``map`` and ``free`` give values of at least 0, one per 4 x 4 pixels; the pooled head a single value of
    either sign.
    """


class Encode(nn.Sequential):
    """Halve the image: 4x4 convolution of stride 2, norm, LeakyReLU, dropout."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: NormLayer, dropout: float) -> None:
        # A bias in front of a norm would be taken away again.
        layers: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, 4, 2, 1, bias=norm == "none")]
        layers += normalisation(norm, out_channels)
        layers += [nn.LeakyReLU(0.2)]
        layers += [nn.Dropout(dropout)] if dropout else []
        super().__init__(*layers)


class Decode(nn.Sequential):
    """Double the image: upsampling, norm, LeakyReLU, dropout."""

    def __init__(
        self, in_channels: int, out_channels: int, *, upsampling: Upsampling, norm: NormLayer, dropout: float
    ) -> None:
        layers: list[nn.Module] = [upsample(upsampling, in_channels, out_channels)]
        layers += normalisation(norm, out_channels)
        layers += [nn.LeakyReLU(0.2)]
        layers += [nn.Dropout(dropout)] if dropout else []
        super().__init__(*layers)


class PaperMaskHead(nn.Module):
    """Upsample to full size, then one 4x4 convolution; its output goes through a tanh in the paper."""

    def __init__(self, in_channels: int, width: int, upsampling: Upsampling) -> None:
        super().__init__()
        self.up = upsample(upsampling, in_channels, width)
        self.pad = nn.ZeroPad2d((1, 0, 1, 0))
        self.out = nn.Conv2d(width, 1, 4, padding=1)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        """Give logits: a tanh of x is a probability of sigmoid(2 x). The image itself is not looked at."""
        logits: Tensor = 2 * self.out(self.pad(self.up(features)))
        return logits


class DetailMaskHead(nn.Module):
    """Upsample to few channels at full size and let the image itself settle where the boundary runs."""

    def __init__(self, in_channels: int, width: int, upsampling: Upsampling) -> None:
        super().__init__()
        channels = max(4, width // 4)
        self.up = upsample(upsampling, in_channels, channels)
        self.detail = nn.Conv2d(1, channels, 3, padding=1)
        self.refine = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.out = nn.Conv2d(channels, 1, 1)
        self.act = nn.LeakyReLU(0.2)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        """Give logits."""
        x = self.act(torch.cat([self.up(features), self.detail(image)], 1))
        logits: Tensor = self.out(self.act(self.refine(x)))
        return logits


class FoldMaskHead(nn.Module):
    """Decide at half size, where the encoder's first map still tells pixels apart, on four of them per value, and fold.

    Few channels at full size are slow on every processor, and slower still to train.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        channels = max(8, width // 2)
        self.mix = nn.Conv2d(in_channels, width, 1)
        self.refine = nn.Conv2d(width, channels, 3, padding=1)
        self.out = nn.Conv2d(channels, 4, 1)
        self.act = nn.LeakyReLU(0.2)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        """Give logits. The image itself is not looked at."""
        return fold(self.out(self.act(self.refine(self.act(self.mix(features))))), 2)


class PooledCountHead(nn.Module):
    """The paper's: the deepest features pooled to 8x8, then one 8x8 convolution to one number.

    Pooling is written as two products with constant matrices, which is the same and can be exported.

    Args:
        in_channels: Channels of the deepest features.
        size: Their (rows, columns), the only ones that fit.
    """

    pool_rows: Tensor
    pool_columns: Tensor

    def __init__(self, in_channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.out = nn.Conv2d(in_channels, 1, 8)
        self.register_buffer("pool_rows", pooling_matrix(size[0], 8), persistent=False)
        self.register_buffer("pool_columns", pooling_matrix(size[1], 8), persistent=False)

    def forward(self, deepest: Tensor) -> Tensor:
        """Give a (n, 1, 1, 1) count map."""
        with torch.autocast(deepest.device.type, enabled=False):
            count: Tensor = self.out(self.pool_rows @ deepest.float() @ self.pool_columns.T)
            return count


class MapCountHead(nn.Module):
    """Ours: a non-negative count map at a quarter of the image's resolution, on the cells of the mask.

    A total does not say where its cells are, and a map that is free to choose puts them wherever the sum comes easiest:
    between the cells. Here a value is held back by the share of its pixels that the mask takes for background. The mask
    itself does not learn from this.

    Args:
        in_channels: Of the features at a quarter of the resolution.
        width: Channels in between.
        free: Leave out the mask: where it is not learned, it drifts, and would hold back whatever it comes upon.
    """

    def __init__(self, in_channels: int, width: int, *, free: bool) -> None:
        super().__init__()
        self.free = free
        self.mix = nn.Conv2d(in_channels, width, 1)
        self.act = nn.LeakyReLU(0.2)
        self.out = nn.Conv2d(width, 1, 1)
        nn.init.constant_(self.out.bias, -4.0)  # type: ignore[arg-type]  # a cell per 900 pixels of the mask to begin with

    def forward(self, features: Tensor, mask_logits: Tensor) -> Tensor:
        """Give a (n, 1, row / 4, column / 4) count map."""
        # Many small numbers are added up: float32 from here on, whatever the layers below ran in.
        cells = nn.functional.softplus(self.out(self.act(self.mix(features))).float())
        if self.free:
            return cells
        return cells * nn.functional.avg_pool2d(torch.sigmoid(mask_logits.detach()), STRIDE)


class Generator(nn.Module):
    """LFMMG: lightweight fast multi-scale-feature-fusion multi-task generator.

    An encoder halves the image ``depth`` times; a decoder of FBU blocks doubles it again, at each size concatenated
    with the encoder's map (the multi-scale feature fusion); one head gives the mask, one the count.

    Args:
        architecture: Width, depth, norm, heads; see :data:`PRESETS`.

    Raises:
        UsageError: When the pooled count head is not told the one size of its images.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        w, depth = a.width, a.depth
        widths = [min(2**k, 8) * w for k in range(depth)]
        inputs = [1, *widths[:-1]]
        self.encoder = nn.ModuleList(
            Encode(
                inputs[k],
                widths[k],
                norm="none" if k in (0, depth - 1) else a.norm,
                dropout=a.dropout if k >= depth - 2 else 0.0,
            )
            for k in range(depth)
        )
        outputs = [widths[k] for k in reversed(range(depth - 1))]
        deeper = [widths[-1], *(2 * channels for channels in outputs[:-1])]
        self.decoder = nn.ModuleList(
            Decode(
                deeper[k],
                outputs[k],
                upsampling=a.upsampling,
                norm=a.norm,
                dropout=a.dropout if k < 2 else 0.0,
            )
            for k in range(depth - 1)
        )
        self.mask_head: nn.Module
        match a.mask_head:
            case "fold":
                self.mask_head = FoldMaskHead(2 * w, w)
            case "detail":
                self.mask_head = DetailMaskHead(2 * w, w, a.upsampling)
            case "paper":
                self.mask_head = PaperMaskHead(2 * w, w, a.upsampling)
            case unknown_mask_head:
                assert_never(unknown_mask_head)
        self.count_head: nn.Module
        match a.count_head:
            case "map":
                self.count_head = MapCountHead(4 * w, w, free=False)
            case "free":
                self.count_head = MapCountHead(4 * w, w, free=True)
            case "pooled":
                if a.size is None or any(side < 1 or side % a.multiple for side in a.size):
                    raise UsageError(
                        f"architecture.size is {a.size}; the pooled count head is made for images of one size: "
                        f"give rows and columns, each a multiple of {a.multiple}"
                    )
                self.count_head = PooledCountHead(widths[-1], (a.size[0] // a.multiple, a.size[1] // a.multiple))
            case unknown_count_head:
                assert_never(unknown_count_head)

    def forward(self, image: Float[Tensor, "n 1 row column"]) -> Prediction:
        """Predict mask and count of normalised images whose sides are multiples of ``architecture.multiple``."""
        maps = []
        x = image
        for encode in self.encoder:
            x = encode(x)
            maps.append(x)
        deepest = maps.pop()
        at_quarter = deepest
        for decode in self.decoder:
            x = torch.cat([decode(x), maps.pop()], 1)
            if len(maps) == 1:
                at_quarter = x
        mask_logits = self.mask_head(x, image).float()
        if self.architecture.maps:
            return Prediction(mask_logits, self.count_head(at_quarter, mask_logits))
        return Prediction(mask_logits, self.count_head(deepest))


def upsample(kind: Upsampling, in_channels: int, out_channels: int) -> nn.Module:
    """Give a x2 upsampling: FBU, or one it is compared with.

    These are nearest and bilinear interpolation, then a 3x3 convolution; bilinear with a 1x1 convolution, which comes
    first, since the two can be exchanged and it is faster so; and the transposed convolution.
    """
    match kind:
        case "fbu":
            return FBU(in_channels, out_channels)
        case "transposed":
            return nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1, bias=False)
        case "nearest" | "bilinear":
            interpolate = nn.Upsample(scale_factor=2, mode=kind)
            return nn.Sequential(interpolate, nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False))
        case "bilinear-1x1":
            interpolate = nn.Upsample(scale_factor=2, mode="bilinear")
            return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), interpolate)
        case unknown:
            assert_never(unknown)


def normalisation(kind: NormLayer, channels: int) -> list[nn.Module]:
    """Give the layers of a norm: none, instance (of each image, not learned) or batch (fixed at inference)."""
    match kind:
        case "none":
            return []
        case "instance":
            return [nn.InstanceNorm2d(channels)]
        case "batch":
            return [nn.BatchNorm2d(channels)]
        case unknown:
            assert_never(unknown)


def pooling_matrix(size: int, bins: int) -> Float[Tensor, "{bins} {size}"]:
    """Give the matrix that averages ``size`` values into ``bins`` as adaptive average pooling does.

    >>> pooling_matrix(4, 2)
    tensor([[0.5000, 0.5000, 0.0000, 0.0000],
            [0.0000, 0.0000, 0.5000, 0.5000]])
    """
    matrix = torch.zeros(bins, size)
    for k in range(bins):
        start, stop = k * size // bins, -(-(k + 1) * size // bins)
        matrix[k, start:stop] = 1 / (stop - start)
    return matrix
