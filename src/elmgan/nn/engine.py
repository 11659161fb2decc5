"""The engine that runs a generator in PyTorch itself: on a graphics card, or where there is no ONNX graph yet."""

import numpy as np
import torch
from numpy.typing import NDArray

from elmgan.engines import Runtime
from elmgan.errors import ModelError, UsageError, one_line
from elmgan.models import Bundle
from elmgan.nn.generator import Generator
from elmgan.nn.weights import load_weights


class TorchEngine:
    """Runs a generator on the device that it is on; see :class:`elmgan.engines.Engine`."""

    def __init__(self, generator: Generator, *, precision: str = "fp32") -> None:
        self.generator = generator
        self.precision = precision

    @classmethod
    def of(
        cls, bundle: Bundle, *, precision: str = "auto", device: str = "auto", parallel: bool = False
    ) -> "TorchEngine":
        """Make the engine of a model.

        Args:
            bundle: The model.
            precision: fp32 or bf16; auto is bf16 on a graphics card that computes in it, and fp32 elsewhere.
            device: cpu or cuda; auto is cuda if there is one.
            parallel: Makes no difference: PyTorch shares its threads between callers.

        Raises:
            ModelError: model.onnx does not have the weights of the network that model.json tells.
            UsageError: There is no CUDA device, or the precision is int8.
        """
        if precision == "int8":
            raise UsageError("engine torch computes in fp32 or bf16: leave precision int8 out, or take another engine")
        if device == "cuda" and not torch.cuda.is_available():
            raise UsageError("PyTorch finds no CUDA device: take device cpu or auto")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if precision == "auto":
            capable = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            precision = "bf16" if capable else "fp32"
        generator = Generator(bundle.card.architecture)
        load_weights(generator, bundle.onnx)
        generator.to(device)
        generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # known to PyTorch, not its types
        return cls(generator, precision=precision)

    @property
    def runtime(self) -> Runtime:
        """See Engine."""
        return Runtime("torch", torch.__version__, self.precision, self._device.type)

    @torch.no_grad()
    def predict(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See Engine."""
        self.generator.eval()
        low = self.precision == "bf16"
        try:
            with torch.autocast(self._device.type, torch.bfloat16, enabled=low):
                prediction = self.generator(torch.from_numpy(images).to(self._device))
            return torch.sigmoid(prediction.mask_logits).cpu().numpy(), prediction.count_map.cpu().numpy()
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            rows, columns = images.shape[-2:]
            raise ModelError(f"the network cannot run on {rows} x {columns} pixels: {one_line(error)}") from error

    @property
    def _device(self) -> torch.device:
        return next(self.generator.parameters()).device
