"""Which engine runs a model: the fastest there is, or the one that is asked for."""

from collections.abc import Callable
from contextlib import suppress
from ctypes.util import find_library
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

from elmgan.engines.engine import Engine
from elmgan.engines.gathering import Gathered
from elmgan.errors import ElmganError, UsageError
from elmgan.models import Bundle

ENGINE_GROUP = "elmgan.engines"
"""Of the entry points that register engines."""

PRECISIONS = ("auto", "fp32", "bf16", "int8")
DEVICES = ("auto", "cpu", "cuda")


def open_engine(
    bundle: Bundle, engine: str = "auto", *, precision: str = "auto", device: str = "auto", parallel: bool = False
) -> Engine:
    """Give the engine that runs a model's network.

    Args:
        bundle: The model.
        engine: onnxruntime, openvino, torch or another that is registered. The first of these that can be had is
            auto: torch on a graphics card, OpenVINO, ONNX Runtime.
        precision: fp32, bf16 or int8. auto is the fastest that counts the same: int8 where the model has such a network
            and the processor such instructions, else bf16 where OpenVINO or a graphics card computes in it, else fp32.
        device: cpu or cuda, an NVIDIA graphics card, which takes torch; auto is cuda where that can be had.
        parallel: Whether several threads will call it at once. Then an image has one core to itself instead of all of
            them, unless it is large: each takes longer, all together less.

    Raises:
        ModelError: The network cannot be loaded.
        UsageError: There is no such engine, precision or device, or not here, or not together.
    """
    _check("engine", engine, ("auto", *engines()))
    _check("precision", precision, PRECISIONS)
    _check("device", device, DEVICES)
    if engine == "auto" and device != "cuda":
        if device == "auto" and _may_have_cuda():
            with suppress(ElmganError):
                return _open("torch", bundle, precision, "cuda", parallel)
        with suppress(ElmganError):
            return _open("openvino", bundle, precision, "cpu", parallel)
        return _open("onnxruntime", bundle, precision, "cpu", parallel)
    return _open("torch" if engine == "auto" else engine, bundle, precision, device, parallel)


@cache
def engines() -> dict[str, EntryPoint]:
    """Engines by name, as installed packages register them under the entry points of ``elmgan.engines``.

    Each gives a function of a :class:`~elmgan.models.Bundle` and of ``precision``, ``device`` and ``parallel``, as
    :func:`open_engine` has them, that returns an :class:`~elmgan.engines.Engine`.
    """
    return {found.name: found for found in sorted(entry_points(group=ENGINE_GROUP), key=lambda each: each.name)}


def _open(engine: str, bundle: Bundle, precision: str, device: str, parallel: bool) -> Engine:
    try:
        opened: Callable[..., Engine] = engines()[engine].load()
    except ModuleNotFoundError as error:
        raise UsageError(f"engine {engine} needs {error.name}: pip install {error.name}") from error
    found = opened(bundle, precision=precision, device=device, parallel=parallel)
    # A graphics card runs many images in the time of one, and threads that share it would take turns.
    return Gathered(found) if found.runtime.device == "cuda" else found


def _check(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{what} is {value}; expected {', '.join(choices[:-1])} or {choices[-1]}")


def _may_have_cuda() -> bool:
    """Whether torch and the driver of an NVIDIA card are installed; to import torch for nothing would take seconds."""
    return find_spec("torch") is not None and any(map(find_library, ("cuda", "nvcuda")))
