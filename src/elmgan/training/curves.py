"""What a run leaves to look at: curves as CSV and for TensorBoard, sample predictions as pictures."""

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from elmgan.files import whole_file
from elmgan.images import write_png
from elmgan.models import Learned
from elmgan.training.validation import Sample

SIDE, LINE_HEIGHT, BETWEEN_PICTURES = 256, 22, 4
"""Pixels of a sample's pictures, of a line of text, and of the line between pictures."""

BRIGHTEST = 99.5
"""Percentile of a count map that is white."""


class Curves:
    """One row of numbers per epoch, in ``curves.csv`` and in ``tensorboard/`` of a run.

    Args:
        run: The run's folder; an existing table is continued.
        epochs: Epochs done before; later rows of an existing table are dropped.
    """

    def __init__(self, run: Path, epochs: int = 0) -> None:
        self.path = run / "curves.csv"
        self.rows: list[dict[str, float]] = []
        if epochs and self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
            self.rows = [row for row in rows if row["epoch"] <= epochs]
        self.board = SummaryWriter(str(run / "tensorboard"), purge_step=epochs + 1 if epochs else None)

    def add(self, row: dict[str, float]) -> None:
        """Add an epoch's numbers; ``row["epoch"]`` says which."""
        self.rows.append(row)
        columns = list(dict.fromkeys(name for known in self.rows for name in known))
        with whole_file(self.path, lasting=True) as path, path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, columns, lineterminator="\n")
            table.writeheader()
            table.writerows({name: f"{value:.6g}" for name, value in known.items()} for known in self.rows)
        for name, value in row.items():
            if name != "epoch":
                self.board.add_scalar(name, value, int(row["epoch"]))
        self.board.flush()

    def close(self) -> None:
        """Finish what TensorBoard reads."""
        self.board.close()


def draw_samples(path: Path, samples: list[Sample], learned: Learned) -> None:
    """Draw a row per sample into a PNG: image, true mask, predicted mask, count map, with both counts below.

    What is not learned stays black. Brightness is the root of the count map, so that large cells are seen too.
    """
    headings = [caption(heading, SIDE) for heading in ("image", "true mask", "mask of the model", "count map")]
    rows = [beside(headings)]
    for sample in samples:
        example, count_map = sample.example, sample.count_map
        image = np.clip(np.abs(example.image), 0, 1)
        peak = max(float(np.percentile(count_map, BRIGHTEST)), 1e-6)
        mask = np.zeros_like(image) if example.mask is None else example.mask.astype(np.float32)
        masked, counted = ("mask" in learned, "count" in learned)
        predictions = (
            sample.probability * np.float32(masked),
            np.sqrt(np.clip(count_map / peak, 0, 1)) * np.float32(counted),
        )
        row = beside([panel(values) for values in (image, mask, *predictions)])
        true = "not known" if example.total is None else f"{example.total:.0f}"
        predicted = f"{count_map.sum():.1f}" if counted else "nothing"
        text = f"{example.name[-48:]}   true {true}   predicted {predicted}"
        rows += [row, caption(text, row.shape[1])]
    write_png(path, np.vstack(rows))


def caption(text: str, width: int) -> NDArray[np.uint8]:
    """Write a line of text."""
    line = np.zeros((LINE_HEIGHT, width), np.uint8)
    return np.asarray(cv2.putText(line, text, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, 255, 1, cv2.LINE_AA), np.uint8)


def beside(panels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Put pictures of one height beside each other, with a line between."""
    line = np.full((len(panels[0]), BETWEEN_PICTURES), 90, np.uint8)
    return np.hstack([part for each in panels for part in (line, each)][1:])


def panel(values: NDArray[np.float32], side: int = SIDE) -> NDArray[np.uint8]:
    """Fit values of 0..1 into a square picture."""
    scale = side / max(values.shape)
    size = max(1, round(values.shape[1] * scale)), max(1, round(values.shape[0] * scale))
    smaller = cv2.resize(values, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    square = np.zeros((side, side), np.uint8)
    square[: smaller.shape[0], : smaller.shape[1]] = np.clip(255 * smaller, 0, 255).astype(np.uint8)
    return square
