"""The accuracy benchmark on the page of results: its words, plots and pictures."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.benchmark.accuracy import AccuracyMeasured, Setting, as_picture
from elmgan.benchmark.accuracy_tables import sheets_of
from elmgan.benchmark.arms import ARMS, OTSU, reference
from elmgan.benchmark.comparison import ENOUGH_SEEDS, arms_of, by_setting, compare_arms
from elmgan.benchmark.texts import Sheet
from elmgan.benchmark.timing import Measured
from elmgan.files import write_text
from elmgan.images import write_png
from elmgan.report import Dots, dot_plot
from elmgan.scores import SCORES

PLOTTED = {"dice": "Dice", "mae": "count MAE, cells"}
"""Score -> the quantity on its plot."""

MASKS_ACROSS = 4
"""Masks in a row of the picture."""

CAPTION = 34
"""Rows of pixels below each."""


def about(setting: Setting, runs: Sequence[AccuracyMeasured]) -> str:
    """Say what was run, in Markdown."""
    folds, seeds = sorted({run.fold for run in runs}), sorted({run.seed for run in runs if ARMS[run.arm].learns})
    trained, scored = max(run.trained for run in runs), len(runs[0].rows)
    steps, hours = setting.epochs * setting.steps, sum(run.seconds for run in runs) / 3600
    part = "" if folds == list(range(1, setting.folds + 1)) else f" of {setting.folds}"
    machines = dict.fromkeys(str(run.conditions.machine["processor"]) for run in runs)
    rule = (
        f"An arm is *better* or *worse* where the 95 % interval over images and each of at least {ENOUGH_SEEDS} seeds "
        "agree, else it *cannot be told*."
    )
    if all(ARMS[run.arm].grid for run in runs):
        compared = (
            f"Each arm changes one thing of `{reference(ARMS[runs[0].arm]).name}`. All are trained and scored on "
            "training images of the fold alone, to choose the preset: [what came of "
            f"it](benchmarks.md#what-cmtd-needs). {rule}"
        )
    else:
        compared = (
            "Each arm changes one thing of the preset `paper`, has its steps and sees the same windows in the same "
            f"order. {rule}{_missing(runs)}"
        )
    return (
        f"Images at {setting.scale:g} of their size, networks of width {setting.width}, {steps} steps of one image, "
        f"the last epoch scored. {'Folds' if len(folds) > 1 else 'Fold'} {_listed(folds)}{part}, {trained} images to "
        f"train on and {scored} scored in the first; seeds {_listed(seeds)}. Images of one column and site are on one "
        f"side. {len(runs)} runs, {hours:.1f} h of training on {', '.join(machines)}.\n\n{compared}"
    )


def _missing(runs: Sequence[AccuracyMeasured]) -> str:
    """Say which arms lack seeds, and what these cost by the time that a run of the same arm took."""
    short = {name: ENOUGH_SEEDS - _seeds(runs, name) for name in arms_of(runs) if ARMS[name].learns}
    short = {name: number for name, number in short.items() if number > 0 and not ARMS[name].grid}
    hours = sum(number * min(run.seconds for run in runs if run.arm == name) / 3600 for name, number in short.items())
    absent = [arm.name for arm in ARMS.values() if not arm.grid and arm.name not in arms_of(runs)]
    told = []
    if short:
        lacks = ", ".join(f"{name} ({number})" for name, number in short.items())
        told.append(f"seeds of {lacks}, about {hours:.1f} h more on one such core")
    told += [f"not run: {', '.join(absent)}"] if absent else []
    return f" Missing: {'; '.join(told)}." if told else ""


def sections(results: Sequence[Measured], plots: Sequence[str]) -> list[tuple[str, str, list[Sheet]]]:
    """Give a section for each setting: title, Markdown before the tables, and the tables.

    Args:
        results: Of benchmarks, of any kind.
        plots: Names of the files that :func:`draw_accuracy` wrote.
    """
    made = []
    for setting, runs in by_setting(results):
        shown = [name for name in plots if name.rpartition("-")[0].endswith(f"-accuracy-{setting.key}")]
        pictures = "\n".join(f"\n![{_alt(name)}]({name})" for name in shown)
        made.append((f"accuracy, {setting.told}", about(setting, runs) + "\n" + pictures, sheets_of(runs)))
    return made


def draw_accuracy(results: Sequence[Measured], out: Path) -> list[Path]:
    """Draw, for each setting, the differences of scores, and the masks of the drawn image side by side.

    Args:
        results: Of benchmarks, of any kind.
        out: The page; pictures are called after it.

    Raises:
        OutputError: A picture cannot be written.
    """
    paths = []
    for setting, runs in by_setting(results):
        stem = f"{out.stem}-accuracy-{setting.key}"
        compared = compare_arms(runs)
        for score, quantity in PLOTTED.items():
            dots = {
                name: (difference.low, difference.value, difference.high)
                for name, each in compared.items()
                if not ARMS[name].grid and (difference := each.found.get(score))
            }
            if dots:
                better = "left" if SCORES[score].best == "lowest" else "right"
                plot = dot_plot(
                    [Dots("less the whole method, with its 95 % interval over images", dots)],
                    title=f"{quantity} of each arm less that of the whole method",
                    x_label=f"difference in {quantity}; arms to the {better} of 0 are better",
                    marked=(0,),
                    linear=True,
                )
                path = out.with_name(f"{stem}-{score}.svg")
                write_text(path, plot)
                paths.append(path)
        if shown := [run for run in runs if not ARMS[run.arm].grid]:
            path = out.with_name(f"{stem}-masks.png")
            write_png(path, masks_side_by_side(shown))
            paths.append(path)
    return paths


def masks_side_by_side(runs: Sequence[AccuracyMeasured]) -> NDArray[np.uint8]:
    """Draw what the first run of each arm makes of the drawn image, beside the image and the truth.

    Args:
        runs: Of one setting, one at least.

    Returns:
        A picture, (row, column).
    """
    panels = []
    for name in [OTSU, *(arm for arm in arms_of(runs) if arm != OTSU)]:
        of_arm = [run for run in runs if run.arm == name]
        if not of_arm:
            continue
        drawn = min(of_arm, key=lambda run: run.run).drawn
        if drawn.image:
            panels.append(_panel(as_picture(drawn.image), "the drawn image", ""))
            panels.append(_panel(as_picture(drawn.true_mask), "true", f"{drawn.truth} cells"))
        found = "no count" if drawn.estimate is None else f"{drawn.estimate:.1f}"
        panels.append(_panel(as_picture(drawn.mask), name, found))
    rows, columns = (max(panel.shape[axis] for panel in panels) for axis in (0, 1))
    sheet = np.full((-(-len(panels) // MASKS_ACROSS) * rows, min(MASKS_ACROSS, len(panels)) * columns), 255, np.uint8)
    for k, panel in enumerate(panels):
        top, left = k // MASKS_ACROSS * rows, k % MASKS_ACROSS * columns
        sheet[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
    return sheet


def _panel(picture: NDArray[np.uint8], name: str, found: str) -> NDArray[np.uint8]:
    """Put a name and a number below a picture, with a margin around it."""
    width = max(picture.shape[1], 200)
    panel = np.full((picture.shape[0] + CAPTION, width + 12), 255, np.uint8)
    panel[6 : 6 + picture.shape[0], 6 : 6 + picture.shape[1]] = picture
    place = (6, picture.shape[0] + 24)
    text = f"{name}: {found}" if found else name
    cv2.putText(panel, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0, 1, cv2.LINE_AA)
    return panel


def _seeds(runs: Sequence[AccuracyMeasured], arm: str) -> int:
    return len({run.seed for run in runs if run.arm == arm})


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _alt(name: str) -> str:
    what = "Masks of one drawn image" if name.endswith(".png") else "Differences to the whole method"
    return f"{what}, as in the tables below" if name.endswith(".svg") else what
