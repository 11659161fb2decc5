"""The libraries that run networks on the processor, imported when they are needed and without their telemetry."""

import os
import sys
from importlib import import_module
from typing import Any

ERRORS_ONLY = 3
"""The level of ONNX Runtime's log."""

OPENVINO_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
"""Our names -> OpenVINO's."""

# ONNX Runtime reports to its maker from its first import on, whoever imports it, if it does not find this.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def import_onnxruntime() -> Any:
    """Import ONNX Runtime without its telemetry."""
    onnxruntime = import_module("onnxruntime")
    onnxruntime.disable_telemetry_events()  # on Windows it does not look at the environment
    return onnxruntime


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which would report each import to its maker.

    It does without where its package for telemetry cannot be imported, and None stands for that.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module("openvino")


def openvino_has_bf16(core: Any) -> bool:
    """Say whether the processor computes in bf16, as an ``openvino.Core`` sees it."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
