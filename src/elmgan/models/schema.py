"""What model.json says: architecture, preprocessing, calibration, scores and where the weights come from."""

from collections.abc import Collection
from typing import Annotated, Any, Literal, assert_never

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from elmgan.images import View
from elmgan.light import Normalisation
from elmgan.light.appearance import Measure
from elmgan.strict import Strict
from elmgan.trust import Calibration

FORMAT = 2
"""Version of model.json that this program writes; it reads this one and older ones."""

STRIDE = 4
"""Pixels along one side of a value of a count map."""


Learned = tuple[Literal["mask", "count"], ...]
"""Which of the two a model learned. Its network gives both, but what it never saw an example of means nothing."""


# Words of an architecture. Every one has its branch where it is used; a word without one is an error, never another.
Norm = Literal["batch", "instance"]
Upsampling = Literal["fbu", "nearest", "bilinear", "bilinear-1x1", "transposed"]
MaskHead = Literal["fold", "detail", "paper"]
CountHead = Literal["map", "free", "pooled"]


def shortcoming(learned: Collection[str]) -> str:
    """Say in words for people what a model that learned only one of the two lacks; nothing if it learned both.

    >>> shortcoming(["count"])
    'this model learned counts alone: it gives no masks and separates no cells'
    """
    if "count" not in learned:
        return "this model learned masks alone and cannot count: objects are the separated regions"
    if "mask" not in learned:
        return "this model learned counts alone: it gives no masks and separates no cells"
    return ""


# A model may come from anywhere: every number and text of model.json has bounds, far above what models have.
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
ShortText = Annotated[str, Field(max_length=1000)]
Text = Annotated[str, Field(max_length=100_000)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]
Side = Annotated[int, Field(ge=1, le=1 << 16)]
Amount = Annotated[float, Field(ge=-1e100, le=1e100)]


def _bounded(normalisation: Normalisation) -> Normalisation:
    for name, value in normalisation:
        if not abs(value) <= MOST_NORMALISED:
            raise ValueError(f"{name} is {value}; expected at most {MOST_NORMALISED:g}")
    return normalisation


MOST_NORMALISED = 1e6
"""The largest number of a normalisation."""

BoundedNormalisation = Annotated[Normalisation, AfterValidator(_bounded)]


class Architecture(Strict):
    """A generator, completely: enough to build it and to run it.

    The network halves the image ``depth`` times, so the sides of its input are multiples of ``multiple``. It gives two
    arrays: the probability of cell per pixel, and a count map whose sum is the count. The ``map`` head's
    count map has one value per ``stride`` x ``stride`` pixels, on the cells of the mask; that of the ``free`` head is
    the same without regard to the mask, for totals alone. With the ``pooled`` head of the paper it is a single value,
    made for one image size.
    """

    width: int = Field(32, ge=1, le=256, description="channels of the first encoder block")
    depth: int = Field(6, ge=3, le=8, description="encoder blocks, each halving the image")
    norm: Norm = "batch"
    dropout: float = Field(0.0, ge=0, lt=1, description="in the deepest blocks, as in the paper")
    upsampling: Upsampling = "fbu"
    mask_head: MaskHead = "fold"
    count_head: CountHead = "map"
    size: tuple[Side, Side] | None = Field(None, description="(rows, columns) of the only input the pooled head takes")

    @field_validator("size")
    @classmethod
    def _only_the_pooled_head_has_a_size(
        cls, size: tuple[int, int] | None, info: ValidationInfo
    ) -> tuple[int, int] | None:
        if size is not None and info.data.get("count_head", "pooled") != "pooled":
            raise ValueError(f"size is {size}; the count map takes images of any size and has none")
        return size

    @property
    def multiple(self) -> int:
        """Sides of the network's input are multiples of this many pixels."""
        return 1 << self.depth

    @property
    def stride(self) -> int:
        """Pixels along one side of a value of the count map (heads ``map`` and ``free``)."""
        return STRIDE

    @property
    def halo(self) -> int:
        """Pixels of context that decide an output pixel, rounded up to ``multiple``: what tiles must overlap.

        The encoder sees 1.5 times ``multiple`` to a side; upsampling that looks at neighbours adds to it at each size.
        """
        match self.upsampling:
            case "fbu":
                return 2 * self.multiple
            case "nearest" | "bilinear-1x1" | "transposed":
                return 3 * self.multiple
            case "bilinear":
                return 4 * self.multiple
            case unknown:
                assert_never(unknown)

    @property
    def maps(self) -> bool:
        """Whether the count is the sum of a map, rather than one number for images of one size."""
        match self.count_head:
            case "map" | "free":
                return True
            case "pooled":
                return False
            case unknown:
                assert_never(unknown)

    @property
    def tiles(self) -> bool:
        """Whether tiles of an image give what the whole image gives: no statistics over the image, a spatial count."""
        match self.norm:
            case "batch":
                return self.maps
            case "instance":
                return False
            case unknown:
                assert_never(unknown)


class TrainingData(Strict):
    """One source of the weights."""

    name: Text
    licence: Text
    images: int = Field(ge=0, le=10**12)


DECIDING = ("architecture", "learned", "normalisation", "threshold", "view", "calibration")
"""Fields of model.json that decide a count, together with the network: another value is another version of the model.

The other fields tell people what the model is, or raise flags.
"""


class ModelCard(Strict):
    """The content of model.json."""

    format: int = Field(ge=1, le=FORMAT, description="version of model.json")
    name: ModelName
    description: Text = ""
    created: ShortText
    elmgan: ShortText
    architecture: Architecture
    learned: Learned = Field(
        min_length=1, max_length=2, description="what the training data told: masks, counts or both"
    )
    normalisation: BoundedNormalisation
    threshold: float = Field(0.5, gt=0, lt=1, description="probability from which a pixel is cell")
    calibration: Calibration | None = Field(None, description="correction and interval; null when there are none")
    data: list[TrainingData] = Field(max_length=10_000)
    training: dict[Measure, tuple[Amount, Amount]] = Field(
        {}, description="measure -> its range in the training images; flags are raised beyond it"
    )
    view: View | None = Field(None, description="how images were shown when it was trained or calibrated")
    seed: Seed
    scores: dict[Text, dict[ShortText, Amount]] = Field(
        description="validation set -> score -> value", max_length=100_000
    )
    hashes: dict[ShortText, ShortText] = Field(description="file of the bundle -> SHA-256", max_length=100)

    def deciding(self) -> dict[str, Any]:
        """Give what of the card decides a count, as JSON."""
        return self.model_dump(mode="json", include=set(DECIDING))

    @property
    def segments(self) -> bool:
        """Whether the model learned masks."""
        return "mask" in self.learned

    @property
    def counts(self) -> bool:
        """Whether the model learned counts."""
        return "count" in self.learned

    # Not of Architecture itself: until training has seen its data, the pooled head's size is open.
    @field_validator("architecture")
    @classmethod
    def _pooled_head_has_its_size(cls, architecture: Architecture) -> Architecture:
        size, multiple = architecture.size, architecture.multiple
        fits = size is not None and all(side > 0 and side % multiple == 0 for side in size)
        if architecture.count_head == "pooled" and not fits:
            raise ValueError(f"size is {size}; the pooled head needs rows and columns, each a multiple of {multiple}")
        return architecture
