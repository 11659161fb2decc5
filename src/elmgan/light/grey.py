"""Colour to the one grey channel that the networks take."""

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import ImageError
from elmgan.images import Plane, as_numbers
from elmgan.light.normalise import Grey


def to_grey(image: NDArray, *, channel: int | str | None = None) -> Grey:
    """Reduce an image of any numeric type to one channel, (row, column), without scaling its values.

    Single channels of uint8 and uint16 stay what they are; all else becomes float32.
    Three channels are red, green and blue and become the luminance 0.299 R + 0.587 G + 0.114 B of ITU-R BT.601;
    ``channel``, counted from 1, takes that one instead.

    >>> to_grey(np.array([[[100, 200, 50]]], dtype=np.uint8))
    array([[153.]], dtype=float32)

    Raises:
        ImageError: the image is empty, is not (row, column) or (row, column, channel), has NaN or infinite pixels, or
            has several channels that are not colour and none is named.

    """
    image = as_numbers(np.asarray(image))
    if image.ndim not in (2, 3) or image.size == 0:
        raise ImageError(f"an image has the shape (row, column) or (row, column, channel), not {image.shape}")
    if image.ndim == 3 and isinstance(channel, int):
        image = image[..., channel - 1]
    if not np.isfinite(image).all():
        raise ImageError("some pixels are NaN or infinite; replace them by numbers first")
    if image.ndim == 2:
        return image if image.dtype in (np.uint8, np.uint16) else image.astype(np.float32, copy=False)
    if image.shape[2] != 3:
        raise ImageError(f"the image has {image.shape[2]} channels; name one: channel=1..{image.shape[2]}")
    red, green, blue = np.moveaxis(image.astype(np.float32, copy=False), -1, 0)
    # Weights that sum to 1, written so that a grey image saved as colour gives exactly its grey values.
    luminance: NDArray[np.float32] = green + 0.299 * (red - green) + 0.114 * (blue - green)
    return luminance


def plane_grey(plane: Plane, pixels: NDArray) -> Grey:
    """Reduce what was read of a plane to grey, as its view says: (row, column).

    Raises:
        ImageError: See :func:`to_grey`.
    """
    return to_grey(pixels, channel=plane.view.channel if pixels.ndim == 3 else None)
