"""How good a model is: truth against prediction, summed over images; the baseline. Reads no file."""

from elmgan.scores.baseline import BASELINE, Baseline
from elmgan.scores.metrics import Metrics, Summary, Value, interval_shown, shown
from elmgan.scores.score import Score, compare
from elmgan.scores.similarity import average_precision, dice
from elmgan.scores.summary import SCORES, count_scores, summarise

__all__ = [
    "BASELINE",
    "SCORES",
    "Baseline",
    "Metrics",
    "Score",
    "Summary",
    "Value",
    "average_precision",
    "compare",
    "count_scores",
    "dice",
    "interval_shown",
    "shown",
    "summarise",
]
