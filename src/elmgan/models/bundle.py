"""A model on disk: one folder or zip that holds model.json, model.onnx, README.md, and what else it has of PARTS."""

import hashlib
import json
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from pydantic import ValidationError

from elmgan.errors import ModelError, OutputError, one_line
from elmgan.files import put_names_on_disk, put_on_disk, whole_file
from elmgan.images import View
from elmgan.models.graph import names_other_files
from elmgan.models.schema import FORMAT, ModelCard
from elmgan.trust import Calibration, KnownImages

SHIPPED = Path(__file__).parent / "shipped"
CARD, NETWORK, README = "model.json", "model.onnx", "README.md"
KNOWN, INT8 = "known.json", "int8.onnx"
"""Parts that a model may lack."""

CALIBRATION = "## Calibration\n"

MOST_BYTES = {CARD: 16 << 20, NETWORK: 2 << 30, README: 16 << 20, KNOWN: 64 << 20, INT8: 1 << 30}
"""File -> its largest size. An ONNX file of more than 2 GB is none."""

MOST_DIRECTORY = 1 << 20
"""Bytes of a zip's list of its files."""

MOST_COMMENT, END_RECORD, LOCATOR_64 = 0xFFFF, 22, 20
"""Bytes at the end of a zip: comment, the record before it, and what stands before that in zips of more than 4 GB."""


@dataclass(frozen=True)
class Bundle:
    """A trained model: what is known of it, the network with its weights as ONNX, and the text for people.

    ``known`` are the places of the images that it knows, if they were measured, and ``int8`` is the network in eight
    bits, which counts alone, if it was made.
    """

    card: ModelCard
    onnx: bytes
    readme: str
    known: KnownImages | None = None
    int8: bytes | None = None

    @property
    def version(self) -> str:
        """Name and the first 8 hexadecimal digits of a SHA-256: ``nuclei@0a1b2c3d``.

        It is the one of all that decides a count: the network, and what :data:`~elmgan.models.schema.DECIDING` names.
        """
        parts = {name.partition(".")[0]: sha256(content) for name, content in self.parts().items()}
        decides = json.dumps(parts | {"network": sha256(self.onnx)} | self.card.deciding(), sort_keys=True)
        return f"{self.card.name}@{sha256(decides.encode())[:8]}"

    def calibrated(self, calibration: Calibration, text: str, view: View | None = None) -> "Bundle":
        """Return the model with another calibration, a text on it as the last section of its README.md, and a view."""
        card = self.card.model_copy(update={"calibration": calibration, "view": view or self.card.view})
        before = self.readme.partition(CALIBRATION)[0].rstrip()
        return replace(self, card=card, readme=f"{before}\n\n{CALIBRATION}\n{text.strip()}\n")

    def parts(self) -> dict[str, bytes]:
        """Give the files that a model may lack, those that it has: name -> content."""
        found = {}
        if self.known is not None:
            found[KNOWN] = self.known.model_dump_json(exclude_defaults=True).encode() + b"\n"
        if self.int8 is not None:
            found[INT8] = self.int8
        return found


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def shipped() -> list[str]:
    """Names of the models that come with the program."""
    return sorted(card.parent.name for card in SHIPPED.glob(f"*/{CARD}"))


def find_bundle(name_or_path: str | Path) -> Path:
    """Find a model: a shipped one by its name, any other by its path.

    The name of a shipped model always means that model, whatever lies in the working directory; a folder of the same
    name there is ``./nuclei``.

    Raises:
        ModelError: It is neither.
    """
    if str(name_or_path) in shipped():
        return SHIPPED / name_or_path
    path = Path(name_or_path)
    try:
        path.stat()
    except OSError as error:
        names = ", ".join(shipped()) or "none"
        raise ModelError(
            f"there is no model '{path}' ({error.strerror}): give the folder or zip of one, or a shipped name ({names})"
        ) from error
    return path


def read_bundle(path: Path) -> Bundle:
    """Read a model's folder or zip (its files at the top or inside a single folder) and check it.

    A model may come from anywhere. What is too large is refused before it is read, and so is what would have other
    files read: links and names that lead out of a zip, and weights that an ONNX file keeps elsewhere.

    Raises:
        ModelError: It is no model, is damaged, or was made by a newer program.
    """
    try:
        with _opened(path) as read:
            card = _card(read(CARD), path)
            onnx, readme = read(NETWORK), read(README)
            parts = {name: read(name) for name in (KNOWN, INT8) if name in card.hashes}
    # Each is raised by zipfile for some kind of damage or for an encrypted file.
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"{path} cannot be read as a model: {one_line(error)}") from error
    files = {NETWORK: onnx, README: readme} | parts
    for name, expected in ({NETWORK: "nothing"} | card.hashes).items():
        if name not in files:
            raise ModelError(f"{path} is damaged: {CARD} has a SHA-256 of {name!r:.80}, which is no file of a model")
        found = sha256(files[name])
        if found != expected:
            raise ModelError(
                f"{path} is damaged: the SHA-256 of {name} is {found[:8]}..., {CARD} says {expected[:8]}...; "
                "copy the model again from where it came"
            )
    for name in (NETWORK, INT8):
        if name in files:
            _check_network(files[name], name, path)
    known = _known(parts[KNOWN], path) if KNOWN in parts else None
    return Bundle(card, onnx, readme.decode("utf-8", errors="replace"), known, parts.get(INT8))


def _check_network(onnx: bytes, name: str, path: Path) -> None:
    try:
        elsewhere = names_other_files(onnx)
    except ValueError as error:
        raise ModelError(f"{path} is not a model: {name} is no ONNX network ({error})") from error
    if elsewhere:
        raise ModelError(
            f"{path}: {name} would have other files read for its weights, which no model of this program does; "
            "do not use it, or export it again with the weights inside"
        )


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Write a model as a zip if the path ends in .zip, else as a folder; a model that is there already is replaced.

    The model appears whole or not at all, and a power cut afterwards does not lose it. The hashes of files in
    model.json are set here.

    Raises:
        OutputError: It cannot be written, or the folder holds something else than a model's files.
    """
    parts = {NETWORK: bundle.onnx} | bundle.parts()
    hashes = {name: sha256(content) for name, content in parts.items()}
    card = bundle.card.model_copy(update={"hashes": hashes})
    files = {
        CARD: card.model_dump_json(indent=2).encode() + b"\n",
        NETWORK: bundle.onnx,
        README: bundle.readme.encode(),
    } | parts
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".zip":
            with (
                whole_file(path, lasting=True) as temporary,
                zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
            ):
                for name, content in files.items():
                    archive.writestr(name, content)
        else:
            _write_folder(path, files)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"the model cannot be written to {path} ({reason}): make room or name another") from error


def _write_folder(path: Path, files: dict[str, bytes]) -> None:
    there = {entry.name for entry in path.iterdir()} if path.exists() else set()
    others = there - MOST_BYTES.keys() if CARD in there else there
    if others:
        raise OutputError(f"{path} holds {min(others)}, which is no part of a model: name another folder for the model")
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()
        for name, content in files.items():
            (new / name).write_bytes(content)
            put_on_disk(new / name)
        put_names_on_disk(new)
        try:
            if path.exists():
                path.rename(old)
            new.rename(path)
            put_names_on_disk(path.parent)
        except BaseException:
            if old.exists() and not path.exists():
                old.rename(path)
            raise


@contextmanager
def _opened(path: Path) -> Iterator[Callable[[str], bytes]]:
    """Give what reads a model's files by name, from a folder or a zip."""
    if path.is_dir():
        yield lambda name: _of_folder(path, name)
    elif zipfile.is_zipfile(path):
        with path.open("rb") as file:
            _check_directory(file, path)
            with zipfile.ZipFile(file) as archive:
                entries = _entries(archive, path)
                yield lambda name: _of_zip(archive, entries, path, name)
    else:
        raise ModelError(f"{path} is not a model: expected a folder or zip with {CARD}, {NETWORK} and {README}")


def _of_folder(path: Path, name: str) -> bytes:
    if not (path / name).is_file():  # neither is a device, or a pipe that never ends
        raise ModelError(f"{path} is not a model: it has no {name}")
    size = (path / name).stat().st_size
    _check_size(size, path, name)
    with (path / name).open("rb") as file:
        content = file.read(size + 1)  # of a file that grows meanwhile no more
    _check_size(len(content), path, name)
    return content


def _of_zip(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], path: Path, name: str) -> bytes:
    if name not in entries:
        raise ModelError(f"{path} is not a model: it has no {name}")
    entry = entries[name]
    _check_size(entry.file_size, path, name)
    # Others unpack all at once, however much that is.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ModelError(f"{path} cannot be read as a model: {name} is packed by an unusual method; zip it again")
    with archive.open(entry) as file:  # ZipFile.read would unpack all that is there, however small it says it is
        return file.read(entry.file_size)


def _check_size(size: int, path: Path, name: str) -> None:
    if size > MOST_BYTES[name]:
        raise ModelError(
            f"{path} is not a model of this program: its {name} has {size / 1e6:.0f} MB, "
            f"and at most {MOST_BYTES[name] / 1e6:.0f} MB are read"
        )


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The files of a zip by name, without the single folder that they may lie in."""
    files = {}
    for entry in archive.infolist():
        name = entry.filename
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise ModelError(f"{path} is not a model of this program: {name!r:.80} in it is a link")
        windows = PureWindowsPath(name)
        if windows.anchor or ".." in windows.parts:
            raise ModelError(f"{path} is not a model of this program: the name {name!r:.80} in it leads out of it")
        if not entry.is_dir() and not name.startswith("__MACOSX/"):  # what macOS adds beside
            files[name] = entry
    tops = {name.partition("/")[0] for name in files}
    if len(tops) == 1 and CARD not in files:
        return {name.partition("/")[2]: entry for name, entry in files.items()}
    return files


def _check_directory(file: BinaryIO, path: Path) -> None:
    """Refuse a zip whose list of files is too long, before zipfile reads all of it into memory."""
    tail_size = min(file.seek(0, os.SEEK_END), MOST_COMMENT + END_RECORD + LOCATOR_64)
    file.seek(-tail_size, os.SEEK_END)
    tail = file.read(tail_size)
    place = tail.rfind(b"PK\x05\x06")
    record = tail[place : place + END_RECORD]
    large = tail[max(0, place - LOCATOR_64) : place].startswith(b"PK\x06\x07")  # the list's size stands elsewhere
    if place < 0 or len(record) < END_RECORD or large or int.from_bytes(record[12:16], "little") > MOST_DIRECTORY:
        raise ModelError(f"{path} is not a model of this program: as a zip it is damaged, or for far more than 3 files")


def _known(content: bytes, path: Path) -> KnownImages:
    try:
        return KnownImages.model_validate_json(content)
    except ValidationError as error:
        fault = one_line(error.errors()[0]["msg"])
        raise ModelError(f"{path} is not a model of this program: {KNOWN}: {fault}") from error


def _card(content: bytes, path: Path) -> ModelCard:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:  # not JSON or not UTF-8, or brackets within brackets without end
        raise ModelError(f"{path} is damaged: {CARD} is not JSON ({one_line(error)})") from error
    newest = fields.get("format") if isinstance(fields, dict) else None
    if isinstance(newest, int) and FORMAT < newest < 1000:
        raise ModelError(
            f"{path} was made by a newer elmgan (format {newest}, this one reads up to {FORMAT}): update elmgan"
        )
    try:
        return ModelCard.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = repr(".".join(str(part) for part in first["loc"]))[1:-1][:100] or "its content"
        fault = first["msg"].removeprefix("Value error, ")
        raise ModelError(f"{path} is not a model of this program: {CARD}: {where}: {fault}") from error
