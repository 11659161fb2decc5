"""What the network sees of a plane that is too large for memory: found from its rows as they come, a strip at a time.

Statistics are those of :func:`~elmgan.light.see.see`, from the same pixels. What differs is told there.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import ImageError
from elmgan.images import Tile
from elmgan.light.grey import RGB, glass_of, haematoxylin, one_channel
from elmgan.light.no_data import Lines, Margin, Search, candidates, holding, no_value
from elmgan.light.normalise import Cells, Grey, GridSample, Normalisation, Stretch, places
from elmgan.light.see import (
    CURVED,
    SMOOTH,
    Seen,
    Slope,
    block_steps,
    colour_step,
    colours_in,
    is_stained,
    slope_in,
    stains_in,
    steep,
)

Read = Callable[[Tile], NDArray]
"""Reads a part of a plane: (row, column) or (row, column, RGB)."""

PREVIEW = 2048
"""Side of the small picture that is kept of a plane, at most."""


@dataclass(frozen=True)
class Surveyed:
    """A plane as the network sees it, any part of it once that is read.

    Attributes:
        shape: Of the plane.
        box: The smallest rectangle that holds all data.
        stretch: What becomes of the grey values.
        channel: The channel that was taken, or what colour was seen as.
        remarks: Flags that the light alone raises.
        stains: Of a merge, the channels that show different things.
        sample: Of the levelled image in the box; what statistics are taken from.
        preview: Every so many rows and columns of the plane, as read.
    """

    shape: tuple[int, int]
    box: Tile
    stretch: Stretch
    channel: int | str | None
    remarks: tuple[str, ...]
    stains: tuple[int, ...]
    sample: GridSample
    preview: NDArray
    _glass: NDArray[np.float32] | None
    _none: float | None
    _margins: tuple[Margin, ...]
    _slopes: tuple[Slope, ...]

    def seen(self, pixels: NDArray, tile: Tile) -> Seen:
        """Give what the network sees of a part of the box, given its pixels as read.

        Args:
            pixels: Of the tile.
            tile: Within the box; in pixels of the plane.
        """
        found = self._grey(pixels)
        held = self.held(found, tile)
        grey: Grey = found if self._glass is None else haematoxylin(pixels, self._glass)
        as_read = grey
        if held is not None:
            grey = np.where(held, grey, grey.dtype.type(0))
        for slope in self._slopes:
            grey = slope.taken_off_part(grey, (self.box.height, self.box.width), tile.within(self.box))
        if held is not None:
            grey = np.where(held, grey, np.float32(self.stretch.centre))
        everything = Tile(0, 0, tile.height, tile.width)
        return Seen(grey, held, everything, self.stretch, self.channel, self.remarks, self.stains, as_read)

    def held(self, grey: Grey, tile: Tile) -> NDArray[np.bool_] | None:
        """Tell which pixels of a part of the box hold data, given their grey values as read."""
        return holding(grey, self._none, self._margins, tile)

    def _grey(self, pixels: NDArray) -> Grey:
        return one_channel(pixels, None if self._glass is not None else self.channel)


def survey_plane(
    read: Read,
    shape: tuple[int, int],
    normalisation: Normalisation,
    *,
    channel: int | str | None = None,
    cells: Cells = "auto",
    rows: int = 1024,
) -> Surveyed:
    """Look at a plane once from top to bottom; again where its border has one value for long.

    Args:
        read: Reads a part of it.
        shape: Its rows and columns.
        normalisation: How grey values are stretched.
        channel: See :func:`~elmgan.light.see.see`.
        cells: Likewise.
        rows: That are read at a time.

    Raises:
        ImageError: It cannot be read, or is not of a kind that can be counted.
    """
    tiles = _strips(Tile(0, 0, *shape), rows)
    first = channel if channel != "haematoxylin" else None
    step = math.ceil(max(shape) / PREVIEW)
    whole = Tile(0, 0, *shape)
    nine, colours, blocks = _Grid.nine(whole), _Grid.every(whole, colour_step(shape)), _Grid.blocks(whole)
    preview = _Grid.every(whole, step)
    lowest, gaps, left, right, lines = math.inf, False, [], [], []
    for tile in tiles:
        pixels = read(tile)
        for grid in (nine, colours, preview, blocks):
            grid.add(tile, pixels)
        grey = one_channel(pixels, first)
        if grey.dtype.kind == "f":
            finite = np.isfinite(grey)
            gaps |= not finite.all()
            lowest = min(lowest, float(grey.min(initial=np.inf, where=finite)))
        left.append(grey[:, 0].copy())
        right.append(grey[:, -1].copy())
        lines += [grey[0].copy()] if tile.top == 0 else []
        lines += [grey[-1].copy()] if tile.top + tile.height == shape[0] else []
    border = Lines(lines[0], lines[1], np.concatenate(left), np.concatenate(right))
    seen = one_channel(nine.pixels, first)[1::3, 1::3]
    none = no_value(lowest, seen)
    margins = _margins(read, shape, tiles, first, candidates(border, seen))
    grids = [nine, colours, blocks]
    held: list[NDArray[np.bool_] | None] = [None] * len(grids)
    box = whole
    if gaps or margins or none is not None:
        box = _box(read, tiles, first, none, margins, gaps=gaps or none is not None)
        sides = box.height, box.width
        grids = [_Grid.nine(box), _Grid.every(box, colour_step(sides)), _Grid.blocks(box)]
        masks = [grid.alike() for grid in grids]
        for tile in _strips(box, rows):
            pixels = read(tile)
            holds = holding(one_channel(pixels, first), none, margins, tile)
            holds = np.ones(pixels.shape[:2], bool) if holds is None else holds
            for grid, mask in zip(grids, masks, strict=True):
                grid.add(tile, pixels)
                mask.add(tile, holds)
        held = [mask.pixels for mask in masks]
    glass: NDArray[np.float32] | None = None
    stains: tuple[int, ...] = ()
    if channel == "haematoxylin":
        glass = glass_of(_finite(colours.pixels.reshape(-1, RGB).astype(np.float32)))
    elif channel is None and preview.pixels.ndim == 3:
        pixels = colours_in(grids[1].pixels, held[1])
        if cells == "auto" and is_stained(pixels):
            channel, glass = "haematoxylin", glass_of(pixels)
        else:
            stains = stains_in(pixels)

    def grey_of(grid: _Grid) -> Grey:
        return one_channel(grid.pixels, channel) if glass is None else haematoxylin(grid.pixels, glass)

    sign: Cells = "bright" if channel == "haematoxylin" else cells
    levelled, slopes, uneven = _levelled(grey_of(grids[0]), grey_of(grids[2]), grids, held, normalisation, sign)
    stretch = normalisation.stretch_of(levelled, sign)
    found = {"debris": stretch.debris, "merge": bool(stains), "uneven": uneven}
    remarks = tuple(name for name, present in found.items() if present)
    return Surveyed(
        shape, box, stretch, channel, remarks, stains, levelled, preview.pixels, glass, none, tuple(margins), slopes
    )


def _levelled(
    nine: Grey,
    blocks: Grey,
    grids: Sequence["_Grid"],
    held: Sequence[NDArray[np.bool_] | None],
    normalisation: Normalisation,
    cells: Cells,
) -> tuple[GridSample, tuple[Slope, ...], bool]:
    """Find the background's slopes, which are to be subtracted, and the sample without them; see ``see``."""
    box = grids[0].within
    shape = box.height, box.width
    taken = GridSample.of_nine(nine, held[0])
    if not taken.held.size:
        raise ImageError("hardly any pixel holds data: cut the image to what it shows")
    slope = slope_in(blocks, held[2])
    if slope is None or not steep(slope, normalisation.stretch_of(taken, cells).span):
        return taken, (), False
    if slope.rough > SMOOTH:
        return taken, (), True
    level = blocks - slope.at(shape, grids[2].rows, grids[2].columns)
    rest = slope_in(level.astype(np.float32), held[2])
    slopes = (slope,) if rest is None else (slope, rest)
    off = sum(each.at(shape, grids[0].rows, grids[0].columns) for each in slopes)
    return GridSample.of_nine((nine - off).astype(np.float32), held[0]), slopes, slope.curved > CURVED


def _strips(within: Tile, rows: int) -> list[Tile]:
    """Whole rows of a part of a plane, so many at a time."""
    end = within.top + within.height
    return [Tile(top, within.left, min(rows, end - top), within.width) for top in range(within.top, end, rows)]


def _margins(
    read: Read,
    shape: tuple[int, int],
    tiles: Sequence[Tile],
    channel: int | str | None,
    found: list[tuple[float, float]],
) -> list[Margin]:
    searches = [Search(value, half, shape) for value, half in found]
    for tile in tiles if searches else ():
        grey = one_channel(read(tile), channel)
        for search in searches:
            search.add(tile.top, grey)
    margins = (search.found(lambda tile: one_channel(read(tile), channel)) for search in searches)
    return [margin for margin in margins if margin is not None]


def _box(
    read: Read,
    tiles: Sequence[Tile],
    channel: int | str | None,
    none: float | None,
    margins: Sequence[Margin],
    *,
    gaps: bool,
) -> Tile:
    """The smallest rectangle that holds all data; pixels are read only where they may be gaps."""
    rows, columns = [], np.zeros(tiles[0].width, bool)
    for tile in tiles:
        grey = one_channel(read(tile), channel) if gaps else np.zeros((tile.height, tile.width), np.uint8)
        held = holding(grey, none, margins, tile)
        held = np.ones(grey.shape, bool) if held is None else held
        rows.append(held.any(axis=1))
        columns |= held.any(axis=0)
    down, across = np.flatnonzero(np.concatenate(rows)), np.flatnonzero(columns)
    if not down.size:
        raise ImageError("no pixel holds data: all are NaN or infinite")
    top, left = int(down[0]), int(across[0])
    return Tile(top, left, int(down[-1]) + 1 - top, int(across[-1]) + 1 - left)


def _finite(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    found = pixels[np.isfinite(pixels).all(axis=1)]
    if not len(found):
        raise ImageError("no pixel holds data: all are NaN or infinite")
    return np.asarray(found)


class _Grid:
    """Collects the pixels of some rows and columns of a part of a plane."""

    def __init__(self, within: Tile, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> None:
        self.within, self.rows, self.columns = within, rows, columns
        self._sorted, self._places = np.unique(rows, return_inverse=True)
        self._parts: list[NDArray] = []
        self._taken = 0

    @classmethod
    def nine(cls, within: Tile) -> "_Grid":
        """Of the places of a sample, each with its neighbours."""
        shape = within.height, within.width
        return cls(within, places(0, shape), places(1, shape))

    @classmethod
    def every(cls, within: Tile, step: int) -> "_Grid":
        """Of every so many rows and columns."""
        return cls(within, np.arange(0, within.height, step), np.arange(0, within.width, step))

    @classmethod
    def blocks(cls, within: Tile) -> "_Grid":
        """Of those that show the background."""
        shape = within.height, within.width
        rows, columns = (np.arange(0, side, step) for side, step in zip(shape, block_steps(shape), strict=True))
        return cls(within, rows, columns)

    def alike(self) -> "_Grid":
        """Give one of the same rows and columns, with nothing collected."""
        return _Grid(self.within, self.rows, self.columns)

    def add(self, tile: Tile, pixels: NDArray) -> None:
        """Take what is of the grid in the next whole rows."""
        top = tile.top - self.within.top
        end = int(np.searchsorted(self._sorted, top + tile.height))
        self._parts.append(pixels[self._sorted[self._taken : end] - top][:, self.columns])
        self._taken = end

    @property
    def pixels(self) -> NDArray:
        """All of them, once the last rows were added."""
        return np.concatenate(self._parts)[self._places]
