"""Names of images as people write them, and the images that they mean."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from elmgan.images import endings


def folded(text: str) -> str:
    """Write texts that people take for the same in the same way: case, blanks and forms of Unicode aside.

    >>> folded("  Zu\u0308rich  A ") == folded("z\u00fcrich a")
    True
    """
    text = unicodedata.normalize("NFC", text).casefold()
    return " ".join(unicodedata.normalize("NFC", text).split())


class Names:
    """Names of a data set's images, without extension, to look up what people write.

    >>> names = Names(["a", "plate/b", "plate/c", "other/c", "007"])
    >>> names.meant("A.TIF"), names.meant("C:/images/plate/b.tif"), names.meant("c"), names.meant("7")
    (['a'], ['plate/b'], ['plate/c', 'other/c'], ['007'])
    """

    def __init__(self, images: Iterable[str]) -> None:
        self._parts: dict[str, tuple[str, ...]] = {}
        self._by_end: dict[str, list[str]] = defaultdict(list)
        for name in images:
            self._parts[name] = tuple(_part(part) for part in PurePosixPath(name).parts)
            self._by_end[self._parts[name][-1]].append(name)

    def meant(self, written: str) -> list[str]:
        """Give the images that a name may mean: one where it is clear, several where it is not.

        The full path below the images goes before all else. Case, blanks, the extension and zeros that a spreadsheet
        takes off a number do not matter where only one image fits; nor do folders above the images, such as
        ``C:/Users/me/images``, and folders that are left out. A stem without folder and extension means any image of
        that stem, in whatever folder.
        """
        path = PurePosixPath(written.strip().replace("\\", "/"))
        bare = len(path.parts) == 1 and path.suffix.lower() not in endings()
        path = path.with_suffix("") if path.suffix.lower() in endings() else path
        if not path.name:
            return []
        parts = tuple(_part(part) for part in path.parts)
        fitting = self._by_end.get(parts[-1], [])
        if bare:
            return [name for name in fitting if PurePosixPath(name).name == path.name] or fitting
        if str(path) in self._parts:
            return [str(path)]
        lengths = {name: len(self._parts[name]) for name in fitting if _ends(parts, self._parts[name])}
        longest = [name for name, length in lengths.items() if length == max(lengths.values())]
        return longest or [name for name in fitting if _ends(self._parts[name], parts)]


def _part(text: str) -> str:
    """Fold a part of a path; of a number, the zeros before it do not count."""
    text = folded(text)
    return text.lstrip("0") or "0" if text.isdecimal() else text


def _ends(parts: tuple[str, ...], end: tuple[str, ...]) -> bool:
    return parts[-len(end) :] == end
