"""How far a count can be trusted: intervals, flags. Pure mathematics on measures and counts."""

from elmgan.trust.calibration import cross_validate, resplits
from elmgan.trust.flags import ADVICE, flags_of
from elmgan.trust.interval import FEWEST, LEVEL, Calibration, spread

__all__ = [
    "ADVICE",
    "FEWEST",
    "LEVEL",
    "Calibration",
    "cross_validate",
    "flags_of",
    "resplits",
    "spread",
]
