"""Scores of the mask and the separated cells of one image; pure functions of arrays."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_ERROR = 1e-10
"""Mean squared error below which an image counts as equal to another: at most 100 dB, where PSNR would be infinite."""

# The window of SSIM, and what keeps its quotients apart from 0 / 0 on images of 0..1.
DEVIATION = 1.5
RADIUS = 5
LUMINANCE, CONTRAST = 0.01**2, 0.03**2

THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
"""IoUs over which an average precision is averaged: 0.50, 0.55, ... 0.95."""


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks of one size, 0..1; 1 when both are empty.

    >>> dice(np.array([[True, True]]), np.array([[True, False]]))
    0.6666666666666666
    """
    size = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / size if size else 1.0


def iou(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Intersection over union (Jaccard index) of two masks of one size, 0..1; 1 when both are empty.

    >>> iou(np.array([[True, True]]), np.array([[True, False]]))
    0.5
    """
    union = int((found | truth).sum())
    return int((found & truth).sum()) / union if union else 1.0


def psnr(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Peak signal-to-noise ratio of a mask predicted in grey against the true mask, both of 0..1, in dB.

    It is -10 log10 of the mean squared error, at most 100 dB (``LEAST_ERROR``).

    Args:
        probability: Of cell, 0..1, (row, column).
        truth: Mask of the same size.

    >>> round(psnr(np.full((2, 2), 0.9, np.float32), np.ones((2, 2), bool)), 3)
    20.0
    """
    error = float(np.mean((probability - truth.astype(np.float32)) ** 2, dtype=np.float64))
    return -10 * math.log10(max(error, LEAST_ERROR))


def ssim(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Structural similarity of a mask predicted in grey and the true mask, both of 0..1; 1 when they are the same.

    After Wang et al., Image quality assessment, IEEE Trans. Image Process. 13 (2004) 600: a Gaussian window of standard
    deviation 1.5 in 11 x 11 pixels, K1 = 0.01, K2 = 0.03, averaged over the pixels whose window lies in the image. An
    image of fewer than 11 pixels a side is mirrored at its border as far as it takes.

    Args:
        probability: Of cell, 0..1, (row, column).
        truth: Mask of the same size.

    Returns:
        -1..1.

    >>> mask = np.eye(16, dtype=bool)
    >>> ssim(mask.astype(np.float32), mask), ssim(1 - mask.astype(np.float32), mask) < 0
    (1.0, True)
    """
    found, true = probability, truth.astype(np.float32)
    found_mean, true_mean = _windowed(found), _windowed(true)
    found_variance = _windowed(found * found) - found_mean * found_mean
    true_variance = _windowed(true * true) - true_mean * true_mean
    covariance = _windowed(found * true) - found_mean * true_mean
    similarity = (2 * found_mean * true_mean + LUMINANCE) * (2 * covariance + CONTRAST)
    similarity /= (found_mean**2 + true_mean**2 + LUMINANCE) * (found_variance + true_variance + CONTRAST)
    border = min(RADIUS, (min(truth.shape) - 1) // 2)
    rows, columns = truth.shape
    return float(similarity[border : rows - border, border : columns - border].mean(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Matches:
    """How the objects of two label images overlap, as far as a pair shares more than half of its union.

    Above an IoU of 0.5 an object has at most one partner, so that there is nothing to choose.

    Attributes:
        ious: IoU of each such pair, above 0.5.
        found: Objects of the first image.
        truth: Objects of the second.
    """

    ious: NDArray[np.float64]
    found: int
    truth: int

    def average_precision(self, threshold: float = 0.5) -> float:
        """Give TP / (TP + FP + FN), where a pair is right when its IoU is above the threshold, of at least 0.5.

        This is what the 2018 Data Science Bowl and Cellpose call average precision. 1 when there is nothing to find and
        nothing was found.
        """
        hits = self._hits(threshold)
        objects = self.found + self.truth - hits
        return hits / objects if objects else 1.0

    def f1(self, threshold: float = 0.5) -> float:
        """Give 2 TP / (2 TP + FP + FN), with pairs as above."""
        objects = self.found + self.truth
        return 2 * self._hits(threshold) / objects if objects else 1.0

    def _hits(self, threshold: float) -> int:
        return int(np.count_nonzero(self.ious > threshold))


def match(found: NDArray[np.integer], truth: NDArray[np.integer]) -> Matches:
    """Find the objects of two label images of one size that are the same.

    Args:
        found: Label image, 0 = background.
        truth: Label image; labels need not be consecutive.

    >>> matches = match(np.array([[1, 1, 1, 0, 2]]), np.array([[7, 7, 0, 0, 0]]))
    >>> matches.ious.round(3).tolist(), matches.average_precision(), round(matches.f1(), 3)
    ([0.667], 0.5, 0.667)
    """
    found, truth = found.ravel(), truth.ravel()
    found_areas, truth_areas = np.bincount(found), np.bincount(truth)
    shared = (found > 0) & (truth > 0)
    # Only the pairs that overlap: a table of all pairs would not fit into memory for images with many cells.
    pairs = found[shared].astype(np.int64) * len(truth_areas) + truth[shared]
    pairs, overlaps = np.unique(pairs, return_counts=True)
    unions = found_areas[pairs // len(truth_areas)] + truth_areas[pairs % len(truth_areas)] - overlaps
    ious = overlaps / unions
    return Matches(ious[ious > 0.5], *(int(np.count_nonzero(areas[1:])) for areas in (found_areas, truth_areas)))


def average_precision(found: NDArray[np.integer], truth: NDArray[np.integer], threshold: float = 0.5) -> float:
    """Share of right objects of two label images; see :class:`Matches`.

    >>> average_precision(np.array([[1, 1, 0, 2]]), np.array([[1, 1, 0, 0]]))
    0.5
    """
    return match(found, truth).average_precision(threshold)


def _windowed(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean in the window of SSIM around each pixel."""
    side = 2 * RADIUS + 1
    mean = cv2.GaussianBlur(image, (side, side), DEVIATION, borderType=cv2.BORDER_REFLECT)
    return mean.astype(np.float32, copy=False)
