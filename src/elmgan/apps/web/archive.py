"""Zips that are sent while they are made, so that neither memory nor disk has to hold one."""

import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

PIECE = 1 << 20
"""Bytes that are packed at a time."""

PACKED = frozenset({".tif", ".png", ".zip", ".jpg"})
"""Endings of files that would not become smaller."""


class _Sink:
    """Takes what a zip writes, until it is fetched."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """There is nothing to wait for."""

    def taken(self) -> bytes:
        pieces, self._pieces = b"".join(self._pieces), []
        return pieces


def zipped(files: Iterable[tuple[str, Path | bytes]]) -> Iterator[bytes]:
    """Give a zip piece by piece.

    Args:
        files: Name in the zip, with forward slashes, and the file, or its content. One that is gone is left out.
    """
    sink, now = _Sink(), time.localtime()[:6]
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]  # it only ever writes on
        for name, content in files:
            entry = zipfile.ZipInfo(name, now)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(tuple(PACKED)) else zipfile.ZIP_DEFLATED
            if isinstance(content, bytes):
                archive.writestr(entry, content)
            else:
                try:
                    file = content.open("rb")
                except FileNotFoundError:
                    continue
                with file, archive.open(entry, "w", force_zip64=True) as packed:
                    while piece := file.read(PIECE):
                        packed.write(piece)
                        yield sink.taken()
            yield sink.taken()
    yield sink.taken()
