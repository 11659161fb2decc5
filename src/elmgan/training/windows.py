"""Windows: the part of an example that one step sees, placed, turned, zoomed and changed in its grey values."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.data import Example
from elmgan.training.config import WINDOW_GRID, Augmentation, DataOptions


@dataclass(frozen=True)
class Window:
    """What a step sees of one example; all arrays are (row, column) of the window.

    Attributes:
        image: Normalised; 0, the background's value, beyond the image.
        mask: 1 cell, 0 background.
        seen: 1 on the image, 0 beyond.
        core: 1 where cells are counted: on the image, but not in the margin of a window that ends inside the image.
        total: Cells in the core.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.float32]
    seen: NDArray[np.float32]
    core: NDArray[np.float32]
    total: float


@dataclass(frozen=True)
class Placement:
    """Where a window lies on an image that was turned and zoomed.

    Attributes:
        to_window: 2x3 matrix from (column, row) of the image to (column, row) of the window.
        rows: Rows of the window that lie on the image, half-open.
        columns: Columns of the window that lie on the image, half-open.
        inside: Whether the window ends within the image at its (top, bottom, left, right).
        zoom: Window pixels per image pixel.
    """

    to_window: NDArray[np.float64]
    rows: tuple[int, int]
    columns: tuple[int, int]
    inside: tuple[bool, bool, bool, bool]
    zoom: float


def draw_window(
    example: Example, data: DataOptions, augmentation: Augmentation, *, multiple: int, rng: np.random.Generator
) -> Window:
    """Draw a random window of an example: a tile, or the whole image when ``data.tile`` is not set.

    Tiles of an example without known shares show no total of their own, so that example is always seen whole.

    Args:
        example: Image and annotation.
        data: Size, margin and overhang of tiles.
        augmentation: Turns, zoom and grey value changes.
        multiple: The sides of a whole image's window are multiples of this.
        rng: Decides everything drawn.

    Returns:
        The window; a whole image lies at its top left.
    """
    assert example.regions is not None, "the trainer takes no images without mask yet"
    assert example.total is not None, "the trainer takes no images without count yet"
    tile = data.tile if example.shares is not None else None
    placement, size = place(example.image.shape, tile, data.overhang, augmentation, multiple=multiple, rng=rng)
    image = warp(example.image, placement, size, cv2.INTER_LINEAR)
    regions = warp(example.regions, placement, size, cv2.INTER_NEAREST)
    seen = np.zeros(size, np.float32)
    seen[slice(*placement.rows), slice(*placement.columns)] = 1
    core = np.zeros(size, np.float32)
    top, bottom, left, right = (data.margin if inside else 0 for inside in placement.inside)
    core[
        placement.rows[0] + top : placement.rows[1] - bottom, placement.columns[0] + left : placement.columns[1] - right
    ] = 1
    if tile is None or example.shares is None:
        total = example.total
    else:
        total = float((example.shares[regions] * core).sum()) / placement.zoom**2
    image = change_grey_values(image, augmentation, rng=rng) * seen
    return Window(image, (regions > 0).astype(np.float32), seen, core, total)


def place(
    shape: tuple[int, ...],
    tile: int | None,
    overhang: int,
    augmentation: Augmentation,
    *,
    multiple: int,
    rng: np.random.Generator,
) -> tuple[Placement, tuple[int, int]]:
    """Draw a placement and give it with the window's size."""
    low, high = augmentation.zoom
    zoom = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    transpose, flip_rows, flip_columns = rng.random(3) < 0.5 if augmentation.flips else (False, False, False)
    # Whole images keep their shape: a batch of them needs no padding, and the pooled count head takes no other.
    transpose = transpose and (tile is not None or shape[0] == shape[1])
    rows, columns = shape[:2][::-1] if transpose else shape[:2]
    rows, columns = round(rows * zoom), round(columns * zoom)
    if tile is None:
        size = (-(-rows // multiple) * multiple, -(-columns // multiple) * multiple)
        top = left = 0
    else:
        size = (tile, tile)
        top, left = (draw_start(side, tile, overhang, rng=rng) for side in (rows, columns))
    # Image pixel centres lie at whole numbers; turns and zoom act about the image's corner at -0.5.
    matrix = np.eye(3)
    matrix[:2, 2] = 0.5
    if transpose:
        matrix = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]) @ matrix
    matrix = np.diag([zoom, zoom, 1.0]) @ matrix
    if flip_columns:
        matrix = np.array([[-1.0, 0, columns], [0, 1, 0], [0, 0, 1]]) @ matrix
    if flip_rows:
        matrix = np.array([[1.0, 0, 0], [0, -1, rows], [0, 0, 1]]) @ matrix
    matrix[0, 2] -= left + 0.5
    matrix[1, 2] -= top + 0.5
    placement = Placement(
        to_window=matrix[:2],
        rows=(max(0, -top), min(size[0], rows - top)),
        columns=(max(0, -left), min(size[1], columns - left)),
        inside=(top > 0, top + size[0] < rows, left > 0, left + size[1] < columns),
        zoom=zoom,
    )
    return placement, size


def draw_start(side: int, tile: int, overhang: int, *, rng: np.random.Generator) -> int:
    """Draw where a tile starts along a side: on the image, or in half the draws up to ``overhang`` beyond its ends.

    At least one pixel of the image lies in the tile.
    """
    beyond = min(overhang, side - 1, tile - 1) if rng.random() < 0.5 else 0
    first = min(0, side - tile) - beyond
    last = max(0, side - tile) + beyond
    start = int(rng.integers(first, last + 1))
    # Before the image, the core begins where the image does, and has to begin on the grid of the count maps.
    return start if start > 0 else -(-start // WINDOW_GRID * WINDOW_GRID)


def warp(array: NDArray, placement: Placement, size: tuple[int, int], interpolation: int) -> NDArray:
    """Give the window's view of an image, 0 beyond it."""
    return cv2.warpAffine(array, placement.to_window, size[::-1], flags=interpolation, borderValue=0)


def change_grey_values(
    image: NDArray[np.float32], augmentation: Augmentation, *, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Change contrast, background, sharpness, noise and polarity at random."""
    gain, offset = rng.uniform(*augmentation.gain), rng.uniform(-augmentation.offset, augmentation.offset)
    image = image * np.float32(gain) + np.float32(offset)
    if augmentation.blur and rng.random() < 0.3:
        image = blurred(image, augmentation.blur * rng.uniform(0.25, 1))
    if augmentation.noise and rng.random() < 0.5:
        noise = rng.standard_normal(image.shape, np.float32)
        if rng.random() < 0.5:  # grain of several pixels, of the same deviation: a blur of 1 divides it by 2 sqrt(pi)
            noise = blurred(noise, 1.0) * np.float32(2 * np.sqrt(np.pi))
        image = image + noise * np.float32(rng.uniform(0, augmentation.noise))
    if rng.random() < augmentation.invert:
        image = -image
    return image


def blurred(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Blur with a Gaussian of a standard deviation in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
