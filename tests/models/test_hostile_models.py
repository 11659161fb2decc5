"""Models from anywhere: what is wrong is refused in one line, in little time and memory, and no other file is read."""

import json
import os
import stat
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from bundles import tiny_bundle, tiny_onnx, write_tiny
from elmgan.errors import ModelError
from elmgan.models import ModelCard, find_bundle, read_bundle, shipped, write_bundle
from elmgan.models.bundle import MOST_BYTES
from elmgan.models.graph import names_other_files
from elmgan.trust import KnownImages

SECONDS = 20
"""That a refusal may take on a busy machine; what is right takes under one."""


@contextmanager
def refused(told: str, megabytes: int = 100) -> Iterator[None]:
    """A block that has to refuse a model in one short line, without reading what could fill the memory."""
    tracemalloc.start()
    begun = time.monotonic()
    try:
        with pytest.raises(ModelError, match=told) as error:
            yield
        assert tracemalloc.get_traced_memory()[1] < megabytes << 20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - begun < SECONDS
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


def unbounded(schema: dict[str, Any], place: str) -> Iterator[str]:
    """The places of a JSON schema where a value of any size may stand."""
    if "enum" in schema or "const" in schema:
        return
    match schema.get("type"):
        case "integer" | "number":
            least = schema.keys() & {"minimum", "exclusiveMinimum"}
            most = schema.keys() & {"maximum", "exclusiveMaximum"}
            if not (least and most):
                yield place
        case "string":
            if "maxLength" not in schema:
                yield place
        case "array":
            if "maxItems" not in schema:
                yield place
        case "object":
            if "additionalProperties" in schema and "properties" not in schema and "propertyNames" not in schema:
                yield place
            if schema.get("propertyNames", {}).get("type") == "string":
                yield from unbounded(schema["propertyNames"], f"{place}'s names")
    for name, part in schema.items():
        if name == "propertyNames" or not isinstance(part, dict | list):
            continue
        parts = part.items() if isinstance(part, dict) and name in ("properties", "$defs") else ((name, part),)
        for below, each in parts:
            for one in each if isinstance(each, list) else [each]:
                if isinstance(one, dict):
                    yield from unbounded(one, f"{place}.{below}")


def test_every_value_of_a_card_has_bounds() -> None:
    schema = ModelCard.model_json_schema()
    found = list(unbounded({name: part for name, part in schema.items() if name != "$defs"}, "card"))
    for name, part in schema["$defs"].items():
        if name != "Normalisation":  # its numbers are checked as they are read: see below
            found += unbounded(part, name)
    assert not found
    assert list(unbounded({"type": "object", "properties": {"a": {"type": "number", "minimum": 0}}}, "x")) == ["x.a"]


NUMBERS = [
    "architecture.width",
    "architecture.depth",
    "threshold",
    "normalisation.limit",
    "normalisation.compression",
    "normalisation.noise_span",
    "normalisation.background",
    "calibration.gain",
    "calibration.quantile",
    "calibration.images",
    "seed",
    "format",
    "scores.all.mae",
    "data.0.images",
]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "1e300", "-1e300", "9" * 400, "9" * 5000])
@pytest.mark.parametrize("field", NUMBERS)
def test_a_number_out_of_all_bounds_is_refused(tmp_path: Path, field: str, number: str) -> None:
    model = write_tiny(tmp_path)
    card = json.loads((model / "model.json").read_text())
    card["calibration"] = {"data": "mine", "images": 20, "groups": 20, "gain": 1.0, "quantile": 1.0}
    *way, last = field.split(".")
    place = card
    for name in way:
        place = place[int(name)] if isinstance(place, list) else place[name]
    place[last] = "HERE"
    (model / "model.json").write_text(json.dumps(card).replace('"HERE"', number))
    with refused(r"model\.json"):
        read_bundle(model)


@pytest.mark.parametrize(
    "card",
    [
        "[" * 1_000_000,
        '{"a":' * 100_000,
        json.dumps({"name": "x" * 1_000_000}),
        json.dumps({"x" * 1_000_000: 1}),
        json.dumps({"format": 10**300}),
    ],
    ids=["brackets", "braces", "long text", "long name", "far future"],
)
def test_a_card_that_goes_on_and_on_is_refused(tmp_path: Path, card: str) -> None:
    model = write_tiny(tmp_path)
    (model / "model.json").write_text(card)
    with refused(r"model\.json"):
        read_bundle(model)


@pytest.mark.parametrize("name", ["=1+1", "@sum", "-a", "a\nb", "a\x1b[2J", "../a", "", "x" * 101])
def test_a_name_that_is_no_word_is_refused(tmp_path: Path, name: str) -> None:
    model = write_tiny(tmp_path)
    card = json.loads((model / "model.json").read_text()) | {"name": name}
    (model / "model.json").write_text(json.dumps(card))
    with refused(r"model\.json: name"):
        read_bundle(model)


@pytest.mark.parametrize("name", MOST_BYTES)
def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, name: str) -> None:
    model = tmp_path / "tiny-model"
    write_bundle(model, replace(tiny_bundle(), known=KnownImages.of([{"inside": 0.9}]), int8=tiny_onnx()))
    os.truncate(model / name, MOST_BYTES[name] + 1)  # a hole, which takes no room on the disk
    with refused(f"its {name} has .* MB, and at most .* MB are read"):
        read_bundle(model)


def zipped(path: Path, *, method: int = zipfile.ZIP_DEFLATED, **others: bytes) -> Path:
    """A model as a zip, with other contents for some of its files: model_json=..."""
    model = write_tiny(path)
    with zipfile.ZipFile(path / "model.zip", "w", method) as archive:
        for file in model.iterdir():
            archive.writestr(file.name, others.get(file.name.replace(".", "_"), file.read_bytes()))
    return path / "model.zip"


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = zipped(tmp_path, model_json=bytes(MOST_BYTES["model.json"] + 1))
    assert bomb.stat().st_size < 1 << 20
    with refused("its model.json has 17 MB", megabytes=4):
        read_bundle(bomb)


def test_a_zip_bomb_that_belies_its_size_is_not_unpacked(tmp_path: Path) -> None:
    size = 64 << 20
    bomb = zipped(tmp_path, model_json=bytes(size))
    bomb.write_bytes(bomb.read_bytes().replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with zipfile.ZipFile(bomb) as archive:
        assert archive.getinfo("model.json").file_size == 1000
    with refused("cannot be read as a model", megabytes=4):
        read_bundle(bomb)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_can_only_be_unpacked_as_a_whole_is_not(tmp_path: Path, method: int) -> None:
    with refused("packed by an unusual method; zip it again"):
        read_bundle(zipped(tmp_path, method=method))


def add(archive: Path, name: str, mode: int = stat.S_IFREG | 0o644, content: bytes = b"/etc/passwd") -> None:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(entry, content)


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "a/../../outside", "C:/windows", "..\\outside", "//a/b"])
def test_a_zip_with_names_that_lead_out_of_it_is_refused(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path)
    add(archive, name)
    with refused("in it leads out of it"):
        read_bundle(archive)


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path)
    add(archive, "README.txt", stat.S_IFLNK | 0o777)
    with refused(r"'README\.txt' in it is a link"):
        read_bundle(archive)


def test_a_zip_of_very_many_files_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path)
    with zipfile.ZipFile(archive, "a") as file:
        for k in range(15_000):
            file.writestr(f"{k:030}", b"")
    with refused("as a zip it is damaged, or for far more than 3 files", megabytes=4):
        read_bundle(archive)


def test_a_zip_with_a_comment_is_read(tmp_path: Path) -> None:
    archive = zipped(tmp_path)
    with zipfile.ZipFile(archive, "a") as file:
        file.comment = b"made on a Monday" * 1000
    assert read_bundle(archive).version == tiny_bundle().version


def test_a_pipe_is_no_file_of_a_model(tmp_path: Path) -> None:
    model = write_tiny(tmp_path)
    (model / "README.md").unlink()
    os.mkfifo(model / "README.md")
    with refused(r"it has no README\.md"):
        read_bundle(model)


def external(tensor: TensorProto) -> TensorProto:
    """The same tensor, but that its values lie in a file."""
    outside = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    outside.data_location = TensorProto.EXTERNAL
    entry = outside.external_data.add()
    entry.key, entry.value = "location", "secret.bin"
    return outside


TENSOR = numpy_helper.from_array(np.ones(4, np.float32), "values")


def in_initialiser(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.graph.initializer.append(tensor)


def in_attribute(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def in_attributes(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], values=[TENSOR, tensor]))


def in_branch(model: onnx.ModelProto, tensor: TensorProto) -> None:
    branch = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "branch", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch))


def in_branches(model: onnx.ModelProto, tensor: TensorProto) -> None:
    branch = helper.make_graph([], "branch", [], [], [tensor])
    model.graph.node.append(helper.make_node("Own", ["x"], ["y"], graphs=[branch]))


def in_function(model: onnx.ModelProto, tensor: TensorProto) -> None:
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    model.functions.append(helper.make_function("own", "F", [], ["c"], [node], [helper.make_opsetid("", 18)]))


def in_function_default(model: onnx.ModelProto, tensor: TensorProto) -> None:
    in_function(model, TENSOR)
    model.functions[0].attribute_proto.append(helper.make_attribute("value", tensor))


def in_sparse(model: onnx.ModelProto, tensor: TensorProto) -> None:
    indices = numpy_helper.from_array(np.arange(4, dtype=np.int64), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [8]))


def in_training(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.training_info.add().algorithm.initializer.append(tensor)


PLACES = [
    *(in_initialiser, in_attribute, in_attributes, in_branch, in_branches, in_function, in_function_default),
    *(in_sparse, in_training),
]


@pytest.mark.parametrize("put", PLACES)
def test_weights_in_another_file_are_found_wherever_they_are(
    put: Callable[[onnx.ModelProto, TensorProto], None], tmp_path: Path
) -> None:
    model = onnx.load_from_string(tiny_onnx())
    put(model, TENSOR)
    assert not names_other_files(model.SerializeToString())
    model = onnx.load_from_string(tiny_onnx())
    put(model, external(TENSOR))
    assert names_other_files(model.SerializeToString())
    write_bundle(tmp_path / "model", replace(tiny_bundle(), onnx=model.SerializeToString()))
    with refused(r"model\.onnx would have other files read"):
        read_bundle(tmp_path / "model")


def test_our_models_keep_their_weights_inside() -> None:
    for name in shipped():
        assert not names_other_files(read_bundle(find_bundle(name)).onnx)


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 400))
def test_any_bytes_are_told_apart_or_refused(noise: bytes, begin: int, end: int) -> None:
    whole = tiny_onnx()
    for content in (noise, whole[:begin], whole[:begin] + noise + whole[end:]):
        with suppress(ValueError):
            assert names_other_files(content) in (False, True)


def test_a_graph_without_end_is_refused(tmp_path: Path) -> None:
    many = b"\x08\x01" * 1_000_000
    deep = b""
    for _ in range(100):  # a branch in an attribute of a node of a branch ...
        for key in (0x32, 0x2A, 0x0A):
            deep = bytes([key]) + _length(deep) + deep
    for content, told in ((many, "more than"), (b"\x3a" + _length(deep) + deep, "deep"), (b"not ONNX", "no ONNX")):
        write_bundle(tmp_path / "model", replace(tiny_bundle(), onnx=content))
        with refused(told):
            read_bundle(tmp_path / "model")


def _length(content: bytes) -> bytes:
    """The size of a message as protobuf writes it."""
    size, written = len(content), b""
    while size > 127:
        written += bytes([size & 127 | 128])
        size >>= 7
    return written + bytes([size])
