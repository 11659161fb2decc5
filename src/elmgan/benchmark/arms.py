"""The arms of the accuracy benchmark: the paper's preset, and what changes one thing of it each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elmgan.errors import UsageError
from elmgan.models import Architecture
from elmgan.nn.generator import Generator
from elmgan.nn.rivals import pix2pix, unet


@dataclass(frozen=True)
class Arm:
    """One way to train, or not to.

    Attributes:
        name: On the command line and in files.
        told: What it is, for tables.
        settings: What differs from the preset ``paper``, as ``key=value``.
        build: Makes the network.
        learns: False for what is not trained.
        grid: Belongs to the grid that is trained and scored on a fold's training images alone.
    """

    name: str
    told: str
    settings: tuple[str, ...] = ()
    build: Callable[[Architecture], Generator] = Generator
    learns: bool = True
    grid: bool = False


FULL, OTSU, GRID_FULL = "full", "otsu", "grid-full"
"""Arms that others are compared with: the whole method, nothing learned, where the grid began."""

NO_DISCRIMINATOR = "discriminator=null"


def of_grid(name: str, told: str, *settings: str) -> Arm:
    """Give an arm of the grid, which began where CMTD's count weighs 0.01; the preset has what it found."""
    return Arm(name, told, ("loss.coordination=0.01", *settings), grid=True)


EVERY_ARM = (
    Arm(FULL, "the preset paper"),
    Arm("no-discriminator", "without CMTD", (NO_DISCRIMINATOR,)),
    Arm("no-count-output", "CMTD without its count", ("loss.coordination=0",)),
    Arm("l2-alone", "L2 and squared error alone, in place of NH", ("loss.mask_norm=l2", NO_DISCRIMINATOR)),
    Arm("l2", "L2 in place of L1 for the mask", ("loss.mask_norm=l2",)),
    Arm("no-count", "without the count's term", ("loss.count=0",)),
    Arm("no-mask", "without the mask's term", ("loss.mask=0",)),
    Arm("nearest", "nearest and 3×3 in place of FBU", ("architecture.upsampling=nearest",)),
    Arm("bilinear", "bilinear and 1×1 in place of FBU", ("architecture.upsampling=bilinear-1x1",)),
    Arm("transposed", "transposed 4×4 in place of FBU", ("architecture.upsampling=transposed",)),
    Arm("count-map", "a count map in place of the pooled head", ("architecture.count_head=map",)),
    Arm("batch-norm", "batch in place of instance norm", ("architecture.norm=batch",)),
    Arm("unet", "U-Net in place of LFMMG", build=unet),
    Arm("unet-alone", "U-Net, without CMTD", (NO_DISCRIMINATOR,), build=unet),
    Arm("pix2pix", "pix2pix's generator in place of LFMMG", build=pix2pix),
    Arm(OTSU, "Otsu + watershed, nothing learned", learns=False),
    of_grid(GRID_FULL, "CMTD's count weighs 0.01"),
    of_grid("grid-no-discriminator", "without CMTD", NO_DISCRIMINATOR),
    of_grid("grid-count-1", "CMTD's count weighs 1", "loss.coordination=1"),
    of_grid("grid-count-0.1", "CMTD's count weighs 0.1", "loss.coordination=0.1"),
    of_grid("grid-count-0.001", "CMTD's count weighs 0.001", "loss.coordination=0.001"),
    of_grid("grid-slow", "CMTD learns at a tenth of the rate", "discriminator.learning_rate=0.00001"),
    of_grid("grid-fast", "CMTD learns at four times the rate", "discriminator.learning_rate=0.0004"),
    of_grid("grid-light", "CMTD's adversarial term weighs 0.1", "loss.adversarial=0.1"),
    of_grid("grid-late", "CMTD joins at half of the epochs", "discriminator.start=0.5"),
    of_grid("grid-no-norm", "CMTD without instance norm", "discriminator.norm=none"),
    of_grid("grid-relative", "counts compared relatively", "loss.count_norm=relative", "loss.coordination=1"),
    of_grid("grid-balance", "the count's term weighs 0.01", "loss.count=0.01"),
)

ARMS = {arm.name: arm for arm in EVERY_ARM}
"""By name, in the order in which they are run."""


GRID_ARMS = [arm.name for arm in EVERY_ARM if arm.grid]


def reference(arm: Arm) -> Arm:
    """Give the arm that another one is compared with."""
    return ARMS[GRID_FULL if arm.grid else FULL]


def chosen_arms(names: Sequence[str] | None) -> list[Arm]:
    """Give arms by name, in the order given; ``grid`` stands for all of the grid, and the others are the default.

    Raises:
        UsageError: A name is not known.
    """
    if names is None:
        return [arm for arm in EVERY_ARM if not arm.grid]
    names = [each for name in names for each in (GRID_ARMS if name == "grid" else [name])]
    if unknown := [name for name in names if name not in ARMS]:
        raise UsageError(f"--arms has {', '.join(unknown)}; there are: grid, {', '.join(ARMS)}")
    return [ARMS[name] for name in dict.fromkeys(names)]
