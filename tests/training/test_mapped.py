"""Things in mapped files: what is put comes back, in memory or not, and a full disk is told."""

import errno
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from elmgan.data import Example
from elmgan.errors import OutputError
from elmgan.training import mapped as module
from elmgan.training.mapped import EXAMPLES, ImageShelf, mapped_folder, opened, put, take

SIZE = 20 * 30 * 6


def examples(number: int) -> list[Example]:
    rng = np.random.default_rng(number)
    return [
        Example(
            name=str(k),
            kind="kind",
            image=rng.random((20, 30), np.float32),
            regions=None if k == 1 else rng.integers(0, 3, (20, 30)).astype(np.uint16),
            shares=None if k == 2 else rng.random(3, np.float32),
            total=None if k == 3 else float(k),
        )
        for k in range(number)
    ]


def assert_same(one: Example, other: Example) -> None:
    for name, value in vars(one).items():
        np.testing.assert_array_equal(getattr(other, name), value, strict=isinstance(value, np.ndarray))


things = st.lists(
    st.one_of(
        st.integers(),
        st.text(),
        arrays.arrays(st.sampled_from([np.float32, np.uint16]), arrays.array_shapes(min_side=0, max_side=5)),
    ),
    max_size=5,
)


@given(first=things, second=things)
def test_what_is_put_comes_back(first: list, second: list, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "mapped"
    with path.open("wb") as file:
        places = [put(first, file), put(second, file)]
    for writable in (False, True):
        mapping = opened(path, writable=writable)
        for thing, place in zip((first, second), places, strict=True):
            found = take(place, mapping)
            assert len(found) == len(thing)
            for one, other in zip(thing, found, strict=True):
                np.testing.assert_array_equal(one, other)
                if isinstance(other, np.ndarray) and other.size:
                    assert other.flags.writeable is writable
                    assert other.ctypes.data % 64 == 0


@pytest.mark.parametrize("room", [0, 2.5 * SIZE, 1e9])
def test_a_shelf_gives_what_it_keeps(room: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = examples(6)
    shelf = ImageShelf(room)
    shelf.keep(kept[:4])
    shelf.keep(iter(kept[4:]))
    found = shelf.examples()
    assert [path.name for path in tmp_path.rglob(EXAMPLES)] == ([] if room == 1e9 else [EXAMPLES])
    shelf.close()
    shelf.close()
    assert not list(tmp_path.iterdir())
    assert len(found) == 6
    for one, other in zip(kept, found, strict=True):
        assert_same(one, other)
    assert all(one is other for one, other in zip(kept, found, strict=True)) is (room == 1e9)


def test_a_full_disk_is_told_and_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(thing: object, file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "put", full)
    with pytest.raises(OutputError, match=r"do not fit into .* \(No space left on device\): make room, name .* TMPDIR"):
        ImageShelf(0).keep(examples(2))
    assert not list(tmp_path.iterdir())


def test_a_temporary_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(OutputError, match=r"no temporary folder can be made .*: name one in the variable TMPDIR"):
        mapped_folder()


@pytest.mark.parametrize("enough", [0, 1 << 62])
def test_memory_is_taken_for_files_where_there_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enough: int
) -> None:
    for name in ("memory", "disk"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "disk"))
    monkeypatch.setattr(module, "FOLDER_OF_MEMORY", tmp_path / "memory")
    monkeypatch.setattr(module, "ENOUGH", enough)
    with mapped_folder(in_memory=True) as folder:
        assert Path(folder).parent.name == ("disk" if enough else "memory")
    with mapped_folder() as folder:
        assert Path(folder).parent.name == "disk"
