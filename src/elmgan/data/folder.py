"""Data sets on disk: found in whatever layout they have, and checked before anything is learned from them."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from elmgan.data.annotations import check_agreement, read_mask, read_truth, wrong_size
from elmgan.data.faults import Faults, Tell
from elmgan.data.layouts import layout_of
from elmgan.data.likeness import all_alike
from elmgan.data.masks import MaskLook, check_look, check_looks, look_at
from elmgan.data.record import Record, read_grey
from elmgan.data.splits import check_sides
from elmgan.data.table import find_table, read_entries
from elmgan.errors import DataError, ImageError
from elmgan.images import View, image_size, read_image
from elmgan.models import TrainingData

MOST_BORDER = 0.95
"""Share of an image's border from which a mask that covers most of the image is taken to be inverted."""

MOST_NAMED = 10
"""Images that are named in one line."""


def read_data_set(
    folder: Path, *, view: View | None = None, axes: str | None = None, tell: Tell = lambda line: None
) -> list[Record]:
    """Find the images of a data set and what is known of each, in the order of their names.

    The folder has one of these layouts:

    - ``images/`` with images, which may lie in subfolders, and beside it any of ``masks/`` (cell is what is not 0),
      ``labels/`` (a number per cell, 0 is background) and ``dots/`` (a pixel per cell is not 0) with TIFF or PNG files
      of the same sizes and stems, or stems that all differ from those of the images in the same way: ``a_mask.png``;
    - BBBC005 as published, ``BBBC005_v1_images/`` and ``BBBC005_v1_ground_truth/``;
    - VGG's cells as published, ``001cell.png`` beside ``001dots.png``.

    In each, ``counts.csv`` may say more: ``image`` (path below ``images/``; see :class:`~elmgan.data.Names`),
    ``count`` (empty where it is not known) and, if wanted, ``group`` (images of the same cells), ``kind`` (images that
    look alike) and ``split`` (train, validation, calibration or test). Labels give mask and count, and dots the count,
    unless the table says another. Records have the count wherever it is known. Images of which neither mask nor count
    is known are left out.

    Images are only looked at for their size and, until two differ, whether they are all the same; annotations are read.

    Args:
        folder: Of the data set.
        view: How the images are shown; each has one plane under it.
        axes: What the axes of images mean that do not say so; see :func:`~elmgan.images.open_image`.
        tell: Called with each note, a line: what was taken for granted, is left out, or looks wrong but may be right.

    Raises:
        DataError: When the folder has none of these layouts; or naming every fault found: nothing in a folder, a mask,
            labels, dots or row without its image, no image with any, a stem or row that occurs twice, a name that is
            not one of BBBC005, a JPEG as an annotation, a count that is no number from 0, a table that is no CSV or
            elmgan's own, masks that are labels, pictures or soft, labels or dots that are none, an annotation of
            another size than its image or that contradicts the count, a file that cannot be read, a group on two sides,
            a split of some images only, images that are all the same.
        UsageError: The axes are none.
    """
    faults = Faults()
    records = layout_of(folder).read(folder, faults)
    records = {name: replace(record, view=view or record.view, axes=axes) for name, record in records.items()}
    table = find_table(folder, faults)
    if table is not None:
        for name, entry in read_entries(table, records, faults).items():
            known = records[name]
            records[name] = replace(
                known,
                count=known.count if entry.count is None else entry.count,
                group=entry.group or known.group,
                kind=entry.kind or known.kind,
                split=entry.split,
            )
    looks: dict[Path, MaskLook] = {}
    found = [check_record(record, looks, faults) for _, record in sorted(records.items())]
    if not found and not faults.by_kind:
        faults.add("empty", f"{folder}: holds no image; put images there")
    check_looks(looks, faults)
    check_foreground(found, looks, faults)
    found = check_known(found, faults)
    check_sides(found, faults)
    if "file" not in faults.by_kind:  # those are told already
        check_likeness(folder, found, faults)
    for note in faults.notes():
        tell(note)
    faults.raise_if_any(f"the data set {folder}")
    return found


def check_record(record: Record, looks: dict[Path, MaskLook], faults: Faults) -> Record:
    """Hold what is known of an image against the image; give the record with its count wherever that is known.

    Args:
        record: Of the image.
        looks: Takes what its mask is made of, where the mask is used.
        faults: Takes what is wrong.
    """
    files = [file for file in (record.mask, record.labels, record.dots) if file is not None]
    if record.count is not None and not 0 <= record.count < math.inf:
        return record  # the table's reader has told
    try:
        with record.opened() as plane:
            size = plane.shape
        wrong = [wrong_size(file, found, size) for file in files if (found := image_size(file)) != size]
        for fault in wrong:
            faults.add("size", fault)
        if wrong:
            return record
        if record.mask is None or record.labels is not None:
            return replace(record, count=read_truth(record, size)[2])
        look = looks[record.mask] = look_at(read_image(record.mask))
        check_look(record.mask, look, faults)
        record = replace(record, count=read_truth(replace(record, mask=None), size)[2])  # the mask is not read again
        if record.count is not None:
            check_agreement(record, int(look.share > 0), record.count)
        check_side(record, look, faults)
    except ImageError as error:
        faults.add("file", str(error))
    except DataError as error:
        faults.add("annotation", str(error))
    return record


def check_side(record: Record, look: MaskLook, faults: Faults) -> None:
    """Note a mask that may have cells and background swapped.

    Raises:
        ImageError: When the image has to be read, and cannot be.
    """
    if look.share <= 0.5 or look.sort != "two values":
        return
    reason = "so is the border"
    if look.border < MOST_BORDER:
        grey = read_grey(record)
        cells = read_mask(Path(record.mask or ""))
        if cells.all() or grey[cells].mean() >= grey[~cells].mean():
            return
        reason = "the image is brighter outside"
    faults.note(
        "inverted",
        f"{record.mask}: {100 * look.share:.0f} % is foreground, and {reason}: is it inverted? Cell is what is not 0",
    )


def check_foreground(records: list[Record], looks: Mapping[Path, MaskLook], faults: Faults) -> None:
    """Note masks without foreground where no count says that there is no cell; a fault if all are like that."""
    empty = [record for record in records if record.count is None and record.mask in looks]
    empty = [record for record in empty if record.mask is not None and looks[record.mask].share == 0]
    if "alpha" in faults.by_kind:
        return  # that tells where the foreground is
    if empty and len(empty) == len(looks):
        faults.add(
            "no foreground",
            f"{empty[0].mask}: the mask of {empty[0].name} has no foreground, and no other mask has: cell is what is "
            "not 0; export them again, or write the count 0 to counts.csv where an image has no cell",
        )
        return
    for record in empty:
        faults.note("no foreground", f"{record.mask}: the mask of {record.name} has no foreground: are there no cells?")


def check_known(records: list[Record], faults: Faults) -> list[Record]:
    """Leave out images of which neither mask nor count is known; name those without a count where others have one."""
    unknown = [record for record in records if not is_known(record)]
    kept = [record for record in records if is_known(record)]
    uncounted = [record for record in records if record.count is None]
    if unknown and not kept:
        for record in [] if "table" in faults.by_kind else unknown:  # the table may know of them
            faults.add("unknown", f"{record.image}: has no mask, labels, dots or count; add one, or remove the image")
        return records
    if uncounted and len(uncounted) < len(records):
        faults.note(
            "uncounted",
            f"{len(records) - len(uncounted)} of {len(records)} images have a count; {len(uncounted)} without: "
            f"{_named(uncounted)}",
        )
    if unknown:
        faults.note("unknown", f"left out, with neither mask nor count: {_named(unknown)}")
    return kept


def is_known(record: Record) -> bool:
    """Say whether anything is known of an image."""
    return record.count is not None or any((record.mask, record.labels, record.dots))


def _named(records: list[Record]) -> str:
    """Name some images, long lists cut short."""
    more = len(records) - MOST_NAMED
    return ", ".join(record.file_name for record in records[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


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
