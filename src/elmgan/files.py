"""Files that appear whole or not at all."""

import csv
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from elmgan.errors import OutputError

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet takes for a formula, if it is not a number."""

HALF_WRITTEN = re.compile(r"\.[0-9a-f]{32}(\.\w+)?")
"""Names of files that are being written; see :func:`whole_file`."""

ZARR_FOLDER = ".zarr"
"""Ending of the only folders that are written, and replaced, like files."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE | re.ASCII)


def write_table(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, str]],
    *,
    excel: bool = False,
    decimals: Collection[str] = (),
) -> None:
    """Write a CSV file in UTF-8 with lines ended by a newline, whole or not at all.

    What UTF-8 cannot hold, as in the odd file's path, is escaped with a backslash. No cell is a formula to a
    spreadsheet; see :func:`cell_of`. Once this returns, a power cut does not lose the file.

    Args:
        path: File to write.
        columns: Their names, in order.
        rows: Column -> text.
        excel: Whether it is for a spreadsheet whose decimal sign is a comma: semicolons between cells, a byte order
            mark in front, by which Excel knows UTF-8, and commas for the points of numbers.
        decimals: Columns that hold such numbers.

    Raises:
        OutputError: It cannot be written.
    """
    encoding, delimiter = ("utf-8-sig", ";") if excel else ("utf-8", ",")

    def written(column: str, text: str) -> str:
        return cell_of(text.replace(".", ",") if excel and column in decimals else text)

    with (
        whole_file(path, lasting=True) as temporary,
        temporary.open("w", encoding=encoding, errors="backslashreplace", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns, lineterminator="\n", delimiter=delimiter)
        writer.writeheader()
        writer.writerows({column: written(column, text) for column, text in row.items()} for row in rows)


def cell_of(text: str) -> str:
    """Write a text as a cell of a table: one that a spreadsheet would take for a formula gets an apostrophe in front.

    So does one that begins with an apostrophe, so that :func:`text_of` can take it away again. Numbers stay as they
    are.

    >>> cell_of("=1+1"), cell_of("-12.5"), cell_of("a.tif"), cell_of("'a.tif")
    ("'=1+1", '-12.5', 'a.tif', "''a.tif")
    """
    formula = text.startswith(FORMULA) and not NUMBER.fullmatch(text)
    return f"'{text}" if formula or text.startswith("'") else text


def text_of(cell: str) -> str:
    """Undo :func:`cell_of`.

    >>> text_of("'=1+1"), text_of("-12.5"), text_of("''a.tif")
    ('=1+1', '-12.5', "'a.tif")
    """
    return cell.removeprefix("'")


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all; what UTF-8 cannot hold is escaped with a backslash.

    Once this returns, a power cut does not lose the file.

    Raises:
        OutputError: It cannot be written.
    """
    with whole_file(path, lasting=True) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Say that a file cannot be written, and what to do."""
    return OutputError(
        f"{path} cannot be written ({error.strerror or error}); make room or choose another output folder"
    )


@contextmanager
def whole_file(path: Path, *, lasting: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to; on success it becomes ``path``, in one step, and otherwise it is gone.

    The temporary file is hidden, lies in the same folder, which is made where it is missing, and has the same suffix,
    by which many libraries choose the format. Only write within the block: an OSError there means a failed write.

    Args:
        path: The file to write.
        lasting: Wait until it is on the disk, so that a power cut afterwards does not lose it. Tables, records,
            reports, models and checkpoints are written so. Pictures are not: there are thousands of them, the wait is
            several times the writing of a small one (1000 masks: 0.1 s without it, 0.6 to 1.1 s with it, on a fast
            disk), and they can be made again. A power cut may leave the latest ones empty.

    Raises:
        OutputError: the folder cannot be made or written to, the disk is full, or ``path`` is a folder.

    """
    temporary = path.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if lasting:
            put_on_disk(temporary)
        temporary.replace(path)
        if lasting:
            put_names_on_disk(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary path for a folder; on success it becomes ``path``, in place of an earlier one.

    Otherwise it is gone. It is hidden, and lies in the same folder, which is made where it is missing.

    Raises:
        OutputError: The folder cannot be made or written to, or the disk is full.
    """
    temporary = path.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        remove([path])
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        remove([temporary])


def remove(paths: Iterable[Path]) -> None:
    """Remove files, and folders of Zarr with all that is in them, as far as they are there and can be."""
    for path in paths:
        if path.suffix == ZARR_FOLDER and path.is_dir() and not path.is_symlink():  # no other folder is ours
            shutil.rmtree(path, ignore_errors=True)
            continue
        with suppress(OSError):
            path.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed left of what it was writing in a folder, which no other writes to."""
    remove(path for path in folder.glob(".*") if HALF_WRITTEN.fullmatch(path.name))


def is_there(file: BinaryIO, path: Path) -> bool:
    """Tell whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def put_on_disk(path: Path) -> None:
    """Wait until the content of a file is on the disk.

    Raises:
        OSError: It cannot be written there.
    """
    with path.open("r+b") as file:
        os.fsync(file)


def put_names_on_disk(folder: Path) -> None:
    """Wait until a folder's new names are on the disk, where the system can: Windows and some network disks cannot."""
    if os.name == "nt":
        return
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
