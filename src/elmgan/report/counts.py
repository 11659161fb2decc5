"""report.html: one page that shows what was counted; it loads nothing from anywhere."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np

from elmgan.counting import Failure, Place, Row
from elmgan.report.groups import Group, beginnings, groups_by, plates_of, wells_of
from elmgan.report.page import facts_of, flags_found, grouped, page, parameters_of
from elmgan.report.plot import Line, Points, distribution_plot, scatter
from elmgan.trust import REMEDY

# A report on a large folder must still open in a browser.
FLAGGED_PICTURES, WIDE_PICTURES, OTHER_PICTURES = 48, 12, 60
"""Planes whose pictures are shown: flagged ones, those with the widest intervals, and a sample of the others."""

MOST_PICTURES = FLAGGED_PICTURES + WIDE_PICTURES + OTHER_PICTURES
BYTES_OF_PICTURES = 7_000_000
"""Of all pictures; those that come last are left out where they would be more."""

MOST_ROWS = 1000
MOST_GROUPS = 100
MOST_FAILED = 200
MOST_PLATES = 8
FEWEST_TO_DRAW = 5
"""Planes that make a distribution."""

Key = tuple[str, Place]
"""Image and place of a plane."""


@dataclass(frozen=True)
class RowPictures:
    """Of a plane: itself and, if there is a mask, the same with it outlined, as data URIs.

    Attributes:
        plain: The plane.
        outlined: The same with the mask outlined; None without one.
        file: The overlay that was written, relative to the page; empty if none was.
    """

    plain: str
    outlined: str | None = None
    file: str = ""

    @property
    def address(self) -> str:
        """What a link to the overlay has."""
        return quote(self.file)


Thumbnails = Mapping[Key, RowPictures]


def key_of(row: Row) -> Key:
    """Say which plane a row is of."""
    return row.image, row.place


def look_first(rows: Sequence[Row]) -> list[Row]:
    """Order planes by how much a look at them is needed: flagged ones, then those with wide intervals for their count.

    An interval grows with the root of the count where nothing else is known, so its width is divided by that. A plane
    without an interval goes before those that have one.
    """

    def width(row: Row) -> float:
        if row.low is None or row.high is None:
            return math.inf
        return (row.high - row.low) / math.sqrt((row.estimate or 0) + 1)

    return sorted(rows, key=lambda row: (not row.doubts, -width(row)))


def pictured(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Choose the planes whose pictures are shown: those to look at first, and a sample of the others, in their order.

    Of many planes these are flagged ones and some with the widest intervals. Of few none is left out, and those to look
    at first are the flagged.
    """
    ordered = look_first(rows)
    flagged = sum(bool(row.doubts) for row in rows)
    first = ordered[: min(flagged, FLAGGED_PICTURES)]
    if len(rows) - flagged > OTHER_PICTURES:
        first += [row for row in ordered[flagged : flagged + WIDE_PICTURES] if row.low is not None]
    chosen = {key_of(row) for row in first}
    others = [row for row in rows if not row.doubts and key_of(row) not in chosen]
    return first, _sample(others, OTHER_PICTURES)


def rows_to_picture(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Take the planes whose pictures the page of these rows shows, at most MOST_PICTURES: image -> its rows."""
    shown: dict[str, list[Row]] = {}
    for row in itertools.chain(*pictured(rows)):
        shown.setdefault(row.image, []).append(row)
    return shown


def counts_report(
    rows: Sequence[Row], failures: Sequence[Failure], thumbnails: Thumbnails, record: Mapping[str, Any]
) -> str:
    """Write the page.

    Args:
        rows: The planes that were counted.
        failures: What could not be counted.
        thumbnails: RowPictures of the planes that :func:`rows_to_picture` chooses.
        record: The content of run.json.
    """
    counted, masks = (what in record["model"]["learned"] for what in ("count", "mask"))
    counts = [(row.count if counted else row.objects) or 0 for row in rows]
    things = "cells" if counted else "objects"
    several = Counter(row.image for row in rows)
    ordered = look_first(rows)
    if len(rows) > MOST_ROWS:
        worst = ordered[: MOST_ROWS // 2]
        ordered = worst + _sample(ordered[MOST_ROWS // 2 :], MOST_ROWS - len(worst))
    first, others = pictured(rows)
    wells = wells_of(several)
    plates = plates_of(rows, counts, wells)

    def name(row: Row) -> str:
        place = " ".join(f"{axis} {number}" for axis, number in zip(("scene", "t", "z"), row.place, strict=True))
        return f"{row.image}, {place}" if several[row.image] > 1 else row.image

    galleries = _galleries([first, others], thumbnails)
    return page(
        "counts.html",
        title="Cell counts",
        facts=facts_of(record),
        words=_words(rows, counts, failures, things, record),
        numbers={
            "images counted" if counted else "images segmented": grouped(len(rows)),
            things: grouped(sum(counts)),
            f"{things} per image": f"{sum(counts) / len(rows):.1f}" if rows else "-",
        },
        flagged=sum(bool(row.doubts) for row in rows),
        failed=len(failures),
        failures=failures[:MOST_FAILED],
        notes=record.get("notes", []),
        flags=flags_found(row.doubts for row in rows),
        things=things,
        counted=counted,
        masks=masks,
        plots=_plots(rows, counts, things),
        plates=plates[:MOST_PLATES],
        plates_left=len(plates) - len(plates[:MOST_PLATES]),
        most_in_well=max((well.group.mean for plate in plates for well in plate.wells), default=0) or 1,
        groups=_groups(rows, counts, wells),
        first=galleries[0],
        others=galleries[1],
        all_shown=len(first) + len(others) == len(rows),
        rows=ordered,
        number=len(rows),
        most=max(counts, default=0) or 1,
        name=name,
        interval=interval_of,
        columns={column: field.description for column, field in Row.model_fields.items()},
        parameters=parameters_of(record),
    )


def interval_of(row: Row) -> str:
    """Write the interval of a count in whole cells, outwards; nothing without one."""
    return "" if row.low is None or row.high is None else f"{math.floor(row.low)} to {math.ceil(row.high)}"


def _sample(rows: Sequence[Row], most: int) -> list[Row]:
    """Take some rows, evenly, in their order; always the same ones."""
    if len(rows) <= most:
        return list(rows)
    return [rows[k] for k in np.linspace(0, len(rows) - 1, most).round().astype(int)]


def _galleries(galleries: Sequence[Sequence[Row]], thumbnails: Thumbnails) -> list[list[tuple[Row, RowPictures]]]:
    """Give the planes their pictures, as far as these are there and not too large together."""
    left = BYTES_OF_PICTURES
    shown: list[list[tuple[Row, RowPictures]]] = []
    for rows in galleries:
        shown.append([])
        for row in rows:
            pictures = thumbnails.get(key_of(row))
            if pictures is not None:
                left -= len(pictures.plain) + len(pictures.outlined or "")
                if left >= 0:
                    shown[-1].append((row, pictures))
    return shown


def _words(
    rows: Sequence[Row], counts: Sequence[int], failures: Sequence[Failure], things: str, record: Mapping[str, Any]
) -> list[str]:
    """Say in sentences what came out and what is to be done."""
    told = []
    if rows:
        images = len({row.image for row in rows})
        planes = (
            f"{_many(images, 'image')}"
            if images == len(rows)
            else f"{grouped(len(rows))} planes of {_many(images, 'image')}"
        )
        spread = f", {sum(counts) / len(rows):.1f} on average, from {min(counts)} to {max(counts)}"
        told.append(
            f"{planes} {'was' if len(rows) == 1 else 'were'} counted. "
            f"{'It shows' if len(rows) == 1 else 'They show'} {grouped(sum(counts))} {things}"
            f"{spread if len(rows) > 1 else ''}."
        )
    if failures:
        told.append(f"{_many(len(failures), 'image')} could not be counted; the reasons stand below.")
    if record.get("stopped"):
        told.append("The count was stopped before the last image. The same command with --resume goes on from there.")
    flagged = sum(bool(row.doubts) for row in rows)
    if flagged:
        flag, number, _ = flags_found(row.doubts for row in rows)[0]
        advice = REMEDY.get(flag, "")
        mostly = f"mostly {flag} ({grouped(number)}): {advice}" if flagged > 1 else f"{flag}: {advice}"
        told.append(
            f"{grouped(flagged)} of {grouped(len(rows))} {'is' if flagged == 1 else 'are'} flagged, {mostly}. "
            "Look at these first."
        )
    elif rows:
        told.append("None is flagged. That is no proof: compare some counts with your own.")
    told += [
        f"All are {flag}: {advice}."
        for flag, _, advice in flags_found(set(row.flags) - set(row.doubts) for row in rows)
    ]
    if things == "cells" and rows:
        half = sorted((row.high - row.low) / 2 for row in rows if row.low is not None and row.high is not None)
        if half:
            some = "Each count" if len(half) == len(rows) else f"{grouped(len(half))} of {grouped(len(rows))} counts"
            told.append(
                f"{some} {'has' if len(half) == len(rows) else 'have'} a 90 % interval, "
                f"typically ± {half[len(half) // 2]:.0f} cells."
            )
        elif not (record["model"]["calibration"] or {}).get("quantile"):
            told.append(
                "The counts have no interval. The command calibrate gives them one, from 20 images that you counted."
            )
    return told


def _many(number: int, what: str) -> str:
    return f"{grouped(number)} {what}{'s' * (number != 1)}"


def _plots(rows: Sequence[Row], counts: Sequence[int], things: str) -> list[tuple[str, str]]:
    """Draw how counts are distributed and, of several time points, how they went: title and SVG of each."""
    if len(rows) < FEWEST_TO_DRAW:
        return []
    values = np.array(counts, np.float64)
    flagged = np.array([bool(row.doubts) for row in rows])
    per_image = f"{things} per image"
    title = f"How many images have how many {things}"
    drawn = [(title, distribution_plot(values, flagged, title=title, x_label=per_image, y_label="images"))]
    times = np.array([row.t for row in rows], np.float64)
    if times.min() < times.max():
        points = np.unique(times)
        means = [float(values[times == time].mean()) for time in points]
        texts = [f"{row.image}, t {row.t}: {count}" for row, count in zip(rows, counts, strict=True)]
        svg = scatter(
            [Points("model", times, values, texts)],
            [Line("model", points.tolist(), means)],
            title=f"{things.capitalize()} over time",
            x_label="time point",
            y_label=per_image,
            x_range=(float(times.min()), float(times.max())),
            y_range=(0, 1.05 * max(values.max(), 1)),
        )
        drawn.append((f"{things.capitalize()} over time; the line is the mean", svg))
    return drawn


def _groups(
    rows: Sequence[Row], counts: Sequence[int], wells: Mapping[str, Any]
) -> list[tuple[str, str, list[Group], int]]:
    """Sum up planes that belong together: title, what a group is, the groups, and how many more there are."""
    begin = {} if wells else beginnings({row.image for row in rows})
    keys: dict[tuple[str, str], Callable[[Row], str | int]] = {
        ("By folder", "folder"): lambda row: row.image.rpartition("/")[0],
        ("By name, up to its number", "name"): lambda row: begin.get(row.image, ""),
        ("By time point", "time"): lambda row: row.t,
        ("By scene", "scene"): lambda row: row.scene,
        ("By focal plane", "z"): lambda row: row.z,
    }
    told = []
    for (title, what), key in keys.items():
        found = groups_by(rows, counts, key)
        if len(found) > 1:
            told.append((title, what, found[:MOST_GROUPS], len(found[MOST_GROUPS:])))
    return told
