"""Scores of counts, masks and separated cells; pure functions of arrays."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def count_scores(estimates: ArrayLike, truths: ArrayLike) -> dict[str, float]:
    """Score counts of images: mean absolute error, root mean square error and bias, all in cells.

    >>> count_scores([9.0, 12.0], [10, 10])
    {'mae': 1.5, 'rmse': 1.5811388300841898, 'bias': 0.5}
    """
    error = np.asarray(estimates, np.float64) - np.asarray(truths, np.float64)
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "bias": float(error.mean()),
    }


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks of one size, 0..1; 1 when both are empty.

    >>> dice(np.array([[True, True]]), np.array([[True, False]]))
    0.6666666666666666
    """
    size = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / size if size else 1.0


def average_precision(found: NDArray[np.integer], truth: NDArray[np.integer], threshold: float = 0.5) -> float:
    """Share of right objects, TP / (TP + FP + FN), where a pair is right when its IoU is above the threshold.

    Args:
        found: Label image, 0 = background.
        truth: Label image of the same size; labels need not be consecutive.
        threshold: At least 0.5, where an object has at most one partner.

    Returns:
        0..1; 1 when there is nothing to find and nothing was found.

    >>> average_precision(np.array([[1, 1, 0, 2]]), np.array([[1, 1, 0, 0]]))
    0.5
    """
    found, truth = found.ravel(), truth.ravel()
    found_areas, truth_areas = np.bincount(found), np.bincount(truth)
    objects = int(np.count_nonzero(found_areas[1:]) + np.count_nonzero(truth_areas[1:]))
    if objects == 0:
        return 1.0
    shared = (found > 0) & (truth > 0)
    # Only the pairs that overlap: a table of all pairs would not fit into memory for images with many cells.
    pairs = found[shared].astype(np.int64) * len(truth_areas) + truth[shared]
    pairs, overlaps = np.unique(pairs, return_counts=True)
    unions = found_areas[pairs // len(truth_areas)] + truth_areas[pairs % len(truth_areas)] - overlaps
    hits = int(np.count_nonzero(overlaps > threshold * unions))
    return hits / (objects - hits)
