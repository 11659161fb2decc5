"""counts.csv: what a data set says of its images in a table, as people and their spreadsheets write it."""

import csv
import io
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from elmgan.data.faults import Faults
from elmgan.data.naming import Names, folded

SIDES = ("train", "validation", "calibration", "test")
NAMED = f"{', '.join(SIDES[:-1])} or {SIDES[-1]}"

TABLE_NAME = "counts.csv"
TABLES = re.compile(r"counts?(\.csv)?\.(csv|tsv|txt)")
"""Names under which people have it, in lower case; systems that hide extensions lead to counts.csv.txt."""

SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
SPREADSHEET_STARTS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")

IMAGE_HEADERS = (
    *("image", "image name", "imagename", "image file", "image filename", "images", "filename", "file name", "file"),
    *("files", "name", "names", "label", "slice", "title", "path", "file path", "filepath", "image path", "picture"),
    *(
        "photo",
        "image id",
        "imageid",
        "sample",
        "sample name",
        "well",
        "field",
        "id",
        "bild",
        "bildname",
        "bilddatei",
        "datei",
        "dateiname",
        "fichier",
        "nom",
        "nom de fichier",
        "archivo",
    ),
    *("imagen", "immagine", "afbeelding", "bestand", "bestandsnaam", "nombre"),
)
"""Headers of the column that names the images, folded; the first that is there goes before the others."""

COUNT_HEADERS = (
    *("count", "counts", "cell count", "cell counts", "cells", "number of cells", "no of cells", "num cells"),
    *("n cells", "nuclei", "number of nuclei", "nuclei count", "nucleus count", "total count", "total cells"),
    *("manual count", "true count", "num detections", "cell number", "anzahl", "anzahl zellen", "zellanzahl"),
    *("zellzahl", "zellen", "nombre de cellules", "cellules", "conteo", "recuento", "células", "conteggio", "cellule"),
    *("aantal", "aantal cellen", "total", "number", "nombre", "n"),
)
"""Headers of the column with the counts, likewise."""

SUMMARIES = (
    *(
        "total",
        "totals",
        "grand",
        "sum",
        "sums",
        "mean",
        "average",
        "avg",
        "median",
        "sd",
        "std",
        "stdev",
        "min",
        "max",
    ),
    *("gesamt", "gesamtergebnis", "gesamtsumme", "summe", "mittelwert", "mittel", "durchschnitt", "somme", "moyenne"),
    *("suma", "promedio", "media", "totale", "somma", "totaal", "som", "gemiddelde"),
)
"""First words of rows below the last image that sum up the others."""

NOT_COUNTED = ("", "na", "n/a", "#n/a", "-", "–", "?")
"""What people write where they have not counted yet, folded."""


@dataclass(frozen=True)
class Entry:
    """What the table says of an image, as in its record; ``None`` or empty where it says nothing."""

    count: float | None
    group: str
    kind: str
    split: str


@dataclass(frozen=True)
class _Line:
    number: int
    cells: list[str]


def find_table(folder: Path, faults: Faults) -> Path | None:
    """Find the table of counts of a data set, whatever the case of its name; ``None`` if there is none.

    Args:
        folder: Of the data set.
        faults: Takes a fault when there are several, or only one that a spreadsheet keeps for itself.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith((".", "~")))
    tables = [path for path in files if TABLES.fullmatch(path.name.lower())]
    if len(tables) > 1:
        names = " and ".join(path.name for path in tables)
        faults.add("table", f"{folder}: holds {names}; keep the one that is meant")
        return None
    if tables:
        if tables[0].name != TABLE_NAME:
            faults.note("table", f"{tables[0]}: is read as the table of counts")
        return tables[0]
    for path in files:
        if path.suffix.lower() in SPREADSHEETS and path.stem.lower() in ("count", "counts", TABLE_NAME):
            faults.add("table", f"{path.name} is there: save it as CSV, to {folder / TABLE_NAME}")
        elif path.suffix.lower() in (".csv", ".tsv", *SPREADSHEETS):
            faults.note("table", f"{path}: is not read; a table of counts is named {TABLE_NAME}")
    return None


def read_entries(path: Path, images: Collection[str], faults: Faults) -> dict[str, Entry]:
    """Read counts.csv, as written by hand or by a spreadsheet of any country.

    Separated by comma, semicolon or tab, or as a line such as ``sep=;`` says; in UTF-8, UTF-16 or Windows-1252. Headers
    may be of any case and any of the usual names. Rows that sum up those above are left out, which is noted.

    Args:
        path: The file.
        images: Names that its rows may have.
        faults: Takes what is wrong with it.

    Returns:
        Name of an image -> its row.
    """
    try:
        content = path.read_bytes()
        separator, lines = ("", []) if content.startswith(SPREADSHEET_STARTS) else _lines(decoded(content))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        faults.add("table", f"{path}: cannot be read ({error}); save it as CSV in UTF-8")
        return {}
    if not separator:
        faults.add("table", f"{path}: is a spreadsheet, whatever its name says: open it there and save it as CSV")
        return {}
    headers = [_header(cell) for cell in lines[0].cells] if lines else []
    if {"estimate", "model"} <= set(headers):
        faults.add(
            "table",
            f"{path}: these are elmgan's own counts, not yours: count the images by hand; if you corrected the column "
            "count yourself, remove the columns estimate and model",
        )
        return {}
    twice = next((one for one in COUNT_HEADERS if headers.count(one) > 1), None)
    if twice is not None:
        faults.add("table", f"{path}: has two columns {twice}: keep the one that is meant")
        return {}
    names = Names(images)
    rows = lines[1:]
    image_column = _image_column(headers, rows, names)
    count_column = next((headers.index(one) for one in COUNT_HEADERS if one in _without(headers, image_column)), None)
    if image_column is None or count_column is None:
        found = ", ".join(cell.strip() or "an empty one" for cell in lines[0].cells) if lines else "none"
        faults.add(
            "table",
            f"{path}: expected the columns image and count, found {found}; name them so in the first line of the table",
        )
        return {}
    rows = _without_summaries(path, rows, image_column, names, faults)
    point = decimal_sign([_cell(row, count_column) for row in rows]) or ("." if separator == "," else "")
    places = {name: headers.index(name) if name in headers else None for name in ("group", "kind", "split")}
    entries: dict[str, Entry] = {}
    for row in rows:
        place = f"{path}, line {row.number}"
        given, written = _cell(row, image_column), _cell(row, count_column)
        group, kind, split = (_cell(row, places[name]) for name in ("group", "kind", "split"))
        split, count = split.lower(), number(written, point)
        meant = names.meant(given)
        if not meant:
            faults.add("row", f"{place}: there is no image {given!r}; correct the name, or remove the row")
            continue
        if len(meant) > 1:
            faults.add("row", f"{place}: {given!r} fits {' and '.join(sorted(meant))}; write the one that is meant")
            continue
        if meant[0] in entries:
            faults.add("twice", f"{place}: {given!r} has a row already; remove one")
        elif any(cell.strip() for cell in row.cells[len(headers) :]):
            faults.add("values", f"{place}: more values than columns; write decimals with a point")
        elif count is not None and not 0 <= count < math.inf:
            hint = "write a number such as 12 or 12.5"
            hint += ", without a thousands separator" if _grouped(written) else ""
            faults.add("count", f"{place}: the count of {given!r} is {written!r}; {hint}")
        elif split and split not in SIDES:
            faults.add("split", f"{place}: the split of {given!r} is {split!r}; write {NAMED}")
        entries[meant[0]] = Entry(count, group, kind, split)
    return entries


def decoded(content: bytes) -> str:
    """Decode a text file: UTF-8 or UTF-16, with or without a byte order mark, else Windows-1252, as Excel's CSV has it.

    Raises:
        UnicodeDecodeError: When it is none of them.

    >>> decoded("Zürich".encode("cp1252")), decoded("Zürich".encode("utf-16"))
    ('Zürich', 'Zürich')
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    if b"\0" in content[:2]:  # Latin letters take two bytes, of which one is 0
        return content.decode("utf-16-be" if content[0] == 0 else "utf-16-le")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def decimal_sign(texts: Sequence[str]) -> str:
    """Tell whether a column of numbers has a decimal point or comma; empty where that is open.

    It is open as long as every point or comma stands before three digits, as one between thousands does.

    >>> decimal_sign(["1,234", "12,5"]), decimal_sign(["12.333", "1.5"]), decimal_sign(["1,234", "7"])
    (',', '.', '')
    """
    signs = {
        text[match.start(1)]
        for text in texts
        if (match := re.fullmatch(r"[+-]?\d*([.,])\d*(?:e[+-]?\d+)?", text, re.IGNORECASE)) and not _grouped(text)
    }
    return signs.pop() if len(signs) == 1 else ""


def number(text: str, point: str = "") -> float | None:
    """Give the number in a text: ``None`` where nothing is counted yet, NaN where it is no number or not clear which.

    Args:
        text: Of a cell.
        point: What separates decimals in its column, where that is known; see :func:`decimal_sign`.

    >>> number("12,5"), number("1,234"), number("1,234", ","), number("n/a")
    (12.5, nan, 1.234, None)
    """
    if folded(text) in NOT_COUNTED:
        return None
    if _grouped(text) and not (point and text.count(point) == 1 and re.fullmatch(r"\d+[.,]\d+", text)):
        return math.nan
    try:
        return float(text.replace(",", ".")) if "_" not in text else math.nan
    except ValueError:
        return math.nan


def _grouped(text: str) -> bool:
    """Say whether a text may be a number with a sign between its thousands: 1,234 or 1.234,5 or 1 234."""
    return re.fullmatch(r"[1-9]\d{0,2}(?:[.,'’\s]\d{3})+(?:[.,]\d+)?", text) is not None


def _lines(text: str) -> tuple[str, list[_Line]]:
    """Give a table's separator, and its rows that hold anything: cells stripped, with the numbers of their lines."""
    start = text.lstrip("\r\n")
    said = re.match(r'"?sep=(.)"?[,;\t]*(?:\r\n|\r|\n|$)', start, re.IGNORECASE)
    body = start[said.end() :] if said else start
    skipped = len(text[: len(text) - len(body)].splitlines())
    first = next((line for line in body.splitlines() if line.strip()), "")
    separator = said[1] if said else max(",;\t", key=lambda sign: (_headers_known(first, sign), first.count(sign)))
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=separator, skipinitialspace=True)
    lines = ((reader.line_num, [cell.strip() for cell in cells]) for cells in reader)
    return separator, [_Line(line + skipped, cells) for line, cells in lines if any(cells)]


def _headers_known(line: str, separator: str) -> int:
    headers = {_header(cell) for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])}
    return len(headers & {*IMAGE_HEADERS, *COUNT_HEADERS})


def _header(text: str) -> str:
    """Fold a header: case, blanks and what stands between words aside.

    >>> _header(" File_Name: ")
    'file name'
    """
    return folded(re.sub(r"[\s_.:#*-]+", " ", text))


def _without(headers: Sequence[str], column: int | None) -> list[str]:
    return [header for place, header in enumerate(headers) if place != column]


def _image_column(headers: Sequence[str], rows: Sequence[_Line], names: Names) -> int | None:
    """Choose the column that names the images: of those named so, the one of which most rows are images."""
    columns = [headers.index(header) for header in IMAGE_HEADERS if header in headers]
    if not columns and rows:  # a header that nobody thought of, above nothing but images
        columns = [k for k in range(len(headers)) if all(names.meant(_cell(row, k)) for row in rows)]
    if "nombre" in headers and not set(COUNT_HEADERS) & set(_without(headers, headers.index("nombre"))):
        columns = [column for column in columns if headers[column] != "nombre"]  # French: the number
    return max(columns, key=lambda column: sum(bool(names.meant(_cell(row, column))) for row in rows), default=None)


def _cell(row: _Line, column: int | None) -> str:
    return row.cells[column] if column is not None and column < len(row.cells) else ""


def _without_summaries(path: Path, rows: list[_Line], column: int, names: Names, faults: Faults) -> list[_Line]:
    """Leave out the last rows that name no image but a sum or mean, or nothing."""
    end = len(rows)
    while end and not names.meant(given := _cell(rows[end - 1], column)):
        first, *_ = re.split(r"[\W_]", folded(given))
        if first and first not in SUMMARIES:
            break
        end -= 1
        shown = repr(given) if given else "a row without an image"
        faults.note("sum", f"{path}, line {rows[end].number}: {shown} is left out, as the sum or mean of the others")
    return rows[:end]
