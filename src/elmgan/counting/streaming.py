"""Planes that are too large for memory: read, predicted, measured and separated some rows at a time."""

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elmgan.counting.clumps import Clumps
from elmgan.counting.pieces import KeptMap, Piece, pieces_of
from elmgan.counting.predictor import Predictor
from elmgan.counting.region import pixels_in_blocks
from elmgan.counting.separation import STRIP_PIXELS
from elmgan.counting.strips import Strips
from elmgan.counting.tiling import Band
from elmgan.errors import ModelError
from elmgan.images import Plane, Tile
from elmgan.light import Cells, Grey, Measuring, Normalisation, Seen, Surveyed, survey_plane
from elmgan.light.appearance import REACH
from elmgan.models import STRIDE
from elmgan.trust import Calibration, PixelTally

STREAMED = 1 << 26
"""Planes of more pixels, samples of colour counted each, are not held in memory."""

ROWS = 512
"""That are read at a time."""


def is_streamed(plane: Plane) -> bool:
    """Tell whether a plane is too large to be held in memory."""
    return plane.shape[0] * plane.shape[1] * plane.samples > STREAMED


class OnDisk:
    """A plane whose pixels stay in its file, as the network sees it; what :class:`~elmgan.light.Seen` is to an image.

    Args:
        plane: The plane, of an open source.
        normalisation: How grey values are stretched.
        channel: What of colour is taken; see :func:`~elmgan.light.see`.
        cells: Whether cells are brighter or darker than the background.
        surveyed: What was found of it before; by default it is looked at.

    Raises:
        ImageError: It cannot be read, or is not of a kind that can be counted.
    """

    def __init__(
        self,
        plane: Plane,
        normalisation: Normalisation,
        *,
        channel: int | str | None = None,
        cells: Cells = "auto",
        surveyed: Surveyed | None = None,
    ) -> None:
        self.plane, self.view_channel = plane, channel
        self.surveyed: Surveyed = surveyed or survey_plane(
            plane.read, plane.shape, normalisation, channel=channel, cells=cells, rows=ROWS
        )
        self.box, self.stretch, self.channel = self.surveyed.box, self.surveyed.stretch, self.surveyed.channel

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of what holds data."""
        return self.box.height, self.box.width

    def seen(self, window: Tile) -> Seen:
        """Read a part of what holds data."""
        tile = Tile(self.box.top + window.top, self.box.left + window.left, window.height, window.width)
        return self.surveyed.seen(self.plane.read(tile), tile)

    def part(self, window: Tile) -> tuple[Grey, NDArray[np.bool_] | None]:
        """Grey values of a part of what holds data, and which of its pixels do."""
        seen = self.seen(window)
        return seen.grey, seen.data


Bands = Callable[[OnDisk, float], Generator[Band, None, None]]
"""Gives the bands of a plane as the network sees it at a scale, from top to bottom; see
:meth:`~elmgan.counting.predictor.Predictor.seen_band`."""


class _Rows:
    """Rows of a plane, from top to bottom, so that hardly one is read twice."""

    def __init__(self, on_disk: OnDisk) -> None:
        self._on_disk = on_disk
        self._first = 0
        self._pixels: NDArray | None = None

    def __call__(self, rows: range) -> tuple[NDArray, Seen]:
        """Give rows as read, and as the network sees them."""
        box, held = self._on_disk.box, 0 if self._pixels is None else len(self._pixels)
        if rows.stop > self._first + held:
            begin = self._first + held
            read = self._on_disk.plane.read(Tile(box.top + begin, box.left, rows.stop - begin, box.width))
            self._pixels = read if self._pixels is None else np.concatenate([self._pixels, read])
        if rows.start < self._first:  # the last tiles reach back further than others
            before = self._on_disk.plane.read(Tile(box.top + rows.start, box.left, self._first - rows.start, box.width))
            self._pixels = before if self._pixels is None else np.concatenate([before, self._pixels])
            self._first = rows.start
        assert self._pixels is not None
        pixels = self._pixels[rows.start - self._first : rows.stop - self._first]
        return pixels, self._on_disk.surveyed.seen(pixels, Tile(box.top + rows.start, box.left, len(rows), box.width))

    def forget(self, before: int) -> None:
        """Let go of the rows before one."""
        if self._pixels is not None and before > self._first:
            self._pixels = self._pixels[before - self._first :].copy()
            self._first = before


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found in the pixels of a plane, before it is judged."""

    cells: float
    tally: PixelTally
    measuring: Measuring
    strips: Strips | None
    """The separated cells; None of a model that learned no masks."""
    count_map: KeptMap | None
    """Cells per 4 x 4 pixels; None of a model that learned no counts."""


def find_in_strips(
    on_disk: OnDisk,
    predictor: Predictor,
    *,
    scale: float,
    threshold: float,
    gain: float,
    segments: bool,
    counts: bool,
    clumps: Clumps | None,
    scratch: Path | None,
    watch: Callable[[float], None],
    bands: Bands | None = None,
) -> Findings:
    """Predict, measure and separate a plane.

    Args:
        on_disk: The plane, or a smaller copy of it.
        predictor: Runs the network.
        scale: The network sees the plane resized by this factor.
        threshold: Probability from which a pixel is cell.
        gain: Factor on the count map.
        segments: Whether the model learned masks.
        counts: Whether it learned counts.
        clumps: Takes the mask and its cells, where both are learned.
        scratch: Folder for what does not fit memory.
        watch: Told the share that is done, now and then.
        bands: Runs the network in place of ``predictor``, elsewhere.

    Raises:
        ImageError: Pixels cannot be read.
        ModelError: The network gives numbers that are not finite.
        OSError: There is no room in the scratch folder.
    """
    rows, (height, width), plane = _Rows(on_disk), on_disk.shape, on_disk.plane
    measuring = Measuring(on_disk.surveyed.sample, on_disk.stretch, on_disk.shape)
    strips = Strips(width, counts=counts, pixels=STRIP_PIXELS, scratch=scratch) if segments else None
    kept = KeptMap(on_disk.box, plane.described.sides, scratch, plane.reductions) if counts else None
    tally = PixelTally(inside=0 if segments else None)
    total, measured = 0.0, 0
    masks, first = np.zeros((0, width), np.bool_), 0

    def read(wanted: range) -> NDArray:
        return rows(wanted)[1].grey

    with ExitStack() as stack:
        for held in (strips, kept):
            if held is not None:
                stack.callback(held.close)
        if bands is None:
            made = predictor.bands(read, on_disk.shape, scale=scale, stretch=on_disk.stretch)
        else:
            made = predictor.unscaled(bands(on_disk, scale), on_disk.shape, scale=scale)
        stack.enter_context(closing(made))
        for top, probability, count_map in made:
            end = top + len(probability)
            pixels, seen = rows(range(top, end))
            if seen.data is not None:
                probability = np.where(seen.data, probability, np.float32(0))
                count_map = count_map * (pixels_in_blocks(seen.data, STRIDE) > 0)
            count_map = count_map * np.float32(gain)
            cells = float(count_map.sum(dtype=np.float64)) if counts else 0.0
            if not math.isfinite(cells + (float(probability.sum(dtype=np.float64)) if segments else 0.0)):
                raise ModelError("the network gives no finite numbers for this image: train or choose another")
            total += cells
            if kept is not None:
                kept.add(count_map)
            mask = probability >= threshold if segments else None
            image = pixels if on_disk.view_channel is None or seen.as_read is None else seen.as_read
            tally = tally + PixelTally.of(image, mask, probability=probability if segments else None, data=seen.data)
            if mask is None or strips is None:
                rows.forget(max(0, end - _lag(predictor, scale)))
                watch(end / height)
                continue
            density = None
            if counts:
                density = np.divide(count_map, np.maximum(pixels_in_blocks(mask, STRIDE), 1), dtype=np.float32)
                if clumps is not None:
                    clumps.add(mask, density)
            strips.add(mask, density)
            masks = np.concatenate([masks, mask])
            known = height if end == height else end - REACH
            if known > measured:
                around = rows(range(first, min(end, known + REACH)))[1]
                own = slice(measured - first, known - first)
                measuring.add(around.grey, masks[: len(around.grey)], around.data, own)
                measured = known
            cut = max(0, measured - REACH)
            masks, first = masks[cut - first :].copy(), cut
            rows.forget(max(0, min(cut, end - _lag(predictor, scale))))
            watch(end / height)
        made.close()
        stack.pop_all()  # they are wanted
    return Findings(total, tally, measuring, strips, kept)


def _lag(predictor: Predictor, scale: float) -> int:
    """Rows before the last band's end that are read again for the next one."""
    return math.ceil((predictor.halo + 4) / scale) + 4 * STRIDE


@dataclass(frozen=True, eq=False)
class Streamed:
    """The cells of a plane that is too large for memory: numbers, and what was found of its pixels, row by row."""

    shape: tuple[int, int]
    """Rows and columns of the plane."""
    estimate: float | None
    """Cells in the plane, to two decimals; None of a model that learned no counts."""
    interval: tuple[float, float] | None
    """90 % interval of the count; None if there is none."""
    objects: int | None
    """Number of separated cells; None of a model that learned no masks."""
    foreground: float | None
    """Fraction of the pixels with data that is cell; None of a model that learned no masks."""
    flags: tuple[str, ...]
    """Why the count should not be trusted."""
    scale: float
    """Factor by which the network saw the plane resized."""
    seen_as: str
    """``haematoxylin`` where colour was seen so without being asked; empty otherwise."""
    unlike: str
    """What sets the plane apart from those that the model knows, in words."""
    distance: float | None
    """Of the plane from those that the model knows; None where it was not looked at twice."""
    preview: NDArray
    """Every so many rows and columns of the plane, as read."""
    seen: tuple[int, int]
    """Rows and columns of where cells were found: in the plane, or in a smaller copy that its file holds."""
    reductions: tuple[float, float]
    """How many pixels of the plane one of these stands for along rows and columns."""
    box: Tile
    """What of that holds data; elsewhere there is no cell."""
    strips: Strips | None
    """The separated cells in the box; None where there is none."""
    count_map: KeptMap | None
    """Cells per 4 x 4 pixels; None of a model that learned no counts."""
    calibration: Calibration | None
    """What gives the interval, and those of parts of the plane; None if there is none."""
    doubt: float
    """How far the plane is from those that the model knows, as the interval takes it."""

    @property
    def count(self) -> int | None:
        """The estimate, rounded half up; None without one."""
        return None if self.estimate is None else math.floor(self.estimate + 0.5)

    def labels(self) -> Iterator[NDArray[np.uint32]]:
        """Give the separated cells as rows of a label image, from top to bottom; 0 is background."""
        yield from self._rows(Strips.labels, np.dtype(np.uint32))

    def masks(self) -> Iterator[NDArray[np.bool_]]:
        """Give the foreground, as rows from top to bottom."""
        yield from self._rows(Strips.masks, np.dtype(np.bool_))

    def pieces(self) -> Iterator[Piece]:
        """Give the separated cells some whole ones at a time, to be measured or outlined.

        Raises:
            ImageError: A cell is so large that its rows do not fit memory.
        """
        return pieces_of(self.labels(), self.shape, self.count_map)

    def interval_of(self, cells: float) -> tuple[float, float] | None:
        """Give the 90 % interval of so many cells of the plane; see :meth:`elmgan.Result.interval_of`."""
        return None if self.calibration is None else self.calibration.interval(cells, self.doubt)

    def close(self) -> None:
        """Let go of what was kept on the disk."""
        for kept in (self.strips, self.count_map):
            if kept is not None:
                kept.close()

    def _rows(self, of: Callable[[Strips], Iterator[NDArray]], dtype: np.dtype) -> Iterator[NDArray]:
        yield from enlarged_rows(self._seen_rows(of, dtype), self.seen, self.shape, self.reductions)

    def _seen_rows(self, of: Callable[[Strips], Iterator[NDArray]], dtype: np.dtype) -> Iterator[NDArray]:
        rows, columns = self.seen
        box = self.box if self.strips is not None else Tile(rows, 0, 0, columns)
        yield from _blank(box.top, columns, dtype)
        for part in of(self.strips) if self.strips is not None else ():
            if box.width == columns:
                yield part
            else:
                wide = np.zeros((len(part), columns), dtype)
                wide[:, box.left : box.left + box.width] = part
                yield wide
        yield from _blank(rows - box.top - box.height, columns, dtype)


def enlarged_rows(
    rows: Iterable[NDArray], shape: tuple[int, int], to: tuple[int, int], ratios: tuple[float, float]
) -> Iterator[NDArray]:
    """Give the rows of a smaller copy of an image in the size of the image, each pixel that of the place where it is.

    Args:
        rows: Of the copy, from top to bottom.
        shape: Of the copy.
        to: Of the image.
        ratios: How many pixels of the image one of the copy stands for along rows and columns.

    >>> [some.tolist() for some in enlarged_rows([np.array([[1, 2]])], (1, 2), (2, 5), (2, 2))]
    [[[1, 1, 2, 2, 2], [1, 1, 2, 2, 2]]]
    """
    if shape == to:
        yield from rows
        return
    down, across = (
        np.minimum((np.arange(side) + 0.5) / ratio, of - 1).astype(np.intp)
        for side, of, ratio in zip(to, shape, ratios, strict=True)
    )
    first = 0
    for some in rows:
        begin, end = np.searchsorted(down, [first, first + len(some)])
        for top in range(begin, end, ROWS):
            yield some[down[top : min(top + ROWS, end), np.newaxis] - first, across]
        first += len(some)


def _blank(rows: int, columns: int, dtype: np.dtype) -> Iterator[NDArray]:
    for top in range(0, rows, ROWS):
        yield np.zeros((min(ROWS, rows - top), columns), dtype)
