"""Sample data of the plugin: drawn cells, whose number is known."""

from typing import Any

import cv2
import numpy as np

from elmgan.data.synthetic import draw, sample_scene

_SIDE, _DEPTHS, _SEED = 512, 5, 1


def cells() -> list[tuple[Any, dict[str, Any], str]]:
    """Give one image of drawn cells, as layers of napari."""
    rng = np.random.default_rng(_SEED)
    drawn = draw(sample_scene((_SIDE, _SIDE), rng=rng), rng=rng)
    return [(drawn.image, {"name": f"drawn, {drawn.count} cells"}, "image")]


def stack() -> list[tuple[Any, dict[str, Any], str]]:
    """Give a stack along z in two channels, a layer each: the farther from the middle, the more out of focus."""
    layers = []
    for seed, (stain, colormap) in enumerate((("DAPI", "blue"), ("GFP", "green")), _SEED):
        rng = np.random.default_rng(seed)
        drawn = draw(sample_scene((_SIDE // 2, _SIDE // 2), rng=rng), rng=rng)
        blurs = [2.0 * abs(z - _DEPTHS // 2) for z in range(_DEPTHS)]
        planes = np.stack([cv2.GaussianBlur(drawn.image, (0, 0), blur) if blur else drawn.image for blur in blurs])
        about = {"name": f"{stain}, {drawn.count} cells", "colormap": colormap, "blending": "additive"}
        layers.append((planes, about | {"scale": (2.0, 0.5, 0.5)}, "image"))
    return layers
