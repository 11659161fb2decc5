"""Which images of a data set a file names."""

from pathlib import Path

import pytest

from elmgan.data import Record
from elmgan.errors import UsageError
from elmgan.work.selection import chosen

RECORDS = [
    Record(name, Path(f"images/{name}.tif"), None, None, 1, name, "")
    for name in ("1", "sub/1", "sub/2", "sub/3", "x/3")
]


def names_in(file: Path, content: str | bytes) -> list[str]:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [record.name for record in chosen(RECORDS, file, sides=[("test",), ("validation", "calibration")])]


@pytest.mark.parametrize(
    ("content", "meant"),
    [
        ("1,test\nsub/1,train\n", ["1"]),  # not the one in the folder, which trained
        ("sub/1,test\n1,train\n", ["sub/1"]),
        ("1.tif,test\nsub/3.tif,test\n", ["1", "sub/3"]),
        ("1,validation\nsub/2,calibration\nx/3,train\n", ["1", "sub/2"]),
    ],
)
def test_a_split_names_images_in_full(tmp_path: Path, content: str, meant: list[str]) -> None:
    assert names_in(tmp_path / "split.csv", f"image,side\n{content}") == meant


@pytest.mark.parametrize("name", ["2", "3", "SUB/1", "images/1.tif"])
def test_a_split_with_other_names_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="names 1 that the data set does not have, such as"):
        names_in(tmp_path / "split.csv", f"image,side\n{name},test\n1,test\n")


@pytest.mark.parametrize(
    ("content", "meant"),
    [
        ("2\n", ["sub/2"]),
        ("1.tif\n\n SUB\\2.TIF \n", ["1", "sub/2"]),
        ("images/x/3.tif", ["x/3"]),
        ("\ufeff2.png\r\n".encode("utf-16-le"), ["sub/2"]),
    ],
)
def test_a_list_names_images_as_a_table_does(tmp_path: Path, content: str | bytes, meant: list[str]) -> None:
    assert names_in(tmp_path / "list.txt", content) == meant


@pytest.mark.parametrize(("name", "both"), [("1", "1 and sub/1"), ("3", "sub/3 and x/3"), ("3.tif", "sub/3 and x/3")])
def test_a_name_of_two_images_is_refused(tmp_path: Path, name: str, both: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' fits {both}: write the one that is meant"):
        names_in(tmp_path / "list.txt", f"{name}\nsub/2\n")
