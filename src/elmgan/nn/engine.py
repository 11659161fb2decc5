"""The engine that runs a generator in PyTorch itself, where there is no ONNX graph yet."""

import numpy as np
import torch
from numpy.typing import NDArray

from elmgan.nn.generator import Generator


class TorchEngine:
    """Runs a generator on the device that it is on; see :class:`elmgan.inference.Engine`."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    @torch.no_grad()
    def predict(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give probability and count map of a normalised (1, 1, row, column) image."""
        device = next(self.generator.parameters()).device
        self.generator.eval()
        prediction = self.generator(torch.from_numpy(image).to(device))
        return torch.sigmoid(prediction.mask_logits).cpu().numpy(), prediction.count_map.cpu().numpy()
