"""Planes that belong together: by folder, time, place, the beginning of a name, or the well of a plate."""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from elmgan.counting import Row

WELL_NAMES = (
    re.compile(r"(?<![A-Za-z0-9])(?P<row>[A-P])(?P<column>0[1-9]|1\d|2[0-4])(?![0-9A-Z])"),  # A01
    re.compile(r"(?<![A-Za-z0-9])r(?P<row>0[1-9]|1[0-6])c(?P<column>0[1-9]|1\d|2[0-4])(?!\d)"),  # r01c01
    re.compile(r"(?<![A-Za-z0-9])(?P<row>[A-P])(?P<column>[1-9]|1\d|2[0-4])(?![0-9A-Za-z])"),  # A1
)
"""How wells are written; the first that fits the names is taken."""

SHARE_NAMED = 0.9
"""Of images whose name must have a well."""

SMALL_PLATE, LARGE_PLATE = (8, 12), (16, 24)
"""Rows and columns of plates with 96 and 384 wells."""

MOST_BEGINNINGS = 24
"""Groups that names may fall into; with more, what they begin with says nothing."""


@dataclass(frozen=True)
class Group:
    """Planes that belong together, and what was counted in them.

    Attributes:
        name: What they have in common.
        planes: How many they are.
        total: Sum of their counts.
        mean: Their mean count.
        deviation: Standard deviation of their counts; None of one plane.
        least: The lowest count.
        most: The highest.
        flagged: How many of them are flagged.
    """

    name: str
    planes: int
    total: int
    mean: float
    deviation: float | None
    least: int
    most: int
    flagged: int

    @classmethod
    def of(cls, name: str, rows: Sequence[Row], counts: Sequence[int]) -> "Group":
        """Sum up some planes, at least one, and their counts."""
        deviation = float(np.std(counts, ddof=1)) if len(counts) > 1 else None
        flagged = sum(bool(row.doubts) for row in rows)
        total = sum(counts)
        return cls(name, len(rows), total, total / len(rows), deviation, min(counts), max(counts), flagged)


@dataclass(frozen=True)
class Well:
    """A well of a plate: its row and column, from 0, and what was counted in it."""

    row: int
    column: int
    group: Group


@dataclass(frozen=True)
class Plate:
    """The wells of a folder.

    Attributes:
        name: The folder; empty for the one that was given.
        wells: Those that have images, in the order of rows and columns.
    """

    name: str
    wells: tuple[Well, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns: of a plate of 96 wells if all lie on it, else of one of 384."""
        rows, columns = SMALL_PLATE
        small = all(well.row < rows and well.column < columns for well in self.wells)
        return SMALL_PLATE if small else LARGE_PLATE


def groups_by(rows: Sequence[Row], counts: Sequence[int], key: Callable[[Row], Hashable]) -> list[Group]:
    """Sum up planes by what a key says of them, in the order in which that first appears."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for k, row in enumerate(rows):
        found[key(row)].append(k)
    return [Group.of(str(name), [rows[k] for k in of], [counts[k] for k in of]) for name, of in found.items()]


def beginnings(images: Iterable[str]) -> dict[str, str]:
    """Find what names have in common before a number: image -> beginning of its name; empty where that says nothing.

    Numbers are taken off the end, one after the other, until each beginning is shared by two images or more. The
    folder is not looked at.

    >>> beginnings(["control_01.tif", "control_02.tif", "drug_01.tif", "drug_02.tif"])
    ... # doctest: +NORMALIZE_WHITESPACE
    {'control_01.tif': 'control', 'control_02.tif': 'control', 'drug_01.tif': 'drug', 'drug_02.tif': 'drug'}
    >>> beginnings(["a1.tif", "a2.tif"])
    {}
    """
    names = {image: _parts(image)[-1] for image in images}
    while True:
        names = {image: re.sub(r"[\W_]*\d+\D*$", "", name) for image, name in names.items()}
        sizes: dict[str, int] = defaultdict(int)
        for name in names.values():
            sizes[name] += 1
        if len(sizes) < 2 or "" in sizes:
            return {}
        if len(sizes) <= MOST_BEGINNINGS and min(sizes.values()) > 1:
            return names
        if not any(re.search(r"\d", name) for name in names.values()):
            return {}


def wells_of(images: Iterable[str]) -> dict[str, tuple[str, int, int]]:
    """Guess the well of each image from its path: image -> plate, and row and column from 0.

    Of a path the file's name is looked at first, then the folders from the last to the first; what lies above is the
    plate. Wells of one letter or one number, written without a 0, are taken for something else, as channels or fields.

    Returns:
        The wells; empty where less than 9 of 10 images have one, or all have the same.

    >>> wells_of(["p1/A01_s1.tif", "p1/B12_s1.tif"])
    {'p1/A01_s1.tif': ('p1', 0, 0), 'p1/B12_s1.tif': ('p1', 1, 11)}
    >>> wells_of(["C1.tif", "C2.tif"])
    {}
    """
    names = list(images)
    for short, pattern in enumerate(WELL_NAMES):
        found = {name: well for name in names if (well := _well(name, pattern)) is not None}
        places = {well[1:] for well in found.values()}
        rows, columns = ({place[side] for place in places} for side in (0, 1))
        told = len(rows) > 1 and len(columns) > 1 if short == len(WELL_NAMES) - 1 else len(places) > 1
        if told and len(found) >= SHARE_NAMED * len(names):
            return found
    return {}


def _well(name: str, pattern: re.Pattern[str]) -> tuple[str, int, int] | None:
    parts = _parts(name)
    for k in reversed(range(len(parts))):
        if found := pattern.search(parts[k]):
            row = found["row"]
            return (
                "/".join(parts[:k]),
                int(row) - 1 if row.isdecimal() else ord(row) - ord("A"),
                int(found["column"]) - 1,
            )
    return None


def _parts(image: str) -> list[str]:
    """Take a name apart into its folders and its stem.

    >>> _parts("a/b.1/c.2.tif"), _parts("c")
    (['a', 'b.1', 'c.2'], ['c'])
    """
    *folders, name = image.split("/")
    return [*folders, name.rpartition(".")[0] or name]


def plates_of(rows: Sequence[Row], counts: Sequence[int], wells: Mapping[str, tuple[str, int, int]]) -> list[Plate]:
    """Sum up planes by well; planes without a well are left out."""
    found: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    for k, row in enumerate(rows):
        if row.image in wells:
            found[wells[row.image]].append(k)
    plates: dict[str, list[Well]] = defaultdict(list)
    for (plate, down, right), of in sorted(found.items()):
        group = Group.of(well_name(down, right), [rows[k] for k in of], [counts[k] for k in of])
        plates[plate].append(Well(down, right, group))
    return [Plate(name, tuple(of)) for name, of in plates.items()]


def well_name(row: int, column: int) -> str:
    """Write a well as people do.

    >>> well_name(0, 0), well_name(15, 23)
    ('A01', 'P24')
    """
    return f"{chr(ord('A') + row)}{column + 1:02d}"
