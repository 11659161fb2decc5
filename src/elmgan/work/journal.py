"""The rows of a count as they are made, so that a process that is killed loses none that was told."""

import json
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from elmgan.counting import Row
from elmgan.errors import OutputError
from elmgan.files import cannot_write, is_there

JOURNAL = "counts.journal"

SYNC_EVERY = 5.0
"""Seconds after which rows are on the disk: what a power cut may cost. A process that is killed loses none."""


class Journal:
    """A file that rows are added to, one line of JSON each; a line that is not whole is none.

    Args:
        path: The file; rows are added to those that are there.

    Raises:
        OutputError: It cannot be written to; of each method, too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise cannot_write(path, error) from error
        self._synced = time.monotonic()

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows; another process sees them once this returns."""
        try:
            for row in rows:
                self._file.write(json.dumps(row.model_dump(mode="python")).encode("ascii") + b"\n")
            self._file.flush()
            if time.monotonic() - self._synced > SYNC_EVERY:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            raise cannot_write(self._path, error) from error
        if self.is_gone:
            raise OutputError(f"{self._path.parent} was removed or replaced while it was written to: put it back")

    @property
    def is_gone(self) -> bool:
        """Whether another program has removed the file, or the folder with it, or its disk is gone."""
        return not is_there(self._file, self._path)

    def remove(self) -> None:
        """Remove the file: its rows are in the table."""
        self._file.close()
        with suppress(OSError):
            self._path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what was told of is there already
            self._file.close()


def read_journal(path: Path) -> Sequence[Row]:
    """Read the rows of a journal; none if there is none. It ends where a line is no row, as after a power cut.

    Raises:
        OSError: It cannot be read.
    """
    rows: list[Row] = []
    if path.exists():
        *lines, _ = path.read_bytes().split(b"\n")
        with suppress(ValueError):
            for line in lines:
                rows.append(Row.model_validate_json(line))
    return rows
