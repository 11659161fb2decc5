"""Data set folders: images with what is known of each, found and checked before anything is read."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from elmgan.errors import DataError, UsageError
from elmgan.imaging import EXTENSIONS, find_images, read_image
from elmgan.models.schema import TrainingData


@dataclass(frozen=True)
class Record:
    """One image of a data set and what is known of it.

    Attributes:
        name: Path of the image below ``images/`` without its extension, with forward slashes.
        image: The image's file.
        mask: File of its cell/background mask (0 = background), if there is one.
        labels: File of its instance labels (0 = background), if there is one; only ever reduced to mask and totals.
        count: Number of cells, if known.
        group: Images of one group show the same cells and must not be parted by a split.
        kind: Images of one kind look alike; splits keep their proportions.
    """

    name: str
    image: Path
    mask: Path | None
    labels: Path | None
    count: float | None
    group: str
    kind: str


def read_data_set(folder: Path) -> list[Record]:
    """Find the images of a data set folder, in the order of their names.

    The folder holds ``images/``, ``masks/`` or ``labels/`` with files of the same stems (case matters), and
    ``counts.csv`` with the columns ``image`` (path below ``images/``, with any extension or none), ``count`` and, where
    they help a split, ``group`` and ``kind``. With labels, mask and count may be left out.

    Raises:
        DataError: Naming every fault found: no images, a mask or count without its image, a stem that occurs twice, a
            mask or labels in a JPEG, a count that is not a number from 0, an image without mask or without count.
    """
    images, counts = folder / "images", folder / "counts.csv"
    if not images.is_dir():
        raise DataError(
            f"{folder} is not a data set: expected the folders images and masks and the file counts.csv in it"
        )
    faults: list[str] = []
    files = files_by_name(images, faults)
    masks = files_by_name(folder / "masks", faults)
    labels = files_by_name(folder / "labels", faults)
    rows = read_counts(counts, files, faults) if counts.exists() else {}
    for annotations in (masks, labels):
        for name, path in annotations.items():
            if name not in files:
                faults.append(f"{path}: no image of this name below {images}")
            if path.suffix.lower() in (".jpg", ".jpeg"):
                faults.append(f"{path}: JPEG blurs the edges of masks and labels; save it as TIFF or PNG")
    counted = {name for name, row in rows.items() if row.count is not None}
    for what, known, place in (("mask", masks.keys(), folder / "masks"), ("count", counted, counts)):
        lacking = [name for name in files if name not in known and name not in labels]
        if lacking and not known:
            faults.append(f"{place}: has no {what} of any image; each needs one, or labels")
        else:
            faults += [f"{files[name]}: no {what} of this name in {place}" for name in lacking]
    if faults:
        raise DataError(f"the data set {folder} has faults:\n  " + "\n  ".join(faults))
    records = []
    for name, path in sorted(files.items()):
        row = rows.get(name, Row(None, name, ""))
        records.append(Record(name, path, masks.get(name), labels.get(name), row.count, row.group, row.kind))
    return records


def read_sources(folder: Path, images: int) -> list[TrainingData]:
    """Give where a data set's images come from and under which licence: its ``sources.json``, if it has one.

    The file holds a list of objects with ``name``, ``licence`` and ``images``, the number of images from there.

    Raises:
        DataError: When the file says something else.
    """
    path = folder / "sources.json"
    if not path.exists():
        return [TrainingData(name=folder.resolve().name, licence="not stated", images=images)]
    try:
        return TypeAdapter(list[TrainingData]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(f"{path}: expected a list of objects with name, licence and images") from error


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask, (row, column): cell wherever any channel is not 0.

    Raises:
        ImageError: When the file cannot be read.
    """
    mask: NDArray[np.bool_] = read_image(path) != 0
    return mask if mask.ndim == 2 else np.asarray(mask.any(axis=2))


def read_labels(path: Path) -> NDArray[np.uint16]:
    """Read instance labels, (row, column), renumbered 1..n in the order of their values; 0 is background.

    Raises:
        DataError: When the file has more than one channel, values that are no whole numbers from 0, or more than 65535
            labels.
        ImageError: When the file cannot be read.
    """
    values = read_image(path)
    if values.ndim != 2:
        raise DataError(f"{path}: labels have one channel, found {values.shape[2]}: save them as a grey image")
    found = np.unique(values)
    if found[0] < 0 or (found != np.trunc(found)).any():
        raise DataError(f"{path}: labels are whole numbers from 0, found others: save them as integers")
    cells = found[found > 0]
    if len(cells) > np.iinfo(np.uint16).max:
        raise DataError(f"{path}: more than 65535 labels: cut the image into parts")
    return np.searchsorted(cells, values, side="right").astype(np.uint16)


def files_by_name(folder: Path, faults: list[str]) -> dict[str, Path]:
    """Give the image files below a folder, none if it is missing, by their path without extension."""
    files: dict[str, Path] = {}
    try:
        found = find_images([folder]) if folder.is_dir() else []
    except UsageError as error:
        faults.append(str(error))
        return files
    for image in found:
        name = image.relative.with_suffix("").as_posix()
        if name in files:
            faults.append(f"{image.path}: has the same stem as {files[name].name}; rename one")
        files[name] = image.path
    return files


@dataclass(frozen=True)
class Row:
    """What counts.csv says of an image, as in its record."""

    count: float | None
    group: str
    kind: str


def read_counts(path: Path, files: dict[str, Path], faults: list[str]) -> dict[str, Row]:
    """Read counts.csv, as written by hand or by a spreadsheet of any country: separated by comma, semicolon or tab."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            separator = max(",;\t", key=file.readline().count)
            file.seek(0)
            table = csv.DictReader(file, delimiter=separator, skipinitialspace=True)
            columns = table.fieldnames or []
            lines = [(table.line_num, row) for row in table if any(row.values())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        faults.append(f"{path}: cannot be read ({error}); save it as CSV in UTF-8")
        return {}
    if not {"image", "count"} <= set(columns):
        faults.append(f"{path}: expected the columns image and count, found {', '.join(columns) or 'none'}")
        return {}
    rows: dict[str, Row] = {}
    for line, row in lines:
        given, written = row["image"] or "", row["count"] or ""
        image = PurePosixPath(given.replace("\\", "/"))
        name = str(image.with_suffix("") if image.suffix.lower() in EXTENSIONS else image)
        count = number(written) if written else None
        if name not in files:
            faults.append(f"{path}, line {line}: there is no image {given!r}")
        elif name in rows:
            faults.append(f"{path}, line {line}: {given!r} has a row already")
        elif any(row.get(None, [])):
            faults.append(f"{path}, line {line}: more values than columns; write decimals with a point")
        elif count is not None and not 0 <= count < math.inf:
            faults.append(
                f"{path}, line {line}: the count of {given!r} is {written!r}, not a number such as 12 or 12.5"
            )
        rows[name] = Row(count, row.get("group") or name, row.get("kind") or "")
    return rows


def number(text: str) -> float:
    """Give the number in a text, or NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
