"""Layouts of data sets: where each keeps its images, masks, labels and dots, and what it says in its file names.

A reader finds the files of one layout and gives a record for each image, by name. Nothing is opened.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from elmgan.data.faults import Faults
from elmgan.data.naming import folded
from elmgan.data.record import Record
from elmgan.errors import DataError, UsageError
from elmgan.images import find_images

BBBC005 = re.compile(r".*_[A-P](?P<column>\d\d)_C(?P<count>\d+)_F\d+_(?P<site>s\d\d)_(?P<stain>w\d)")
"""A file's stem: well, cells, focus, site and stain."""

ANY_CASE = "".join(f"[{letter}{letter.upper()}]" for letter in "images")
"""Pattern of the folder's name."""

IMAGE = "images?|imgs?|im|raw|orig|originals?|inputs?|photos?|pictures?|frames?|src|source|ome"
ANNOTATION = (
    "(?:cp_)?masks?|labels?|dots?|seg|segmentations?|segmented|gt|ground[ _-]?truth|annotations?|targets?|binary"
)
"""Words in the names of images and of folders that say what they hold, as regular expressions."""

Files = dict[str, Path]
"""Image files by their path below a folder, without extension."""


def read_folders(folder: Path, faults: Faults) -> dict[str, Record]:
    """Elmgan's own layout: ``images/``; ``masks/``, ``labels/`` and ``dots/`` with files of the same stems."""
    folders = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    images = files_below(folders.get("images", folder / "images"), faults)
    masks, labels, dots = (
        annotations(files_below(folders.get(place, folder / place), faults), images, what, faults)
        for place, what in (("masks", "mask"), ("labels", "label image"), ("dots", "dot image"))
    )
    for name, path in folders.items():
        if name not in ("images", "masks", "labels", "dots") and re.search(
            rf"(?<![a-z])({ANNOTATION})s?(?![a-z])", name
        ):
            faults.note("folder", f"{path}: is not read; elmgan reads images/, masks/, labels/ and dots/")
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
    masks = annotations(files_below(folder / "BBBC005_v1_ground_truth", faults), images, "mask", faults)
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
    dots = annotations(dots, images, "dot image", faults)
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
    Layout("elmgan", "images/ with masks/, labels/, dots/ or counts.csv beside it", ANY_CASE, read_folders),
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


def annotations(files: Files, images: Files, what: str, faults: Faults) -> Files:
    """Give annotations the names of their images, after a check that each has its image and sharp edges.

    Case and forms of Unicode aside, names are the same, or those of all files differ from their images' in one way.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for name in images:
        alike[folded(name)].append(name)
    matched: dict[str, str] = {}
    for name in files:
        fitting = [name] if name in images else alike[folded(name)]
        if len(fitting) == 1:
            matched[name] = fitting[0]
    if files and not matched and (matched := by_pattern(list(files), list(images))):
        name = next(iter(files))
        rest = "" if len(files) == 1 else f", and so on: all {len(files)} names follow this pattern"
        faults.note("pattern", f"{files[name]}: is taken for the {what} of {images[matched[name]].name}{rest}")
    found: Files = {}
    for name, path in files.items():
        if path.suffix.lower() in (".jpg", ".jpeg"):
            faults.add("JPEG", f"{path}: JPEG blurs masks, labels and dots; save it as TIFF or PNG")
        if name not in matched:
            faults.add("no image", f"{path}: there is no image of this name; add the image, or remove this file")
        elif matched[name] in found:
            other = found[matched[name]].name
            faults.add("stem", f"{path}: belongs to {images[matched[name]].name}, as {other} does; remove one")
        else:
            found[matched[name]] = path
    return found


def by_pattern(names: Sequence[str], images: Sequence[str]) -> dict[str, str]:
    """Match names to the images that they differ from in one way; nothing if they do not, or in more ways than one.

    Something stands before or behind the image's name, or before or behind that of all images, such as a channel.

    >>> by_pattern(["p/1_mask", "p/2_mask"], ["p/1", "p/2", "p/3"]), by_pattern(["mask_1"], ["image_1", "image_2"])
    ({'p/1_mask': 'p/1', 'p/2_mask': 'p/2'}, {'mask_1': 'image_1'})
    >>> by_pattern(["1_mask", "2_mask"], ["1_DAPI", "2_DAPI"])
    {'1_mask': '1_DAPI', '2_mask': '2_DAPI'}
    """
    for cut in ({image: image for image in images}, _cores(images), _without_common_end(images)) if images else ():
        of_core = {core: image for image, core in cut.items()}
        if len(of_core) < len(images):
            continue
        folder, last = _parted(names[0])
        affixes = {
            (last[: found.start()], last[found.end() :])
            for core in of_core
            if core.startswith(folder)
            for found in re.finditer(re.escape(core[len(folder) :]), last)
        }
        found_by = [_without_affix(names, before, after) for before, after in affixes]
        patterns = {
            tuple((name, of_core[core]) for name, core in found.items())
            for found in found_by
            if found and set(found.values()) <= set(of_core)
        }
        if patterns:
            return dict(patterns.pop()) if len(patterns) == 1 else {}
    return {}


def _without_affix(names: Sequence[str], before: str, after: str) -> dict[str, str]:
    """Take what stands before and behind off each name; nothing unless all have it, and it parts no number."""
    cut = {}
    for name in names:
        folder, last = _parted(name)
        core = last[len(before) : len(last) - len(after)]
        if not core or last != before + core + after or re.search(r"\d\d", before[-1:] + core[0]):
            return {}
        if re.search(r"\d\d", core[-1] + after[:1]):
            return {}
        cut[name] = folder + core
    return cut


def _cores(images: Sequence[str]) -> dict[str, str]:
    """Take a word that all names begin or end with off each; nothing unless they have it in the same form."""
    cut, forms = {}, set()
    for image in images:
        folder, last = _parted(image)
        parts = re.fullmatch(rf"((?:{IMAGE})[\W_]*)?(.+?)([\W_]*(?:{IMAGE}))?", last, re.IGNORECASE)
        before, core, after = parts.groups(default="") if parts else ("", last, "")
        cut[image] = folder + core
        forms.add((before, after))
    return cut if len(forms) == 1 else {}


def _without_common_end(images: Sequence[str]) -> dict[str, str]:
    """Take off what all names end with, from a sign on that parts words: ``_DAPI``."""
    backwards = [image[::-1] for image in images]
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(min(backwards), max(backwards), strict=False))
    end = "".join(letter for letter, _ in shared)[::-1]
    found = re.search(r"[\W_]+[^\W\d_].*", end)
    return {image: image.removesuffix(found[0]) for image in images} if found and len(images) > 1 else {}


def _parted(name: str) -> tuple[str, str]:
    """Part a name into its folder, with the slash, and the rest."""
    end = name.rfind("/") + 1
    return name[:end], name[end:]
