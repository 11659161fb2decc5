"""What the network sees of a plane: colour to grey, no data, the background at 0; and measures of what is seen."""

from elmgan.light.appearance import Appearance, Measure, Measuring, Ranges, appearance_of, diameter_of, ranges_of
from elmgan.light.grey import channel_left, plane_grey, to_grey
from elmgan.light.no_data import data_of
from elmgan.light.normalise import Cells, Grey, Normalisation, Stretch
from elmgan.light.see import Seen, see
from elmgan.light.survey import Surveyed, survey_plane

__all__ = [
    "Appearance",
    "Cells",
    "Grey",
    "Measure",
    "Measuring",
    "Normalisation",
    "Ranges",
    "Seen",
    "Stretch",
    "Surveyed",
    "appearance_of",
    "channel_left",
    "data_of",
    "diameter_of",
    "plane_grey",
    "ranges_of",
    "see",
    "survey_plane",
    "to_grey",
]
