"""Examples that people corrected, added to a data set folder one at a time."""

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elmgan.data.table import TABLE_NAME
from elmgan.errors import DataError
from elmgan.files import cannot_write, write_table
from elmgan.images import write_image, write_mask

NEEDED_COLUMNS = ("image", "count")
"""Columns that a table needs, to take another row."""


def append_example(
    folder: Path,
    name: str,
    image: NDArray,
    *,
    mask: NDArray[np.bool_] | None = None,
    count: float | None = None,
    pixel_size: Mapping[str, float] | None = None,
) -> str:
    """Add an image, with what is known of it, to a data set in elmgan's own layout; a new folder becomes one.

    No file that is there is replaced: an image whose name is taken gets a number.

    Args:
        folder: Of the data set, or a new or empty one.
        name: Of the image, without an ending; what no file name takes becomes an underscore.
        image: (row, column) or (row, column, 3).
        mask: Where there is cell, (row, column).
        count: Cells in the image.
        pixel_size: x and y -> micrometres, where they are known.

    Returns:
        The image's name in counts.csv.

    Raises:
        DataError: Neither mask nor count is given, the mask has another size, the folder holds something else than such
            a data set, or its table is one that no row can be added to.
        OutputError: It cannot be written.
    """
    if mask is None and count is None:
        raise DataError(f"{name}: nothing is known of it, neither a mask nor a count: nothing was added")
    if mask is not None and mask.shape != image.shape[:2]:
        raise DataError(f"{name}: the mask has the shape {mask.shape}, the image {image.shape[:2]}: both must be alike")
    try:
        there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise cannot_write(folder, error) from error
    if there and "images" not in there:
        raise DataError(f"{folder} is no data set with images/: choose one, or a new folder")
    table = folder / TABLE_NAME
    columns, rows = _rows_of(table) if table.exists() else (list(NEEDED_COLUMNS), [])
    stem = re.sub(r"[^\w.-]+", "_", name).strip("._") or "image"
    taken = {path.stem.lower() for path in folder.glob("images/*")}
    number, unique = 1, stem
    while unique.lower() in taken:
        number += 1
        unique = f"{stem}-{number}"
    write_image(folder / "images" / f"{unique}.tif", image, pixel_size)
    if mask is not None:
        write_mask(folder / "masks" / f"{unique}.tif", mask, pixel_size)
    file_name = f"{unique}.tif"
    if count is not None:
        added = dict.fromkeys(columns, "") | {"image": file_name, "count": f"{count:g}"}
        write_table(table, columns, [*rows, added])  # last: it names no image that is not there
    return file_name


def _rows_of(table: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        reader = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"), newline=""), strict=True)
        rows, columns = list(reader), list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read ({error}): save it as CSV in UTF-8, with commas") from error
    if not set(NEEDED_COLUMNS) <= set(columns) or any(None in row or None in row.values() for row in rows):
        raise DataError(
            f"{table} takes no other row: its columns are to be {', '.join(NEEDED_COLUMNS)}, with commas between"
        )
    return columns, rows
