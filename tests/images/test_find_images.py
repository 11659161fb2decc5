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
    return [str(image.relative) for image in find_images(paths).images]


def test_folders_are_searched_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "a10.tif", "A2.TIF", "a1.tif", "b/deep/x.PNG", "b/y.jpeg", "B.jpg", "notes.txt", "none")
    touch(tmp_path, ".hidden.tif", ".thumbnails/t.png", "._a1.tif")
    assert relative(tmp_path) == ["a1.tif", "A2.TIF", "a10.tif", "b/deep/x.PNG", "b/y.jpeg", "B.jpg"]
    assert find_images([tmp_path]).images[3].path == tmp_path / "b/deep/x.PNG"


def test_files_are_taken_as_given(tmp_path: Path) -> None:
    touch(tmp_path, "sub/b.tif", "a.czi", ".c.tif")
    given = [tmp_path / "sub/b.tif", tmp_path / "a.czi", tmp_path / ".c.tif"]
    found = find_images(given).images
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
    with pytest.raises(
        UsageError, match=r"holds no image that is read \(it holds 1 file \.txt\); elmgan reads .*\.png"
    ):
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


def test_what_is_passed_over_is_told_by_kind_and_number(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "b.VSI", "c/d.vsi", "notes.txt", "README", ".hidden", "e.nd", "f.companion.ome")
    found = find_images([tmp_path])
    assert found.passed_over == {".vsi": 2, ".txt": 1, "without an ending": 1}
    assert found.told.startswith("passed over: 2 files .vsi, 1 file .txt, 1 file without an ending; elmgan reads ")
    assert find_images([tmp_path / "a.tif"]).told == ""


def test_a_folder_of_other_kinds_says_what_it_holds_and_how_to_convert_it(tmp_path: Path) -> None:
    touch(tmp_path, "a.vsi", "b.vsi", "c.mrxs")
    with pytest.raises(UsageError, match=r"it holds 2 files \.vsi, 1 file \.mrxs.*Fiji \(Bio-Formats\) or with bf"):
        find_images([tmp_path])


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*_w1*", ["a_w1.tif", "b/c_W1.png"]),
        ("b/*", ["b/c_W1.png", "b/c_w2.png"]),
        ("a_w?.tif", ["a_w1.tif", "a_w2.tif"]),
    ],
)
def test_a_pattern_takes_some_names(tmp_path: Path, pattern: str, names: list[str]) -> None:
    touch(tmp_path, "a_w1.tif", "a_w2.tif", "b/c_W1.png", "b/c_w2.png")
    found = find_images([tmp_path], match=pattern)
    assert [str(image.relative) for image in found.images] == names
    assert found.passed_over == {f"that --match {pattern} leaves out": 2}


def test_a_pattern_that_fits_nothing_says_so(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif")
    with pytest.raises(UsageError, match=r"holds 1 images, and no name fits --match \*_w9\*: \* stands for anything"):
        find_images([tmp_path], match="*_w9*")
    assert [image.path.name for image in find_images([tmp_path / "a.tif"], match="*_w9*").images] == ["a.tif"]


def test_a_folder_that_is_an_image_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Folder:
        kind = "folder"
        suffixes = frozenset({".zarr"})

        @staticmethod
        def recognises(path: Path, start: bytes) -> bool:
            return path.is_dir() and (path / ".zattrs").exists()

    monkeypatch.setattr("elmgan.images.find.readers", lambda: (Folder,))
    touch(tmp_path, "a.zarr/.zattrs", "a.zarr/0/c.zarr", "b/d.ome.zarr/.zattrs")
    assert relative(tmp_path) == ["a.zarr", "b/d.ome.zarr"]
    assert relative(tmp_path / "a.zarr") == ["a.zarr"]
