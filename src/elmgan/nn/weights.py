"""From the ONNX graph of a model back to a generator."""

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from elmgan.errors import ModelError
from elmgan.nn.generator import Generator


def load_weights(generator: Generator, graph: bytes) -> None:
    """Give a generator the weights of an exported one of the same architecture.

    Raises:
        ModelError: When the graph's initialisers are not this generator's parameters.
    """
    initialisers = onnx.load_from_string(graph).graph.initializer
    weights = {value.name: in_float(onnx.numpy_helper.to_array(value)) for value in initialisers}
    state = generator.state_dict()
    # Export leaves out how many batches a norm has seen; it does not matter to what the norm does.
    for name in state:
        if not name.endswith("num_batches_tracked") and (
            name not in weights or weights[name].shape != state[name].shape
        ):
            raise ModelError(
                f"model.onnx has no {name} of {tuple(state[name].shape)}: it belongs to another network, "
                "or model.json and model.onnx do not belong together"
            )
    generator.load_state_dict(state | {name: weights[name] for name in state if name in weights})


def in_float(values: NDArray) -> torch.Tensor:
    """Give numbers that are kept in 16 bits in 32."""
    return torch.from_numpy(values.astype(np.float32) if values.dtype == np.float16 else values.copy())
