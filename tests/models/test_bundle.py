import json
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from bundles import tiny_bundle, write_tiny
from elmgan.errors import ModelError, OutputError
from elmgan.images import View
from elmgan.light import Normalisation
from elmgan.models import Architecture, ModelCard, find_bundle, read_bundle, shipped, write_bundle
from elmgan.trust import Calibration


@pytest.mark.parametrize("name", ["model", "model.zip", "deeper/model"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_bundle(path, tiny_bundle())
    read = read_bundle(path)
    assert read.onnx == tiny_bundle().onnx
    assert read.readme == tiny_bundle().readme
    assert read.card.architecture == tiny_bundle().card.architecture
    assert read.version == tiny_bundle().version
    assert read.card.hashes == {"model.onnx": sha256(read.onnx).hexdigest()}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


CALIBRATION = Calibration(data="mine", images=12, groups=12, gain=1.25, quantile=None)
DECIDES = {
    "architecture": Architecture(depth=4),
    "learned": ("count",),
    "normalisation": Normalisation(limit=2),
    "threshold": 0.51,
    "view": View(channel=2),
    "calibration": CALIBRATION,
}
TELLS = {
    "format": 1,
    "description": "other words",
    "created": "2025-01-01T00:00:00+00:00",
    "elmgan": "0.2.0",
    "data": [],
    "training": {"diameter": (5.0, 20.0)},
    "seed": 1,
    "scores": {},
    "hashes": {"model.onnx": "0" * 64},
}


def test_the_version_is_of_all_that_decides_a_count() -> None:
    """A new field of model.json has to be put on either side."""
    assert DECIDES.keys() | TELLS.keys() | {"name"} == ModelCard.model_fields.keys()
    bundle = tiny_bundle()
    versions = [bundle.version, replace(bundle, onnx=bundle.onnx + b"\n").version]
    for name, value in DECIDES.items():
        versions.append(replace(bundle, card=bundle.card.model_copy(update={name: value})).version)
    versions.append(bundle.calibrated(CALIBRATION.model_copy(update={"quantile": 2.0}), "").version)
    assert len(set(versions)) == len(versions)
    for name, value in TELLS.items():
        assert replace(bundle, card=bundle.card.model_copy(update={name: value})).version == bundle.version, name
    assert replace(bundle, readme="other words").version == bundle.version
    assert re.fullmatch(r"tiny@[0-9a-f]{8}", bundle.version)


def test_a_zip_of_the_folder_is_read(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path)
    shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, folder.name)
    with zipfile.ZipFile(tmp_path / "zipped.zip", "a") as archive:
        archive.writestr("__MACOSX/._tiny-model", b"")
    assert read_bundle(tmp_path / "zipped.zip") == read_bundle(folder)


def edit(**fields: object) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        card = model / "model.json"
        card.write_text(json.dumps(json.loads(card.read_text()) | fields))

    return change


def also_hashed(name: str) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        card = model / "model.json"
        fields = json.loads(card.read_text())
        fields["hashes"][name] = "0" * 64
        card.write_text(json.dumps(fields))

    return change


def without(field: str) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        card = model / "model.json"
        fields = json.loads(card.read_text())
        del fields[field]
        card.write_text(json.dumps(fields))

    return change


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda model: (model / "model.onnx").unlink(), "is not a model: it has no model.onnx"),
        (lambda model: (model / "README.md").unlink(), "it has no README.md"),
        (lambda model: (model / "model.json").write_text("{"), "model.json is not JSON"),
        (lambda model: (model / "model.json").write_bytes(b"\xff\xfe\xff"), "model.json is not JSON"),
        (lambda model: (model / "model.json").write_text("[]"), "model.json: its content"),
        (lambda model: (model / "model.onnx").write_bytes(b"other"), "is damaged: the SHA-256 of model.onnx"),
        (edit(format=3), r"made by a newer elmgan \(format 3, this one reads up to 2\): update elmgan"),
        (edit(format=3, unheard_of=True), "made by a newer elmgan"),
        (edit(format="one"), "model.json: format"),
        (edit(format=0), "model.json: format"),
        (without("format"), "model.json: format: Field required"),
        (without("learned"), "model.json: learned: Field required"),
        (edit(learned=[]), "model.json: learned: Tuple should have at least 1 item"),
        (edit(learned=["mask", "outline"]), "model.json: learned.1: Input should be 'mask' or 'count'"),
        (edit(architecture={"count_head": "pooled"}), "model.json: architecture: size is None; the pooled head needs"),
        (edit(architecture={"count_head": "pooled", "size": [64, 100]}), "each a multiple of 64"),
        (edit(architecture={"size": [64, 128]}), r"size is \(64, 128\); the count map takes images of any size"),
        (edit(architecture={"width": -1}), "model.json: architecture.width"),
        (edit(training={"colour": [0, 1]}), r"model.json: training.colour.*: Input should be 'density', 'darkness'"),
        (edit(unheard_of=True), "model.json: unheard_of"),
        (edit(hashes={}), "is damaged"),
        (edit(hashes={"README.md": "0" * 64}), "is damaged"),
        (also_hashed("README.md"), "is damaged: the SHA-256 of README.md"),
        (also_hashed("weights.bin"), "is damaged: model.json has a SHA-256 of 'weights.bin', which is no file"),
    ],
)
def test_a_damaged_model_is_told_in_one_line(tmp_path: Path, damage: Callable[[Path], None], told: str) -> None:
    model = write_tiny(tmp_path)
    damage(model)
    with pytest.raises(ModelError, match=told) as error:
        read_bundle(model)
    assert str(model) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a model")
    with pytest.raises(ModelError, match="is not a model: expected a folder or zip"):
        read_bundle(path)


@pytest.mark.parametrize("damaged", [100, -100])
def test_a_damaged_zip(tmp_path: Path, damaged: int) -> None:
    path = tmp_path / "model.zip"
    write_bundle(path, tiny_bundle())
    content = bytearray(path.read_bytes())
    content[damaged] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.zip"):
        read_bundle(path)


def test_a_model_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiny(tmp_path)
    write_bundle(path, tiny_bundle("other"))
    assert read_bundle(path).card.name == "other"

    rename = Path.rename

    def fail_at_the_new_one(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_at_the_new_one)
    with pytest.raises(OutputError, match="No space left on device"):
        write_bundle(path, tiny_bundle("third"))
    assert read_bundle(path).card.name == "other"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["thesis.txt", "README.md"])
def test_what_is_no_model_is_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("ten years")
    with pytest.raises(OutputError, match=f"holds {name}, which is no part of a model: name another folder"):
        write_bundle(tmp_path, tiny_bundle())
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_what_lies_in_a_model_is_not_lost(tmp_path: Path) -> None:
    path = write_tiny(tmp_path)
    (path / "notes.txt").write_text("ten years")
    with pytest.raises(OutputError, match=r"holds notes\.txt, which is no part of a model"):
        write_bundle(path, tiny_bundle("other"))
    assert read_bundle(path).card.name == "tiny"
    assert (path / "notes.txt").exists()


def test_an_empty_folder_becomes_a_model(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    write_bundle(tmp_path / "model", tiny_bundle())
    assert read_bundle(tmp_path / "model").card.name == "tiny"


def test_a_model_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"notes\.txt \(Not a directory\): make room or name another"):
        write_bundle(tmp_path / "notes.txt", tiny_bundle())


def test_models_are_found_by_name_or_path(tmp_path: Path) -> None:
    assert find_bundle(tmp_path) == tmp_path
    for absent in ("nuclie", "n" * 5000):
        with pytest.raises(ModelError, match=f"there is no model '{absent}'"):
            find_bundle(absent)
    for name in shipped():
        assert read_bundle(find_bundle(name)).card.name == name


def test_the_name_of_a_shipped_model_means_that_one_whatever_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in shipped():
        write_bundle(Path(name), tiny_bundle())
        assert read_bundle(find_bundle(name)).card.name == name
        assert read_bundle(find_bundle(f"./{name}")).card.name == "tiny"
        assert read_bundle(find_bundle(tmp_path / name)).card.name == "tiny"
