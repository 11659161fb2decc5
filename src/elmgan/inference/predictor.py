"""Networks on images of any size: padded to what the network takes, read in tiles where large, cropped again."""

import math

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import ImageError, ModelError, UsageError
from elmgan.inference.engine import Engine
from elmgan.inference.scaling import check_scale, redistribute, resize, scaled_shape
from elmgan.inference.tiling import predict_in_tiles
from elmgan.models import Architecture


class Predictor:
    """Gives the probability of cell and the count map of a normalised image of any size.

    Args:
        architecture: Of the network that the engine runs.
        engine: What runs the network.
        tile: Images larger than this many pixels a side are read in tiles, if the architecture allows it. It bounds the
            memory and does not change the result; a multiple of the architecture's ``multiple``.

    Raises:
        UsageError: The tile does not fit the network.
    """

    def __init__(self, architecture: Architecture, engine: Engine, *, tile: int = 2048) -> None:
        if tile < architecture.multiple or tile % architecture.multiple:
            raise UsageError(f"tile is {tile} pixels; this network takes multiples of {architecture.multiple}")
        self._architecture = architecture
        self._engine = engine
        self._tile = tile

    def __call__(
        self, image: NDArray[np.float32], *, scale: float = 1
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict one normalised (row, column) image.

        Args:
            image: The whole image.
            scale: The network sees the image resized by this factor, 0.1 to 10; what it says of it is resized back.

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
        probability, count_map = self._predict_seen(resize(image, shape))
        if self._architecture.count_head == "map":
            count_map = redistribute(count_map, shape, image.shape, self._architecture.stride)
        return resize(probability, image.shape), count_map

    def _predict_seen(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows, columns = image.shape
        probability, count_map = self._predict_padded(self._padded(image))
        stride = self._architecture.stride
        return probability[:rows, :columns], count_map[: math.ceil(rows / stride), : math.ceil(columns / stride)]

    def _padded(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Extend the image at bottom and right to multiples of what the network halves, with 0: the background."""
        architecture = self._architecture
        rows, columns = image.shape
        padded = np.pad(image, ((0, -rows % architecture.multiple), (0, -columns % architecture.multiple)))
        if architecture.size is not None and padded.shape != architecture.size:
            takes = " x ".join(str(side) for side in architecture.size)
            raise ImageError(
                f"the image has {rows} x {columns} pixels; this model was made for {takes} only: "
                "cut the image to that size or choose a model with a count map"
            )
        return padded

    def _predict_padded(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        architecture = self._architecture
        if not architecture.tiles:
            return self._predict_whole(image)
        return predict_in_tiles(
            self._predict_whole, image, tile=self._tile, halo=architecture.halo, stride=architecture.stride
        )

    def _predict_whole(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        architecture = self._architecture
        rows, columns = image.shape
        reduced = (rows // architecture.stride, columns // architecture.stride)
        expected = ((1, 1, rows, columns), (1, 1, *(reduced if architecture.count_head == "map" else (1, 1))))
        probability, count_map = self._engine.predict(np.ascontiguousarray(image[np.newaxis, np.newaxis]))
        if (probability.shape, count_map.shape) != expected:
            raise ModelError(
                f"the network gives arrays of {probability.shape} and {count_map.shape}; "
                f"expected {expected[0]} and {expected[1]}: model.json and model.onnx do not belong together"
            )
        return probability[0, 0], count_map[0, 0]
