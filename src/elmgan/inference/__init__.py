"""From an array to a Result: engines that run the network, tiling, the mask, the count and the separated cells."""

from elmgan.inference.choice import open_engine
from elmgan.inference.engine import Engine, Runtime
from elmgan.inference.model import Model
from elmgan.inference.onnx_engine import OnnxEngine
from elmgan.inference.openvino_engine import OpenVinoEngine
from elmgan.inference.predictor import Predictor
from elmgan.inference.result import Result
from elmgan.inference.separation import separate
from elmgan.inference.tiling import Tile

__all__ = [
    "Engine",
    "Model",
    "OnnxEngine",
    "OpenVinoEngine",
    "Predictor",
    "Result",
    "Runtime",
    "Tile",
    "open_engine",
    "separate",
]
