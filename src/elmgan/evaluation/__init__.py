"""How good a model is: scores of counts, masks and separated cells, shared by training and evaluation."""

from elmgan.evaluation.baseline import BASELINE, Baseline
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
    "Evaluated",
    "Metrics",
    "Score",
    "Summary",
    "Value",
    "average_precision",
    "count_scores",
    "dice",
    "evaluate_model",
    "interval_shown",
    "score_image",
    "shown",
    "summarise",
]
