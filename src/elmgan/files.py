"""Files that appear whole or not at all."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from elmgan.errors import OutputError


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write a CSV file in UTF-8 with lines ended by a newline, whole or not at all.

    What UTF-8 cannot hold, as in the odd file's path, is escaped with a backslash.

    Raises:
        OutputError: It cannot be written.
    """
    with (
        whole_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all; what UTF-8 cannot hold is escaped with a backslash.

    Raises:
        OutputError: It cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Say that a file cannot be written, and what to do."""
    return OutputError(
        f"{path} cannot be written ({error.strerror or error}); make room or choose another output folder"
    )


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success it becomes ``path``, in one step, and otherwise it is gone.

    The temporary file is hidden, lies in the same folder, which is made where it is missing, and has the same suffix,
    by which many libraries choose the format. Only write within the block: an OSError there means a failed write.

    Raises:
        OutputError: the folder cannot be made or written to, the disk is full, or ``path`` is a folder.

    """
    temporary = path.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
