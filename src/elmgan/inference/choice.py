"""Which engine runs a model: the fastest there is, or the one that is asked for."""

from contextlib import suppress
from ctypes.util import find_library
from importlib import import_module
from importlib.util import find_spec

from elmgan.errors import ElmganError, UsageError
from elmgan.inference.engine import Engine
from elmgan.inference.onnx_engine import OnnxEngine
from elmgan.inference.openvino_engine import OpenVinoEngine
from elmgan.models import Bundle

ENGINES = ("auto", "onnxruntime", "openvino", "torch")
PRECISIONS = ("auto", "fp32", "bf16")
DEVICES = ("auto", "cpu", "cuda")


def open_engine(
    bundle: Bundle, engine: str = "auto", *, precision: str = "auto", device: str = "auto", parallel: bool = False
) -> Engine:
    """Give the engine that runs a model's network.

    Args:
        bundle: The model.
        engine: onnxruntime, openvino or torch. The first of these that can be had is auto: torch on a graphics card,
            OpenVINO, ONNX Runtime.
        precision: fp32 or bf16; auto is bf16 where OpenVINO or a graphics card computes in it, and fp32 elsewhere.
        device: cpu or cuda, an NVIDIA graphics card, which takes torch; auto is cuda where that can be had.
        parallel: Whether several threads will call it at once. Then an image has one core to itself instead of all of
            them, unless it is large: each takes longer, all together less.

    Raises:
        ModelError: The network cannot be loaded.
        UsageError: There is no such engine, precision or device, or not here, or not together.
    """
    _check("engine", engine, ENGINES)
    _check("precision", precision, PRECISIONS)
    _check("device", device, DEVICES)
    if engine == "auto" and device != "cuda":
        if device == "auto" and _may_have_cuda():
            with suppress(ElmganError):
                return _open("torch", bundle, precision, "cuda")
        with suppress(ElmganError):
            return _open("openvino", bundle, precision, "cpu", parallel)
        return _open("onnxruntime", bundle, precision, "cpu", parallel)
    return _open("torch" if engine == "auto" else engine, bundle, precision, device, parallel)


def _open(engine: str, bundle: Bundle, precision: str, device: str, parallel: bool = False) -> Engine:
    if engine == "torch":
        try:
            torch_engine = import_module("elmgan.nn.engine").TorchEngine  # on demand: the runtime has no torch
        except ModuleNotFoundError as error:
            raise UsageError(f"engine torch needs {error.name}: pip install 'elmgan[train]'") from error
        opened: Engine = torch_engine.of(bundle, precision=precision, device=device)
        return opened
    if device == "cuda":
        raise UsageError(f"engine {engine} runs on the processor: take engine torch for device cuda")
    if engine == "openvino":
        return OpenVinoEngine(bundle.onnx, precision=precision, parallel=parallel)
    if precision == "bf16":
        raise UsageError(
            "onnxruntime computes in fp32: leave precision bf16 out, or take OpenVINO (pip install 'elmgan[fast]') "
            "on a processor that has bf16"
        )
    return OnnxEngine(bundle.onnx, parallel=parallel)


def _check(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{what} is {value}; expected {', '.join(choices[:-1])} or {choices[-1]}")


def _may_have_cuda() -> bool:
    """Whether torch and the driver of an NVIDIA card are installed; to import torch for nothing would take seconds."""
    return find_spec("torch") is not None and any(map(find_library, ("cuda", "nvcuda")))
