"""How good a model is: scores of counts, masks and separated cells, shared by training and evaluation."""

from elmgan.evaluation.baseline import BASELINE, Baseline
from elmgan.evaluation.calibrate import Calibrated, calibrate, calibrate_model
from elmgan.evaluation.calibration import cross_validate, resplits
from elmgan.evaluation.evaluate import METRICS, Evaluated, evaluate_model
from elmgan.evaluation.image import Score, score_image
from elmgan.evaluation.metrics import Metrics, Summary, Value, interval_shown, shown
from elmgan.evaluation.scores import average_precision, dice
from elmgan.evaluation.summary import SCORES, count_scores, summarise

__all__ = [
    "BASELINE",
    "METRICS",
    "SCORES",
    "Baseline",
    "Calibrated",
    "Evaluated",
    "Metrics",
    "Score",
    "Summary",
    "Value",
    "average_precision",
    "calibrate",
    "calibrate_model",
    "count_scores",
    "cross_validate",
    "dice",
    "evaluate_model",
    "interval_shown",
    "resplits",
    "score_image",
    "shown",
    "summarise",
]
