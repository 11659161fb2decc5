"""Networks on images of any size: padded to what the network takes, read in tiles where large, cropped again."""

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import nullcontext
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from elmgan.counting.region import pixels_in_blocks
from elmgan.counting.scaling import (
    check_scale,
    edges_of,
    placed,
    redistribute,
    resize,
    resize_rows,
    rows_for,
    scaled_shape,
    spread_along,
)
from elmgan.counting.tiling import Band, Maps, Tiling, assembled
from elmgan.engines import Engine
from elmgan.engines.engine import SMALL
from elmgan.errors import ImageError, ModelError, UsageError
from elmgan.images import Tile
from elmgan.light import Seen, Stretch
from elmgan.models import Architecture

TILE = 1280
"""Side of tiles, in pixels."""

WHOLE = 1.6
"""Images of up to so many sides of a tile, 2048 pixels by default, are read whole: their tiles would be mostly halo."""


BAND_PIXELS = 1 << 25
"""Pixels of the rows that are predicted at a time of a large image, about, and as the network sees it."""

HALOS = 2
"""Halos that the rows have, about, which are predicted at a time at least: with fewer, most is computed for halos."""

SHRUNK_AT_ONCE = 128
"""Rows, as the network sees them, for which those of the image are shrunk at a time."""

ReadRows = Callable[[range], NDArray]
"""Gives some whole rows of an image."""


class Predictor:
    """Gives the probability of cell and the count map of a normalised image of any size.

    Args:
        architecture: Of the network that the engine runs.
        engine: What runs the network.
        tile: Side of the tiles, in pixels, in which images of more than ``WHOLE`` times that are read, if the
            architecture allows it. It bounds the memory and does not change the result; a multiple of the
            architecture's ``multiple``.

    Raises:
        UsageError: The tile does not fit the network.
    """

    def __init__(self, architecture: Architecture, engine: Engine, *, tile: int = TILE) -> None:
        if tile < architecture.multiple or tile % architecture.multiple:
            raise UsageError(f"tile is {tile} pixels; this network takes multiples of {architecture.multiple}")
        self._architecture = architecture
        self._engine = engine
        self._tile = tile
        self._all_cores = Lock()

    @property
    def halo(self) -> int:
        """Pixels around one that decide what the network says of it."""
        return self._architecture.halo

    def __call__(self, image: NDArray, *, scale: float = 1, stretch: Stretch | None = None) -> Maps:
        """Predict one (row, column) image.

        Args:
            image: The whole image; normalised float32, or grey values together with ``stretch``.
            scale: The network sees the image resized by this factor, 0.1 to 10; what it says of it is resized back.
            stretch: Normalises the image; of a large one a tile at a time.

        Returns:
            The probability of cell, of the image's size, and the count map, whose sum is the count: a quarter of the
            image's size, rounded up, or a single value with the pooled head.

        Raises:
            ImageError: The network was made for another size.
            ModelError: The network gives arrays of the wrong size.
            UsageError: There is no such scale.
        """
        check_scale(scale)
        shape = scaled_shape(image.shape, scale)
        if shape == image.shape:
            return self._predict_seen(image, stretch)
        return self.back(
            self._predict_seen(resize(image if stretch is None else stretch(image), shape), None), image.shape
        )

    def back(self, predicted: Maps, shape: tuple[int, int]) -> Maps:
        """Give what was predicted of a resized image for the image itself, of these rows and columns."""
        probability, count_map = predicted
        if self._architecture.maps:
            count_map = redistribute(count_map, probability.shape, shape, self._architecture.stride)
        return resize(probability, shape), count_map

    def within(
        self,
        seen: Seen,
        *,
        scale: float = 1,
        predicted: Maps | None = None,
    ) -> Maps:
        """Predict an image from the part of it that holds data; elsewhere there are 0 cells with a probability of 0.

        A margin without data so changes nothing, whatever its width. Only a network for images of one size is shown it.
        Args, returns and raises as when called; ``predicted`` is what was predicted before of that part at this scale.
        """
        if seen.data is None:
            if predicted is not None:
                return self.back(predicted, seen.grey.shape)
            return self(seen.grey, scale=scale, stretch=seen.stretch)
        architecture, shape = self._architecture, seen.grey.shape
        box = seen.box if architecture.maps else Tile(0, 0, *shape)
        data = box.of(seen.data)
        if predicted is not None:
            inner, count_map = self.back(predicted, data.shape)
        else:
            inner, count_map = self(np.ascontiguousarray(box.of(seen.grey)), scale=scale, stretch=seen.stretch)
        probability = np.zeros(shape, np.float32)
        box.of(probability)[data] = inner[data]
        if architecture.maps:
            count_map = count_map * (pixels_in_blocks(data, architecture.stride) > 0)
            count_map = placed(count_map, box, shape, architecture.stride)
        return probability, count_map

    def _predict_seen(self, image: NDArray, stretch: Stretch | None) -> Maps:
        rows, columns = image.shape
        if self._architecture.tiles and max(self._padded(rows, columns)) > WHOLE * self._tile:

            def read(some: range) -> NDArray:
                return image[some.start : some.stop]

            bands = (self._band(read, image.shape, top, stretch) for top in self._tops(rows, columns))
            return assembled(bands, image.shape, self._architecture.stride)
        padded = self._padded(rows, columns)
        pixels = _stretched(image, stretch)
        probability, count_map = self._run(np.pad(pixels, [(0, padded[0] - rows), (0, padded[1] - columns)]))
        stride = self._architecture.stride
        return probability[:rows, :columns], count_map[: math.ceil(rows / stride), : math.ceil(columns / stride)]

    def bands(
        self, read: ReadRows, shape: tuple[int, int], *, scale: float = 1, stretch: Stretch | None = None
    ) -> Generator[Band, None, None]:
        """Predict an image that is too large for memory, some whole rows at a time.

        Args:
            read: Gives rows of the image; it is asked for them from top to bottom, for some twice.
            shape: Rows and columns of the image.
            scale: The network sees the image resized by this factor.
            stretch: Normalises the rows; ``None`` if they are.

        Yields:
            The number of the first row, the probability of cell, and the count map of these rows. All bands but the
            last one have a multiple of four rows.

        Raises:
            UsageError: There is no such scale, or the network takes images of one size alone.
        """
        tops = self.tops_of_bands(shape, scale=scale)
        bands = (self.seen_band(read, shape, top, scale=scale, stretch=stretch) for top in tops)
        yield from self.unscaled(bands, shape, scale=scale)

    def tops_of_bands(self, shape: tuple[int, int], *, scale: float = 1) -> range:
        """Give the first rows of the bands in which an image is predicted, as the network sees it.

        Args and raises as of :meth:`bands`.
        """
        check_scale(scale)
        if not self._architecture.tiles:
            raise UsageError("an image of this size is counted in tiles: choose a model with a count map")
        return self._tops(*scaled_shape(shape, scale), scale)

    def seen_band(
        self, read: ReadRows, shape: tuple[int, int], top: int, *, scale: float = 1, stretch: Stretch | None = None
    ) -> Band:
        """Predict one of the bands of an image, as the network sees it; any of them, in any order.

        Args:
            read: Gives rows of the image.
            shape: Rows and columns of the image.
            top: First row of the band, one of :meth:`tops_of_bands`.
            scale: As of :meth:`bands`.
            stretch: Likewise.
        """
        scaled = scaled_shape(shape, scale)
        if scaled == shape:
            return self._band(read, shape, top, stretch, scale)

        def shrunk(wanted: range) -> NDArray[np.float32]:
            needed = rows_for(shape, scaled, wanted)
            return resize_rows(_stretched(read(needed), stretch), needed.start, shape, scaled, wanted)

        def read_scaled(wanted: range) -> NDArray[np.float32]:
            return np.concatenate([shrunk(some) for some in _in_parts(wanted, SHRUNK_AT_ONCE)])

        return self._band(read_scaled, scaled, top, None, scale)

    def unscaled(
        self, bands: Iterable[Band], shape: tuple[int, int], *, scale: float = 1
    ) -> Generator[Band, None, None]:
        """Turn all bands of an image as the network sees it, from top to bottom, into those of the image itself."""
        scaled = scaled_shape(shape, scale)
        yield from bands if scaled == shape else self._unscaled(bands, scaled, shape)

    def _unscaled(self, bands: Iterable[Band], scaled: tuple[int, int], shape: tuple[int, int]) -> Iterator[Band]:
        """Give what was predicted of a resized image for the image itself."""
        stride, done, first, blocks = self._architecture.stride, 0, 0, 0
        probability = np.zeros((0, scaled[1]), np.float32)
        count_map = np.zeros((0, math.ceil(scaled[1] / stride)), np.float32)
        edges = edges_of(scaled[0], stride) * (shape[0] / scaled[0])
        across = edges_of(scaled[1], stride) * (shape[1] / scaled[1])
        for top, band, counts in bands:
            probability, count_map = np.concatenate([probability, band]), np.concatenate([count_map, counts])
            here = top + len(band)
            # So many rows of the image have all that they are made of.
            end = shape[0] if here == scaled[0] else math.floor((here - 2) * shape[0] / scaled[0]) // stride * stride
            if end <= done:
                continue
            for wanted in _in_parts(range(done, end), max(1, BAND_PIXELS // shape[1] // stride) * stride):
                needed = rows_for(scaled, shape, wanted)
                found = resize_rows(
                    probability[needed.start - first : needed.stop - first], needed.start, scaled, shape, wanted
                )
                parts = np.append(np.arange(wanted.start, wanted.stop, stride), wanted.stop)
                spread = spread_along(count_map, edges[blocks : blocks + len(count_map) + 1], parts)
                spread = spread_along(spread.T, across, edges_of(shape[1], stride)).T
                yield wanted.start, found, np.ascontiguousarray(spread, np.float32)
            done = end
            cut = max(0, rows_for(scaled, shape, range(done, done + 1)).start - first)
            probability, first = probability[cut:], first + cut
            gone = max(0, int(np.searchsorted(edges, done, "right")) - 1 - blocks)
            count_map, blocks = count_map[gone:], blocks + gone

    def _band(
        self, read: ReadRows, shape: tuple[int, int], top: int, stretch: Stretch | None, scale: float = 1
    ) -> Band:
        """Predict a band of an image as the network sees it, in tiles."""
        (rows, columns), stride = shape, self._architecture.stride
        held: tuple[Tile, NDArray] | None = None

        def predict(tile: Tile) -> Maps:
            nonlocal held
            if held is None:  # all tiles of a band have the same rows
                held = tile, read(range(tile.top, min(tile.top + tile.height, rows)))
            pixels = _stretched(held[1][:, tile.left : tile.left + tile.width], stretch)
            missing = [(0, tile.height - pixels.shape[0]), (0, tile.width - pixels.shape[1])]
            return self._run(np.pad(pixels, missing))  # with 0: the background

        _, probability, count_map = self._tiling(rows, columns, scale).band(predict, top)
        height = min(len(probability), rows - top)
        blocks = math.ceil(height / stride), math.ceil(columns / stride)
        return top, probability[:height, :columns], count_map[: blocks[0], : blocks[1]]

    def _tops(self, rows: int, columns: int, scale: float = 1) -> range:
        height = self._tiling(rows, columns, scale).height
        return range(0, rows, height)  # no band of nothing but what was added at the bottom

    def _tiling(self, rows: int, columns: int, scale: float = 1) -> Tiling:
        """Say how an image of so many rows and columns, as the network sees it at a scale, is cut."""
        architecture = self._architecture
        return Tiling(
            self._padded(rows, columns),
            tile=self._tile,
            halo=architecture.halo,
            stride=architecture.stride,
            grid=architecture.multiple,
            pixels=max(int(BAND_PIXELS * min(1, scale) ** 2), HALOS * architecture.halo * columns),
        )

    def _padded(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns with what is added at the bottom and right, to multiples of what the network halves."""
        architecture = self._architecture
        padded = rows + -rows % architecture.multiple, columns + -columns % architecture.multiple
        if architecture.size is not None and padded != architecture.size:
            takes = " x ".join(str(side) for side in architecture.size)
            raise ImageError(
                f"the image has {rows} x {columns} pixels; this model was made for {takes} only: "
                "cut the image to that size or choose a model with a count map"
            )
        return padded

    def _run(self, image: NDArray[np.float32]) -> Maps:
        architecture = self._architecture
        rows, columns = image.shape
        reduced = (rows // architecture.stride, columns // architecture.stride)
        expected = ((1, 1, rows, columns), (1, 1, *(reduced if architecture.maps else (1, 1))))
        # Several threads may be here: of large images, which take much memory, one after the other goes on. What a
        # graphics card takes is bounded where their images are gathered.
        alone = image.size > SMALL and self._engine.runtime.device == "cpu"
        with self._all_cores if alone else nullcontext():
            probability, count_map = self._engine.predict(np.ascontiguousarray(image[np.newaxis, np.newaxis]))
        if (probability.shape, count_map.shape) != expected:
            raise ModelError(
                f"the network gives arrays of {probability.shape} and {count_map.shape}; "
                f"expected {expected[0]} and {expected[1]}: model.json and model.onnx do not belong together"
            )
        return probability[0, 0], count_map[0, 0]


def _in_parts(rows: range, most: int) -> list[range]:
    """Cut rows into parts of so many at most.

    >>> _in_parts(range(3, 10), 4)
    [range(3, 7), range(7, 10)]
    """
    return [range(first, min(first + most, rows.stop)) for first in range(rows.start, rows.stop, most)]


def _stretched(pixels: NDArray, stretch: Stretch | None) -> NDArray[np.float32]:
    return pixels if stretch is None else stretch(pixels)
