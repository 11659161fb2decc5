"""Small data sets that went wrong for others."""

from pathlib import Path

import pytest

from elmgan.data import read_data_set
from elmgan.errors import DataError


@pytest.fixture
def cases(shared_data: Path) -> Path:
    folder = shared_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}")
    return folder


@pytest.mark.parametrize(
    ("case", "counts"),
    [
        ("capital_headers", [20, 21]),
        ("case_differs", [20, 21]),
        ("decimal_comma", [20.5, 21.5]),
        ("excel_ansi_umlaut", [20, 21]),
        ("image_name_header", [20, 21]),
        ("images_prefix", [20, 21]),
        ("sep_line", [20, 21]),
    ],
)
def test_tables_that_are_read(cases: Path, case: str, counts: list[float]) -> None:
    told: list[str] = []
    assert [record.count for record in read_data_set(cases / f"table_{case}", tell=told.append)] == counts
    assert told == []


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("table_total_row", "line 4: 'Total' is left out, as the sum or mean of the others"),
        ("masks_suffix_mask", "img_0_mask.png: is taken for the mask of img_0.tif, and so on: all 2 names"),
        ("masks_inverted", "img_0.png: 93 % is foreground, and the image is brighter outside: is it inverted?"),
    ],
)
def test_what_is_taken_and_told(cases: Path, case: str, told: str) -> None:
    notes: list[str] = []
    assert len(read_data_set(cases / case, tell=notes.append)) == 2
    assert any(told in note for note in notes)


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("table_xlsx_only", r"faults:\n  counts\.xlsx is there: save it as CSV, to .*counts\.csv$"),
        ("masks_all_black", "img_0.png: the mask of img_0 has no foreground"),
        ("masks_alpha_only", r"img_0\.png: its picture is in the alpha channel"),
        ("masks_are_instance_labels", "masks/ holds 11 numbers: these are instance labels; move them to labels/"),
        (
            "masks_png_from_jpeg",
            "holds 68 values where a mask has two: it has values in between, as after JPEG",
        ),
    ],
)
def test_what_is_refused(cases: Path, case: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_data_set(cases / case)
