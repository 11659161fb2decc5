"""What runs a network in a benchmark: one call, always on the same images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elmgan.engines.libraries import (
    ERRORS_ONLY,
    has_int8,
    import_onnxruntime,
    import_openvino,
    openvino_has_bf16,
    openvino_hint,
)
from elmgan.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

Run = Callable[[], object]
"""Runs a network once, and gives its outputs as the library does."""


@dataclass(frozen=True)
class EngineSetting:
    """A library, and how it is told to run a network on the processor.

    >>> print(EngineSetting("torch", "fp32", channels_last=True))
    torch fp32 channels-last
    """

    library: str
    precision: str
    channels_last: bool = False

    def __str__(self) -> str:
        return f"{self.library} {self.precision}{' channels-last' if self.channels_last else ''}"


ENGINES = {
    str(engine): engine
    for engine in (
        EngineSetting("torch", "fp32"),
        EngineSetting("torch", "fp32", channels_last=True),
        EngineSetting("torch", "bf16", channels_last=True),
        EngineSetting("onnxruntime", "fp32"),
        EngineSetting("openvino", "fp32"),
        EngineSetting("openvino", "bf16"),
        EngineSetting("onnxruntime", "int8"),
        EngineSetting("openvino", "int8"),
    )
}

FLOATS = tuple(name for name in ENGINES if not name.endswith("int8"))
"""Engines that run any network; those in eight bits run the bundled models' alone."""


def engines_here() -> dict[str, EngineSetting]:
    """Give the engines that this installation and this processor have."""
    low: dict[str, Callable[[], bool]] = {"torch bf16": _torch_has_bf16, "openvino bf16": _openvino_has_bf16}
    low |= {"onnxruntime int8": has_int8, "openvino int8": has_int8}
    installed = {name: engine for name, engine in ENGINES.items() if find_spec(engine.library)}
    return {
        name: engine
        for name, engine in installed.items()
        if low.get(f"{engine.library} {engine.precision}", lambda: True)()
    }


def chosen_engines(
    names: Sequence[str] | None, default: Sequence[str] = FLOATS, *, allowed: Sequence[str] = FLOATS
) -> dict[str, EngineSetting]:
    """Give the engines of these names, or for None those of the default that are here.

    Raises:
        UsageError: One of them is not known, not here, or not allowed.
    """
    here = {name: engine for name, engine in engines_here().items() if name in allowed}
    for name in names or ():
        if name not in here:
            why = "is not known"
            if name in ENGINES:
                why = "is not installed, or the processor lacks the precision"
                why = why if name in allowed else "runs the bundled models alone"
            raise UsageError(f"engine {name!r} {why}; there are {', '.join(here)}")
    return {name: here[name] for name in (default if names is None else names) if name in here}


def usual_threads() -> int:
    """Threads that PyTorch takes unless told otherwise: OMP_NUM_THREADS, or as many as there are cores for it."""
    import torch

    return torch.get_num_threads()


def run_torch(
    engine: EngineSetting, network: "nn.Module", images: NDArray[np.float32], *, backward: bool = False
) -> Run:
    """Give what runs a network in PyTorch.

    Args:
        engine: One of torch.
        network: It is changed: to the precision and the order of memory of the engine.
        images: What the network takes.
        backward: With the gradients of the input and of all parameters, for some gradient of the output.
    """
    import torch
    from torch import nn

    from elmgan.nn.generator import PooledCountHead

    precision = torch.bfloat16 if engine.precision == "bf16" else torch.float32
    layout = torch.channels_last if engine.channels_last else torch.contiguous_format
    nn.Module.to(network, dtype=precision)
    for module in network.modules():
        if isinstance(module, PooledCountHead):  # it adds up in fp32 whatever the layers before it ran in
            module.float()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(memory_format=layout)  # type: ignore[call-overload]  # known to PyTorch, not its types
    x = torch.from_numpy(images).to(precision, memory_format=layout)
    if not backward:
        network.eval()

        def forward() -> object:
            with torch.inference_mode():
                return network(x)

        return forward

    learned = [x.requires_grad_(), *network.parameters()]
    gradient = torch.ones_like(network(x))
    return lambda: torch.autograd.grad(network(x), learned, gradient)


def run_onnx(engine: EngineSetting, graph: Path, images: NDArray[np.float32], *, threads: int) -> Run:
    """Give what runs a network from an ONNX file, in ONNX Runtime or OpenVINO.

    Args:
        engine: Not one of torch.
        graph: The file; its only input is ``image``.
        images: What the network takes.
        threads: To run it with.
    """
    if engine.library == "onnxruntime":
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"image": images})
    request = compiled_by_openvino(engine, graph, images.shape, threads=threads).create_infer_request()
    return lambda: request.infer([images], share_inputs=True, share_outputs=True)


def compiled_by_openvino(
    engine: EngineSetting, graph: Path | bytes, shape: Sequence[int], *, threads: int, told: bool = False
) -> Any:
    """Compile a network for images of one shape.

    Args:
        engine: One of OpenVINO.
        graph: An ONNX file or its content, with one input.
        shape: Of the images.
        threads: To run it with.
        told: Whether a request tells the time of each node; that takes some itself.
    """
    core = import_openvino().Core()
    network = core.read_model(graph)
    network.reshape(list(shape))
    options = {
        "INFERENCE_PRECISION_HINT": openvino_hint(core, engine.precision),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
        "PERF_COUNT": told,
    }
    return core.compile_model(network, "CPU", options)


def _torch_has_bf16() -> bool:
    import torch

    can: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch does not tell
    return any(value and "bf16" in name for name, value in can.items())


def _openvino_has_bf16() -> bool:
    return openvino_has_bf16(import_openvino().Core())
