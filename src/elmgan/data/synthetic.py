"""Synthetic cell images whose mask, labels and total are known exactly.

In the manner of SIMCEP, which made BBBC005 (Lehmussaari, Ruusuvuori, Selinummi, Huttunen, Yli-Harja: "Computational
framework for simulating fluorescence microscope images with cell populations", IEEE Transactions on Medical Imaging 26,
2007): cells of irregular shape are placed, alone or in clusters, textured, seen through a microscope and photographed.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import cv2
import numpy as np
import tifffile
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from elmgan.errors import UsageError
from elmgan.images import write_labels, write_mask

ANGLES = 128  # directions in which the contour of a cell is given
ORDERS = np.arange(2.0, 9.0)  # of the Fourier series of a contour; order 1 would only move the cell
TRIES = 30  # to find a place for a cell, before the image is taken to be full
LEAST_PIXELS = 12  # that are seen of a cell
LEAST_SHARE = 0.2  # of the cell's pixels inside the image that are seen
ABSORBANCE = 1.3  # of a cell of brightness 1 on a bright background


class SyntheticScene(BaseModel):
    """What is before the microscope, and how it is taken.

    Lengths are pixels. Brightness is relative to that of an average cell, which is 1. Spreads are standard deviations
    relative to the mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(512, ge=16, le=16384)
    columns: int = Field(512, ge=16, le=16384)

    cells: int = Field(100, ge=0, le=60000, description="cells to place; fewer are, where they do not fit")
    radius: float = Field(12, ge=3, le=100, description="mean radius of a circle of a cell's area")
    radius_spread: float = Field(0.15, ge=0, le=0.5)
    eccentricity: float = Field(0.75, ge=0, le=0.9, description="of the average cell; 0 is a circle")
    irregularity: float = Field(0.05, ge=0, le=0.4, description="spread of the contour around its ellipse")
    clustering: float = Field(0.3, ge=0, le=1, description="probability that a cell is put beside another")
    overlap: float = Field(0.1, ge=0, le=1, description="largest share of a cell that may lie on those before it")

    translucency: float = Field(0.2, ge=0, le=1, description="share of a cell's light that a cell above lets through")
    brightness_spread: float = Field(0.25, ge=0, le=1, description="from cell to cell")
    texture: float = Field(0.12, ge=0, le=1, description="brightness spread within a cell")
    texture_size: float = Field(0.12, gt=0, le=1, description="of a grain of the texture, in cell radii")
    shading: float = Field(0.4, ge=0, le=1, description="how much a cell darkens to its rim: 0 a disc, 1 a ball")
    mitotic: float = Field(0.02, ge=0, le=1, description="share of cells that are condensed, small and bright")
    defocus: float = Field(0, ge=0, le=1, description="share of cells that lie out of focus")

    background: float = Field(0.1, ge=0, le=10, description="brightness where there is no cell")
    haze: float = Field(0.05, ge=0, le=1, description="brightness of light from out of focus")
    debris: int = Field(0, ge=0, le=10000, description="crumbs, 5 pixels across at most, that are no cells")
    gradient: float = Field(0.1, ge=0, le=1, description="relative fall of the illumination across the image")
    blur: float = Field(1, ge=0, le=20, description="standard deviation of the microscope's point spread")

    photons: float = Field(500, ge=20, description="photo-electrons per pixel of an average cell; fewer are noisier")
    noise: float = Field(5, ge=0, description="standard deviation of the read noise in photo-electrons")
    grain: float = Field(0, ge=0, le=10, description="standard deviation of the noise's own blur; 0 is white noise")
    exposure: float = Field(0.4, gt=0, le=2, description="part of the camera's range that brightness 1 fills")
    offset: float = Field(0.01, ge=0, le=0.5, description="part of the camera's range that no light fills")
    bits: Literal[8, 16] = 8
    bright_on_dark: bool = Field(True, description="False: cells absorb, the lamp has brightness 1")


@dataclass(frozen=True)
class SyntheticImage:
    """An image and the truth about it.

    Attributes:
        image: uint8 or uint16, (row, column).
        labels: uint16, (row, column); 0 is background, 1..count are the cells, each in one piece.
    """

    image: NDArray
    labels: NDArray[np.uint16]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where there is a cell, (row, column)."""
        return self.labels > 0

    @property
    def count(self) -> int:
        """Cells of which at least a part is seen."""
        return int(self.labels.max())


@dataclass(frozen=True)
class _Cell:
    """A cell that has its place in the image."""

    index: int  # among the scene's cells
    centre: tuple[int, int]
    patch: tuple[slice, slice]  # of the image, around the cell
    shape: NDArray[np.bool_]  # of the patch
    depth: NDArray[np.float32]  # of the patch: distance from the centre, 1 at the contour


def draw(scene: SyntheticScene, *, rng: Generator) -> SyntheticImage:
    """Place the cells of a scene and take its image.

    The truth is exact: every cell of the image is in the labels, and the other way round. A cell is only put where at
    least 12 pixels of it and a fifth of its part inside the image are seen, in one piece, and where as much is left of
    those below it. A cell cut by the image's border counts one.

    >>> drawn = draw(SyntheticScene(rows=64, columns=96, cells=5), rng=np.random.default_rng(1))
    >>> drawn.image.shape, drawn.image.dtype, drawn.count
    ((64, 96), dtype('uint8'), 5)
    """
    mitotic = rng.random(scene.cells) < scene.mitotic
    cells, labels = _place(scene, _contours(scene, mitotic, rng), rng)
    brightness = _spread(scene.brightness_spread, scene.cells, rng) * np.where(mitotic, 2, 1)
    return SyntheticImage(_photograph(scene, _light(scene, cells, brightness, rng), rng), labels)


def _spread(spread: float, number: int, rng: Generator) -> NDArray[np.float64]:
    """Positive factors, log-normal with mean 1 and without the far tails."""
    return np.exp(spread * rng.standard_normal(number).clip(-2.5, 2.5) - spread**2 / 2)


def _contours(scene: SyntheticScene, mitotic: NDArray[np.bool_], rng: Generator) -> NDArray[np.float32]:
    """Distance of each cell's contour from its centre in each direction, (cell, angle): an ellipse, bent by waves."""
    angles = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    radius = scene.radius * _spread(scene.radius_spread, scene.cells, rng) * np.where(mitotic, 0.75, 1)
    eccentricity = (scene.eccentricity * rng.normal(1, 0.12, scene.cells)).clip(0, 0.9)
    ratio = np.sqrt(1 - eccentricity**2)[:, None]  # minor to major axis
    along = angles - rng.uniform(0, np.pi, scene.cells)[:, None]
    ellipse = 1 / np.sqrt(ratio * np.cos(along) ** 2 + np.sin(along) ** 2 / ratio)
    phases = ORDERS[:, None] * angles
    weights = ORDERS**-1.5
    waves = np.concatenate([weights[:, None] * np.cos(phases), weights[:, None] * np.sin(phases)])
    bends = rng.standard_normal((scene.cells, len(waves))) @ waves / np.linalg.norm(weights)
    contours = ellipse * np.exp(scene.irregularity * bends.clip(-2, 2))
    contours *= radius[:, None] / np.sqrt(np.mean(contours**2, axis=1, keepdims=True))  # a circle's area again
    return np.asarray(contours, np.float32)


def _place(
    scene: SyntheticScene, contours: NDArray[np.float32], rng: Generator
) -> tuple[list[_Cell], NDArray[np.uint16]]:
    """The cells that found a place, each above those before it, and their labels in that order."""
    labels = np.zeros((scene.rows, scene.columns), np.uint16)
    cells: list[_Cell] = []
    reach = int(contours.max(initial=0)) + 1
    row, column = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    distance = np.hypot(row, column)
    direction = np.rint(np.arctan2(row, column) * (ANGLES / 2 / np.pi)).astype(np.intp) % ANGLES
    for index, contour in enumerate(contours):
        own = int(contour.max()) + 1
        square = slice(reach - own, reach + own + 1)
        depth = distance[square, square] / contour[direction[square, square]]
        clustered = bool(cells) and rng.random() < scene.clustering
        for _ in range(TRIES):
            if clustered:
                neighbour, angle = cells[rng.integers(len(cells))], int(rng.integers(ANGLES))
                touching = contours[neighbour.index, angle] + contour[angle - ANGLES // 2]
                away = touching * rng.uniform(1 - scene.overlap / 2, 1.1)
                turn = angle * 2 * np.pi / ANGLES
                centre = (
                    round(neighbour.centre[0] + away * np.sin(turn)),
                    round(neighbour.centre[1] + away * np.cos(turn)),
                )
            else:
                centre = int(rng.integers(-own, scene.rows + own)), int(rng.integers(-own, scene.columns + own))
            rows, own_rows = _inside(centre[0] - own, len(depth), scene.rows)
            columns, own_columns = _inside(centre[1] - own, len(depth), scene.columns)
            part = depth[own_rows, own_columns]
            cell = _Cell(index, centre, (rows, columns), part < 1, part)
            if _lay(cell, cells, labels, scene.overlap):
                cells.append(cell)
                break
    return cells, labels


def _inside(start: int, length: int, limit: int) -> tuple[slice, slice]:
    """The part of a stretch that lies in 0..limit: as a slice of the image, and of the stretch itself."""
    first, last = (min(max(end, 0), limit) for end in (start, start + length))
    return slice(first, last), slice(first - start, last - start)


def _lay(cell: _Cell, cells: list[_Cell], labels: NDArray[np.uint16], overlap: float) -> bool:
    """Write the next cell's label above the others, unless too little of it or of one of them would be seen."""
    window = labels[cell.patch]
    under = window[cell.shape]
    below = under[under > 0]
    if below.size > overlap * under.size or not _seen(cell.shape, under.size):
        return False
    before = window.copy()
    window[cell.shape] = len(cells) + 1
    for label in set(below.tolist()):
        other = cells[label - 1]
        if not _seen(labels[other.patch] == label, int(np.count_nonzero(other.shape))):
            window[...] = before
            return False
    return True


def _seen(visible: NDArray[np.bool_], pixels: int) -> bool:
    """Whether what is visible of a cell, which has so many pixels inside the image, is enough and in one piece."""
    enough = int(np.count_nonzero(visible)) >= max(LEAST_PIXELS, LEAST_SHARE * pixels)
    return enough and bool(cv2.connectedComponents(visible.view(np.uint8))[0] == 2)


def _light(scene: SyntheticScene, cells: list[_Cell], brightness: NDArray, rng: Generator) -> NDArray[np.float32]:
    """Brightness of cells, crumbs and haze, behind the microscope's optics, without the background."""
    focused, defocused = np.zeros((2, scene.rows, scene.columns), np.float32)
    texture = _texture(scene, max((max(cell.shape.shape) for cell in cells), default=0) + 64, rng)
    for cell in cells:
        layer = defocused if rng.random() < scene.defocus else focused
        height, width = cell.shape.shape
        top, left = rng.integers(len(texture) - height + 1), rng.integers(len(texture) - width + 1)
        ball = np.sqrt(np.maximum(1 - cell.depth**2, 0))
        light = (1 - scene.shading + scene.shading * ball) * texture[top : top + height, left : left + width]
        light *= np.float32(brightness[cell.index] / (1 - scene.shading / 3))  # a ball's mean is two thirds
        window = layer[cell.patch]
        np.copyto(window, light + scene.translucency * window, where=cell.shape)
    crumbs = np.zeros_like(focused)
    for _ in range(scene.debris):
        place = int(rng.integers(scene.columns)), int(rng.integers(scene.rows))
        cv2.circle(crumbs, place, int(rng.uniform(0, min(3, scene.radius / 3))), rng.exponential(0.3), cv2.FILLED)
    return (
        _blurred(focused + crumbs, scene.blur)
        + _blurred(defocused, float(np.hypot(scene.blur, scene.radius / 4)))
        + scene.haze * (_glow(focused + defocused, 2 * scene.radius) + _clouds(scene, rng))
    )


def _texture(scene: SyntheticScene, side: int, rng: Generator) -> NDArray[np.float32]:
    """Positive factors with mean 1, fine grains on coarse patches: a square from which each cell takes a part."""
    grains = scene.texture_size * scene.radius
    fine, coarse = (_standard(_blurred(_noise((side, side), rng), sigma)) for sigma in (grains, 4 * grains))
    factors = np.exp(scene.texture * _standard(fine + coarse))
    return np.asarray(factors / factors.mean(), np.float32)


def _noise(shape: tuple[int, int], rng: Generator) -> NDArray[np.float32]:
    return rng.standard_normal(shape, dtype=np.float32)


def _standard(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """The field with mean 0 and standard deviation 1."""
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def _blurred(field: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    if sigma == 0:
        return field
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)


def _glow(light: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """The light, far out of focus: a blur so wide that an eighth of the resolution shows it."""
    rows, columns = light.shape
    small = np.asarray(cv2.resize(light, (-(-columns // 8), -(-rows // 8)), interpolation=cv2.INTER_AREA), np.float32)
    glow = cv2.resize(_blurred(small, sigma / 8), (columns, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(glow, np.float32)


def _clouds(scene: SyntheticScene, rng: Generator) -> NDArray[np.float32]:
    """Uneven background of 0 and more: a few smooth waves, drawn out in a random direction."""
    short = scene.radius * np.exp(rng.uniform(1, 2.5))
    long = short * np.exp(rng.exponential(0.4))
    turn = rng.uniform(0, np.pi)
    onto = [[np.cos(turn) / long, np.sin(turn) / long, 0], [-np.sin(turn) / short, np.cos(turn) / short, 0]]
    clouds = cv2.warpAffine(
        _noise((64, 64), rng),
        np.array(onto),
        (scene.columns, scene.rows),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP,
    )
    return np.asarray(np.maximum(clouds, 0) ** 2 / 4, np.float32)


def _photograph(scene: SyntheticScene, light: NDArray[np.float32], rng: Generator) -> NDArray:
    """What the camera makes of the cells' light: uint8 or uint16, (row, column)."""
    light = scene.background + light
    if not scene.bright_on_dark:
        light = np.exp(-ABSORBANCE * light)
    turn = rng.uniform(0, 2 * np.pi)
    down = np.linspace(-0.5, 0.5, scene.rows, dtype=np.float32)[:, None] * np.float32(np.sin(turn))
    right = np.linspace(-0.5, 0.5, scene.columns, dtype=np.float32) * np.float32(np.cos(turn))
    light *= 1 + np.float32(scene.gradient) * (down + right)
    # A normal distribution stands for the Poisson one of the photo-electrons; with the read noise they hardly differ.
    spread = np.sqrt(light * scene.photons + scene.noise**2) / scene.photons
    light += spread * _standard(_blurred(_noise((scene.rows, scene.columns), rng), scene.grain))
    most = 2**scene.bits - 1
    levels = np.rint((scene.offset + scene.exposure * light) * most).clip(0, most)
    return np.asarray(levels, np.uint8 if scene.bits == 8 else np.uint16)


def sample_scene(size: tuple[int, int] = (512, 512), *, rng: Generator) -> SyntheticScene:
    """A scene as a biologist knows it, (rows, columns) in pixels: well stained nuclei, 10 to 150 in 512 x 512."""
    return SyntheticScene(
        rows=size[0],
        columns=size[1],
        cells=max(1, round(int(rng.integers(10, 151)) * size[0] * size[1] / 512**2)),
        radius=rng.uniform(9, 13),
        radius_spread=rng.uniform(0.1, 0.2),
        eccentricity=rng.uniform(0.6, 0.8),
        irregularity=rng.uniform(0.02, 0.06),
        clustering=rng.uniform(0, 0.3),
        overlap=rng.uniform(0, 0.1),
        brightness_spread=rng.uniform(0.15, 0.35),
        texture=rng.uniform(0.12, 0.2),
        texture_size=rng.uniform(0.06, 0.12),
        shading=rng.uniform(0.3, 0.5),
        mitotic=rng.uniform(0, 0.04),
        background=rng.uniform(0.03, 0.12),
        haze=rng.uniform(0.02, 0.08),
        debris=int(rng.integers(0, 8)),
        gradient=rng.uniform(0, 0.3),
        blur=rng.uniform(0.8, 1.2),
        photons=rng.uniform(300, 1500),
        noise=rng.uniform(2, 8),
        exposure=rng.uniform(0.3, 0.5),
    )


def random_scene(size: tuple[int, int] = (512, 512), *, rng: Generator) -> SyntheticScene:
    """A scene of any kind that is worth learning from, (rows, columns) in pixels.

    Empty to crowded, dim to bright, clean to noisy, nuclei to angular whole cells; some hazy, some dark on bright.
    """

    def between(low: float, high: float) -> float:
        """A number from low to high, as likely in one octave as in another."""
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    def sometimes(probability: float, value: float) -> float:
        return value if rng.random() < probability else 0

    radius = between(6, 30)
    room = size[0] * size[1] / (np.pi * radius**2)
    whole_cells = rng.random() < 0.2
    bright_on_dark = rng.random() < 0.8
    bits = 8 if rng.random() < 0.7 else 16
    return SyntheticScene(
        rows=size[0],
        columns=size[1],
        cells=0 if rng.random() < 0.08 else 1 + int(room * between(0.02, 0.7)),
        radius=radius,
        radius_spread=rng.uniform(0.05, 0.35),
        eccentricity=rng.uniform(0.2, 0.6) if whole_cells else rng.uniform(0.3, 0.85),
        irregularity=rng.uniform(0.06, 0.15) if whole_cells else between(0.015, 0.12),
        clustering=rng.uniform(0, 0.9),
        overlap=rng.uniform(0.1, 0.5) if whole_cells else sometimes(0.7, rng.uniform(0, 0.3)),
        translucency=rng.uniform(0, 0.6),
        brightness_spread=rng.uniform(0.05, 0.45),
        texture=rng.uniform(0.03, 0.3),
        texture_size=rng.uniform(0.06, 0.25),
        shading=rng.uniform(0, 0.2) if whole_cells else rng.uniform(0.1, 0.6),
        mitotic=sometimes(0.5, rng.uniform(0, 0.12)),
        defocus=sometimes(0.3, rng.uniform(0, 0.3)),
        background=between(0.01, 1),
        haze=sometimes(0.6, between(0.02, 0.3)),
        debris=int(sometimes(0.4, between(1, 30))),
        gradient=rng.uniform(0, 0.6),
        blur=between(0.6, 1 + radius / 10),
        photons=between(60, 5000) if bright_on_dark else between(300, 5000),
        noise=between(1, 10),
        grain=sometimes(0.6, rng.uniform(0.4, 1.2)),
        exposure=between(0.08, 0.7) if bits == 8 else between(0.01, 0.7),
        offset=sometimes(0.7, rng.uniform(0, 0.06)),
        bits=bits,
        bright_on_dark=bright_on_dark,
    )


def write_data_set(
    folder: Path,
    images: int,
    *,
    seed: int,
    size: tuple[int, int] = (512, 512),
    scenes: Callable[..., SyntheticScene] = sample_scene,
) -> None:
    """Write a data set folder of synthetic images: ``images/``, ``masks/``, ``labels/`` and ``counts.csv``.

    The folder appears with all that is in it or stays empty. An image depends on the seed and its own number only.

    Args:
        folder: an empty folder, or one to be made.
        images: how many; they are named synthetic_000.tif and so on.
        seed: of the random numbers.
        size: (rows, columns) of each image in pixels.
        scenes: draws the scene of one image: ``sample_scene`` or ``random_scene``.

    Raises:
        UsageError: the folder holds something already, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(
                f"{folder} already holds something: name an empty or a new folder for the synthetic images"
            )
        with TemporaryDirectory(dir=folder, prefix=".synthetic-") as scratch:
            unfinished = Path(scratch)
            for kind in ("images", "masks", "labels"):
                (unfinished / kind).mkdir()
            with (unfinished / "counts.csv").open("w", newline="", encoding="utf-8") as table:
                rows = csv.writer(table, lineterminator="\n")
                rows.writerow(["image", "count"])
                for number in range(images):
                    rng = np.random.default_rng([seed, number])
                    drawn = draw(scenes(size, rng=rng), rng=rng)
                    name = f"synthetic_{number:03d}.tif"
                    tifffile.imwrite(
                        unfinished / "images" / name,
                        drawn.image,
                        photometric="minisblack",
                        compression="zlib",
                        metadata=None,
                    )
                    write_mask(unfinished / "masks" / name, drawn.mask)
                    write_labels(unfinished / "labels" / name, drawn.labels.astype(np.uint32))
                    rows.writerow([name, drawn.count])
            for part in ("images", "masks", "labels", "counts.csv"):
                (unfinished / part).replace(folder / part)
    except OSError as error:
        raise UsageError(f"cannot write synthetic images to {folder}: {error.strerror or error}") from error
