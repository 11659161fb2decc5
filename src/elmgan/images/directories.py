"""The directories of a TIFF file, walked and bounded before a decoder sees them.

A TIFF is a chain of directories of tags, one a page, each with the place of the next; a tag may name directories below.
A hostile file sends whoever follows the chain in circles, or claims more than it holds.
"""

import os
import struct
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO, NamedTuple

from elmgan.errors import ImageError
from elmgan.images.damage import LACKING

MOST_DIRECTORIES = 2**18
MOST_TAGS = 4096
MOST_SEGMENTS = 2**20
"""Strips or tiles of a page."""

IMAGE_WIDTH, IMAGE_LENGTH = 256, 257
NEW_SUBFILE_TYPE, SUBFILE_TYPE = 254, 255
SUB_DIRECTORIES = 330
NDPI_FORMAT = 65420
SAME_KIND = (258, 262, 277, 339)  # bits, photometric interpretation, samples, sample format
PLACES = (273, 279, 324, 325, SUB_DIRECTORIES)  # of strips, tiles and directories, and their sizes

# Of the types of a tag: bytes of a value, and how whole numbers are written.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


@dataclass(frozen=True, slots=True)
class Directory:
    """One page of the chain.

    Attributes:
        offset: Its place in the file.
        size: Rows and columns.
        preview: Whether it is a smaller copy or a mask of another page.
        kind: Equal for pages whose pixels are of one kind.
    """

    offset: int
    size: tuple[int, int]
    preview: bool
    kind: tuple


@dataclass(frozen=True)
class Directories:
    """What a TIFF holds, by its directories: the chain of pages, and whether it is Hamamatsu's NDPI."""

    pages: tuple[Directory, ...]
    ndpi: bool


@dataclass(frozen=True)
class _Format:
    """How a kind of TIFF writes its directories, for ``struct`` and with the byte order; a short value is inline."""

    count: str
    tag: str
    place: str
    inline: int


def walk_directories(file: BinaryIO) -> Directories:
    """Follow all directories of a TIFF, those below others too, each once.

    Raises:
        ImageError: They go in circles, are cut off, or hold more than any microscope writes.
    """
    file.seek(0)
    start = file.read(4)
    order = "<" if start.startswith(b"II") else ">"
    if start[2:4] in (b"+\0", b"\0+"):
        return Directories(_Walk(file, _Format(f"{order}Q", f"{order}HHQ8s", f"{order}Q", 8)).pages(8), ndpi=False)
    classic = _Format(f"{order}H", f"{order}HHI4s", f"{order}I", 4)
    if order == "<":
        ndpi = _Walk(file, replace(classic, place="<Q"))
        # The upper half of an NDPI's first place is zero; in most other TIFFs it leads beyond the file.
        with suppress(struct.error):
            if NDPI_FORMAT in ndpi.codes(ndpi.place_at(4)):
                return Directories(ndpi.pages(4), ndpi=True)
    return Directories(_Walk(file, classic).pages(4), ndpi=False)


class _Walk:
    """Reads directories of one format; what is cut off is a ``struct.error``."""

    def __init__(self, file: BinaryIO, form: _Format) -> None:
        self._file = file
        self._form = form
        self._order = form.count[0]
        self._size = file.seek(0, os.SEEK_END)
        self._seen: set[int] = set()

    def pages(self, start: int) -> tuple[Directory, ...]:
        """Walk the chain whose first place stands at ``start``, and all below it."""
        pages: list[Directory] = []
        try:
            offset = self.place_at(start)
            while offset:
                below, offset, page = self._directory(offset)
                pages.append(page)
                while below:
                    below += self._directory(below.pop())[0]
        except struct.error as error:
            raise ImageError(LACKING) from error
        if not pages:
            raise ImageError("holds no image; save it again")
        return tuple(pages)

    def codes(self, offset: int) -> set[int]:
        """Codes of the tags of a directory."""
        return {code for code, _, _, _ in self._tags(offset)}

    def place_at(self, offset: int) -> int:
        """Read the place of a directory."""
        return int(struct.unpack(self._form.place, self._bytes(offset, struct.calcsize(self._form.place)))[0])

    def _bytes(self, offset: int, length: int) -> bytes:
        self._file.seek(min(offset, self._size))
        return self._file.read(length)

    def _tags(self, offset: int) -> list[tuple[int, int, int, bytes]]:
        header = struct.calcsize(self._form.count)
        (count,) = struct.unpack(self._form.count, self._bytes(offset, header))
        if count > MOST_TAGS:
            raise struct.error
        content = self._bytes(offset + header, count * struct.calcsize(self._form.tag))
        if len(content) < count * struct.calcsize(self._form.tag):
            raise struct.error
        return list(struct.iter_unpack(self._form.tag, content))

    def _directory(self, offset: int) -> tuple[list[int], int, Directory]:
        """Read a directory: the places of those below it, that of the next one, and what it says of its page."""
        if offset in self._seen:
            raise ImageError("is damaged: its directories lead in a circle; save it again")
        if len(self._seen) == MOST_DIRECTORIES:
            raise ImageError(f"has more than {MOST_DIRECTORIES:,} pages; save it in several files")
        self._seen.add(offset)
        found = self._tags(offset)
        following = self.place_at(
            offset + struct.calcsize(self._form.count) + len(found) * struct.calcsize(self._form.tag)
        )
        tags: dict[int, _Value] = {}
        total = 0
        for code, type_, number, value in found:
            if code in PLACES and (number > MOST_SEGMENTS or code in tags):
                raise ImageError(f"is damaged: tag {code} has {number:,} values, or stands there twice; save it again")
            tags.setdefault(code, _Value(type_, number, value))
            length = SIZES.get(type_, 1) * number
            total += length if length <= self._size else 0  # what is longer than the file is never read
        if total > 8 * self._size:
            raise ImageError(f"is damaged: the tags of a page claim {total:,} bytes; save it again")
        kind = tuple(tags.get(code, _Value()) for code in SAME_KIND)
        page = Directory(
            offset,
            (self._number(tags.get(IMAGE_LENGTH)), self._number(tags.get(IMAGE_WIDTH))),
            bool(self._number(tags.get(NEW_SUBFILE_TYPE)) & 0b101) or self._number(tags.get(SUBFILE_TYPE)) == 2,
            tuple((each.number, each.content if self._is_inline(each) else b"") for each in kind),
        )
        return self._below(tags.get(SUB_DIRECTORIES)), following, page

    def _is_inline(self, value: "_Value") -> bool:
        return SIZES.get(value.type, 1) * value.number <= self._form.inline

    def _number(self, value: "_Value | None") -> int:
        if value is None or value.type not in WHOLE_NUMBERS:
            return 0
        return int(struct.unpack_from(self._order + WHOLE_NUMBERS[value.type], value.content)[0])

    def _below(self, value: "_Value | None") -> list[int]:
        if value is None or value.type not in WHOLE_NUMBERS:
            return []
        content = value.content
        if not self._is_inline(value):
            (place,) = struct.unpack(self._order + ("Q" if self._form.inline == 8 else "I"), content)
            content = self._bytes(place, SIZES[value.type] * value.number)
        places = struct.unpack_from(f"{self._order}{value.number}{WHOLE_NUMBERS[value.type]}", content)
        return [place for place in places if place]


class _Value(NamedTuple):
    """The value of a tag: the code of its type, how many of them, and these or the place where they stand."""

    type: int = 0
    number: int = 0
    content: bytes = b""
