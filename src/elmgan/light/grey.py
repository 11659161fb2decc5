"""Colour to the one grey channel that the networks take."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.errors import ImageError
from elmgan.images import Plane, View, as_numbers
from elmgan.images.view import COLOURS
from elmgan.light.normalise import Grey

MOST_CHANNELS = 16
"""Longer axes of an array are rows and columns."""

STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
"""Optical densities for red, green and blue of haematoxylin, eosin and DAB.

Ruifrok & Johnston, Quantification of histochemical staining by color deconvolution, Anal. Quant. Cytol. Histol. 23
(2001) 291.
"""

RGB = 3
"""Channels of colour."""

STRIP = 256
"""Rows whose densities are computed at a time."""

DARKEST = 1 / 255
"""Share of the background's light below which no density is told apart: 8 bits hold no more."""

GLASS = 90
"""Percentile of the luminance from which pixels show the background of a stained slide."""


def to_grey(image: NDArray, *, channel: int | str | None = None) -> Grey:
    """Reduce an image of any numeric type to one channel, (row, column), without scaling its values.

    Single channels of uint8 and uint16 stay what they are; all else becomes float32. Pixels that are NaN or infinite
    become the least of the others.

    Three channels are red, green and blue and become the luminance 0.299 R + 0.587 G + 0.114 B of ITU-R BT.601.
    ``channel`` takes another view of them, or one of any number of channels:

    - a number, counted from 1: that channel.
    - ``luminance``, ``red``: of colour.
    - ``haematoxylin``: of colour, the density of the stain that makes nuclei of tissue blue, after Ruifrok & Johnston:
      the larger, the more stain. The background, taken from the brightest tenth of the image, is at 0; a colour that
      no mixture with eosin and DAB gives can be below it.

    >>> to_grey(np.array([[[100, 200, 50]]], dtype=np.uint8))
    array([[153.]], dtype=float32)

    Raises:
        ImageError: The image is empty, is not (row, column) or (row, column, channel), has no finite pixel, has no such
            channel, or has several channels that are not colour and none is named.
    """
    grey = with_gaps(image, channel)
    if grey.dtype.kind == "f" and not (finite := np.isfinite(grey)).all():
        grey = np.where(finite, grey, grey.min(where=finite, initial=np.inf))
    return grey


def with_gaps(image: NDArray, channel: int | str | None) -> Grey:
    """Reduce an image as :func:`to_grey` does, but leave pixels that are NaN or infinite as they are."""
    image = np.asarray(image)
    if image.ndim not in (2, 3) or image.size == 0:
        raise ImageError(f"an image has the shape (row, column) or (row, column, channel), not {image.shape}")
    if image.ndim == 3 and (image.shape[2] > MOST_CHANNELS or image.shape[0] < image.shape[2] != 3):
        raise ImageError(
            f"an image has the shape (row, column, channel); of {image.shape}, the last axis does not look like its "
            "channels: move those to the end, numpy.moveaxis(image, 0, -1), or give one plane of a stack at a time"
        )
    grey = one_channel(image, channel)
    if grey.dtype.kind == "f" and not np.isfinite(grey).any():
        raise ImageError("no pixel holds data: all are NaN or infinite")
    return grey


def one_channel(image: NDArray, channel: int | str | None) -> Grey:
    """Do what :func:`with_gaps` does with a part of an image, all of which may be gaps."""
    image = as_numbers(image)
    word = channel if isinstance(channel, str) else None
    channels = image.shape[2] if image.ndim == 3 else 1
    if isinstance(channel, int) and not 1 <= channel <= channels:
        raise ImageError(f"there is no channel {channel}; the image has {channels}, counted from 1")
    if image.ndim == 3 and (isinstance(channel, int) or channels == 1):
        image = np.ascontiguousarray(image[..., channel - 1 if isinstance(channel, int) else 0])
    if word is not None and word not in COLOURS:
        raise ImageError(f"there is no channel {word}; expected a number or one of {', '.join(COLOURS)}")
    if image.ndim == 2:
        if word not in (None, "luminance"):
            raise ImageError(f"the image is grey, and {word} is a view of colour: leave the channel out")
        return image if image.dtype in (np.uint8, np.uint16) else image.astype(np.float32, copy=False)
    if image.shape[2] != 3:
        raise ImageError(f"the image has {channels} channels; name one: channel=1..{channels} (--channel)")
    if word == "haematoxylin":
        return haematoxylin(image, _all_glass(image))
    red, green, blue = np.moveaxis(image.astype(np.float32, copy=False), -1, 0)
    if word == "red":
        return np.ascontiguousarray(red)
    # Weights that sum to 1, written so that a grey image saved as colour gives exactly its grey values.
    with np.errstate(invalid="ignore"):  # infinity less infinity
        luminance: NDArray[np.float32] = green + 0.299 * (red - green) + 0.114 * (blue - green)
    return luminance


def channel_left(view: View, pixels: NDArray) -> int | str | None:
    """Give what of a view's channel is still to be taken of a plane's pixels: nothing where they are one channel."""
    return view.channel if pixels.ndim == 3 else None


def plane_grey(plane: Plane, pixels: NDArray) -> Grey:
    """Reduce what was read of a plane to grey, as its view says: (row, column).

    Raises:
        ImageError: See :func:`to_grey`.
    """
    return to_grey(pixels, channel=channel_left(plane.view, pixels))


def haematoxylin(colour: NDArray, glass: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the density of haematoxylin in a (row, column, RGB) image; ``glass`` is the light of its background."""
    density = np.empty(colour.shape[:2], np.float32)
    if colour.dtype == np.uint8:  # a table of all values there are
        levels = np.repeat(np.arange(256, dtype=np.float32)[:, np.newaxis], RGB, axis=1)
        table = (densities_of(levels, glass) * unmixing()).astype(np.float32)
        np.take(table[:, 0], colour[..., 0], out=density, mode="clip")
        for k in range(1, RGB):
            density += table[:, k].take(colour[..., k])
        return density
    for top in range(0, len(colour), STRIP):
        some = slice(top, top + STRIP)
        density[some] = cv2.transform(densities_of(colour[some], glass), unmixing())
    return density


def densities_of(colour: NDArray, glass: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the optical densities of pixels for red, green and blue, which are on the last axis; no less than 8 bits."""
    share = colour.astype(np.float32, copy=False) / np.where(glass > 0, glass, 1)
    return np.asarray(-np.log10(np.maximum(share, np.float32(DARKEST))))


def glass_of(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the colour of the background of a stained slide, the median of its brightest tenth; pixels (pixel, RGB)."""
    brightness = pixels.mean(axis=1)
    brightest = pixels[brightness >= np.percentile(brightness, GLASS)]
    return np.asarray(np.median(brightest, axis=0), np.float32)


def _all_glass(colour: NDArray) -> NDArray[np.float32]:
    seen = colour[:: max(1, len(colour) // 512), :: max(1, colour.shape[1] // 512)].reshape(-1, 3).astype(np.float32)
    seen = seen[np.isfinite(seen).all(axis=1)]
    if not len(seen):
        raise ImageError("no pixel holds data: all are NaN or infinite")
    return glass_of(seen)


@cache
def unmixing() -> NDArray[np.float32]:
    """Give weights of the three densities that give the amount of haematoxylin; (1, 3)."""
    stains = np.array(STAINS)
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    return np.linalg.inv(stains)[:, :1].T.astype(np.float32)
