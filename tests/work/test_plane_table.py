"""Tables of several rows for a plane: kept in a journal, in the order of the images at last."""

import csv
from pathlib import Path

import pytest

from elmgan.counting import Place
from elmgan.errors import OutputError
from elmgan.work.plane_table import PlaneRows, PlaneTable, journal_of, line_of, notes_in, rows_by_plane

IMAGES = ["b.tif", "a.tif", "=1+1.tif", 'odd, "name".tif']


def table(path: Path, *, kept: tuple[str, ...] = (), excel: bool = False, images: list[str] = IMAGES) -> PlaneTable:
    return PlaneTable(path, ["cell", "area"], images=images, kept=kept, excel=excel)


def packed(image: str, place: Place, *lines: str, columns: tuple[str, ...] = (), excel: bool = False) -> bytes:
    return PlaneRows(["cell", "area", *columns], lines, ["told"]).packed((image, place), excel=excel)


def kill(written: PlaneTable, path: Path) -> None:
    """Leave files as a process does that is killed."""
    left = {each: each.read_bytes() for each in (path, journal_of(path)) if each.exists()}
    written.close()
    path.unlink()
    for each, content in left.items():
        each.write_bytes(content)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def places(path: Path) -> list[tuple[str, ...]]:
    return [(row["image"], row["t"], row["z"], row["cell"]) for row in rows_of(path)]


def test_rows_are_in_the_order_of_the_images(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    written = table(path)
    for image in reversed(IMAGES):
        for t in (1, 2):
            written.add(packed(image, (1, t, "max"), "1,5", "2,6"))
    assert not path.exists()
    assert journal_of(path).exists()
    written.close()
    assert not journal_of(path).exists()
    assert path.read_text().splitlines()[:2] == ["image,scene,t,z,cell,area", "b.tif,1,1,max,1,5"]
    expected = [(image, str(t), "max", str(k)) for image in IMAGES for t in (1, 2) for k in (1, 2)]
    assert places(path) == [(image.replace("=", "'="), *rest) for image, *rest in expected]


def test_other_columns_follow(tmp_path: Path) -> None:
    written = table(tmp_path / "cells.csv")
    written.add(packed("a.tif", (1, 1, 1), "1,5,0.5", columns=("mean_GFP",)))
    written.add(packed("b.tif", (1, 1, 1), "1,5,0.25,7", columns=("mean_DAPI", "mean_GFP")))
    written.add(packed("=1+1.tif", (1, 1, 1), "1,5"))
    written.close()
    assert [(row["mean_GFP"], row["mean_DAPI"]) for row in rows_of(tmp_path / "cells.csv")] == [
        ("7", "0.25"),
        ("0.5", ""),
        ("", ""),
    ]
    assert rows_of(tmp_path / "cells.csv")[2]["image"] == "'=1+1.tif"


def test_a_plane_that_is_added_again_or_dropped(tmp_path: Path) -> None:
    written = table(tmp_path / "cells.csv")
    written.add(packed("a.tif", (1, 1, 1), "1,5", "2,5"))
    written.add(packed("b.tif", (1, 1, 1), "1,5"))
    written.add(packed("a.tif", (1, 1, 1), "3,5"))
    written.drop(("b.tif", (1, 1, 1)))
    written.drop(("never.tif", (1, 1, 1)))
    written.close()
    assert places(tmp_path / "cells.csv") == [("a.tif", "1", "1", "3")]


def test_rows_of_kept_images_stay(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    first = table(path)
    for image in IMAGES:
        first.add(packed(image, (1, 1, "max"), "1,5"))
    first.close()
    killed = table(path, kept=tuple(IMAGES[:3]))
    killed.add(packed("b.tif", (1, 1, "max"), "7,5"))
    killed.add(packed("b.tif", (1, 2, "max"), "8,5"))
    kill(killed, path)
    found = rows_by_plane(path, excel=False)
    assert {key: block.rows for key, block in found.items()} == {
        **{(image, (1, 1, "max")): 1 for image in IMAGES},
        ("b.tif", (1, 2, "max")): 1,
    }
    with journal_of(path).open("ab") as journal:  # as a power cut leaves it
        journal.write(packed("a.tif", (1, 1, "max"), "9,9")[:-2])
    again = table(path, kept=("b.tif", 'odd, "name".tif'))
    again.add(packed("a.tif", (1, 3, "mean"), "4,5"))
    again.close()
    assert places(path) == [
        ("b.tif", "1", "max", "7"),
        ("b.tif", "2", "max", "8"),
        ("a.tif", "3", "mean", "4"),
        ('odd, "name".tif', "1", "max", "1"),
    ]


def test_nothing_is_kept_unless_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    first = table(path)
    first.add(packed("a.tif", (1, 1, 1), "1,5"))
    kill(first, path)
    table(path).close()
    assert places(path) == []


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"a,b\n1,2\n", b"image,scene,t,z,cell\na.tif,one,1,1,1\n", b"image,scene,t,z\na\n"]
)
def test_what_is_no_such_table_has_no_rows(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cells.csv"
    path.write_bytes(content)
    journal_of(path).write_bytes(content)
    assert rows_by_plane(path, excel=False) == {}
    table(path, kept=("a.tif",)).close()
    assert places(path) == []


def test_a_table_for_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    written = table(path, excel=True)
    written.add(packed("a.tif", (1, 1, 1), "1;0,5", excel=True))
    written.close()
    assert path.read_bytes() == b"\xef\xbb\xbfimage;scene;t;z;cell;area\na.tif;1;1;1;1;0,5\n"
    assert list(rows_by_plane(path, excel=True)) == [("a.tif", (1, 1, 1))]
    assert rows_by_plane(path, excel=False) == {}
    table(path, kept=("a.tif",), excel=True).close()
    assert path.read_bytes().endswith(b"a.tif;1;1;1;1;0,5\n")


def test_notes_travel_with_the_rows() -> None:
    assert notes_in(packed("a.tif", (1, 1, 1), "1,5")) == ["told"]


def test_no_cell_is_a_formula() -> None:
    assert line_of(["=1+1", "a,b", "-3"], ",") == '\'=1+1,"a,b",-3'


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        table(tmp_path / "file" / "cells.csv")


def test_a_table_that_cannot_be_written_leaves_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.mkdir()
    for whole in (False, True):
        written = table(path)
        written.add(packed("a.tif", (1, 1, 1), "1,5"))
        if whole:
            with pytest.raises(OutputError, match="cannot be written"):
                written.close()
        else:
            written.close(whole=False)
        assert journal_of(path).stat().st_size > 0


def test_a_line_is_one_line() -> None:
    assert line_of(["a\nb\r", "\u2028"], ",") == "a b ,\u2028"
