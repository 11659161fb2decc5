import os
import resource
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from elmgan.errors import OutputError
from elmgan.files import whole_file
from elmgan.images import read_image, write_labels, write_mask, write_png

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=40)


@given(arrays(np.bool_, SHAPES))
def test_a_mask_comes_back(tmp_path_factory: pytest.TempPathFactory, mask: NDArray[np.bool_]) -> None:
    path = tmp_path_factory.getbasetemp() / "mask.tif"
    write_mask(path, mask)
    np.testing.assert_array_equal(read_image(path), np.where(mask, 255, 0))
    np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.where(mask, 255, 0))
    assert read_image(path).dtype == np.uint8


@given(arrays(np.uint32, SHAPES))
def test_labels_come_back(tmp_path_factory: pytest.TempPathFactory, labels: NDArray[np.uint32]) -> None:
    path = tmp_path_factory.getbasetemp() / "labels.tif"
    write_labels(path, labels)
    assert read_image(path).dtype == np.uint32
    np.testing.assert_array_equal(read_image(path), labels)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_picture_comes_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / "a.png"
    write_png(path, picture)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)


def test_files_are_small_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    write_mask(path, np.eye(1000, dtype=np.bool_))
    with tifffile.TiffFile(path) as file:
        assert file.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
    assert path.stat().st_size < 20_000
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_folders_are_made_and_the_suffix_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "counts.csv"
    with whole_file(path) as temporary:
        temporary.write_text("image,count\n")
        assert temporary.suffix == ".csv"
        assert temporary.name.startswith(".")
        assert not path.exists()
    assert path.read_text() == "image,count\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_interrupts_leaves_the_old_file_alone(tmp_path: Path, exception: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("ne")
            raise exception

    with pytest.raises(exception):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_or_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(OutputError, match=r"a\.tif cannot be written \((File exists|Not a directory)\)"):
        write_mask(tmp_path / "taken" / "a.tif", np.ones((2, 2), np.bool_))
    (tmp_path / "b.tif").mkdir()
    with pytest.raises(OutputError, match=r"b\.tif cannot be written \(Is a directory\)"):
        write_mask(tmp_path / "b.tif", np.ones((2, 2), np.bool_))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tif", "taken"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"a\.tif cannot be written \(Permission denied\)"):
        write_mask(tmp_path / "a.tif", np.ones((2, 2), np.bool_))


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file can grow beyond 1000 bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("little_room")
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 1000, (200, 200), dtype=np.uint32)
    with pytest.raises(OutputError, match=r"a\.tif cannot be written \(File too large\); make room"):
        write_labels(tmp_path / "a.tif", noise)
    with pytest.raises(OutputError, match=r"a\.png cannot be written \(File too large\); make room"):
        write_png(tmp_path / "a.png", noise.astype(np.uint8))
    assert list(tmp_path.iterdir()) == []
