"""Models on disk: the bundle of model.json, model.onnx and README.md, its schema, and the models that are shipped."""

from elmgan.models.bundle import Bundle, find_bundle, read_bundle, shipped, write_bundle
from elmgan.models.schema import (
    FEWEST,
    FORMAT,
    LEVEL,
    STRIDE,
    Architecture,
    Calibration,
    Learned,
    ModelCard,
    TrainingData,
    shortcoming,
    spread,
)

__all__ = [
    "FEWEST",
    "FORMAT",
    "LEVEL",
    "STRIDE",
    "Architecture",
    "Bundle",
    "Calibration",
    "Learned",
    "ModelCard",
    "TrainingData",
    "find_bundle",
    "read_bundle",
    "shipped",
    "shortcoming",
    "spread",
    "write_bundle",
]
