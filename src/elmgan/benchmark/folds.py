"""Folds of a data set that do not leak: images of the same cells are on one side."""

from collections import defaultdict

import numpy as np

from elmgan.data import Record, Sides
from elmgan.errors import DataError

INNER = 4
"""Parts of a fold's training images, of which the grid holds one out."""


def folds_of(records: list[Record], number: int, *, seed: int = 0) -> list[set[str]]:
    """Deal a data set's groups to folds, such that each has as many of every count and kind as can be.

    Groups are dealt in the order of their counts, those of one count shuffled. Which images are in a fold depends on
    the data set alone, not on what is trained.

    Args:
        records: Images of one group show the same cells.
        number: Of folds.
        seed: Decides the shuffling.

    Returns:
        The groups of each fold.

    Raises:
        DataError: There are fewer groups than folds.
    """
    members: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        members[record.group].append(record)
    if len(members) < number:
        raise DataError(f"{len(members)} groups of images cannot be dealt to {number} folds; give more images")
    rng = np.random.default_rng(seed)
    shuffled = [sorted(members)[k] for k in rng.permutation(len(members))]
    ordered = sorted(shuffled, key=lambda group: (members[group][0].kind, members[group][0].count or 0))
    return [set(ordered[first::number]) for first in range(number)]


def sides_of(records: list[Record], fold: int, number: int, *, inner: bool = False) -> Sides:
    """Part a data set: a fold is the test side, all else trains, and nothing validates.

    Args:
        records: Of the whole data set.
        fold: From 1.
        number: Of folds.
        inner: Leave the fold out altogether, and hold out a quarter of the rest in its place.

    Raises:
        DataError: See :func:`folds_of`.
    """
    held_out = folds_of(records, number)[fold - 1]
    train = [record for record in records if record.group not in held_out]
    if inner:
        held_out = folds_of(train, INNER, seed=fold)[0]
        records, train = train, [record for record in train if record.group not in held_out]
    return Sides(train, [], [], [record for record in records if record.group in held_out])
