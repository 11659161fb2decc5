"""What runs a network: an engine turns images into probabilities and count maps."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from elmgan.engines.libraries import has_int8
from elmgan.errors import ModelError, UsageError
from elmgan.models import Bundle

SMALL = 3 << 19
"""Images of more pixels have all cores to themselves, also where several threads call an engine at once.

So have the tiles in which very large images are read.
"""

INPUT = "image"
OUTPUTS = ["probability", "count_map"]


@dataclass(frozen=True)
class Runtime:
    """By what, how and where a network is run.

    >>> print(Runtime("openvino", "2026.4.1", "bf16", "cpu"))
    openvino in bf16 on cpu
    """

    name: str
    """Of the engine: onnxruntime, openvino or torch."""
    version: str
    precision: str
    """What the layers compute in: fp32, bf16, which keeps 8 bits of a number, or int8, all but the count head in whole
    numbers of 8 bits. Results are float32 either way.
    """
    device: str
    """cpu or cuda."""

    def __str__(self) -> str:
        return f"{self.name} in {self.precision} on {self.device}"


class Engine(Protocol):
    """Runs one network."""

    @property
    def runtime(self) -> Runtime:
        """By what, how and where the network is run."""
        ...

    def predict(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give the probability of cell and the count map, both float32, of normalised (n, 1, row, column) images.

        The sides of the images are multiples of the architecture's ``multiple``. The probability has their shape,
        the count map is (n, 1, row / stride, column / stride), or (n, 1, 1, 1) with the pooled head.

        Raises:
            ModelError: The network cannot run on the images, for want of memory say.
        """
        ...


def check_names(inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Check that a network takes and gives what an engine asks of it, by the names of its inputs and outputs.

    Raises:
        ModelError: It maps something else to something else.
    """
    inputs, outputs = list(inputs), list(outputs)
    if inputs != [INPUT] or not set(OUTPUTS) <= set(outputs):
        raise ModelError(
            f"model.onnx maps {', '.join(inputs)} to {', '.join(outputs)}; "
            f"expected {INPUT} to {' and '.join(OUTPUTS)}: export the model again with elmgan"
        )


def check_processor(engine: str, device: str) -> None:
    """Check that an engine that runs on the processor alone is asked for nothing else.

    Raises:
        UsageError: It is.
    """
    if device == "cuda":
        raise UsageError(f"engine {engine} runs on the processor: take engine torch for device cuda")


def takes_int8(bundle: Bundle, precision: str) -> bool:
    """Say whether a model is to be run in eight bits: where it is asked for, and by itself where both sides have them.

    Raises:
        UsageError: It is asked for, and the model or the processor lacks it.
    """
    if precision not in ("auto", "int8"):
        return False
    if precision == "int8" and bundle.int8 is None:
        raise UsageError(f"{bundle.version} has no network in eight bits: take precision auto, fp32 or bf16")
    if precision == "int8" and not has_int8():
        raise UsageError("this processor adds up eight-bit numbers with overflow: take precision auto or fp32")
    return bundle.int8 is not None and has_int8()


def threads() -> int:
    """Threads that a network may take: OMP_NUM_THREADS, or the cores that this process is held to; 0 for all."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if asked.isdecimal():
        return int(asked)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 0 if allowed is None or allowed == os.cpu_count() else allowed
