"""What the samples of a TIFF page mean: colour, channels, alpha, no data."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC, TIFF, TiffPage

from elmgan.errors import ImageError
from elmgan.images.segments import JPEG

ALPHA = (1, 2)  # ExtraSamples: associated and unassociated alpha
COLOUR = (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR)
REFUSED_COLOURS: dict[int, str] = {
    PHOTOMETRIC.CIELAB: "CIELab colours",
    PHOTOMETRIC.ICCLAB: "CIELab colours",
    PHOTOMETRIC.ITULAB: "CIELab colours",
    PHOTOMETRIC.LOGL: "LogLuv colours",
    PHOTOMETRIC.LOGLUV: "LogLuv colours",
    PHOTOMETRIC.CFA: "the raw mosaic of a camera",
}
APERIO_YCBCR = 33003  # JPEG 2000 of YCbCr that is declared as RGB
GDAL_NODATA = 42113

Colouring = Callable[[NDArray], NDArray]
"""Turns stored samples, as (row, column, sample), into red, green and blue."""


def check_kind(page: TiffPage) -> None:
    """Refuse a page whose pixels are not grey values, RGB or what becomes that.

    Raises:
        ImageError: with the way out.
    """
    refused = REFUSED_COLOURS.get(page.photometric)
    if refused is not None:
        raise ImageError(f"has {refused}; save it as grey or RGB")
    if page.dtype is None:
        raise ImageError(
            f"has pixels of {page.bitspersample} bits in format {page.sampleformat}, which are not known; "
            "save it with 8, 16 or 32 bits"
        )
    if page.dtype.kind not in "biuf":
        raise ImageError(f"has pixels of type {page.dtype}, which are not grey values; save their absolute value")
    if min(page.shaped) < 1:
        raise ImageError("has no pixels; save it again")


def kept_samples(page: TiffPage) -> tuple[int, ...]:
    """Indices of the samples of a pixel without alpha.

    Raises:
        ImageError: There is none.
    """
    first_extra = page.samplesperpixel - len(page.extrasamples)
    alpha = {first_extra + index for index, kind in enumerate(page.extrasamples) if kind in ALPHA}
    kept = tuple(index for index in range(page.samplesperpixel) if index not in alpha)
    if not kept:
        raise ImageError("has pixels of no value but how opaque they are; save the image itself")
    return kept


def colouring(page: TiffPage, samples: int, *, measured: bool) -> Colouring | None:
    """Find what turns a page's samples into RGB; ``None`` where they are RGB, or no colour.

    Args:
        page: The page.
        samples: How many are kept.
        measured: A microscope's metadata are there: a palette is the colour of the display, and indices are the data.
    """
    if page.photometric == PHOTOMETRIC.PALETTE and samples == 1 and not measured:
        palette = page.colormap
        if palette is None or palette.ndim != 2 or len(palette) != 3 or _is_one_colour(palette):
            return None
        colours = (palette >> 8 if palette.max() > 255 else palette).astype(np.uint8).T
        return lambda indices: colours[indices[..., 0]]
    if page.photometric == PHOTOMETRIC.SEPARATED and samples == 4 and page.dtype in (np.uint8, np.uint16):
        return _cmyk_to_rgb
    packed_as_stored = page.compression not in JPEG and page.compression not in TIFF.IMAGE_COMPRESSIONS
    if samples == 3 and (
        (page.photometric == PHOTOMETRIC.YCBCR and packed_as_stored) or page.compression == APERIO_YCBCR
    ):
        if page.dtype != np.uint8:
            raise ImageError(f"has YCbCr colours of type {page.dtype}; save it as RGB")
        # OpenCV wants Cr before Cb.
        return lambda stored: cv2.cvtColor(np.ascontiguousarray(stored[..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB)
    return None


def _is_one_colour(palette: NDArray) -> bool:
    """Whether a palette shows larger numbers as more of one colour, grey among them."""
    amount = palette.sum(axis=0, dtype=np.float64)
    brightest = palette[:, amount.argmax()].astype(np.float64)
    expected = brightest[:, None] * (amount / max(amount.max(), 1))
    near = np.abs(palette - expected) <= 0.01 * max(palette.max(), 1)
    return bool(near.all() and (np.diff(amount) >= 0).all())


def _cmyk_to_rgb(inks: NDArray) -> NDArray:
    full = np.iinfo(inks.dtype).max
    light = (full - inks).astype(np.float32)
    return np.rint(light[..., :3] * (light[..., 3:] / full)).astype(inks.dtype)


def no_data_value(page: TiffPage) -> float | None:
    """Value of pixels that are no data, as GDAL writes it; ``None`` where there is none that a pixel can have."""
    text = page.tags.valueof(GDAL_NODATA)
    try:
        value = float(str(text).replace(",", "."))
    except ValueError:
        return None
    dtype = np.dtype(page.dtype)
    if dtype.kind == "f":
        return value if np.isfinite(value) else None
    if dtype.kind == "b":
        return None
    limits = np.iinfo(dtype)
    return value if value.is_integer() and limits.min <= value <= limits.max else None
