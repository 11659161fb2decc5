"""What runs a network: an engine turns an image into a probability and a count map."""

from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from elmgan.errors import ModelError, one_line

INPUT = "image"
OUTPUTS = ["probability", "count_map"]
ERRORS_ONLY = 3  # the level of ONNX Runtime's log


class Engine(Protocol):
    """Runs one network."""

    def predict(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give the probability of cell and the count map, both float32, of a normalised (1, 1, row, column) image.

        The sides of the image are multiples of the architecture's ``multiple``. The probability has the image's shape,
        the count map is (1, 1, row / stride, column / stride), or (1, 1, 1, 1) with the pooled head.
        """
        ...


class OnnxEngine:
    """Runs model.onnx on the processor with ONNX Runtime.

    Raises:
        ModelError: The bytes are no ONNX network from ``image`` to ``probability`` and ``count_map``.
    """

    def __init__(self, onnx: bytes) -> None:
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common base of their own
            raise ModelError(f"model.onnx cannot be loaded: {one_line(error)}") from error
        inputs = [value.name for value in self._session.get_inputs()]
        outputs = [value.name for value in self._session.get_outputs()]
        if inputs != [INPUT] or not set(OUTPUTS) <= set(outputs):
            raise ModelError(
                f"model.onnx maps {', '.join(inputs)} to {', '.join(outputs)}; "
                f"expected {INPUT} to {' and '.join(OUTPUTS)}: export the model again with elmgan"
            )

    def predict(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See Engine.

        Raises:
            ModelError: The network cannot run on the image, for want of memory say.
        """
        try:
            probability, count_map = self._session.run(OUTPUTS, {INPUT: image})
        except Exception as error:  # as above
            rows, columns = image.shape[-2:]
            raise ModelError(f"model.onnx cannot run on {rows} x {columns} pixels: {one_line(error)}") from error
        return probability, count_map
