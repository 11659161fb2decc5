"""From files to arrays and back: read images, bring them to the networks' grey values, flag bad ones, write results."""

from elmgan.imaging.appearance import Appearance, Measure, Ranges, appearance_of, ranges_of
from elmgan.imaging.flags import flags_of
from elmgan.imaging.header import image_size
from elmgan.imaging.normalise import Grey, Normalisation, Stretch
from elmgan.imaging.read import EXTENSIONS, FoundImage, find_images, read_image, to_grey
from elmgan.imaging.write import whole_file, write_labels, write_mask, write_png

__all__ = [
    "EXTENSIONS",
    "Appearance",
    "FoundImage",
    "Grey",
    "Measure",
    "Normalisation",
    "Ranges",
    "Stretch",
    "appearance_of",
    "find_images",
    "flags_of",
    "image_size",
    "ranges_of",
    "read_image",
    "to_grey",
    "whole_file",
    "write_labels",
    "write_mask",
    "write_png",
]
