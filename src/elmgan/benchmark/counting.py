"""A folder and a large image, counted as a user does: without PyTorch, whose memory is not that of counting."""

from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elmgan import load
from elmgan.benchmark.memory import peak_so_far
from elmgan.data.synthetic import SyntheticScene, draw
from elmgan.work import count_images

FIELD = (520, 696)
"""Rows and columns of an image of the folder: those of BBBC039."""

CELLS = 110


class Cost(NamedTuple):
    """What counting took."""

    seconds: float
    memory: int | None
    """Bytes of the whole process at its peak; None where the system does not tell."""


def field(seed: int) -> NDArray[np.uint16]:
    """Draw an image like one of BBBC039."""
    scene = SyntheticScene(rows=FIELD[0], columns=FIELD[1], cells=CELLS, radius=13, bits=16)
    return np.asarray(draw(scene, rng=np.random.default_rng(seed)).image, np.uint16)


def count_folder(model: str, source: Path, out: Path) -> Cost:
    """Count the images of a folder with a bundled model."""
    begun = perf_counter()
    count_images([source], out, load(model, parallel=True), quick=True)
    return Cost(perf_counter() - begun, peak_so_far())


def count_large(model: str, side: int) -> Cost:
    """Count a square image twice, and separate its cells; the first time compiles the network, the second is timed."""
    part = field(0)
    image = np.tile(part, [-(-side // length) for length in part.shape])[:side, :side].copy()
    counter = load(model)
    counter.count(image, quick=True)
    begun = perf_counter()
    counter.count(image, quick=True).labels()
    return Cost(perf_counter() - begun, peak_so_far())
