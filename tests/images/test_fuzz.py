import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fuzz
from elmgan.errors import ImageError
from elmgan.images.reader import Scene

NUMBER = int(os.environ.get("ELMGAN_FUZZ", "60"))
SEED = 0 if "CI" in os.environ else int.from_bytes(os.urandom(4))


def test_damaged_files_of_all_kinds_are_read_or_refused(tmp_path: Path) -> None:
    assert fuzz.faults(NUMBER, SEED, None, tmp_path) == [], SEED


def test_damaged_files_of_microscopes_are_read_or_refused(tmp_path: Path, shared_data: Path) -> None:
    assert fuzz.faults(NUMBER, SEED, shared_data, tmp_path) == [], SEED


def test_undamaged_files_are_read(tmp_path: Path) -> None:
    files = fuzz.small_files()
    assert len(files) > 25
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        fuzz.try_file(tmp_path / name)


def test_damage_is_the_same_for_a_seed() -> None:
    first, again, other = (list(fuzz.mutants(50, seed, None)) for seed in (3, 3, 4))
    assert first == again != other
    files = fuzz.small_files()
    assert sum(content != files[name] for name, content in first) > 40


class Wrong:
    """A reader that does one thing wrong."""

    def __init__(self, path: Path, axes: str | None) -> None:
        if self.fault == "type on opening":
            raise KeyError("tag")
        if self.fault == "lines":
            raise ImageError("two\nlines")
        if self.fault == "memory":
            raise ImageError("too much") from MemoryError()

    fault = ""
    scenes = (Scene("YX", (8, 9), np.dtype(np.uint8)),)

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        return True

    def read(self, scene: int, **at: Any) -> NDArray:
        if self.fault == "type":
            raise ValueError("strip")
        region = at["region"]
        rows = region.height + (self.fault == "shape")
        return np.zeros((rows, region.width), np.float32 if self.fault == "dtype" else np.uint8)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("", None),
        ("type on opening", KeyError),
        ("type", ValueError),
        ("lines", AssertionError),
        ("memory", AssertionError),
        ("shape", AssertionError),
        ("dtype", AssertionError),
    ],
)
def test_a_reader_that_is_wrong_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, error: type[Exception] | None
) -> None:
    path = tmp_path / "a.tif"
    path.touch()
    monkeypatch.setattr(fuzz, "readers", lambda: (Wrong,))
    monkeypatch.setattr(Wrong, "fault", fault)
    if error is None:
        fuzz.try_file(path)
        return
    with pytest.raises(error):
        fuzz.try_file(path)
