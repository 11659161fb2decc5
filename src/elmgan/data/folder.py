"""Data sets on disk: found in whatever layout they have, and checked before anything is learned from them."""

import math
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from elmgan.data.annotations import read_truth, wrong_size
from elmgan.data.faults import Faults
from elmgan.data.layouts import layout_of
from elmgan.data.likeness import all_alike
from elmgan.data.record import Record
from elmgan.data.splits import check_sides
from elmgan.data.table import read_table
from elmgan.errors import DataError, ImageError
from elmgan.images import View, image_size
from elmgan.models import TrainingData


def read_data_set(folder: Path, *, view: View | None = None) -> list[Record]:
    """Find the images of a data set and what is known of each, in the order of their names.

    The folder has one of these layouts:

    - ``images/`` with images, which may lie in subfolders, and beside it any of ``masks/`` (cell is what is not 0),
      ``labels/`` (a number per cell, 0 is background) and ``dots/`` (a pixel per cell is not 0) with TIFF or PNG files
      of the same stems (case matters) and sizes;
    - BBBC005 as published, ``BBBC005_v1_images/`` and ``BBBC005_v1_ground_truth/``;
    - VGG's cells as published, ``001cell.png`` beside ``001dots.png``.

    In each, ``counts.csv`` may say more: ``image`` (path below ``images/``, with any extension or none), ``count``
    (empty where it is not known) and, if wanted, ``group`` (images of the same cells), ``kind`` (images that look
    alike) and ``split`` (train, validation, calibration or test). Each image needs a mask or a count; labels give both,
    and dots the count, unless the table says another. Records have the count wherever it is known.

    Args:
        folder: The data set.
        view: How the images are shown; each has one plane under it.

    Images are only looked at for their size and, until two differ, whether they are all the same; annotations are read.

    Raises:
        DataError: When the folder has none of these layouts; or naming every fault found: nothing in a folder, a mask,
            labels, dots or row without its image, an image without any, a stem or row that occurs twice, a name that is
            not one of BBBC005, a JPEG as an annotation, a count that is no number from 0, labels or dots that are none,
            an annotation of another size than its image or that contradicts the count, a file that cannot be read, a
            group on two sides, a split of some images only, images that are all the same.
    """
    faults = Faults()
    records = layout_of(folder).read(folder, faults)
    if view is not None:
        records = {name: replace(record, view=view) for name, record in records.items()}
    table = folder / "counts.csv"
    if table.exists():
        for name, row in read_table(table, records, faults).items():
            if name in records:
                known = records[name]
                records[name] = replace(
                    known,
                    count=known.count if row.count is None else row.count,
                    group=row.group or known.group,
                    kind=row.kind or known.kind,
                    split=row.split,
                )
    found = [check_record(record, faults) for _, record in sorted(records.items())]
    if not found and not faults.by_kind:
        faults.add("empty", f"{folder}: holds no image; put images there")
    check_sides(found, faults)
    if "file" not in faults.by_kind:  # those are told already
        check_likeness(folder, found, faults)
    faults.raise_if_any(f"the data set {folder}")
    return found


def check_record(record: Record, faults: Faults) -> Record:
    """Hold what is known of an image against the image; give the record with its count wherever that is known."""
    files = [file for file in (record.mask, record.labels, record.dots) if file is not None]
    if not files and record.count is None:
        faults.add("unknown", f"{record.image}: has no mask, labels, dots or count; add one, or remove the image")
    if record.count is not None and not 0 <= record.count < math.inf:
        return record  # the table's reader has told
    try:
        size = image_size(record.image, record.view)
        wrong = [wrong_size(file, found, size) for file in files if (found := image_size(file)) != size]
        for fault in wrong:
            faults.add("size", fault)
        return record if wrong else replace(record, count=read_truth(record, size)[2])
    except ImageError as error:
        faults.add("file", str(error))
    except DataError as error:
        faults.add("annotation", str(error))
    return record


def check_likeness(folder: Path, records: list[Record], faults: Faults) -> None:
    """Note when all images are the same, as after a failed export."""
    try:
        if all_alike(records):
            faults.add("alike", f"{folder}: all {len(records)} images show the same; export them again, or keep one")
    except ImageError as error:
        faults.add("file", str(error))


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
