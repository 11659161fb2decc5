"""What is to be counted: the files, their planes, and the pictures that are written for each."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from elmgan.counting import Place, Row
from elmgan.errors import ImageError, UsageError
from elmgan.images import Plane, Source, View, find_images, open_image
from elmgan.work.names import image_names, output_stems

RECORD = "run.json"
MASKS, LABELS, OVERLAYS = "masks", "labels", "overlays"
ANNOTATIONS = ("masks", "labels", "dots")
"""Folders of a data set, beside its images."""
QUPATH, IMAGEJ, ZARR = EXPORTS = "qupath", "imagej", "zarr"
"""Folders of files for other programs, which are named like the folders."""
PICTURES = {MASKS: ".tif", LABELS: ".tif", OVERLAYS: ".png", QUPATH: ".geojson", IMAGEJ: ".zip", ZARR: ".ome.zarr"}
"""Folder -> how the names of its files end."""


@dataclass(frozen=True)
class Item:
    """One image file to count: where it is (absolute), its name in the table, and the stem of its pictures."""

    source: Path
    image: str
    stem: str

    @property
    def folder(self) -> Path:
        """The folder that the image's name is relative to."""
        return self.source.parents[self.image.count("/")]

    @property
    def stamp(self) -> list[int] | None:
        """Its size in bytes and when it was changed, in ns, by which a changed file is known; None if it is gone.

        Of an image of several files, they are the sum and the latest.
        """
        beside = self.source.with_name(f"{self.source.name}.files")  # of an OIF
        try:
            files = [self.source.stat()]
            for folder in (self.source, beside):
                files += [path.stat() for path in folder.rglob("*")] if folder.is_dir() else []
        except OSError:
            return None
        return [sum(file.st_size for file in files), max(file.st_mtime_ns for file in files)]


@dataclass(frozen=True)
class Task:
    """One plane to count, or what stands for it: the rows of an earlier count, or an error.

    Attributes:
        item: Its file.
        plane: The plane.
        kept: Rows of all planes of the file, from an earlier count.
        error: Why the planes of the file are not known.
        files: Folder -> the file to write.
        pages: Time points and focal planes that share a file of masks; (1, 1) where it has a file of its own.
        page: Indices of the plane among these.
        first: Whether it is the first plane of its file.
        last: Whether it is the last plane of its scene, and of its file.
    """

    item: Item
    plane: Plane | None = None
    kept: tuple[Row, ...] = ()
    error: ImageError | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    pages: tuple[int, int] = (1, 1)
    page: tuple[int, int] = (0, 0)
    first: bool = True
    last: tuple[bool, bool] = (True, True)

    @property
    def named(self) -> tuple[str, Path]:
        """Name in tables, and the path that errors name."""
        return self.item.image, self.item.source

    @property
    def pixels(self) -> int:
        """Values that are read of the plane at once."""
        return self.plane.shape[0] * self.plane.shape[1] * self.plane.samples if self.plane and not self.kept else 0


def items_of(paths: Sequence[Path], match: str | None) -> tuple[list[Item], str]:
    """Name the images among files and in folders and what is written for them, and say what was passed over.

    Raises:
        UsageError: There is no image.
    """
    found = find_images(paths, match=match)
    # Of 100,000 images, asking for each and not for each folder would take half a minute.
    resolve, is_ours, annotates = cache(Path.resolve), cache(is_written_by_a_count), cache(holds_annotations)
    images = [image for image in found.images if not is_ours(resolve(image.path.parent))]
    written = len(found.images) - len(images)
    annotations = sum(annotates(resolve(image.path.parent)) for image in images)
    if annotations < len(images):  # nobody gives them alone but to count them
        images = [image for image in images if not annotates(resolve(image.path.parent))]
    else:
        annotations = 0
    if not images:
        raise UsageError("nothing to count: the paths hold only what an earlier count wrote; give the images instead")
    names = image_names(images)
    items = [
        Item(resolve(image.path.parent) / image.path.name, name, stem)
        for image, name, stem in zip(images, names, output_stems(names), strict=True)
    ]
    left = f"passed over: {annotations} masks, labels or dots of a data set" if annotations else ""
    ours = f"passed over: {written} pictures that an earlier count wrote" if written else ""
    return items, "; ".join(filter(None, (left, ours, found.told)))


def is_written_by_a_count(folder: Path) -> bool:
    """Say whether a folder, as it is resolved, lies in one of pictures beside a run.json, or is one."""
    return any(each.name in PICTURES and (each.parent / RECORD).exists() for each in (folder, *folder.parents))


def holds_annotations(folder: Path) -> bool:
    """Say whether a folder, as it is resolved, is or lies in masks, labels or dots beside images, as in a data set."""
    return any(each.name in ANNOTATIONS and (each.parent / "images").is_dir() for each in (folder, *folder.parents))


def picture_files(out: Path, stem: str, places: Sequence[Place]) -> dict[str, list[Path]]:
    """Name the files written for the planes of one image: folder -> a file per plane.

    Planes of a scene share their masks, labels and exports; overlays are one each. What tells them apart is added to
    the stem.

    >>> files = picture_files(Path("out"), "a", [(1, 1, "max"), (1, 2, "max")])
    >>> [path.as_posix() for path in files["masks"] + files["overlays"]]
    ['out/masks/a.tif', 'out/masks/a.tif', 'out/overlays/a-t1.png', 'out/overlays/a-t2.png']
    """
    differ = [len({place[axis] for place in places}) > 1 for axis in range(3)]

    def added(place: Place, axes: int) -> str:
        parts = zip(("scene", "t", "z"), place, differ, strict=True)
        return "".join(f"-{name}{number}" for name, number, told in list(parts)[:axes] if told)

    def of(folder: str, axes: int) -> list[Path]:
        return [out / folder / f"{stem}{added(place, axes)}{PICTURES[folder]}" for place in places]

    return {folder: of(folder, 3 if folder == OVERLAYS else 1) for folder in PICTURES}


def readable_planes(source: Source, view: View) -> tuple[list[Plane], list[ImageError]]:
    """The planes of a file, and why some scenes have none: what is wrong with one does not keep the others."""
    planes, errors = [], []
    for number in range(1, len(source.scenes) + 1) if view.scene == "each" else [view.scene]:
        try:
            planes += source.planes(view.model_copy(update={"scene": number}))
        except ImageError as error:
            errors.append(error)
    return planes, errors


class Plan:
    """The planes of files as tasks: each file is opened when its turn comes, and closed when its last plane is done.

    Args:
        items: The files.
        kept: Image -> rows of an earlier count, which stand for it if they are of all its planes.
        out: Folder to write to.
        folders: Which pictures are written.
        view: Which planes are counted.
        axes: What the axes of files mean that do not say so.
        most_pixels: Larger planes are refused.
    """

    def __init__(
        self,
        items: Sequence[Item],
        kept: Mapping[str, Sequence[Row]],
        out: Path,
        folders: Sequence[str],
        *,
        view: View,
        axes: str | None = None,
        most_pixels: int | None = None,
    ) -> None:
        self.total = len(items)
        """Planes, as far as they are known."""
        self.notes: Counter[str] = Counter()
        """What was assumed of files, and of how many."""
        self._items, self._kept, self._out, self._folders = items, kept, out, folders
        self._view, self._axes, self._most_pixels = view, axes, most_pixels
        self._open: set[Source] = set()

    def __iter__(self) -> Iterator[Task]:
        for item in self._items:
            tasks = self._tasks(item)
            self.total += sum(len(task.kept) or 1 for task in tasks) - 1
            yield from tasks

    def _tasks(self, item: Item) -> list[Task]:
        try:
            source = open_image(item.source, axes=self._axes, most_pixels=self._most_pixels)
        except ImageError as error:
            return [Task(item, error=error)]
        planes, errors = readable_planes(source, self._view)
        self.notes.update(source.notes)
        if not planes:
            source.close()
            return [Task(item, error=errors[0])]
        self._open.add(source)
        kept = self._kept.get(item.image, [])
        if kept and {row.place for row in kept} == {plane.place for plane in planes} and not errors:
            return [Task(item, planes[-1], kept=tuple(kept))]
        files = picture_files(self._out, item.stem, [plane.place for plane in planes])
        axes: dict[int, tuple[dict[int, int], dict[int | str, int]]] = {}  # of each scene, t and z -> their places
        for plane in planes:
            times, depths = axes.setdefault(plane.scene, ({}, {}))
            times.setdefault(plane.t, len(times))
            depths.setdefault(plane.z, len(depths))
        tasks = []
        for k, plane in enumerate(planes):
            times, depths = axes[plane.scene]
            last = k + 1 == len(planes)
            tasks.append(
                Task(
                    item,
                    plane,
                    files={folder: files[folder][k] for folder in self._folders},
                    pages=(len(times), len(depths)),
                    page=(times[plane.t], depths[plane.z]),
                    first=k == 0,
                    last=(last or planes[k + 1].scene != plane.scene, last),
                )
            )
        return [*tasks, *(Task(item, error=error, first=False) for error in errors)]

    def finish(self, task: Task) -> None:
        """Close the file of a task that was its last."""
        if task.plane is not None and task.last[1]:
            self._open.discard(task.plane.source)
            task.plane.source.close()

    def close(self) -> None:
        """Close what is still open."""
        for source in self._open:
            source.close()
        self._open.clear()
