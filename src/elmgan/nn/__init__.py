"""The networks and losses of ELMGAN in PyTorch: FBU, generator LFMMG, discriminator CMTD, NH loss; their baselines."""

from elmgan.nn.baselines import FullyConnected, Pix2Pix
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
from elmgan.nn.weights import load_weights

__all__ = [
    "FBU",
    "PRESETS",
    "Discriminator",
    "FullyConnected",
    "Generator",
    "Judgement",
    "Known",
    "LossWeights",
    "Pix2Pix",
    "Prediction",
    "Sums",
    "Targets",
    "TorchEngine",
    "UNet",
    "adversarial_loss",
    "discriminator_loss",
    "fold",
    "generator_loss",
    "load_weights",
    "sums_of",
    "totals_in",
    "unfold",
]
