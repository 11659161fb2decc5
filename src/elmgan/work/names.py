"""Names of images in tables and of the files written for them: readable, and never one name for two images."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath

from elmgan.images import FoundImage


def image_names(found: Sequence[FoundImage]) -> list[str]:
    """Name each image by its path relative to the folder that was given, with forward slashes.

    Images of several folders that would share a name are told apart by the folders above them, as many as it takes.

    >>> from pathlib import Path, PurePosixPath
    >>> image_names([FoundImage(Path("/plate1/a.tif"), PurePosixPath("a.tif")),
    ...              FoundImage(Path("/plate2/a.tif"), PurePosixPath("a.tif")),
    ...              FoundImage(Path("/plate2/b.tif"), PurePosixPath("b.tif"))])
    ['plate1/a.tif', 'plate2/a.tif', 'b.tif']
    """
    parts, resolve = [], cache(Path.resolve)
    for image in found:
        folder = image.path.parents[len(image.relative.parts) - 1]
        parts.append((*resolve(folder).parts[1:], *image.relative.parts))  # without the root
    depths = [len(image.relative.parts) for image in found]
    while True:
        names = ["/".join(own[-depth:]) for own, depth in zip(parts, depths, strict=True)]
        times = Counter(names)
        growing = [i for i, name in enumerate(names) if times[name] > 1 and depths[i] < len(parts[i])]
        if not growing:
            return [_escaped(name) for name in names]
        for i in growing:
            depths[i] += 1


PLANE_OF = re.compile(r"(.+)-(?:scene|t|z)\d+", re.DOTALL)
"""A name such as the pictures of planes have, and what it begins with."""


def output_stems(names: Sequence[str]) -> list[str]:
    """Name the files written for each image: its name without the extension.

    Where two would be alike, on a file system that ignores case too, the extension stays; names that are still alike
    get a number. It stays, too, where another image has the name that is given to a plane of this one.

    >>> output_stems(["a.tif", "b.tif", "b.png", "c/b.tif"])
    ['a', 'b.tif', 'b.png', 'c/b']
    >>> output_stems(["a.tif", "A.tif"])
    ['a.tif', 'A.tif-2']
    >>> output_stems(["b.tif", "b-t1.tif"])
    ['b.tif', 'b-t1']
    """
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    times = Counter(_as_file(stem) for stem in stems)
    stems = [stem if times[_as_file(stem)] == 1 else name for name, stem in zip(names, stems, strict=True)]
    begun = {beginning for stem in stems for beginning in _beginnings(_as_file(stem))}
    stems = [name if _as_file(stem) in begun else stem for name, stem in zip(names, stems, strict=True)]
    unique: dict[str, str] = {}
    for stem in stems:
        candidate, number = stem, 1
        while _as_file(candidate) in unique:
            number += 1
            candidate = f"{stem}-{number}"
        unique[_as_file(candidate)] = candidate
    return list(unique.values())


def _escaped(name: str) -> str:
    """Escape what would break a line of the table or cannot be written as UTF-8: control characters, odd bytes.

    The backslash too, so that no two names become one.
    """
    return "".join(
        character.encode("unicode_escape").decode()
        if character == "\\" or unicodedata.category(character) in {"Cc", "Cs"}
        else character
        for character in name
    )


def _beginnings(stem: str) -> list[str]:
    """Give the names of images of which a name could be a plane: all that is before -scene1, -t1 or -z1."""
    begun = []
    while found := PLANE_OF.fullmatch(stem):
        stem = found[1]
        begun.append(stem)
    return begun


def _as_file(name: str) -> str:
    """Give names that some file systems take for the same file the same value."""
    return unicodedata.normalize("NFC", name).casefold()
