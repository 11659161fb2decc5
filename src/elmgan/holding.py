"""A folder that a run writes to is held by it, so that a second run neither mixes with it nor undoes it.

The operating system holds the lock and lets go of it when the process ends, however it ends. What the file says of the
process is for people.
"""

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from elmgan.errors import UsageError
from elmgan.files import cannot_write, is_there

LOCK = ".elmgan-lock"

FREE_SOON = 1 << 30
"""Byte that Windows locks: beyond what the file says, which others may read meanwhile."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that has no locks, as some network disks."""


@contextmanager
def held(folder: Path) -> Iterator[str]:
    """Hold a folder while a run writes to it. It is made where it is missing, and is gone again if nothing was put in.

    Gives what is to be told: of a run that held it and ended without letting go, as by a power cut. Empty else. Where
    the file system has no locks, the folder is not held, which is told too.

    Raises:
        UsageError: The folder cannot be made or written to, or another run holds it.
    """
    made: list[Path] = []
    try:
        made += [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        file, told = _taken(folder)
    except OSError as error:
        _remove_empty(made)
        raise UsageError(f"nothing was done: {cannot_write(folder, error)}") from error
    left = True
    try:
        yield told
    finally:
        with suppress(OSError):  # while it is locked, so that it is no other run's; Windows removes no open file
            (folder / LOCK).unlink()
            left = False
        file.close()
        if left:
            with suppress(OSError):
                (folder / LOCK).unlink()
        _remove_empty(made)


def _taken(folder: Path) -> tuple[BinaryIO, str]:
    """Open a folder's lock file and lock it; give it, and what is to be told."""
    while True:
        file = (folder / LOCK).open("a+b")
        try:
            told = _take(file, folder)
            if is_there(file, folder / LOCK):
                return file, told
        except BaseException:
            file.close()
            raise
        file.close()  # it was another run's, which has removed it meanwhile


def _take(file: BinaryIO, folder: Path) -> str:
    try:
        _lock(file)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return f"{folder} is on a disk without locks: let no second run write to it meanwhile"
        raise UsageError(
            f"{folder} is being written to by {_holder(file)}: wait for it, stop it, or name another folder with -o"
        ) from None
    before = _holder(file)
    me = {"process": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
    with suppress(OSError):
        file.truncate(0)
        file.write(json.dumps(me).encode())
        file.flush()
    return f"{folder} was taken over from {before}, which ended without finishing" if before else ""


def _holder(file: BinaryIO) -> str:
    """Say in words which process a lock's file names; empty if it names none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        file.seek(0)
        said = json.loads(file.read(1000))
        return f"process {said['process']:d} on {said['host']} (since {said['since']})"
    return ""


def _lock(file: BinaryIO) -> None:
    """Lock an open file, or raise OSError at once if another process, or another opening in this one, has it."""
    try:
        import fcntl
    except ImportError:
        import msvcrt

        file.seek(FREE_SOON)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # of Windows alone
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
