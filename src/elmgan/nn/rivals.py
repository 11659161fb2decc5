"""Other networks that train where LFMMG does: the same losses, the same steps, a count beside the mask."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from elmgan.models import Architecture
from elmgan.nn.baselines import Pix2Pix
from elmgan.nn.generator import Generator, PooledCountHead, Prediction
from elmgan.nn.unet import UNet


class Rival(Generator):
    """A network of others in the place of LFMMG, with LFMMG's pooled count head on its own deepest features.

    Args:
        architecture: Of the LFMMG whose place it takes; it gives the width and the one size of the images.
        network: Gives the mask from an image.
        halvings: How often it halves the image; an image is padded with 0 to what that takes.
        deepest: Channels of its deepest features.
        scale: Factor from its output to log-odds: 2 where the output goes through a tanh, which is -1..1.
    """

    def __init__(
        self, architecture: Architecture, network: UNet | Pix2Pix, *, halvings: int, deepest: int, scale: float
    ) -> None:
        nn.Module.__init__(self)  # none of LFMMG's own layers
        self.architecture = architecture
        self.network = network
        self.multiple = 1 << halvings
        self.scale = scale
        rows, columns = (-(-side // self.multiple) for side in architecture.size or (1, 1))
        self.count_head = PooledCountHead(deepest, (rows, columns))

    def forward(self, image: Float[Tensor, "n 1 row column"]) -> Prediction:
        """Predict mask and count of normalised images of the architecture's size."""
        rows, columns = image.shape[-2:]
        padded = F.pad(image, (0, -columns % self.multiple, 0, -rows % self.multiple))
        made, deepest = self.network.with_deepest(padded)
        return Prediction(self.scale * made[..., :rows, :columns].float(), self.count_head(deepest))


def unet(architecture: Architecture) -> Rival:
    """Give U-Net of the architecture's width at full size: 64 to 1024 channels for the paper's 64."""
    width = architecture.width
    return Rival(architecture, UNet(width), halvings=4, deepest=16 * width, scale=1.0)


def pix2pix(architecture: Architecture) -> Rival:
    """Give pix2pix's generator, of the architecture's width at its first level."""
    width = architecture.width
    return Rival(architecture, Pix2Pix(width=width), halvings=8, deepest=8 * width, scale=2.0)
