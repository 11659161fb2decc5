"""A model on disk: one folder or zip that holds model.json, model.onnx and README.md."""

import hashlib
import json
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from elmgan.errors import ModelError, OutputError, one_line
from elmgan.files import put_names_on_disk, put_on_disk, whole_file
from elmgan.models.schema import FORMAT, ModelCard
from elmgan.trust import Calibration

SHIPPED = Path(__file__).parent / "shipped"
CARD, NETWORK, README = "model.json", "model.onnx", "README.md"
CALIBRATION = "## Calibration\n"


@dataclass(frozen=True)
class Bundle:
    """A trained model: what is known of it, the network with its weights as ONNX, and the text for people."""

    card: ModelCard
    onnx: bytes
    readme: str

    @property
    def version(self) -> str:
        """Name and the first 8 hexadecimal digits of a SHA-256: ``nuclei@0a1b2c3d``.

        It is the one of all that decides a count: the network, and what :data:`~elmgan.models.schema.DECIDING` names.
        """
        decides = json.dumps({"network": sha256(self.onnx)} | self.card.deciding(), sort_keys=True)
        return f"{self.card.name}@{sha256(decides.encode())[:8]}"

    def calibrated(self, calibration: Calibration, text: str) -> "Bundle":
        """Return the model with another calibration, and a text on it as the last section of its README.md."""
        card = self.card.model_copy(update={"calibration": calibration})
        before = self.readme.partition(CALIBRATION)[0].rstrip()
        return Bundle(card, self.onnx, f"{before}\n\n{CALIBRATION}\n{text.strip()}\n")


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def shipped() -> list[str]:
    """Names of the models that come with the program."""
    return sorted(card.parent.name for card in SHIPPED.glob(f"*/{CARD}"))


def find_bundle(name_or_path: str | Path) -> Path:
    """Find a model: a shipped one by its name, any other by its path.

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

    Raises:
        ModelError: It is no model, is damaged, or was made by a newer program.
    """
    try:
        files = _files(path)
    # Each is raised by zipfile for some kind of damage or for an encrypted file.
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"{path} cannot be read as a model: {one_line(error)}") from error
    card = _card(files[CARD], path)
    expected, found = card.hashes.get(NETWORK), sha256(files[NETWORK])
    if found != expected:
        raise ModelError(
            f"{path} is damaged: the SHA-256 of {NETWORK} is {found[:8]}..., {CARD} says {str(expected)[:8]}...; "
            "copy the model again from where it came"
        )
    return Bundle(card, files[NETWORK], files[README].decode("utf-8", errors="replace"))


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Write a model as a zip if the path ends in .zip, else as a folder; a model that is there already is replaced.

    The model appears whole or not at all, and a power cut afterwards does not lose it. The hash of model.onnx in
    model.json is set here.

    Raises:
        OutputError: It cannot be written, or the folder holds something else than a model's three files.
    """
    card = bundle.card.model_copy(update={"hashes": {NETWORK: sha256(bundle.onnx)}})
    files = {
        CARD: card.model_dump_json(indent=2).encode() + b"\n",
        NETWORK: bundle.onnx,
        README: bundle.readme.encode(),
    }
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
    others = there - files.keys() if CARD in there else there
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


def _files(path: Path) -> dict[str, bytes]:
    """Content of a model's files by name, from a folder or a zip."""
    if path.is_dir():
        folder: Path | zipfile.Path = path
    elif zipfile.is_zipfile(path):
        folder = zipfile.Path(path)
        inside = [entry for entry in folder.iterdir() if entry.name != "__MACOSX"]  # what macOS adds beside
        if len(inside) == 1 and inside[0].is_dir():
            folder = inside[0]
    else:
        raise ModelError(f"{path} is not a model: expected a folder or zip with {CARD}, {NETWORK} and {README}")
    for name in (CARD, NETWORK, README):
        if not (folder / name).is_file():
            raise ModelError(f"{path} is not a model: it has no {name}")
    return {name: (folder / name).read_bytes() for name in (CARD, NETWORK, README)}


def _card(content: bytes, path: Path) -> ModelCard:
    try:
        fields = json.loads(content)
    except ValueError as error:  # not JSON or not UTF-8
        raise ModelError(f"{path} is damaged: {CARD} is not JSON ({one_line(error)})") from error
    newest = fields.get("format") if isinstance(fields, dict) else None
    if isinstance(newest, int) and newest > FORMAT:
        raise ModelError(
            f"{path} was made by a newer elmgan (format {newest}, this one reads up to {FORMAT}): update elmgan"
        )
    try:
        return ModelCard.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its content"
        fault = first["msg"].removeprefix("Value error, ")
        raise ModelError(f"{path} is not a model of this program: {CARD}: {where}: {fault}") from error
