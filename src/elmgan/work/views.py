"""The view of many images: the scales that suit them, and whether a model was calibrated for it."""

import math
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

from elmgan.counting import Model
from elmgan.errors import ImageError
from elmgan.images import Plane, View, open_image

SAMPLE = 8
"""Planes at which scales are tried."""


def at_scales(
    model: Model,
    images: Sequence[Path],
    view: View,
    *,
    axes: str | None = None,
    most_pixels: int | None = None,
    known_alone: bool = False,
) -> Model:
    """Give a model as it counts images under a view: at the scales that suit some of their planes.

    These are spread over the order of the images and, where there are few images, of the planes in each.

    Args:
        model: The model; a view that fixes the scale leaves it as it is.
        images: Files.
        view: How they are shown.
        axes: As of :func:`~elmgan.images.open_image`.
        most_pixels: The same.
        known_alone: As of :func:`~elmgan.counting.looks.usual_scales`.
    """
    if view.scale != "auto":
        return model
    with ExitStack() as opened:
        planes: list[Plane] = []
        taken = evenly(len(images), SAMPLE)
        for k in taken:
            with suppress(ImageError):  # it will be told when the image is counted
                source = opened.enter_context(open_image(images[k], axes=axes, most_pixels=most_pixels))
                of_image = source.planes(view)
                planes += [of_image[n] for n in evenly(len(of_image), math.ceil(SAMPLE / len(taken)))]
        return model.at_scales_of(planes, known_alone=known_alone)


def evenly(number: int, most: int) -> list[int]:
    """Choose some of a number of things, evenly: the one in the middle, or from the first to the last.

    >>> evenly(9, 1), evenly(9, 3), evenly(2, 3)
    ([4], [0, 4, 8], [0, 1])
    """
    if most == 1:
        return [number // 2]
    return sorted({round(k) for k in np.linspace(0, number - 1, min(most, number))})


def scales_told(usual: Sequence[float], view: View, version: str, pixel_size: float | None = None) -> str:
    """Say at which scales images were counted, where those were found out and are not their own size.

    Args:
        usual: The scales.
        view: Under which they were counted.
        version: Of the model.
        pixel_size: Of the images that the model knows, in micrometres; where it is known, that of an image goes first.
    """
    if view.scale != "auto" or tuple(usual) == (1.0,):
        return ""
    *others, last = (f"{scale:.3g}" for scale in usual)
    scales = f"{', '.join(others)} and {last}" if others else last
    like = f"where the images look most like those that {version} knows"
    if pixel_size is not None:
        like = f"by the pixel size, which is {pixel_size:.3g} µm for {version}, or, where that is not told, {like}"
    return f"counted at scale {scales}, {like}"


def uncalibrated(model: Model, view: View) -> str:
    """Say that a model was calibrated under another view, and what that means; nothing if it was not."""
    calibration = model.card.calibration
    if calibration is None or model.calibrated_for(view):
        return ""
    before, now = ((each.told if each else "") or "the default view" for each in (model.card.view, view))
    lost = [*(["no correction"] if calibration.gain != 1 else []), *(["no intervals"] if calibration.quantile else [])]
    told = " and ".join(lost) or "no calibration"
    return f"{told}: {model.version} was calibrated under {before}, and counted under {now}"
