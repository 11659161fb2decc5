"""Many images in one go: counted, evaluated or calibrated, interrupted and resumed."""

from elmgan.work.calibrate import Calibrated, calibrate, calibrate_model
from elmgan.work.count import Counted, count_images
from elmgan.work.evaluate import METRICS, Evaluated, evaluate_model
from elmgan.work.score import score_image

__all__ = [
    "METRICS",
    "Calibrated",
    "Counted",
    "Evaluated",
    "calibrate",
    "calibrate_model",
    "count_images",
    "evaluate_model",
    "score_image",
]
