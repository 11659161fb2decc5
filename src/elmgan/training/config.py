"""The one configuration of a training run: shipped ones, files and ``--set``, checked as a whole."""

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveFloat,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from elmgan.errors import ConfigError
from elmgan.images import View
from elmgan.light import Normalisation
from elmgan.models import Architecture
from elmgan.models.schema import BoundedNormalisation, ModelName, Seed, ShortText, Text
from elmgan.nn.discriminator import DiscriminatorNorm
from elmgan.nn.generator import PRESETS
from elmgan.nn.loss import LossWeights
from elmgan.strict import Strict

WINDOW_GRID = 16
"""Windows and margins keep to multiples of this: the coarsest count map, the discriminator's, has values this wide."""


BALANCE = "balance"
"""Chooses by mask and count together; see :meth:`elmgan.training.validation.Validation.score`."""

LAST_EPOCH = "last"
"""Chooses nothing, for want of validation images that could: the weights of the last epoch are kept."""


def low_to_high(ends: tuple[float, float]) -> tuple[float, float]:
    """Check that a range does not run backwards."""
    if ends[0] > ends[1]:
        raise ValueError("must run from low to high")
    return ends


Range = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(low_to_high)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class DiscriminatorOptions(Strict):
    """The discriminator and when it takes part."""

    width: int = Field(64, ge=1)
    norm: DiscriminatorNorm = "instance"
    start: float = Field(0.0, ge=0, le=1, description="share of the epochs before it joins")
    learning_rate: float = Field(1e-4, gt=0)


class DataOptions(Strict):
    """What a step sees."""

    validation: float = Field(0.2, gt=0, lt=1, description="share of the images kept for validation")
    calibration: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of the other images with a count kept to measure how sure counts are, if that gives 20",
    )
    tile: int | None = Field(
        None,
        ge=64,
        multiple_of=WINDOW_GRID,
        description="side of square windows, pixels; whole images when absent. Needs instance labels",
    )
    squares: int | None = Field(
        None,
        ge=WINDOW_GRID,
        multiple_of=WINDOW_GRID,
        description="side of the squares of a tile whose totals are learned beside the tile's, pixels",
    )
    margin: int = Field(
        32, ge=0, multiple_of=WINDOW_GRID, description="border of a window that is seen but not counted, pixels"
    )
    balance: float = Field(
        0, ge=0, le=1, description="0: tiles of every image are as likely, 1: of every kind; between by powers"
    )
    overhang: int = Field(32, ge=0, description="how far a window may reach beyond the image, pixels")
    pixels: int = Field(
        4 * 1024**2,
        ge=1,
        description="pixels that go through the networks at once, at 0.3 (small) to 1.2 kB (paper) of memory each; "
        "what is more is accumulated, single images by tiles",
    )
    synthetic: int = Field(0, ge=0, description="synthetic images drawn beside the data set's")
    synthetic_share: float = Field(0.2, ge=0, le=1, description="share of the windows that come from them")

    @model_validator(mode="after")
    def _margin_leaves_a_core(self) -> Self:
        if self.tile is not None and 2 * self.margin >= self.tile:
            raise ValueError(f"margin must be under half of tile ({self.tile}), is {self.margin}")
        return self

    @model_validator(mode="after")
    def _squares_fill_the_tile(self) -> Self:
        if self.squares is not None and (self.tile is None or self.tile % self.squares or self.tile**2 > self.pixels):
            raise ValueError(
                f"squares must divide the side of tiles of at most data.pixels ({self.pixels}) pixels, is "
                f"{self.squares} with a tile of {self.tile}"
            )
        return self


class Augmentation(Strict):
    """Random changes to windows; they never change what the annotation says."""

    flips: bool = True
    zoom: Range = (1.0, 1.0)
    gain: Range = (1.0, 1.0)
    gamma: Range = Field((1.0, 1.0), description="powers of the grey values; below 1 the dim cells get brighter")
    offset: float = Field(0.0, ge=0, description="largest shift of the background")
    shading: float = Field(0.0, ge=0, description="largest standard deviation of a smooth uneven background")
    noise: float = Field(0.0, ge=0, description="largest standard deviation of added noise")
    blur: float = Field(0.0, ge=0, description="largest standard deviation of added blur, pixels")
    invert: float = Field(0.0, ge=0, le=1, description="share of windows with bright and dark exchanged")
    mosaic: float = Field(
        0.0, ge=0, le=1, description="share of steps whose whole images of one size are glued, four or two to a window"
    )


class Optimisation(Strict):
    """How weights move."""

    epochs: int = Field(100, ge=1)
    steps: int | None = Field(None, ge=1, description="steps of an epoch; by default each image once")
    batch: int = Field(1, ge=1)
    optimiser: Literal["adam", "adamw"] = "adam"
    learning_rate: float = Field(1e-4, gt=0)
    betas: tuple[Decay, Decay] = (0.5, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "onecycle"] = "constant"
    fix_norm: float = Field(
        1.0, ge=0, le=1, description="share of the steps from which batch norms use fixed statistics, as in counting"
    )
    clip: float | None = Field(None, gt=0, description="largest norm of the generator's gradient")
    ema: float | None = Field(None, gt=0, lt=1, description="decay of the averaged weights that are validated and kept")
    choose_by: Literal["balance", "dice", "mae", "rmse", "last"] = Field(
        "balance", description="validation score that chooses the best epoch, balance being of mask and count; or last"
    )
    patience: int | None = Field(None, ge=1, description="epochs without a better one after which training stops")
    precision: Literal["auto", "fp32", "bf16"] = "auto"


def words_for_yaml(value: object) -> object:
    """Take on and off for words, which are true and false to YAML."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def none_for_auto(value: object) -> object:
    """Take auto for none."""
    return None if value == "auto" else value


class MachineOptions(Strict):
    """How a run is computed. It changes nothing of the result, but for the rounding of compiled steps.

    A run may go on with other values than it was begun with.
    """

    workers: Annotated[int | None, BeforeValidator(none_for_auto)] = Field(
        None,
        ge=0,
        le=64,
        description="processes that render windows, 0 for a thread; by default 0, and beside a GPU half the cores, at "
        "most 8",
    )
    compile: Annotated[Literal["auto", "on", "off"], BeforeValidator(words_for_yaml)] = Field(
        "auto", description="compile the step for sizes that come often. auto: on a GPU, where a process trains alone"
    )
    memory: Annotated[int | None, BeforeValidator(none_for_auto)] = Field(
        None,
        ge=1,
        description="megabytes of decoded images from which they lie in a file in the temporary folder; by default "
        "half of the memory that is free",
    )


class TrainingConfig(Strict):
    """Everything that decides a run beside the data."""

    name: ModelName = "model"
    description: Text = ""
    seed: Seed = 0
    start: ShortText = Field("", description="version of the model that training starts from; set by --from")
    view: View = Field(View(), description="how images are shown to the network; the model keeps it")
    axes: str | None = Field(None, max_length=10, description="what the axes of images mean that do not say so")
    architecture: Architecture = PRESETS["base"]
    normalisation: BoundedNormalisation = Normalisation()
    discriminator: DiscriminatorOptions | None = DiscriminatorOptions()
    loss: LossWeights = LossWeights()
    data: DataOptions = DataOptions()
    augmentation: Augmentation = Augmentation()
    optimisation: Optimisation = Optimisation()
    samples_every: int = Field(5, ge=1, description="epochs between sample pictures")
    machine: MachineOptions = MachineOptions()

    # Field by field, so that they are checked although other sections may have faults.
    @field_validator("data")
    @classmethod
    def _tile_fits_the_network(cls, data: DataOptions, info: ValidationInfo) -> DataOptions:
        architecture: Architecture | None = info.data.get("architecture")  # absent when it has faults
        if architecture and data.tile:
            if architecture.count_head == "pooled":
                raise ValueError("tile must be absent: the pooled count head sees whole images of one size")
            if data.tile % architecture.multiple:
                raise ValueError(f"tile must be a multiple of {architecture.multiple}, is {data.tile}")
        least = (architecture.multiple + 2 * architecture.halo) ** 2 if architecture and architecture.tiles else 1
        if data.pixels < least:
            raise ValueError(f"pixels must be at least {least}, the smallest tile with its halo; is {data.pixels}")
        return data

    @field_validator("augmentation")
    @classmethod
    def _sizes_fit_the_network(cls, augmentation: Augmentation, info: ValidationInfo) -> Augmentation:
        architecture: Architecture | None = info.data.get("architecture")
        if architecture and architecture.count_head == "pooled":
            if augmentation.zoom != (1, 1):
                raise ValueError("zoom must be 1, 1: the pooled count head sees whole images of one size")
            if augmentation.mosaic:
                raise ValueError("mosaic must be 0: the pooled count head sees whole images of one size")
        return augmentation

    @field_validator("augmentation")
    @classmethod
    def _mosaics_are_of_whole_images(cls, augmentation: Augmentation, info: ValidationInfo) -> Augmentation:
        data: DataOptions | None = info.data.get("data")
        if data and data.tile and augmentation.mosaic:
            raise ValueError(f"mosaic must be 0: whole images are glued, and data.tile is {data.tile}")
        return augmentation


def shipped_configs() -> list[str]:
    """Name the configurations that come with the program."""
    return sorted(path.name.removesuffix(".yaml") for path in configs().iterdir() if path.name.endswith(".yaml"))


def configs() -> Traversable:
    """Give the folder of the shipped configurations."""
    return resources.files("elmgan.training") / "configs"


def name_of(run: Path) -> str:
    """Name a model after the folder of its run, as far as a name may be so.

    >>> name_of(Path("runs/my cells")), name_of(Path("-zellen-ä")), name_of(Path("/"))
    ('my-cells', 'zellen', 'model')
    """
    letters = re.sub(r"[^A-Za-z0-9._-]+", "-", run.resolve().name).strip("._-")
    return letters[:100] or "model"


def read_config(name_or_path: str | Path | None = None, settings: list[str] | None = None) -> TrainingConfig:
    """Build a configuration from a shipped one or a YAML file, changed by ``key=value`` settings.

    Args:
        name_or_path: A name out of :func:`shipped_configs`, or a file; ``base`` when absent.
        settings: Such as ``optimisation.epochs=20``; values are YAML.

    Raises:
        ConfigError: When there is no such configuration, or naming every fault in it by the key as the user writes it.
    """
    name_or_path = name_or_path or "base"
    if str(name_or_path) in shipped_configs():
        text = (configs() / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    else:
        try:
            text = Path(name_or_path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{name_or_path} is neither a readable file nor one of {', '.join(shipped_configs())}"
            ) from error
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{name_or_path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{name_or_path}: expected keys and values, found {type(values).__name__}")
    faults = [fault for setting in settings or [] if (fault := apply_setting(values, setting))]
    try:
        config = TrainingConfig.model_validate(values)
    except ValidationError as error:
        faults += [describe_fault(fault) for fault in error.errors()]
    if faults:
        raise ConfigError(f"faults in the configuration {name_or_path}:\n  " + "\n  ".join(faults))
    return config


def apply_setting(values: dict[str, Any], setting: str) -> str | None:
    """Put one ``key=value`` into nested values; give the fault if it is not one."""
    key, equals, text = setting.partition("=")
    if not equals or not key:
        return f"--set {setting}: expected key=value, such as optimisation.epochs=20"
    *parents, last = key.split(".")
    place = values
    for parent in parents:
        if place.get(parent) is None:  # absent, or switched off with null
            place[parent] = {}
        below = place[parent]
        if not isinstance(below, dict):
            return f"--set {setting}: {parent} has no keys below it"
        place = below
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        return f"--set {setting}: {text!r} is not a value"
    return None


def describe_fault(fault: Any) -> str:
    """Say one of pydantic's faults by the key that the user wrote."""
    key = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        return f"{key}: there is no such key"
    if fault["type"] == "model_type":
        message = "expected keys and values"
    elif isinstance(fault["input"], dict) and fault["type"] == "value_error":
        return f"{key}.{message}"  # of a section as a whole: the message begins with the key in it
    return f"{key}: {message[0].lower()}{message[1:]} (found {fault['input']!r})"


def dump_config(config: TrainingConfig) -> str:
    """Write a configuration as YAML that :func:`read_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
