"""Files that appear whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from elmgan.errors import OutputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success it becomes ``path``, in one step, and otherwise it is gone.

    The temporary file is hidden, lies in the same folder, which is made where it is missing, and has the same suffix,
    by which many libraries choose the format. Only write within the block: an OSError there means a failed write.

    Raises:
        OutputError: the folder cannot be made or written to, the disk is full, or ``path`` is a folder.

    """
    temporary = path.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); make room or choose another output folder"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


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
