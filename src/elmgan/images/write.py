"""Masks, label images and pictures to files."""

from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from elmgan.files import whole_file


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write a (row, column) mask as uint8 TIFF, 0 background and 255 foreground.

    Raises:
        OutputError: the file cannot be written.

    """
    _write_tiff(path, np.where(mask, np.uint8(255), np.uint8(0)))


def write_labels(path: Path, labels: NDArray[np.uint32]) -> None:
    """Write a (row, column) label image as uint32 TIFF, 0 background and one number per cell.

    Raises:
        OutputError: the file cannot be written.

    """
    _write_tiff(path, labels.astype(np.uint32, copy=False))


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a picture, (row, column) grey or (row, column, 3) red, green, blue, as PNG.

    Raises:
        OutputError: the file cannot be written.

    """
    _, content = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
    with whole_file(path) as temporary:
        temporary.write_bytes(content.tobytes())


def _write_tiff(path: Path, image: NDArray) -> None:
    with whole_file(path) as temporary:
        tifffile.imwrite(temporary, image, photometric="minisblack", compression="zlib", metadata=None)
