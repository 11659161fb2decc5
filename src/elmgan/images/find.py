"""Which files of some folders are images, and what is passed over."""

import os
import re
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path, PurePath, PurePosixPath

from elmgan.errors import ImageError, UsageError
from elmgan.images.damage import problem
from elmgan.images.reader import endings, readers
from elmgan.images.source import CONVERT, readable

COMPANIONS = frozenset({".nd", ".companion.ome", ".ome.xml", ".oif.files"})
"""What belongs to images beside it and is no image: it is passed over without a word."""

LEFT_OUT = "that --match"

MOST_KINDS = 6
"""Kinds of files that are named of those passed over; of more, only how many there are."""


@dataclass(frozen=True)
class FoundImage:
    """An image file, and its path relative to the folder that was given (of a file that was given: its name).

    What was given but is not there, or is a folder without images, and a folder that may not be looked into, are listed
    too: they fail on reading.
    """

    path: Path
    relative: PurePosixPath


@dataclass(frozen=True)
class Found:
    """The images among files and in folders, and how many files of which kind were passed over.

    A kind is the end of a name with its dot, in lower case, or a word for people.
    """

    images: list[FoundImage]
    passed_over: Mapping[str, int]

    @property
    def told(self) -> str:
        """Say in words for people what was passed over; nothing if nothing was."""
        if not self.passed_over:
            return ""
        unknown = any(not kind.startswith(LEFT_OUT) for kind in self.passed_over)
        return f"passed over: {kinds_told(self.passed_over)}" + (f"; {readable()}" if unknown else "")


def find_images(paths: Sequence[Path], *, match: str | None = None) -> Found:
    """List the image files among files and in folders, each once, in the order given.

    A file is taken as it is, whatever its name. Folders are searched with all their subfolders for names that end as
    those of readable files do, sorted with numbers as numbers (``a2.tif`` before ``a10.tif``); hidden ones are passed
    over. A folder that is an image itself, as OME-Zarr is, is one image.

    Args:
        paths: Files and folders.
        match: Of what is in folders, take the names that this pattern fits, with * for anything: ``*_w1*``. A pattern
            with a slash is held against the path below the folder. Case does not matter.

    Raises:
        UsageError: none of the paths exists and holds an image.

    """
    found: dict[tuple[Path, str], FoundImage] = {}
    passed_over: Counter[str] = Counter()
    problems = []
    resolve = cache(Path.resolve)  # many images have one folder
    for path in paths:
        try:
            images = _images_in(path, match, passed_over) if _is_folder(path) else [_as_given(path)]
        except (OSError, ImageError) as error:
            problems.append(f"{path} {problem(error)}")
            images = [_as_given(path)]
        for image in images:
            # Links keep their own names, so that two links to one file are two images.
            found.setdefault((resolve(image.path.parent), image.path.name), image)
    if problems and len(problems) == len(paths):
        raise UsageError(problems[0])
    return Found(list(found.values()), dict(passed_over))


def kinds_told(kinds: Mapping[str, int]) -> str:
    """Say how many files of which kind there are, the commonest first, long lists cut short.

    >>> kinds_told({".txt": 2, ".vsi": 12})
    '12 files .vsi, 2 files .txt'
    """
    ordered = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    texts = [f"{number} file{'s' * (number > 1)} {kind}" for kind, number in ordered[:MOST_KINDS]]
    rest = sum(number for _, number in ordered[MOST_KINDS:])
    return ", ".join([*texts, *([f"{rest} of other kinds"] if rest else [])])


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.stat().st_mode) and not _is_image(path)


def _is_image(folder: Path) -> bool:
    """Whether a folder is an image itself."""
    return any(reader.recognises(folder, b"") for reader in readers())


def _as_given(path: Path) -> FoundImage:
    path = path if path.name else path.resolve()  # "." has no name
    return FoundImage(path, PurePosixPath(path.name))


def _images_in(folder: Path, match: str | None, passed_over: Counter[str]) -> list[FoundImage]:
    readable_ends = tuple(endings())
    images: list[FoundImage] = []
    others: Counter[str] = Counter()

    def list_closed(error: OSError) -> None:
        path = Path(error.filename)
        within = PurePosixPath(*path.relative_to(folder).parts)
        images.append(FoundImage(path, within) if within.name else _as_given(folder))

    for parent, subfolders, names in os.walk(folder, onerror=list_closed):
        kept = [
            name for name in subfolders if not name.startswith(".") and not name.lower().endswith(tuple(COMPANIONS))
        ]
        whole = [name for name in kept if _is_image(Path(parent, name))]
        subfolders[:] = [name for name in kept if name not in whole]
        for name in sorted([*whole, *names]):
            low = name.lower()
            if low.startswith(".") or low.endswith(tuple(COMPANIONS)):
                continue
            path = Path(parent, name)
            within = PurePosixPath(*path.relative_to(folder).parts)
            if name not in whole and not low.endswith(readable_ends):
                others[path.suffix.lower() or "without an ending"] += 1
            elif match is not None and not fnmatch(str(within if "/" in match else name).lower(), match.lower()):
                others[f"{LEFT_OUT} {match} leaves out"] += 1
            else:
                images.append(FoundImage(path, within))
    if not images and set(others) == {f"{LEFT_OUT} {match} leaves out"}:
        raise ImageError(f"holds {others.total()} images, and no name fits --match {match}: * stands for anything")
    if not images:
        held = f" (it holds {kinds_told(others)})" if others else ""
        raise ImageError(f"holds no image that is read{held}; {readable()}. Of other kinds: {CONVERT}")
    passed_over.update(others)
    return sorted(images, key=lambda image: _natural(image.relative))


def _natural(path: PurePath) -> tuple[list[list[str | int]], str]:
    """Sort key: case aside and numbers as numbers, then, for names that differ in nothing else, as written."""
    parts = [re.split(r"(\d+)", part.casefold()) for part in path.parts]
    return [[int(run) if run.isdecimal() else run for run in part] for part in parts], str(path)
