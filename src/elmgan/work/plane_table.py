"""A table with some rows of each plane, too many to be held in memory: kept in a journal, then put in order."""

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from elmgan.counting import Place
from elmgan.errors import OutputError
from elmgan.files import cannot_write, cell_of, text_of, whole_file

WHERE = ("image", "scene", "t", "z")
"""First columns of every such table: which plane its rows are of."""

BOM = "\ufeff".encode()

PlaneKey = tuple[str, Place]
"""Image and plane."""


@dataclass(frozen=True)
class StoredRows:
    """The rows of one plane, as they stand in a file: lines of text."""

    source: Path
    start: int
    length: int
    rows: int
    columns: tuple[str, ...]
    separator: str


@dataclass(frozen=True)
class PlaneRows:
    """Rows of one plane as text, in the columns of a table.

    Attributes:
        columns: After :data:`WHERE`.
        lines: Their cells, line_of, one line for each row.
        notes: What is to be told of the plane.
    """

    columns: Sequence[str]
    lines: Sequence[str]
    notes: Sequence[str] = ()

    def packed(self, key: PlaneKey, *, excel: bool) -> bytes:
        """Give them as a journal keeps them: a line of JSON about them, and the rows in full."""
        separator = ";" if excel else ","
        begin = line_of([key[0], *map(str, key[1])], separator) + separator
        body = "".join(f"{begin}{line}\n" for line in self.lines).encode("utf-8", "backslashreplace")
        about = {
            "image": key[0],
            "place": key[1],
            "columns": list(self.columns),
            "separator": separator,
            "rows": len(self.lines),
            "bytes": len(body),
            "notes": list(self.notes),
        }
        return json.dumps(about).encode() + b"\n" + body


def line_of(cells: Sequence[str], separator: str) -> str:
    """Give cells as one line of a table, without its end; none is a formula to a spreadsheet."""
    line = io.StringIO()
    texts = [cell_of(cell.replace("\r", " ").replace("\n", " ")) for cell in cells]
    csv.writer(line, lineterminator="", delimiter=separator).writerow(texts)
    return line.getvalue()


def notes_in(packed: bytes) -> list[str]:
    """Give the notes of packed rows."""
    return list(json.loads(packed[: packed.index(b"\n")])["notes"])


class PlaneTable:
    """A table that grows by planes. Rows go to a journal at once, and to the table when it is closed.

    Args:
        path: The table; its journal lies beside it.
        columns: That it always has, after :data:`WHERE`; others follow as rows have them, empty where they do not.
        images: Their names, in the order of the table.
        kept: Those whose rows stay, of an earlier table and journal. Others are forgotten.
        excel: Whether it is for a spreadsheet whose decimal sign is a comma.

    Raises:
        OutputError: It cannot be written; of each method, too.
    """

    def __init__(
        self, path: Path, columns: Sequence[str], *, images: Sequence[str], kept: Collection[str] = (), excel: bool
    ) -> None:
        self._path, self._columns, self._excel = path, tuple(columns), excel
        self._order = {image: k for k, image in enumerate(images)}
        self._journal = journal_of(path)
        kept = set(kept)
        earlier = rows_by_plane(path, excel=excel) if kept else {}
        self._blocks = {key: block for key, block in earlier.items() if key[0] in kept}
        try:
            self._journal.parent.mkdir(parents=True, exist_ok=True)
            end = _end_of_journal(self._journal) if kept else 0
            self._file = self._journal.open("r+b" if end else "wb", buffering=0)
            self._file.truncate(end)
            self._file.seek(end)
        except OSError as error:
            raise cannot_write(self._journal, error) from error

    def add(self, packed: bytes) -> None:
        """Add the rows of a plane, in place of earlier ones; another process sees them once this returns."""
        start = self._file.tell()
        try:
            rest = memoryview(packed)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(start)
                self._file.seek(start)
            raise cannot_write(self._journal, error) from error
        key, block = _block(self._journal, start, packed[: packed.index(b"\n") + 1])
        self._blocks[key] = block

    def drop(self, key: PlaneKey) -> None:
        """Forget the rows of a plane."""
        self._blocks.pop(key, None)

    def close(self, *, whole: bool = True) -> None:
        """Write the table, in the order of its images, and remove the journal.

        Args:
            whole: With False, after an error, it stays as it was if it cannot be written; the journal has the rows.
        """
        self._file.close()
        with suppress(*([] if whole else [OutputError])):
            self._write()
            with suppress(OSError):
                self._journal.unlink()

    def _write(self) -> None:
        more = {name: None for block in self._blocks.values() for name in block.columns if name not in self._columns}
        columns, separator = (*self._columns, *more), ";" if self._excel else ","
        first = self._order
        blocks = sorted(self._blocks.items(), key=lambda entry: first.get(entry[0][0], len(first)))  # stable
        with whole_file(self._path, lasting=True) as temporary, temporary.open("wb") as file, ExitStack() as opened:
            sources: dict[Path, BinaryIO] = {}
            file.write(BOM if self._excel else b"")
            file.write((line_of([*WHERE, *columns], separator) + "\n").encode("utf-8", "backslashreplace"))
            for _, block in blocks:
                if block.source not in sources:
                    sources[block.source] = opened.enter_context(block.source.open("rb"))
                sources[block.source].seek(block.start)
                rows = sources[block.source].read(block.length)
                file.write(rows if block.columns == columns else _rewritten(rows, block, columns, separator))


def journal_of(path: Path) -> Path:
    """The journal of a table."""
    return path.with_suffix(".journal")


def rows_by_plane(path: Path, *, excel: bool) -> dict[PlaneKey, StoredRows]:
    """Find the rows of each plane in a table and its journal, written for a spreadsheet or not as they are now.

    There are none where a file is not there, or is no such table.
    """
    found: dict[PlaneKey, StoredRows] = {}
    with suppress(OSError, ValueError, LookupError, csv.Error, StopIteration):
        for key, block in _blocks_of_table(path):
            found[key] = block
    with suppress(OSError, ValueError, LookupError):
        for key, block in _blocks_of_journal(journal_of(path)):
            found[key] = block
    return {key: block for key, block in found.items() if block.separator == (";" if excel else ",")}


def _blocks_of_table(path: Path) -> Iterator[tuple[PlaneKey, StoredRows]]:
    with path.open("rb") as file:
        header = file.readline()
        separator = ";" if header.startswith(BOM) else ","
        names = tuple(map(text_of, _cells(header.removeprefix(BOM), separator)))
        if names[: len(WHERE)] != WHERE:
            raise ValueError("is another table")
        columns, start = names[len(WHERE) :], file.tell()
        begin, rows, length = b"", 0, 0
        key: PlaneKey = ("", (1, 1, 1))
        for line in file:
            if not (begin and line.startswith(begin)):
                if rows:
                    yield key, StoredRows(path, start, length, rows, columns, separator)
                start, rows, length = start + length, 0, 0
                image, *place = _cells(line, separator)[: len(WHERE)]
                begin = (line_of([text_of(image), *place], separator) + separator).encode("utf-8", "backslashreplace")
                key = (text_of(image), _place(place))
            rows, length = rows + 1, length + len(line)
        if rows:
            yield key, StoredRows(path, start, length, rows, columns, separator)


def _blocks_of_journal(journal: Path) -> Iterator[tuple[PlaneKey, StoredRows]]:
    """The blocks of a journal as far as they are whole."""
    size = journal.stat().st_size
    with journal.open("rb") as file:
        while line := file.readline():
            key, block = _block(journal, file.tell() - len(line), line)
            if block.start + block.length > size:
                return
            yield key, block
            file.seek(block.start + block.length)


def _end_of_journal(journal: Path) -> int:
    end = 0
    with suppress(OSError, ValueError, LookupError):
        for _, block in _blocks_of_journal(journal):
            end = block.start + block.length
    return end


def _block(journal: Path, start: int, line: bytes) -> tuple[PlaneKey, StoredRows]:
    about: Mapping[str, Any] = json.loads(line)
    scene, t, z = about["place"]
    block = StoredRows(
        journal, start + len(line), about["bytes"], about["rows"], tuple(about["columns"]), about["separator"]
    )
    return (about["image"], (scene, t, z)), block


def _cells(line: bytes, separator: str) -> list[str]:
    return next(csv.reader([line.decode("utf-8")], delimiter=separator))


def _place(texts: Sequence[str]) -> Place:
    scene, t, z = texts
    projected: Mapping[str, Literal["max", "mean"]] = {"max": "max", "mean": "mean"}
    return int(scene), int(t), projected[z] if z in projected else int(z)


def _rewritten(rows: bytes, block: StoredRows, columns: Sequence[str], separator: str) -> bytes:
    """Give rows in other columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*WHERE, *columns], "", lineterminator="\n", delimiter=separator)
    lines = io.StringIO(rows.decode(), newline="")
    writer.writerows(csv.DictReader(lines, [*WHERE, *block.columns], delimiter=separator))
    return text.getvalue().encode()
