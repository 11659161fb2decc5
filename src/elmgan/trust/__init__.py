"""How far a count can be trusted: intervals, nearness, flags. Pure mathematics on measures and counts."""

from elmgan.trust.calibration import cross_validate, resplits
from elmgan.trust.flags import (
    ADVICE,
    MEANING,
    OF_COUNT,
    REMEDY,
    PixelTally,
    darkness_told,
    flags_by,
    flags_of,
    other_size_told,
)
from elmgan.trust.interval import FEWEST, LEVEL, Calibration, spread
from elmgan.trust.nearness import ImagePlace, KnownImages

__all__ = [
    "ADVICE",
    "FEWEST",
    "LEVEL",
    "MEANING",
    "OF_COUNT",
    "REMEDY",
    "Calibration",
    "ImagePlace",
    "KnownImages",
    "PixelTally",
    "cross_validate",
    "darkness_told",
    "flags_by",
    "flags_of",
    "other_size_told",
    "resplits",
    "spread",
]
