"""The engine that every installation has: ONNX Runtime."""

import numpy as np
from numpy.typing import NDArray

from elmgan.engines.engine import INPUT, OUTPUTS, SMALL, Runtime, check_names, check_processor, takes_int8, threads
from elmgan.engines.libraries import ERRORS_ONLY, import_onnxruntime
from elmgan.errors import ModelError, UsageError, one_line
from elmgan.models import Bundle

PROVIDERS = ["CPUExecutionProvider"]


class OnnxEngine:
    """Runs a network on the processor with ONNX Runtime.

    Args:
        onnx: Content of model.onnx, or of int8.onnx.
        precision: What its layers compute in, fp32 or int8.
        parallel: Whether several threads call it at once; an image that is not large has one core then.

    Raises:
        ModelError: The bytes are no ONNX network from ``image`` to ``probability`` and ``count_map``.
    """

    def __init__(self, onnx: bytes, *, precision: str = "fp32", parallel: bool = False) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.enable_mem_pattern = False  # a plan for each shape, with memory that is never given back
        try:
            options.intra_op_num_threads = threads()
            self._session = self._small = onnxruntime.InferenceSession(onnx, options, providers=PROVIDERS)
            if parallel:
                options.intra_op_num_threads = 1
                self._small = onnxruntime.InferenceSession(onnx, options, providers=PROVIDERS)
        except Exception as error:  # ONNX Runtime's errors have no common base of their own
            raise ModelError(f"model.onnx cannot be loaded: {one_line(error)}") from error
        check_names(
            (value.name for value in self._session.get_inputs()), (value.name for value in self._session.get_outputs())
        )
        self.runtime = Runtime("onnxruntime", onnxruntime.__version__, precision, "cpu")

    @classmethod
    def of(
        cls, bundle: Bundle, *, precision: str = "auto", device: str = "auto", parallel: bool = False
    ) -> "OnnxEngine":
        """Make the engine of a model; see :func:`~elmgan.engines.open_engine`.

        Raises:
            ModelError: The network cannot be loaded.
            UsageError: The device is another than the processor, or the precision is bf16, or it is int8 and the model
                or the processor lacks that.
        """
        check_processor("onnxruntime", device)
        if precision == "bf16":
            raise UsageError(
                "onnxruntime computes in int8 or fp32: leave precision bf16 out, or take OpenVINO "
                "(pip install openvino) on a processor that has it"
            )
        if takes_int8(bundle, precision) and bundle.int8 is not None:
            return cls(bundle.int8, precision="int8", parallel=parallel)
        return cls(bundle.onnx, parallel=parallel)

    def predict(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See Engine."""
        try:
            session = self._small if images.size <= SMALL else self._session
            probability, count_map = session.run(OUTPUTS, {INPUT: images})
        except Exception as error:  # as above
            rows, columns = images.shape[-2:]
            raise ModelError(f"model.onnx cannot run on {rows} x {columns} pixels: {one_line(error)}") from error
        return probability, count_map
