"""Files to planes and back: what a file holds, its planes read when asked, the view of them, and writing."""

from elmgan.images.arrays import ArrayReader, as_numpy, axis_names
from elmgan.images.find import Found, FoundImage, find_images, kinds_told
from elmgan.images.reader import Reader, Scene, endings, readers
from elmgan.images.source import (
    COLOUR_SAMPLES,
    PIXELS_ALLOWED,
    PIXELS_STREAMED,
    Plane,
    Source,
    array_source,
    as_numbers,
    channel_names,
    described,
    image_size,
    only_plane,
    open_image,
    read_every,
    read_image,
)
from elmgan.images.tile import Tile
from elmgan.images.view import COLOURS, View
from elmgan.images.write import (
    Pages,
    as_grey,
    packed_png,
    packed_tiff,
    write_image,
    write_labels,
    write_mask,
    write_png,
    write_tiles,
)

__all__ = [
    "COLOURS",
    "COLOUR_SAMPLES",
    "PIXELS_ALLOWED",
    "PIXELS_STREAMED",
    "ArrayReader",
    "Found",
    "FoundImage",
    "Pages",
    "Plane",
    "Reader",
    "Scene",
    "Source",
    "Tile",
    "View",
    "array_source",
    "as_grey",
    "as_numbers",
    "as_numpy",
    "axis_names",
    "channel_names",
    "described",
    "endings",
    "find_images",
    "image_size",
    "kinds_told",
    "only_plane",
    "open_image",
    "packed_png",
    "packed_tiff",
    "read_every",
    "read_image",
    "readers",
    "write_image",
    "write_labels",
    "write_mask",
    "write_png",
    "write_tiles",
]
