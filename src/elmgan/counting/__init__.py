"""One plane to its numbers and maps: tiles, the mask, the count, the separated cells."""

from elmgan.counting.model import Model
from elmgan.counting.outlines import Polygon
from elmgan.counting.pieces import Piece
from elmgan.counting.predictor import Predictor
from elmgan.counting.region import Region, RegionPixels
from elmgan.counting.result import Result
from elmgan.counting.row import Failure, Place, Row
from elmgan.counting.separation import separate
from elmgan.counting.streaming import Bands, OnDisk, Streamed, is_streamed
from elmgan.counting.tiling import Band

__all__ = [
    "Band",
    "Bands",
    "Failure",
    "Model",
    "OnDisk",
    "Piece",
    "Place",
    "Polygon",
    "Predictor",
    "Region",
    "RegionPixels",
    "Result",
    "Row",
    "Streamed",
    "is_streamed",
    "separate",
]
