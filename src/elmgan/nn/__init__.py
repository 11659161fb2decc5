"""The networks and losses of ELMGAN in PyTorch: FBU, generator LFMMG, discriminator CMTD, NH loss, the plain U-Net."""

from elmgan.nn.discriminator import Discriminator, Judgement
from elmgan.nn.engine import TorchEngine
from elmgan.nn.fbu import FBU, fold, unfold
from elmgan.nn.generator import PRESETS, Generator, Prediction
from elmgan.nn.loss import (
    Known,
    LossWeights,
    Sums,
    Targets,
    adversarial_loss,
    discriminator_loss,
    generator_loss,
    sums_of,
    totals_in,
)
from elmgan.nn.unet import UNet

__all__ = [
    "FBU",
    "PRESETS",
    "Discriminator",
    "Generator",
    "Judgement",
    "Known",
    "LossWeights",
    "Prediction",
    "Sums",
    "Targets",
    "TorchEngine",
    "UNet",
    "adversarial_loss",
    "discriminator_loss",
    "fold",
    "generator_loss",
    "sums_of",
    "totals_in",
    "unfold",
]
