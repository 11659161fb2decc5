"""Models on disk: the bundle of model.json, model.onnx and README.md, its schema, and the models that are shipped."""

from elmgan.models.bundle import Bundle, find_bundle, read_bundle, shipped, write_bundle
from elmgan.models.schema import (
    FORMAT,
    STRIDE,
    Architecture,
    CountHead,
    Learned,
    MaskHead,
    ModelCard,
    Norm,
    TrainingData,
    Upsampling,
    shortcoming,
)

__all__ = [
    "FORMAT",
    "STRIDE",
    "Architecture",
    "Bundle",
    "CountHead",
    "Learned",
    "MaskHead",
    "ModelCard",
    "Norm",
    "TrainingData",
    "Upsampling",
    "find_bundle",
    "read_bundle",
    "shipped",
    "shortcoming",
    "write_bundle",
]
