"""Files that a browser sends: written as they come, under names that lead nowhere else."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from elmgan.apps.web.refusal import Limits, RefusedError, size_told

MOST_PARTS = 12
"""Folders above a file, and the file, that are kept of its name."""

LONGEST_PART = 120
"""Characters of a file's or a folder's name that are kept."""

LONGEST_FIELD = 10_000
"""Bytes of a field that is no file."""

MOST_ALIKE = 1000
"""Files of one name, which get numbers."""

RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""

UNSAFE = frozenset('<>:"|?*\\/')
"""Characters that some system does not take in a name."""


@dataclass
class Upload:
    """What came: fields by name, and the files' names below the folder that they were written to."""

    fields: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    size: int = 0
    """Bytes of the files."""


def safe_name(given: str, files: Collection[str] = (), folders: Collection[str] = ()) -> str:
    r"""Turn a name that a client gave into one below a folder, with forward slashes; folders in it stay.

    Args:
        given: Any text.
        files: Names of files that are there already, casefolded: the new one is another.
        folders: The same of folders.

    >>> safe_name("plate 1/a.tif"), safe_name("../../etc/passwd"), safe_name(r"C:\images\<b>.png")
    ('plate 1/a.tif', 'etc/passwd', 'C_/images/_b_.png')
    >>> safe_name("A.tif", {"a.tif"}), safe_name("a.tif/b.tif", {"a.tif"}), safe_name("")
    ('A-2.tif', 'a-2.tif/b.tif', 'image')
    """
    parts = [_safe_part(part) for part in unicodedata.normalize("NFC", given).replace("\\", "/").split("/")]
    parts = [part for part in parts if part][-MOST_PARTS:] or ["image"]
    path: list[str] = []
    for k, part in enumerate(parts):
        name, number, last = part, 1, k + 1 == len(parts)
        while (key := "/".join([*path, name]).casefold()) in files or (last and key in folders):
            number += 1
            if number > MOST_ALIKE:
                raise RefusedError(400, f"too many files are called {part!r}: give them other names")
            name = f"{PurePosixPath(part).stem}-{number}{PurePosixPath(part).suffix}"
        path.append(name)
    return "/".join(path)


def _safe_part(part: str) -> str:
    kept = "".join(
        "_" if character in UNSAFE or (unicodedata.category(character)[0] in "CZ" and character != " ") else character
        for character in part
    )
    suffix = PurePosixPath(kept).suffix[:20]
    if len(kept) > LONGEST_PART:
        kept = kept[: LONGEST_PART - len(suffix)] + suffix
    kept = kept.strip(" ").rstrip(".")
    return f"_{kept}" if RESERVED.fullmatch(kept) else kept


async def receive(request: Request, folder: Path, limits: Limits) -> Upload:
    """Write the files of a multipart request to a folder as they come; other parts are fields.

    Raises:
        RefusedError: It is no such request, breaks off, or is more than the limits allow.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise RefusedError(415, "expected multipart/form-data with one image or more")
    parts = _Parts(folder, limits)
    try:
        parser = MultipartParser(options[b"boundary"], parts.callbacks())  # type: ignore[arg-type]
        async for chunk in request.stream():
            parts.received += len(chunk)
            if parts.received > limits.upload_bytes:
                raise RefusedError(413, f"an upload may have {size_told(limits.upload_bytes)}: send fewer images")
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise RefusedError(400, "the upload is not multipart/form-data as it should be: send it again") from error
    except OSError as error:
        raise RefusedError(507, f"the upload cannot be written ({error.strerror}): make room on the server") from error
    finally:
        parts.close()
    if not parts.ended:
        raise RefusedError(400, "the upload broke off: send it again")
    return parts.upload


class _Parts:
    """Takes the parts of a request one after the other: a file, which is open while it comes, or a field."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.upload = Upload()
        self.received = 0
        self.ended = False
        self._folder, self._limits = folder, limits
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        self._field = ""
        self._content = bytearray()
        self._file: BinaryIO | None = None
        self._written = 0

    def callbacks(self) -> dict[str, object]:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all,
        }

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self._headers, self._name, self._value = {}, b"", b""
        self._content = bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            if len(self.upload.fields) >= self._limits.files:
                raise RefusedError(413, "the upload has too many fields")
            return
        if len(self.upload.names) >= self._limits.files:
            raise RefusedError(413, f"an upload may have {self._limits.files} files: send them in parts")
        name = safe_name(options[b"filename"].decode("utf-8", "replace"), self._files, self._folders)
        self._files.add(name.casefold())
        self._folders |= {str(parent).casefold() for parent in PurePosixPath(name).parents}
        (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
        self._file = (self._folder / name).open("xb")
        self._written = 0
        self.upload.names.append(name)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is None:
            self._content += data[start:end]
            if len(self._content) > LONGEST_FIELD:
                raise RefusedError(413, f"the field {self._field!r:.60} is longer than {LONGEST_FIELD} bytes")
            return
        self._written += end - start
        if self._written > self._limits.file_bytes:
            name = self.upload.names[-1]
            raise RefusedError(413, f"{name} is larger than {size_told(self._limits.file_bytes)}: cut it into parts")
        self._file.write(memoryview(data)[start:end])

    def _end(self) -> None:
        if self._file is None:
            self.upload.fields[self._field] = self._content.decode("utf-8", "replace")
        else:
            self.upload.size += self._written
            self.close()

    def _all(self) -> None:
        self.ended = True
