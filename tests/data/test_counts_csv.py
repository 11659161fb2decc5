"""Tables of counts as people and their spreadsheets write them."""

import unicodedata
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmgan.data.faults import Faults
from elmgan.data.naming import Names
from elmgan.data.table import decimal_sign, decoded, find_table, number, read_entries


def counts_in(tmp_path: Path, content: str | bytes, *images: str) -> tuple[dict[str, float | None], Faults]:
    """The counts that are read, and what is told."""
    path, faults = tmp_path / "counts.csv", Faults()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    entries = read_entries(path, images or ("a", "b"), faults)
    return {name: entry.count for name, entry in entries.items()}, faults


@pytest.mark.parametrize(
    "content",
    [
        "Image,Count\na.tif,20\nb.tif,21\n",
        "IMAGE ; COUNT \na.tif;20\nb.tif;21\n",
        "sep=;\r\nimage;count\r\na.tif;20\r\nb.tif;21\r\n",
        '"sep=\t"\nimage\tcount\na.tif\t20\nb.tif\t21\n',
        "SEP=|\nimage|count\na.tif|20\nb.tif|21\n",
        '"","image_name","count"\n"1","a.tif","20"\n"2","b.tif","21"\n',
        " ,Slice,Count,Total Area\n1,a.tif,20,300\n2,b.tif,21,400\n",
        "Number,Image,Cells\n1,a.tif,20\n2,b.tif,21\n",
        "Image,File name,Count\n1,a.tif,20\n2,b.tif,21\n",
        "Dateiname;Anzahl\na;20\nb;21\n",
        "nom;nombre\na;20\nb;21\n",
        "nombre;conteo\na;20\nb;21\n",
        "Label,cell_count\na,20\nb,21\n",
        '"image, as saved";file;count;kind, or so\n;a;20;\n;b;21;\n',
        "\r\n\r\nimage,count\r\n\r\na,20\r\n , \r\nb,21\r\n,\r\n",
        "image,count\ra,20\rb,21\r",
        "image,count\nA.TIF,20\n B.Tif ,21\n",
        "image,count\nimages/a.tif,20\n./images/b.tif,21\n",
        "image,count\nC:\\Users\\me\\data\\images\\a.tif,20\nC:\\Users\\me\\data\\images\\b.tif,21\n",
        "image,count\n/home/me/a.png,20\n/home/me/b,21\n",
    ],
)
def test_tables_are_read_whatever_wrote_them(tmp_path: Path, content: str) -> None:
    counts, faults = counts_in(tmp_path, content)
    assert counts == {"a": 20, "b": 21}
    assert faults.lines() == faults.notes() == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_with_umlauts_are_the_same_in_any_encoding(
    tmp_path: Path, encoding: str, form: Literal["NFC", "NFD"]
) -> None:
    content = "Image;Count;Prüfer\nZürich/Größe.tif;20;Müller\nb;21;\n".encode(encoding)
    assert decoded(content) == content.decode(encoding)
    counts, faults = counts_in(tmp_path, content, unicodedata.normalize(form, "Zürich/Größe"), "b")
    assert list(counts.values()) == [20, 21]
    assert faults.lines() == []


@pytest.mark.parametrize(
    ("written", "counts"),
    [
        ("a;20,5|b;21,25", (20.5, 21.25)),
        ("a;20,333|b;21,5", (20.333, 21.5)),
        ("a;20.5|b;21", (20.5, 21)),
        ("a;1,5e1|b;0,333", (15, 0.333)),
        ("a;1234,567|b;7", (1234.567, 7)),
        ("a;|b;21", (None, 21)),
        ("a;NA|b;n/a", (None, None)),
        ("a;-|b;21", (None, 21)),
    ],
)
def test_decimals_and_gaps(tmp_path: Path, written: str, counts: tuple[float | None, ...]) -> None:
    for separator in ";\t":
        lines = ["image;count", *written.split("|")]
        found, faults = counts_in(tmp_path, "\n".join(lines).replace(";", separator))
        assert (found["a"], found["b"]) == counts
        assert faults.lines() == []


def test_a_quoted_decimal_comma_is_read_where_commas_separate(tmp_path: Path) -> None:
    assert counts_in(tmp_path, 'image,count\na,"20,5"\nb,21\n')[0] == {"a": 20.5, "b": 21}


@pytest.mark.parametrize(
    "written", ["1,234", "1.234", "1.234,5", "1,234.5", "1 234", "1\N{NO-BREAK SPACE}234", "1'234"]
)
def test_thousands_separators_are_refused(tmp_path: Path, written: str) -> None:
    _, faults = counts_in(tmp_path, f"image;count\na;{written}\nb;7\n")
    (fault,) = faults.lines()
    assert "line 2: the count of 'a' is" in fault
    assert fault.endswith("write a number such as 12 or 12.5, without a thousands separator")


@pytest.mark.parametrize("written", ["-1", "many", "nan", "inf", "1e999", "12 cells", "1_000", "12%"])
def test_what_is_no_count_is_refused(tmp_path: Path, written: str) -> None:
    (fault,) = counts_in(tmp_path, f"image;count\na;{written}\nb;7\n")[1].lines()
    assert fault.endswith("write a number such as 12 or 12.5")


@given(st.floats(0, 1e6).map(lambda value: round(value, 4)), st.sampled_from(",."))
def test_a_number_is_what_was_written(value: float, sign: str) -> None:
    text = f"{value:.4f}".replace(".", sign)
    assert number(text) == number(text, decimal_sign([text])) == value


@pytest.mark.parametrize(
    "rows",
    [
        "Total,41",
        "SUM:,41",
        "mean,20.5\nSD,0.7",
        "Gesamt,41\nMittelwert,20.5",
        "Total (n=2),41",
        ",41",
        ",,\nSumme,41\n,",
    ],
)
def test_sums_below_the_images_are_left_out_and_told(tmp_path: Path, rows: str) -> None:
    counts, faults = counts_in(tmp_path, f"image,count\na,20\nb,21\n{rows}\n")
    assert counts == {"a": 20, "b": 21}
    assert faults.lines() == []
    assert all("is left out, as the sum or mean of the others" in note for note in faults.notes())
    assert 1 <= len(faults.notes()) <= 2


def test_an_image_named_total_is_an_image(tmp_path: Path) -> None:
    counts, faults = counts_in(tmp_path, "image,count\na,20\ntotal,21\n", "a", "total")
    assert counts == {"a": 20, "total": 21}
    assert faults.notes() == []


def test_a_sum_between_images_is_a_fault(tmp_path: Path) -> None:
    assert (
        "line 3: there is no image 'Total'" in counts_in(tmp_path, "image,count\na,20\nTotal,20\nb,21\n")[1].lines()[0]
    )


def test_two_rows_of_one_image_are_refused(tmp_path: Path) -> None:
    (fault,) = counts_in(tmp_path, "image,count\na.tif,20\nimages/A.tif,20\n")[1].lines()
    assert "line 3: 'images/A.tif' has a row already; remove one" in fault


def test_a_stem_of_two_images_is_refused(tmp_path: Path) -> None:
    _, faults = counts_in(tmp_path, "image,count\nc,20\nx/c.tif,21\nc.tif,3\n", "x/c", "y/c")
    assert [line.split(", ")[1] for line in faults.lines()] == [
        "line 2: 'c' fits x/c and y/c; write the one that is meant",
        "line 4: 'c.tif' fits x/c and y/c; write the one that is meant",
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1", ["1", "sub/1"]),  # a stem alone
        ("1.tif", ["1"]),
        ("sub/1", ["sub/1"]),
        ("sub\\1.TIF", ["sub/1"]),
        ("images/1.tif", ["1"]),
        ("D:/x/sub/1.tif", ["sub/1"]),
        ("7", ["007"]),  # a spreadsheet takes zeros off
        ("Ab", ["Ab"]),
        ("AB", ["Ab", "aB"]),
        ("other/x 2.tif", []),
        ("x  2", ["sub/x 2"]),
        ("v2", []),
        ("b.v2", ["b.v2"]),
        ("", []),
        ("/", []),
    ],
)
def test_the_image_that_is_meant(written: str, meant: list[str]) -> None:
    assert Names(["1", "sub/1", "007", "Ab", "aB", "sub/x 2", "b.v2", "b"]).meant(written) == meant


@given(st.lists(st.from_regex(r"[a-zA-Z0-9]{1,2}(/[a-zA-Z0-9]{1,2})?", fullmatch=True), unique=True, min_size=1))
def test_a_name_in_full_is_never_taken_for_another(images: list[str]) -> None:
    names = Names(images)
    for name in images:
        assert names.meant(f"{name}.tif") == [name]
        assert name in names.meant(name)


@pytest.mark.parametrize("name", ["Counts.CSV", "counts.txt", "COUNTS.tsv", "counts.csv.txt", "count.csv"])
def test_a_table_of_another_name_is_taken_and_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    faults = Faults()
    assert find_table(tmp_path, faults) == tmp_path / name
    assert faults.notes() == [f"{tmp_path / name}: is read as the table of counts"]


def test_which_table_is_meant_has_to_be_clear(tmp_path: Path) -> None:
    for name in ("counts.csv", "counts.txt", "results.csv", ".counts.csv", "~lock.counts.csv#"):
        (tmp_path / name).touch()
    faults = Faults()
    assert find_table(tmp_path, faults) is None
    assert faults.lines() == [f"{tmp_path}: holds counts.csv and counts.txt; keep the one that is meant"]


@pytest.mark.parametrize("name", ["counts.xlsx", "Counts.xls", "counts.ods", "counts.csv.numbers"])
def test_a_spreadsheet_is_told_to_be_saved_as_csv(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / "Results.csv").touch()
    faults = Faults()
    assert find_table(tmp_path, faults) is None
    assert faults.lines() == [f"{name} is there: save it as CSV, to {tmp_path / 'counts.csv'}"]
    assert faults.notes() == [f"{tmp_path / 'Results.csv'}: is not read; a table of counts is named counts.csv"]
    (tmp_path / "counts.csv").touch()
    assert find_table(tmp_path, faults) == tmp_path / "counts.csv"
