"""Layouts of data sets: where each keeps its images, masks, labels and dots, and what it says in its file names.

A reader finds the files of one layout and gives a record for each image, by name. Nothing is opened.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from elmgan.data.faults import Faults
from elmgan.data.record import Record
from elmgan.errors import DataError, UsageError
from elmgan.images import find_images

BBBC005 = re.compile(r".*_[A-P](?P<column>\d\d)_C(?P<count>\d+)_F\d+_(?P<site>s\d\d)_(?P<stain>w\d)")
"""A file's stem: well, cells, focus, site and stain."""

Files = dict[str, Path]
"""Image files by their path below a folder, without extension."""


def read_folders(folder: Path, faults: Faults) -> dict[str, Record]:
    """Elmgan's own layout: ``images/``; ``masks/``, ``labels/`` and ``dots/`` with files of the same stems."""
    images = files_below(folder / "images", faults)
    masks, labels, dots = (
        annotations(files_below(folder / what, faults), images, faults) for what in ("masks", "labels", "dots")
    )
    return {
        name: Record(name, image, masks.get(name), labels.get(name), None, name, "", dots.get(name))
        for name, image in images.items()
    }


def read_bbbc005(folder: Path, faults: Faults) -> dict[str, Record]:
    """BBBC005 as published: masks of the same names as the images, and the total in the name.

    ``SIMCEPImages_A05_C18_F1_s03_w2.TIF`` shows 18 cells. Images of one column (05) and site (s03) show the same cells,
    in two stains and several blurs: they are a group; the stain is the kind.
    """
    images = files_below(folder / "BBBC005_v1_images", faults)
    masks = annotations(files_below(folder / "BBBC005_v1_ground_truth", faults), images, faults)
    records = {}
    for name, image in images.items():
        named = BBBC005.fullmatch(image.stem)
        if named is None:
            faults.add(
                "name", f"{image}: is not named like SIMCEPImages_A05_C18_F1_s03_w2.TIF; rename it, or move it away"
            )
            continue
        group = f"{named['column']}_{named['site']}"
        records[name] = Record(name, image, masks.get(name), None, float(named["count"]), group, named["stain"])
    return records


def read_vgg_cells(folder: Path, faults: Faults) -> dict[str, Record]:
    """VGG's synthetic cells as published: ``001cell.png`` and beside it ``001dots.png``, with a dot per cell."""
    files = files_below(folder, faults)
    images = {name: path for name, path in files.items() if name.endswith("cell")}
    dots = {f"{name.removesuffix('dots')}cell": path for name, path in files.items() if name.endswith("dots")}
    dots = annotations(dots, images, faults)
    return {name: Record(name, image, None, None, None, name, "", dots.get(name)) for name, image in images.items()}


@dataclass(frozen=True)
class Layout:
    """A layout, and how to know it.

    Attributes:
        name: For people.
        expected: What a folder of this layout holds, for people.
        mark: Pattern of a path in the folder that only this layout has.
        read: Its reader.
    """

    name: str
    expected: str
    mark: str
    read: Callable[[Path, Faults], dict[str, Record]]


LAYOUTS = (
    Layout("elmgan", "images/ with masks/, labels/, dots/ or counts.csv beside it", "images", read_folders),
    Layout("BBBC005", "BBBC005_v1_images/ and BBBC005_v1_ground_truth/", "BBBC005_v1_images", read_bbbc005),
    Layout("VGG cells", "001cell.png, 001dots.png and so on", "*dots.*", read_vgg_cells),
)


def is_data_set(folder: Path) -> bool:
    """Say whether a folder has one of the layouts."""
    return any(next(folder.glob(layout.mark), None) is not None for layout in LAYOUTS)


def layout_of(folder: Path) -> Layout:
    """Tell the layout of a data set by what is in its folder.

    Raises:
        DataError: When there is no such folder, or it has none of the layouts.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: give the folder of a data set")
    for layout in LAYOUTS:
        if next(folder.glob(layout.mark), None) is not None:
            return layout
    names = sorted(path.name for path in folder.iterdir())
    found = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "nothing"
    expected = ", or ".join(layout.expected for layout in LAYOUTS)
    raise DataError(f"{folder} is not a data set: expected {expected}; found {found}")


def files_below(folder: Path, faults: Faults) -> Files:
    """Find the image files below a folder; none if it is missing."""
    files: Files = {}
    try:
        found = find_images([folder]).images if folder.is_dir() else []
    except UsageError as error:
        faults.add("empty", f"{error}; put images there, or remove the folder")
        return files
    for image in found:
        name = image.relative.with_suffix("").as_posix()
        if name in files:
            faults.add("stem", f"{image.path}: has the same stem as {files[name].name}; rename one")
        files[name] = image.path
    return files


def annotations(files: Files, images: Files, faults: Faults) -> Files:
    """Give annotations back after a check that each has its image and sharp edges."""
    for name, path in files.items():
        if name not in images:
            faults.add("no image", f"{path}: there is no image of this name; add the image, or remove this file")
        if path.suffix.lower() in (".jpg", ".jpeg"):
            faults.add("JPEG", f"{path}: JPEG blurs masks, labels and dots; save it as TIFF or PNG")
    return files
