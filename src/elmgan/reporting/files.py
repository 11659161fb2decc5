"""Tables and texts, written whole or not at all, and the row of an image that failed."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from elmgan.errors import ElmganError, one_line
from elmgan.imaging import whole_file


class Failure(BaseModel):
    """An image that could not be counted or scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(description="path of the image, relative to the folder that was given")
    error: str = Field(description="what was found, where, and what to do")

    @classmethod
    def of(cls, image: str, error: Exception, source: Path) -> Self:
        """Return the row of an image that met an exception: why, in one line, without its path ``source``."""
        text = one_line(error)
        if not isinstance(error, ElmganError):
            return cls(image=image, error=f"unexpected {type(error).__name__}: {text}")
        return cls(image=image, error=text.removeprefix(f"{one_line(source)}: "))


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
