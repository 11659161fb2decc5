"""What the network sees of a plane: colour to grey, no data, the background at 0; and measures of what is seen."""

from elmgan.light.appearance import Appearance, Measure, Ranges, appearance_of, diameter_of, ranges_of
from elmgan.light.grey import channel_left, plane_grey, to_grey
from elmgan.light.no_data import data_of
from elmgan.light.normalise import Cells, Grey, Normalisation, Stretch
from elmgan.light.see import Seen, see

__all__ = [
    "Appearance",
    "Cells",
    "Grey",
    "Measure",
    "Normalisation",
    "Ranges",
    "Seen",
    "Stretch",
    "appearance_of",
    "channel_left",
    "data_of",
    "diameter_of",
    "plane_grey",
    "ranges_of",
    "see",
    "to_grey",
]
