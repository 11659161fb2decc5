"""Things whose arrays lie in a file that is mapped into memory, and not copied: for other processes, or off the memory.

The system brings the pages of such a file when they are looked at, keeps those that were used last as far as there is
memory for them, and shares them between processes.
"""

import mmap
import os
import pickle
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, NamedTuple

from elmgan.data import Example
from elmgan.errors import OutputError

ALIGNED = 64
"""Bytes to whose multiples arrays begin in a file."""

FOLDER_OF_MEMORY, ENOUGH = Path("/dev/shm"), 4 << 30
"""Where Linux keeps files that never come to a disk, and the bytes for which it is taken; containers often have few."""

EXAMPLES = "examples"
"""Name of the file that holds them."""


class Span(NamedTuple):
    """Bytes of a file."""

    start: int
    stop: int


def put(thing: object, file: BinaryIO) -> Span:
    """Append a thing to a file, its arrays apart from all else; say where."""
    arrays: list[Span] = []

    def apart(buffer: pickle.PickleBuffer) -> None:
        file.write(bytes(-file.tell() % ALIGNED))
        start = file.tell()
        file.write(buffer.raw())
        arrays.append(Span(start, file.tell()))

    rest = pickle.dumps(thing, protocol=5, buffer_callback=apart)
    start = file.tell()
    pickle.dump((rest, arrays), file, protocol=5)
    return Span(start, file.tell())


def take(place: Span, mapped: mmap.mmap) -> Any:
    """Give a thing that was put into a file, which its arrays keep mapped."""
    view = memoryview(mapped)
    rest, arrays = pickle.loads(view[place.start : place.stop])
    return pickle.loads(rest, buffers=[view[each.start : each.stop] for each in arrays])


def opened(path: Path, *, writable: bool = False) -> mmap.mmap:
    """Map a file; what is written to arrays of one that is ``writable`` stays with this process."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY if writable else mmap.ACCESS_READ)


def mapped_folder(*, in_memory: bool = False) -> "TemporaryDirectory[str]":
    """Make a folder of this process alone, for what does not outlive it.

    Args:
        in_memory: Whether it holds little and for a short time, so that it may lie in memory where the system can.

    Raises:
        OutputError: None can be made.
    """
    parent = None
    if in_memory and os.access(FOLDER_OF_MEMORY, os.W_OK) and shutil.disk_usage(FOLDER_OF_MEMORY).free >= ENOUGH:
        parent = FOLDER_OF_MEMORY
    try:
        return TemporaryDirectory(prefix="elmgan-", dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise OutputError(
            f"no temporary folder can be made ({error.strerror or error}): name one in the variable TMPDIR"
        ) from error


class ImageShelf:
    """Keeps examples: in memory, or in a file from when they are more than there is room for.

    Who maps the file keeps it, so that it may be removed as soon as all have: then nothing is left of it when they end,
    however they end.

    Args:
        room: Bytes of memory; 0 for a file at once, as other processes need it.
    """

    def __init__(self, room: float) -> None:
        self._room = room
        self._size = 0
        self._kept: list[Example] = []
        self._folder: TemporaryDirectory[str] | None = None
        self._file: BinaryIO | None = None
        self.places: list[Span] = []
        """Of the examples in the file; none while they are in memory."""

    @property
    def path(self) -> Path | None:
        """The file, where there is one."""
        return None if self._folder is None else Path(self._folder.name) / EXAMPLES

    def keep(self, examples: Iterable[Example]) -> None:
        """Put further examples on the shelf.

        Raises:
            OutputError: The disk has no room for them.
        """
        for example in examples:
            self._kept.append(example)
            self._size += sum(array.nbytes for array in (example.image, example.regions) if array is not None)
            if self._size > self._room:
                self._put_down()

    def _put_down(self) -> None:
        """Move what is in memory to the file."""
        if self._folder is None:
            self._folder = mapped_folder()
        folder = Path(self._folder.name)
        try:
            if self._file is None:
                self._file = (folder / EXAMPLES).open("wb")
            self.places += [put(example, self._file) for example in self._kept]
        except OSError as error:
            self.close()
            raise OutputError(
                f"the decoded images do not fit into {folder.parent} ({error.strerror or error}): make room, name a "
                "folder of another disk in the variable TMPDIR, or give them more memory with machine.memory"
            ) from error
        self._kept.clear()

    def examples(self) -> list[Example]:
        """Give all examples, in order; nothing is added from then on.

        Raises:
            OutputError: The disk has no room for them.
        """
        if self._file is None:
            return list(self._kept)
        try:
            self._file.close()
            mapped = opened(Path(self._file.name))
        except OSError as error:  # what was written last did not fit
            self.close()
            raise OutputError(f"the decoded images cannot be kept on disk ({error.strerror or error})") from error
        return [take(place, mapped) for place in self.places]

    def close(self) -> None:
        """Remove the file. Whoever has it mapped keeps it, except on Windows, where it stays until that is over."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        if self._folder is not None:
            self._folder.cleanup()
