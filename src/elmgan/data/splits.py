"""Splits of a data set: seeded, by group, alike in their kinds."""

from collections import defaultdict

import numpy as np

from elmgan.data.folder import Record
from elmgan.errors import DataError


def split(records: list[Record], fraction: float, *, rng: np.random.Generator) -> tuple[list[Record], list[Record]]:
    """Part records into those to train on and those to validate on.

    Whole groups go to one side; both sides keep the order of the records. Within each kind, groups are drawn until
    ``fraction`` of its images, rounded, or more are on the validation side; a group is of the kind of its first image.

    Args:
        records: At least two groups.
        fraction: Share of the images to validate on, above 0 and below 1.
        rng: Decides the draw; the same state and records give the same split.

    Returns:
        Those to train on, those to validate on.

    Raises:
        DataError: When one of the sides would be empty.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.group].append(record)
    kinds: dict[str, list[str]] = defaultdict(list)
    for group, members in groups.items():
        kinds[members[0].kind].append(group)
    held_out: set[str] = set()
    for _, names in sorted(kinds.items()):
        wanted = round(fraction * sum(len(groups[name]) for name in names))
        taken = 0
        for k in rng.permutation(len(names)):
            if taken >= wanted:
                break
            held_out.add(names[k])
            taken += len(groups[names[k]])
    train = [record for record in records if record.group not in held_out]
    validation = [record for record in records if record.group in held_out]
    if not train or not validation:
        raise DataError(
            f"{len(records)} images in {len(groups)} groups cannot be split with a validation share of {fraction}: "
            "give more images, or another share"
        )
    return train, validation
