"""What the network sees of a plane: colour to grey, the background at 0; and measures of what is seen."""

from elmgan.light.appearance import Appearance, Measure, Ranges, appearance_of, ranges_of
from elmgan.light.grey import plane_grey, to_grey
from elmgan.light.normalise import Grey, Normalisation, Stretch

__all__ = [
    "Appearance",
    "Grey",
    "Measure",
    "Normalisation",
    "Ranges",
    "Stretch",
    "appearance_of",
    "plane_grey",
    "ranges_of",
    "to_grey",
]
