"""What runs a network: the protocol, the registry, ONNX Runtime and OpenVINO."""

from elmgan.engines.engine import Engine, Runtime
from elmgan.engines.gathering import Gathered
from elmgan.engines.onnx_engine import OnnxEngine
from elmgan.engines.openvino_engine import OpenVinoEngine
from elmgan.engines.registry import open_engine

__all__ = [
    "Engine",
    "Gathered",
    "OnnxEngine",
    "OpenVinoEngine",
    "Runtime",
    "open_engine",
]
