"""The libraries that run networks on the processor, imported when they are needed and without their telemetry."""

import os
import platform
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

ERRORS_ONLY = 3
"""The level of ONNX Runtime's log."""

OPENVINO_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
"""Our names -> OpenVINO's."""

INT8_INSTRUCTIONS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
"""What multiplies eight-bit numbers and adds them up in 32, as Linux names it. Older instructions add up in 16 bits,
which overflow: the engines would count something else there.
"""

INT8_FOUND = frozenset({"AVX512_CLX", "AVX512_CNL", "AVX512_ICL", "AVX512_SPR", "ASIMDDP"})
"""What NumPy finds of processors that have them."""

CPU_INFO = Path("/proc/cpuinfo")

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


def openvino_hint(core: Any, precision: str) -> str:
    """Give OpenVINO's name for what layers compute in; of a network in eight bits, those that are not in them."""
    if precision == "int8":
        precision = "bf16" if openvino_has_bf16(core) else "fp32"
    return OPENVINO_PRECISIONS[precision]


def openvino_has_bf16(core: Any) -> bool:
    """Say whether the processor computes in bf16, as an ``openvino.Core`` sees it."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def has_int8() -> bool:
    """Say whether the processor computes in eight bits without overflow."""
    if sys.platform == "linux":
        words = set(CPU_INFO.read_text(encoding="utf-8", errors="replace").split()) if CPU_INFO.exists() else set()
        return bool(words & INT8_INSTRUCTIONS)
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    found = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return bool(INT8_FOUND.intersection(found.get("found", ())))
