"""Networks on images of any size: padded to what the network takes, read in tiles where large, cropped again."""

import math
from contextlib import nullcontext
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from elmgan.counting.region import pixels_in_blocks
from elmgan.counting.scaling import check_scale, placed, redistribute, resize, scaled_shape
from elmgan.counting.tiling import predict_in_tiles
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

    def __call__(
        self, image: NDArray, *, scale: float = 1, stretch: Stretch | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
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

    def back(
        self, predicted: tuple[NDArray[np.float32], NDArray[np.float32]], shape: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
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
        predicted: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
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

    def _predict_seen(self, image: NDArray, stretch: Stretch | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        architecture, halo = self._architecture, self._architecture.halo
        rows, columns = image.shape
        padded = self._padded(rows, columns)

        def predict(tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            pixels = tile.of(image) if stretch is None else stretch(tile.of(image))
            missing = [(0, tile.height - pixels.shape[0]), (0, tile.width - pixels.shape[1])]
            return self._run(np.pad(pixels, missing))  # with 0: the background

        if architecture.tiles and max(padded) > WHOLE * self._tile:
            probability, count_map = predict_in_tiles(
                predict,
                padded,
                tile=self._tile,
                halo=halo,
                stride=architecture.stride,
                grid=architecture.multiple,
            )
        else:
            probability, count_map = predict(Tile(0, 0, *padded))
        stride = architecture.stride
        return probability[:rows, :columns], count_map[: math.ceil(rows / stride), : math.ceil(columns / stride)]

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

    def _run(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        architecture = self._architecture
        rows, columns = image.shape
        reduced = (rows // architecture.stride, columns // architecture.stride)
        expected = ((1, 1, rows, columns), (1, 1, *(reduced if architecture.maps else (1, 1))))
        # Several threads may be here: of large images, which take much memory, one after the other goes on.
        with self._all_cores if image.size > SMALL else nullcontext():
            probability, count_map = self._engine.predict(np.ascontiguousarray(image[np.newaxis, np.newaxis]))
        if (probability.shape, count_map.shape) != expected:
            raise ModelError(
                f"the network gives arrays of {probability.shape} and {count_map.shape}; "
                f"expected {expected[0]} and {expected[1]}: model.json and model.onnx do not belong together"
            )
        return probability[0, 0], count_map[0, 0]
