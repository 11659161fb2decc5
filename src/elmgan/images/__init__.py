"""Files to planes and back: what a file holds, its planes read when asked, the view of them, and writing."""

from elmgan.images.header import image_size
from elmgan.images.read import EXTENSIONS, FoundImage, checked, find_images, name_one, read_image
from elmgan.images.reader import Reader, Scene
from elmgan.images.tile import Tile
from elmgan.images.view import View
from elmgan.images.write import write_labels, write_mask, write_png

__all__ = [
    "EXTENSIONS",
    "FoundImage",
    "Reader",
    "Scene",
    "Tile",
    "View",
    "checked",
    "find_images",
    "image_size",
    "name_one",
    "read_image",
    "write_labels",
    "write_mask",
    "write_png",
]
