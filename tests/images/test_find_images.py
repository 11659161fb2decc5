import errno
import os
from pathlib import Path, PurePosixPath

import pytest

from elmgan.errors import UsageError
from elmgan.images import find_images


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def relative(*paths: Path) -> list[str]:
    return [str(image.relative) for image in find_images(paths)]


def test_folders_are_searched_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "a10.tif", "A2.TIF", "a1.tif", "b/deep/x.PNG", "b/y.jpeg", "B.jpg", "notes.txt", "none")
    touch(tmp_path, ".hidden.tif", ".thumbnails/t.png", "._a1.tif")
    assert relative(tmp_path) == ["a1.tif", "A2.TIF", "a10.tif", "b/deep/x.PNG", "b/y.jpeg", "B.jpg"]
    assert find_images([tmp_path])[3].path == tmp_path / "b/deep/x.PNG"


def test_files_are_taken_as_given(tmp_path: Path) -> None:
    touch(tmp_path, "sub/b.tif", "a.czi", ".c.tif")
    given = [tmp_path / "sub/b.tif", tmp_path / "a.czi", tmp_path / ".c.tif"]
    found = find_images(given)
    assert [image.path for image in found] == given
    assert [image.relative for image in found] == [PurePosixPath(path.name) for path in given]


def test_no_file_is_counted_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "sub/b.tif", "a.tif")
    monkeypatch.chdir(tmp_path)
    assert relative(Path("a.tif"), tmp_path / "a.tif", Path("sub/../a.tif")) == ["a.tif"]
    assert relative(Path("sub/b.tif"), tmp_path) == ["b.tif", "a.tif"]


def test_links_are_images_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif")
    (tmp_path / "b.tif").symlink_to("a.tif")
    assert relative(tmp_path) == ["a.tif", "b.tif"]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.tif does not exist; check its name and folder$"):
        find_images([tmp_path / "nowhere.tif", tmp_path / "nor here.tif"])
    touch(tmp_path, "notes.txt")
    with pytest.raises(UsageError, match=r"/test_[^:]* holds no image; elmgan reads \.jpeg \.jpg \.png \.tif \.tiff"):
        find_images([tmp_path])
    with pytest.raises(UsageError, match=r"cannot be read \(Not a directory\)"):
        find_images([tmp_path / "notes.txt" / "a.tif"])


def test_one_that_is_missing_among_others_is_left_to_the_reading(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "empty/notes.txt")
    assert relative(tmp_path / "nowhere", tmp_path / "a.tif", tmp_path / "empty") == ["nowhere", "a.tif", "empty"]


def test_the_folder_one_is_in_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.tif", "empty/notes.txt")
    monkeypatch.chdir(tmp_path / "empty")
    assert relative(Path(), tmp_path / "a.tif") == ["empty", "a.tif"]


def test_a_folder_that_may_not_be_looked_into_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.tif", "closed/b.tif", "open/c.tif")
    scandir = os.scandir

    def scandir_with_permission(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir_with_permission)
    assert relative(tmp_path) == ["a.tif", "closed", "open/c.tif"]
    assert relative(tmp_path / "closed") == ["closed"]
