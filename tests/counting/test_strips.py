"""Masks that come in strips are separated as they would be as a whole."""

from collections.abc import Iterator
from contextlib import closing

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from elmgan.counting import separate
from elmgan.counting.region import pixels_in_blocks
from elmgan.counting.strips import Strips
from elmgan.models import STRIDE


def discs(seed: int, shape: tuple[int, int], number: int, largest: int) -> NDArray[np.bool_]:
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    for _ in range(number):
        centre = int(rng.integers(shape[1])), int(rng.integers(shape[0]))
        cv2.circle(mask, centre, int(rng.integers(2, largest)), 1, cv2.FILLED)
    return mask > 0


def counts_of(mask: NDArray[np.bool_], seed: int) -> NDArray[np.float32]:
    shape = [-(-side // STRIDE) for side in mask.shape]
    return np.random.default_rng(seed).random(shape, np.float32) * 0.05 * (pixels_in_blocks(mask, STRIDE) > 0)


def in_strips(
    mask: NDArray[np.bool_], count_map: NDArray[np.float32] | None, strip: int, given_at_once: int
) -> tuple[list[NDArray[np.uint32]], list[NDArray[np.bool_]], int]:
    density = None
    if count_map is not None:
        density = np.divide(count_map, np.maximum(pixels_in_blocks(mask, STRIDE), 1), dtype=np.float32)
    strips = Strips(mask.shape[1], counts=count_map is not None, pixels=strip * mask.shape[1])
    for top in range(0, len(mask), given_at_once):
        some = slice(top, top + given_at_once)
        blocks = slice(top // STRIDE, -(-(top + given_at_once) // STRIDE))
        strips.add(mask[some], None if density is None else density[blocks])
    try:
        return list(strips.labels()), list(strips.masks()), strips.number
    finally:
        strips.close()


def kinds() -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Among them what is hardest: one thing from edge to edge, noise, plateaus, spirals that come back."""
    yield "cells", discs(0, (700, 300), 90, 25)
    yield "all of it", np.ones((900, 60), bool)
    yield "none", np.zeros((300, 40), bool)
    yield "noise", np.random.default_rng(1).random((640, 90)) < 0.6
    yield "large", discs(2, (1400, 500), 6, 320)
    spiral = np.zeros((800, 200), np.uint8)
    for k in range(0, 90, 12):
        cv2.rectangle(spiral, (k, 4 * k), (199 - k, 799 - 4 * k), 1, 5)
    yield "frames", spiral > 0
    columns = np.zeros((900, 120), bool)
    columns[:, 10::20] = columns[:, 11::20] = columns[::90] = True
    yield "a net", columns


@pytest.mark.parametrize(("strip", "given_at_once"), [(4, 4), (32, 100), (256, 64), (128, 10**6)])
@pytest.mark.parametrize(("kind", "mask"), list(kinds()))
def test_strips_give_what_the_whole_mask_gives(
    kind: str, mask: NDArray[np.bool_], strip: int, given_at_once: int
) -> None:
    for count_map in (None, counts_of(mask, seed=3)):
        labels, masks, number = in_strips(mask, count_map, strip, given_at_once)
        whole = separate(mask, count_map)
        assert np.array_equal(np.concatenate(labels), whole), kind
        assert np.array_equal(np.concatenate(masks), mask)
        assert number == whole.max(initial=0)


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 700), columns=st.integers(1, 80), strip=st.integers(1, 60))
def test_any_cells_in_any_strips(seed: int, rows: int, columns: int, strip: int) -> None:
    mask = discs(seed, (rows, columns), 30, 20)
    labels, _, number = in_strips(mask, counts := counts_of(mask, seed), 4 * strip, 4 * (1 + seed % 40))
    whole = separate(mask, counts)
    assert np.array_equal(np.concatenate(labels), whole)
    assert number == whole.max(initial=0)


def test_labels_can_be_asked_for_again() -> None:
    mask = discs(4, (600, 90), 40, 15)
    strips = Strips(90, counts=False, pixels=90 * 64)
    with closing(strips):
        strips.add(mask)
        once, again = (np.concatenate(list(strips.labels())) for _ in range(2))
    assert np.array_equal(once, again)
