"""The view of many images: the scales that suit them, and whether a model was calibrated for it."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

from elmgan.counting import Model
from elmgan.errors import ImageError
from elmgan.images import View, open_image

SAMPLE = 8
"""Images at which scales are tried."""


def at_scales(model: Model, images: Sequence[Path], view: View, *, axes: str | None = None) -> Model:
    """Give a model as it counts images under a view: at the scales that suit some of them, spread over their order.

    A view that fixes the scale leaves the model as it is.
    """
    if view.scale != "auto":
        return model
    with ExitStack() as opened:
        planes = []
        for k in sorted({round(k) for k in np.linspace(0, len(images) - 1, min(SAMPLE, len(images)))}):
            with suppress(ImageError):  # it will be told when the image is counted
                of_image = opened.enter_context(open_image(images[k], axes=axes)).planes(view)
                planes.append(of_image[len(of_image) // 2])
        return model.at_scales_of(planes)


def scales_told(usual: Sequence[float], view: View, version: str) -> str:
    """Say at which scales images were counted, where those were found out and are not their own size."""
    if view.scale != "auto" or tuple(usual) == (1.0,):
        return ""
    *others, last = (f"{scale:.3g}" for scale in usual)
    scales = f"{', '.join(others)} and {last}" if others else last
    return f"counted at scale {scales}, where the images look most like those that {version} knows"


def uncalibrated(model: Model, view: View) -> str:
    """Say that a model was calibrated under another view, and what that means; nothing if it was not."""
    calibration = model.card.calibration
    if calibration is None or model.calibrated_for(view):
        return ""
    before, now = ((each.told if each else "") or "the default view" for each in (model.card.view, view))
    lost = [*(["no correction"] if calibration.gain != 1 else []), *(["no intervals"] if calibration.quantile else [])]
    told = " and ".join(lost) or "no calibration"
    return f"{told}: {model.version} was calibrated under {before}, and counted under {now}"
