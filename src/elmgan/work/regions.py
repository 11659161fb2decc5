"""The cells in each region that somebody drew: regions.csv."""

import hashlib
import math
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elmgan.counting import Region, RegionPixels, Result, Row, Streamed
from elmgan.errors import ElmganError, UsageError, one_line
from elmgan.export.drawn import DrawnRegions
from elmgan.export.imagej import read_rois
from elmgan.export.qupath import read_geojson
from elmgan.images import Plane, Tile, only_plane, open_image
from elmgan.models import STRIDE
from elmgan.work.cells import Measurer
from elmgan.work.earlier import REGIONS_TABLE
from elmgan.work.large_regions import CentrePixels, RegionSum, check_labels, sums_in, sums_of_labels
from elmgan.work.plan import Task
from elmgan.work.plane_table import PlaneRows, line_of, notes_in, rows_by_plane
from elmgan.work.sinks import Packed
from elmgan.work.table_sink import TableSink

COLUMNS_OF_REGIONS = (
    *("region", "name", "class", "count", "estimate", "low", "high", "cells"),
    *("area_px", "area_um2", "per_mm2", "per_megapixel", "remarks"),
)

GEOJSON, IMAGEJ_ROIS = (".geojson", ".json"), (".zip", ".roi")
LABEL_IMAGES = (".tif", ".tiff", ".png")
"""Endings of the files of regions that are looked for beside each other in a folder, one per image."""

OVERLAPPING = "overlapping"
"""Remark on a region that shares pixels with another: their cells are counted in both."""

KEPT = 2
"""Files of regions whose pixels are held in memory."""


@dataclass(frozen=True, eq=False)
class NumberedRegion:
    """A region by its number in its file, from 1, or its label in a label image; with its pixels in an image."""

    number: int
    region: Region
    part: RegionPixels


class RegionFiles:
    """The regions of images: one file for all of them, or a folder with one for each by its name.

    Args:
        path: A file of regions, or a folder of them.
        images: Name of each image -> its file.

    Raises:
        UsageError: It does not exist or cannot be read, no image has regions, or one has several files.
    """

    def __init__(self, path: Path, images: Mapping[str, Path]) -> None:
        self._path = path = path.absolute()  # workers elsewhere read it, too
        self._lock = Lock()
        self._read: OrderedDict[tuple[Path, tuple[int, int]], list[NumberedRegion]] = OrderedDict()
        self._parsed: OrderedDict[Path, Sequence[Region]] = OrderedDict()
        self.notes: list[str] = []
        if not path.exists():
            raise UsageError(f"{path} does not exist: give the regions as GeoJSON, .roi, .zip or a label image")
        self._of: dict[str, Path] = {}
        self._one = not path.is_dir() or path.suffix.lower() == ".zarr"
        if self._one:
            told = "" if _is_label_image(path) else _drawn(path).told
            self.notes += [f"{path.name}: passed over {told}"] if told else []
            return
        self._of = _files_by_name(path, images)
        without = [image for image in images if image not in self._of]
        if not self._of:
            expected = PurePosixPath(next(iter(images))).with_suffix(GEOJSON[0])
            raise UsageError(f"{path} has no regions of these images: expected names such as {expected}")
        if without:
            which = without[0] if len(without) == 1 else f"{without[0]} and others"
            have = "has" if len(without) == 1 else "have"
            self.notes.append(f"{len(without)} of {len(images)} images {have} no regions in {path}: {which}")

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_lock": None, "_read": None, "_parsed": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=Lock(), _read=OrderedDict(), _parsed=OrderedDict())

    @property
    def _files(self) -> Collection[Path]:
        return [self._path] if self._one else set(self._of.values())

    def _file(self, image: str) -> Path | None:
        return self._path if self._one else self._of.get(image)

    @property
    def stamp(self) -> str:
        """By which changed regions are known: of the names, sizes and times of their files."""
        files = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self._files)
        return hashlib.sha256(repr(files).encode()).hexdigest()

    def of(self, image: str, plane: Plane) -> list[NumberedRegion]:
        """Give the regions of a plane of an image, with their pixels.

        Raises:
            UsageError: They cannot be read, or are a label image of another size.
        """
        all_of_image = self._numbered(image, plane)
        return _with_overlaps([each for each in all_of_image if is_on(each.region, plane)], plane.shape)

    def sums(self, image: str, plane: Plane, streamed: Streamed, centres: CentrePixels) -> list[RegionSum]:
        """Add up what is in the regions of a plane of an image that is too large for memory.

        Raises:
            UsageError: They cannot be read, or are a label image of another size.
        """
        path = self._file(image)
        if path is None:
            return []
        if _is_label_image(path):
            return sums_of_labels(path, streamed, centres)
        regions = [(k, region) for k, region in enumerate(self._drawn(path), 1) if is_on(region, plane)]
        return sums_in(regions, streamed, centres)

    def _drawn(self, path: Path) -> Sequence[Region]:
        """Give the regions of a file that are no label image, which is read once for many images."""
        with self._lock:
            if path not in self._parsed:
                self._parsed[path] = _drawn(path).regions
                while len(self._parsed) > KEPT:
                    self._parsed.popitem(last=False)
            return self._parsed[path]

    def number(self, image: str) -> int | None:
        """Say how many regions each plane of an image has; None if that differs, or is not known without the image."""
        path = self._file(image)
        if path is None:
            return 0
        if _is_label_image(path):
            return None
        regions = _drawn(path).regions
        return None if any(each.t or each.z or each.index for each in regions) else len(regions)

    def nowhere(self, image: str, plane: Plane) -> int:
        """Say how many regions of an image were drawn on time points or focal planes that it does not have."""
        scene, path = plane.described, self._file(image)
        if path is None or _is_label_image(path):
            return 0
        places = [_place(region, plane) for region in self._drawn(path)]
        lengths = scene.length("T"), scene.length("Z")
        return sum(any(at and 1 < most < at for at, most in zip(place, lengths, strict=True)) for place in places)

    def _numbered(self, image: str, plane: Plane) -> list[NumberedRegion]:
        path = self._file(image)
        if path is None:
            return []
        key = path, plane.shape
        with self._lock:
            if key not in self._read:
                self._read[key] = list(_numbered(path, plane.shape))
                while len(self._read) > KEPT:
                    self._read.popitem(last=False)
            self._read.move_to_end(key)
            return self._read[key]


def is_on(region: Region, plane: Plane) -> bool:
    """Say whether a region is of a plane: it was drawn on it, or on one that was projected with it, or on no one."""
    scene = plane.described
    t, z = _place(region, plane)
    fits = (t or plane.t) == plane.t or scene.length("T") == 1
    return fits and (isinstance(plane.z, str) or (z or plane.z) == plane.z or scene.length("Z") == 1)


def _place(region: Region, plane: Plane) -> tuple[int | None, int | None]:
    """Time point and focal plane that a region was drawn on, in the image of a plane; None for all."""
    if region.index is None:
        return region.t, region.z
    channels, depths, times = (plane.described.length(axis) for axis in "CZT")
    if sum(length > 1 for length in (channels, depths, times)) > 1:
        k = (region.index - 1) // channels
        return k // depths + 1, k % depths + 1
    return (region.index, None) if times > 1 else (None, region.index)


def _files_by_name(folder: Path, images: Mapping[str, Path]) -> dict[str, Path]:
    """Find the file of each image: of its name, with its ending or without, in the folder or in the image's in it."""
    own = set(images.values())  # regions may lie beside the images
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.resolve() / path.name not in own]
    there = {path.relative_to(folder).as_posix(): path for path in files}
    found: dict[str, Path] = {}
    for image in images:
        name = PurePosixPath(image)
        stems = dict.fromkeys(str(stem) for at in (name, PurePosixPath(name.name)) for stem in (at, at.with_suffix("")))
        names = [f"{stem}{ending}" for stem in stems for ending in (*GEOJSON, *IMAGEJ_ROIS, *LABEL_IMAGES)]
        fitting = [there[each] for each in dict.fromkeys(names) if each in there]
        if len(fitting) > 1:
            raise UsageError(f"{folder} has {fitting[0].name} and {fitting[1].name} for {image}: leave one of them")
        if fitting:
            found[image] = fitting[0]
    return found


def _is_label_image(path: Path) -> bool:
    return path.suffix.lower() not in (*GEOJSON, *IMAGEJ_ROIS)


def _drawn(path: Path) -> DrawnRegions:
    return read_geojson(path) if path.suffix.lower() in GEOJSON else read_rois(path)


def _numbered(path: Path, shape: tuple[int, int]) -> Iterator[NumberedRegion]:
    """Read the regions of a file, with their pixels in an image of this shape."""
    if _is_label_image(path):
        yield from _of_labels(path, shape)
        return
    for number, region in enumerate(_drawn(path).regions, 1):
        yield NumberedRegion(number, region, region.part(shape))


def _of_labels(path: Path, shape: tuple[int, int]) -> Iterator[NumberedRegion]:
    try:
        with open_image(path) as source:
            plane = only_plane(source)
            check_labels(path, plane, shape)
            labels = plane.read()
    except UsageError:
        raise
    except ElmganError as error:
        raise UsageError(f"regions: {one_line(error)}") from None
    if labels.min(initial=0) < 0:
        raise UsageError(f"{path}: a label image of regions has whole numbers from 0; found negative ones")
    row, column = np.nonzero(labels)
    numbers, which = np.unique(labels[row, column], return_inverse=True)
    ends = []
    for place, side in ((row, shape[0]), (column, shape[1])):
        first, last = np.full(len(numbers), side), np.zeros(len(numbers), np.intp)
        np.minimum.at(first, which, place)
        np.maximum.at(last, which, place)
        begin = first // STRIDE * STRIDE  # whole values of the count map
        ends.append((begin, np.minimum((last // STRIDE + 1) * STRIDE, side) - begin))
    for k, number in enumerate(numbers.tolist()):
        (top, height), (left, width) = ((int(begin[k]), int(length[k])) for begin, length in ends)
        box = Tile(top, left, height, width)
        yield NumberedRegion(number, Region("", "", ()), RegionPixels(box, box.of(labels) == number))


def _with_overlaps(regions: Sequence[NumberedRegion], shape: tuple[int, int]) -> list[NumberedRegion]:
    """Remark on regions that share pixels."""
    times = np.zeros(shape, np.uint8)
    for each in regions:
        box = each.part.box.of(times)
        np.minimum(box + each.part.inside, 2, out=box)
    if times.max(initial=0) < 2:
        return list(regions)
    return [
        replace(each, part=replace(each.part, remarks=(*each.part.remarks, OVERLAPPING)))
        if (each.part.box.of(times)[each.part.inside] > 1).any()
        else each
        for each in regions
    ]


@dataclass(frozen=True, eq=False)
class _Contents:
    """What a region holds: pixels, cells by the count map with their interval, and cells whose centre is in it."""

    number: int
    region: Region
    area: int
    estimate: float | None
    interval: tuple[float, float] | None
    inside: int | None
    remarks: tuple[str, ...]

    def line(self, pixel_size: Mapping[str, float], *, excel: bool) -> str:
        """Write it as a line of the table."""
        estimate, area = self.estimate, self.area
        size = pixel_size["x"] * pixel_size["y"] * area if {"x", "y"} <= pixel_size.keys() else None
        numbers = [
            _text(None if estimate is None else math.floor(estimate + 0.5), "d"),
            _text(estimate, ".2f"),
            *(_text(end, ".2f") for end in self.interval or (None, None)),
            _text(self.inside, "d"),
            _text(area, "d"),
            _text(size, ".3f"),
            *(
                _text(estimate / of * unit if estimate is not None and of else None, ".5g")
                for of, unit in ((size, 1e6), (area, 1e6))
            ),
        ]
        told = [str(self.number), self.region.name, self.region.kind]
        if excel:
            numbers = [number.replace(".", ",") for number in numbers]
        return line_of([*told, *numbers, ";".join(self.remarks)], ";" if excel else ",")


def _contents(each: NumberedRegion, result: Result, cells: Mapping[str, NDArray] | None) -> _Contents:
    """Count in a region of a plane."""
    part = each.part
    estimate = None if result.count_map is None else result.count_in(part)
    interval = None if estimate is None else result.interval_of(estimate)
    inside = None if cells is None else int(part.holds(*_middles(cells)).sum())
    return _Contents(each.number, each.region, part.area, estimate, interval, inside, part.remarks)


def _middles(cells: Mapping[str, NDArray]) -> CentrePixels:
    """Give the pixels in which the centres of cells are."""
    row, column = (np.floor(cells.get(axis, np.zeros(0)) + 0.5).astype(np.intp) for axis in ("row", "column"))
    return row, column


class RegionsSink(TableSink):
    """The sink of regions.csv.

    Args:
        out: Folder to write to.
        files: The regions.
        measure: Measures the cells.
        images: Names of the images, in the order of the table.
        kept: Those whose rows of an earlier count stay.
        excel: Whether the table is for a spreadsheet whose decimal sign is a comma.
    """

    def __init__(
        self,
        out: Path,
        files: RegionFiles,
        measure: Measurer,
        *,
        images: Sequence[str],
        kept: Collection[str],
        excel: bool,
    ) -> None:
        super().__init__(out, REGIONS_TABLE, COLUMNS_OF_REGIONS, images=images, kept=kept, excel=excel)
        self._files, self._measure = files, measure
        self._told: Counter[str] = Counter()

    @property
    def notes(self) -> list[str]:
        """What is to be told of the regions."""
        remarks = ", ".join(f"{number} {remark}" for remark, number in self._told.items())
        return [*self._files.notes, *([f"regions: {remarks}; see remarks in {REGIONS_TABLE}"] if remarks else [])]

    def _rows(self, task: Task, plane: Plane, result: Result | Streamed, pixels: NDArray) -> PlaneRows:
        image, size = task.item.image, plane.described.pixel_size
        if isinstance(result, Streamed):
            told = self._of_large(task, plane, result)
        else:
            regions = self._files.of(image, plane)
            cells = self._measure(task, result, pixels) if result.mask is not None and regions else None
            told = [_contents(each, result, cells) for each in regions]
        lines = [each.line(size, excel=self._excel) for each in told]
        notes = [remark for each in told for remark in each.remarks]
        notes += ["on planes that are not there"] * (self._files.nowhere(image, plane) * task.first)
        return PlaneRows(COLUMNS_OF_REGIONS, lines, notes)

    def _of_large(self, task: Task, plane: Plane, streamed: Streamed) -> "list[_Contents]":
        """Count in the regions of a plane that is too large for memory."""
        cells = self._measure(task, streamed, streamed.preview) if streamed.objects else {}
        middles = _middles(cells)
        found = []
        for each in self._files.sums(task.item.image, plane, streamed, middles):
            remarks: tuple[str, ...] = ()
            if len(each.region.rings):
                remarks = each.region.remarks(plane.shape, empty=not each.area, crosses=each.crossing)
            remarks += (OVERLAPPING,) * each.overlapping
            estimate = None if streamed.count_map is None else each.cells
            interval = None if estimate is None else streamed.interval_of(estimate)
            inside = None if streamed.objects is None else each.centres
            found.append(_Contents(each.number, each.region, each.area, estimate, interval, inside, remarks))
        return found

    def keep(self, task: Task, drawn: Packed) -> None:
        """Add them to the table, and what is to be told of them to the notes."""
        super().keep(task, drawn)
        assert isinstance(drawn, bytes)
        self._told.update(notes_in(drawn))


def has_all_regions(out: Path, files: RegionFiles, rows: Mapping[str, Sequence[Row]], *, excel: bool) -> set[str]:
    """Say of which images an earlier table of regions has the rows of all planes, if the regions are the same."""
    found = {key: block.rows for key, block in rows_by_plane(out / REGIONS_TABLE, excel=excel).items()}
    whole = set()
    for image, of in rows.items():
        numbers, expected = [found.get((image, row.place), 0) for row in of], files.number(image)
        if any(numbers) if expected is None else all(number == expected for number in numbers):
            whole.add(image)
    return whole


def _text(number: float | None, form: str) -> str:
    """Write a number; what is not known is empty."""
    return "" if number is None else format(number, form)
