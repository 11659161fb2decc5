"""How good a model is: scores of counts, masks and separated cells, shared by training and evaluation."""

from elmgan.evaluation.evaluate import Score, score_image, summarise
from elmgan.evaluation.scores import average_precision, count_scores, dice

__all__ = ["Score", "average_precision", "count_scores", "dice", "score_image", "summarise"]
