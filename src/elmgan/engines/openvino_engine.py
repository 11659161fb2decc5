"""The fastest engine on a processor: OpenVINO, where it is installed."""

import math
import os
import sys
from collections import OrderedDict
from contextlib import nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elmgan.engines.engine import INPUT, OUTPUTS, SMALL, Runtime, check_names, check_processor, takes_int8, threads
from elmgan.engines.libraries import import_openvino, openvino_has_bf16, openvino_hint
from elmgan.errors import ModelError, UsageError, one_line
from elmgan.models import Bundle

FITTED = 1 << 21
"""Pixels of all the shapes together that have a network of their own: 250 MB of memory in bf16, 400 MB in fp32."""

AT_ONCE = 2 * FITTED
"""The same where several threads call, with each shape as often as it is run at once."""

MOST_CACHED = 16
"""Compiled networks that are kept on disk, each about as large as the model."""


class OpenVinoEngine:
    """Runs a network on the processor with OpenVINO.

    A network compiled for one shape of images is faster than one for any (by a tenth in bf16), but takes memory, and a
    tenth of a second to compile, or half that from the cache on disk. So each of the last shapes has its own, unless
    the images are large. Which of the two runs depends on the shape alone, so that an image always gives the same.

    Args:
        onnx: Content of model.onnx, or of int8.onnx.
        precision: fp32, bf16, or int8 for what int8.onnx holds; auto is bf16 where the processor computes in it, and
            fp32 elsewhere.
        parallel: Whether several threads call it at once; an image that is not large has one core then.

    Raises:
        ModelError: The bytes are no ONNX network from ``image`` to ``probability`` and ``count_map``.
        UsageError: OpenVINO is absent or broken, or the processor lacks the precision.
    """

    _begun = False  # of the process
    _beginning = Lock()

    def __init__(self, onnx: bytes, *, precision: str = "auto", parallel: bool = False) -> None:
        try:
            openvino = import_openvino()
            self._core = openvino.Core()
            capable = openvino_has_bf16(self._core)
        except Exception as error:  # a broken installation fails in many ways
            problem = "is not installed" if isinstance(error, ModuleNotFoundError) else f"fails: {one_line(error)}"
            raise UsageError(f"OpenVINO {problem}; pip install openvino, or take engine onnxruntime or auto") from error
        if precision == "bf16" and not capable:
            raise UsageError("this processor does not compute in bf16: take precision fp32 or auto")
        precision = ("bf16" if capable else "fp32") if precision == "auto" else precision
        self.runtime = Runtime("openvino", openvino.__version__.partition("-")[0], precision, "cpu")
        self._options = {
            "INFERENCE_PRECISION_HINT": openvino_hint(self._core, precision),
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads(),
            "ENABLE_CPU_PINNING": False,  # several processes would pin themselves to the same cores
        }
        self._parallel = parallel
        try:
            self._network = self._core.read_model(onnx)
        except Exception as error:  # OpenVINO's errors have no common base of their own
            raise ModelError(f"model.onnx cannot be loaded: {one_line(error)}") from error
        _fold(openvino, self._network)
        check_names(
            (value.any_name for value in self._network.inputs), (value.any_name for value in self._network.outputs)
        )
        self._compiled: OrderedDict[tuple[int, ...] | None, Any] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def of(
        cls, bundle: Bundle, *, precision: str = "auto", device: str = "auto", parallel: bool = False
    ) -> "OpenVinoEngine":
        """Make the engine of a model; see :func:`~elmgan.engines.open_engine`.

        Raises:
            ModelError: The network cannot be loaded.
            UsageError: OpenVINO, the device or the precision cannot be had here.
        """
        check_processor("openvino", device)
        if takes_int8(bundle, precision) and bundle.int8 is not None:
            return cls(bundle.int8, precision="int8", parallel=parallel)
        return cls(bundle.onnx, precision=precision, parallel=parallel)

    def predict(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See Engine; several threads may call it at once."""
        # What the bindings set up when they first meet an array has two threads that do so at once wait for each other.
        with nullcontext() if OpenVinoEngine._begun else OpenVinoEngine._beginning:
            predicted = self._infer(images)
        OpenVinoEngine._begun = True
        return predicted

    def _infer(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        try:
            request = self._compiled_for(images.shape).create_infer_request()
            results = request.infer({INPUT: images}, share_inputs=True)
        except Exception as error:  # as above
            rows, columns = images.shape[-2:]
            raise ModelError(f"model.onnx cannot run on {rows} x {columns} pixels: {one_line(error)}") from error
        probability, count_map = (results[name] for name in OUTPUTS)
        return probability, count_map

    def _compiled_for(self, shape: tuple[int, ...]) -> Any:
        """The network for images of this shape, or the one for any (None) if they are large."""
        key = shape if math.prod(shape) <= FITTED else None
        with self._lock:
            if key not in self._compiled:
                self._compiled[key] = self._compile(key)
            self._compiled.move_to_end(key)
            most = AT_ONCE if self._parallel else FITTED
            while sum(self._streams(fitted) * math.prod(fitted) for fitted in self._compiled if fitted) > most:
                self._compiled.popitem(last=False)
            return self._compiled[key]

    def _streams(self, shape: tuple[int, ...]) -> int:
        """How many images of a shape are run at once."""
        alone = not self._parallel or math.prod(shape) > SMALL
        return 1 if alone else min(threads() or os.cpu_count() or 1, AT_ONCE // math.prod(shape))

    def _compile(self, shape: tuple[int, ...] | None) -> Any:
        network, options = self._network.clone(), self._options
        if shape is not None:
            network.reshape(list(shape))
            if (streams := self._streams(shape)) > 1:
                options = options | {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": streams}
        if (folder := cache_folder()) is not None:
            with suppress(RuntimeError):  # the disk is full, say
                compiled = self._core.compile_model(network, "CPU", options | {"CACHE_DIR": str(folder)})
                _forget_oldest(folder)
                return compiled
        return self._core.compile_model(network, "CPU", options)


FOLD_BEGINS, FOLD_ENDS = ".to_last", ".to_first"
"""How the names of the first and the last operator end that a fold of a network in eight bits is written as."""


def _fold(openvino: Any, network: Any) -> None:
    """Write such folds as OpenVINO's own again, with which it takes up to a tenth less time.

    They are written in blocks for ONNX Runtime; see :mod:`elmgan.training.quantisation`.
    """
    named = {node.get_friendly_name(): node for node in network.get_ops()}
    for name, last in named.items():
        first = named.get(name.removesuffix(FOLD_ENDS) + FOLD_BEGINS) if name.endswith(FOLD_ENDS) else None
        if first is not None:
            fold = openvino.opset13.depth_to_space(first.input_value(0), "blocks_first", 2)
            for target in last.output(0).get_target_inputs():
                target.replace_source_output(fold.output(0))
    network.validate_nodes_and_infer_types()


def cache_folder() -> Path | None:
    """Folder for what this program can make again, in the user's own; None if nothing can be written there."""
    usual = {"darwin": "~/Library/Caches", "win32": os.environ.get("LOCALAPPDATA", "~/AppData/Local")}
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or usual.get(sys.platform, "~/.cache")).expanduser() / "elmgan"
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # the latter if there is no home
        return None


def _forget_oldest(folder: Path) -> None:
    """Keep the newest compiled networks."""
    with suppress(OSError):  # another process is at it
        networks = sorted(folder.glob("*.blob"), key=lambda path: path.stat().st_mtime_ns)
        for path in networks[:-MOST_CACHED]:
            path.unlink()
