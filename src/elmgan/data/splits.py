"""Splits of a data set: as it says itself, or seeded, by group, alike in their kinds."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from elmgan.data.faults import Faults
from elmgan.data.record import Record
from elmgan.data.table import NAMED
from elmgan.errors import DataError
from elmgan.trust import FEWEST


@dataclass(frozen=True)
class Sides:
    """A data set parted: what trains, what chooses the best epoch, and what training uses for nothing.

    Of the last, some measure at the end how far off counts are, the others nothing at all.
    """

    train: list[Record]
    validation: list[Record]
    calibration: list[Record]
    test: list[Record]


def divide(records: list[Record], fraction: float, *, calibration: float = 0.0, rng: np.random.Generator) -> Sides:
    """Part records as their data set says, and draw what it leaves open.

    Where the data set marks no image for validation, those are drawn by :func:`split`: from the images marked to train,
    or from all when no image is marked. Where it marks none for calibration either, those are then drawn in the same
    way from the images with a count, unless they would be too few for an interval: those are better used to train on.

    Args:
        records: Of a whole data set.
        fraction: Share of the images to validate on, if those are drawn, above 0 and below 1.
        calibration: Share of the counted images to calibrate on, if those are drawn, from 0 and below 1.
        rng: Decides the draw; the same state and records give the same sides.

    Raises:
        DataError: When only some images are marked, when the images of a group are marked for different sides, or when
            none is left to train or validate on.
    """
    faults = Faults()
    check_sides(records, faults)
    faults.raise_if_any("the split of the data set")
    marked: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        marked[record.split].append(record)
    train, validation = marked[""] or marked["train"], marked["validation"]
    if not train:
        raise DataError("no image is marked to train on: write train to the column split of some in counts.csv")
    if not validation:
        train, validation = split(train, fraction, rng=rng)
    if marked["calibration"]:
        return Sides(train, validation, marked["calibration"], marked["test"])
    counted = {record.group for record in train if record.count is not None}
    _, drawn = hold_out([record for record in train if record.group in counted], calibration, rng=rng)
    held_out = {record.group for record in drawn}
    rest = [record for record in train if record.group not in held_out]
    if not rest or len(held_out) < FEWEST:
        return Sides(train, validation, [], marked["test"])
    return Sides(rest, validation, drawn, marked["test"])


def check_sides(records: list[Record], faults: Faults) -> None:
    """Note images without a side where others have one, and groups whose images are marked for different sides."""
    if not any(record.split for record in records):
        return
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for record in records:
        groups[record.group].setdefault(record.split, record.name)
        if not record.split:
            faults.add("unmarked", f"{record.image}: has no split, others have; write {NAMED}")
    for group, sides in groups.items():
        names = " and ".join(f"{name} ({side})" for side, name in sides.items() if side)
        if len(sides.keys() - {""}) > 1:
            faults.add("sides", f"group {group}: {names} show the same cells; mark them for one side")


def split(records: list[Record], fraction: float, *, rng: np.random.Generator) -> tuple[list[Record], list[Record]]:
    """Part records into those to train on and those to validate on, as :func:`hold_out` does.

    Raises:
        DataError: When one of the sides would be empty.
    """
    train, validation = hold_out(records, fraction, rng=rng)
    if not train or not validation:
        groups = len({record.group for record in records})
        raise DataError(
            f"{len(records)} images in {groups} groups cannot be split with a validation share of {fraction}: "
            "give more images, or another share"
        )
    return train, validation


def hold_out(records: list[Record], fraction: float, *, rng: np.random.Generator) -> tuple[list[Record], list[Record]]:
    """Draw records that are held out from the others.

    Whole groups go to one side; both sides keep the order of the records. Within each kind, and within that among the
    images of which the same is known (mask, count), groups are drawn until ``fraction`` of the images, rounded, or more
    are held out; a group is of the sort of its first image.

    Args:
        records: Of a data set, or of a part of it.
        fraction: Share of the images to hold out, from 0 and below 1.
        rng: Decides the draw; the same state and records give the same sides.

    Returns:
        Those that stay, those held out; either may be none.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.group].append(record)
    sorts: dict[tuple[str, bool, bool], list[str]] = defaultdict(list)
    for group, (first, *_) in groups.items():
        masked = first.mask is not None or first.labels is not None
        counted = first.count is not None or first.labels is not None or first.dots is not None
        sorts[first.kind, masked, counted].append(group)
    held_out: set[str] = set()
    for _, names in sorted(sorts.items()):
        wanted = round(fraction * sum(len(groups[name]) for name in names))
        taken = 0
        for k in rng.permutation(len(names)):
            if taken >= wanted:
                break
            held_out.add(names[k])
            taken += len(groups[names[k]])
    return (
        [record for record in records if record.group not in held_out],
        [record for record in records if record.group in held_out],
    )
