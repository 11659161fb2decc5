"""Warnings beside a count: images that it should not be trusted on without a look."""

import numpy as np
from numpy.typing import NDArray

SENSOR_BITS = (8, 10, 12, 14, 16)
"""Depths of cameras and files, whose data often lie in a wider type."""

SATURATED_SHARE = 0.01


def flags_of(image: NDArray, mask: NDArray[np.bool_] | None) -> tuple[str, ...]:
    """Name what is suspicious about an image, as read and finite, of which ``mask`` (row, column) is the foreground.

    ``None`` where the foreground is not known: the image is not called empty then, and is judged as a whole.

    - ``empty``: the mask has no foreground.
    - ``saturated``: more than 1 % of the foreground is at the ceiling, in any channel, and no less than of the
      background; where there is no foreground, more than 1 % of the image. The ceiling is the image's largest value, if
      that is the largest of its type or 2^k - 1 for k of 8, 10, 12, 14, 16 (or 1, for floats). The white background of
      a bright-field image is as it should be, also where the mask takes in a rim of it.

    >>> image = np.full((4, 4), 40, dtype=np.uint8)
    >>> image[:2] = 255
    >>> flags_of(image, image > 40), flags_of(image, image == 40), flags_of(image, image > 255)
    (('saturated',), (), ('empty', 'saturated'))
    """
    empty = mask is not None and not mask.any()
    foreground = np.ones(image.shape[:2], bool) if mask is None or empty else mask
    found = {"empty": empty, "saturated": _saturated(image, foreground)}
    return tuple(name for name, present in found.items() if present)


def _saturated(image: NDArray, foreground: NDArray[np.bool_]) -> bool:
    if image.dtype == np.bool_:  # there is nothing below its ceiling but 0
        return False
    ceilings = {2**bits - 1 for bits in SENSOR_BITS}
    ceilings.add(np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1)
    brightest = image.max()
    if brightest not in ceilings:
        return False
    clipped = image == brightest
    if clipped.ndim == 3:
        clipped = clipped.any(axis=2)
    share = clipped[foreground].mean()
    return bool(share > SATURATED_SHARE and share >= clipped.mean())
