"""Files that appear whole, tables that no spreadsheet takes for formulas, and what a power cut leaves."""

import csv
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import tiny_bundle
from elmgan.errors import OutputError
from elmgan.files import FORMULA, cell_of, remove_unfinished, text_of, whole_file, write_table, write_text
from elmgan.models import write_bundle

ODD = st.sampled_from(["=", "+", "-", "@", "'", "\t", "\r", "1", ".", "e", "a"])
TEXTS = st.text(ODD, max_size=6) | st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.floats() | st.integers()


@given(TEXTS)
def test_a_text_comes_back_from_its_cell(text: str) -> None:
    assert text_of(cell_of(text)) == text


@given(TEXTS)
def test_no_cell_is_a_formula_unless_it_is_a_number(text: str) -> None:
    cell = cell_of(text)
    if cell.startswith(FORMULA):
        float(cell)


@given(NUMBERS, st.sampled_from(["", ".2f", ".6g", "+.3f", ".3e"]))
def test_a_number_is_written_as_it_is(number: float, form: str) -> None:
    assert cell_of(f"{number:{form}}") == f"{number:{form}}"


def test_every_table_is_safe_for_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    names = ["=HYPERLINK(A1)", "+1+1", "-1+1|cmd", "@SUM(A1)", "'quoted", "-a", "a=b"]
    write_table(path, ["image", "bias"], [{"image": name, "bias": "-0.25"} for name in names])
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert not any(row["image"].startswith(FORMULA) for row in rows)
    assert [text_of(row["image"]) for row in rows] == names
    assert {row["bias"] for row in rows} == {"-0.25"}


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What reaches the disk, in its order: "file" or "folder" with what it is at that moment, and each new name."""
    events: list[tuple[str, str]] = []
    fsync = os.fsync

    def watched(file: Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        kind = "folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file"
        events.append((kind, str(Path(f"/proc/self/fd/{number}").readlink())))
        fsync(file)

    monkeypatch.setattr(os, "fsync", watched)
    for method in ("replace", "rename"):
        change = getattr(Path, method)

        def named(self: Path, target: Path, change: Any = change) -> Path:
            events.append(("name", str(target)))
            return Path(change(self, target))

        monkeypatch.setattr(Path, method, named)
    return events


def test_what_lasts_is_on_the_disk_before_it_has_its_name(tmp_path: Path, done: list[tuple[str, str]]) -> None:
    writers: list[Callable[[Path], None]] = [
        lambda path: write_text(path, "text"),
        lambda path: write_table(path, ["image"], [{"image": "a"}]),
        lambda path: write_bundle(path, tiny_bundle()),
    ]
    for write in writers:
        path = tmp_path / f"{len(done)}.zip"
        done.clear()
        write(path)
        assert [kind for kind, _ in done] == ["file", "name", "folder"]
        assert done[1:] == [("name", str(path)), ("folder", str(tmp_path))]


def test_a_models_folder_is_on_the_disk_before_it_has_its_name(tmp_path: Path, done: list[tuple[str, str]]) -> None:
    path = tmp_path / "model"
    write_bundle(path, tiny_bundle())
    assert [Path(file).name for kind, file in done if kind == "file"] == ["model.json", "model.onnx", "README.md"]
    assert [kind for kind, _ in done] == ["file", "file", "file", "folder", "name", "folder"]
    assert done[-2:] == [("name", str(path)), ("folder", str(tmp_path))]


def test_pictures_do_not_wait_for_the_disk(tmp_path: Path, done: list[tuple[str, str]]) -> None:
    with whole_file(tmp_path / "a.tif") as temporary:
        temporary.write_bytes(b"pixels")
    assert done == [("name", str(tmp_path / "a.tif"))]


def test_a_disk_that_fails_is_told_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "counts.csv"
    write_text(path, "old")

    def broken(file: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OutputError, match=r"counts\.csv cannot be written \(Input/output error\)"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_waited_for_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def files_alone(file: Any) -> None:
        if isinstance(file, int):  # a folder has only its number
            raise OSError(22, "Invalid argument")
        fsync(file)

    monkeypatch.setattr(os, "fsync", files_alone)
    write_text(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.txt").read_text() == "text"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.csv") as temporary:
        left = temporary.name
        temporary.write_text("")
    (tmp_path / "a.csv").unlink()
    others = [".elmgan-lock", ".hidden.csv", "a" * 32, f".{'A' * 32}.csv"]
    for name in (left, *others):
        (tmp_path / name).write_text("")
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(others)
