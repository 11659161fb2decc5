import pytest

from counted_rows import counted_row
from elmgan.report.groups import LARGE_PLATE, SMALL_PLATE, Plate, beginnings, groups_by, plates_of, wells_of

# Each as a microscope or a published set writes it.
NAMED = [
    (["SIMCEPImages_A05_C18_F1_s03_w1.TIF", "SIMCEPImages_P24_C1_F1_s03_w1.TIF"], [(0, 4), (15, 23)]),
    (
        ["IXMtest_A02_s1_w1CE70AD49-290D-4312-82E6.tif", "IXMtest_H12_s9_w1B03AD49-290D-4312-82E6.tif"],
        [(0, 1), (7, 11)],
    ),
    (["r02c03f01p01-ch1sk1fk1fl1.tiff", "r16c24f01p01-ch1sk1fk1fl1.tiff"], [(1, 2), (15, 23)]),
    (["MFGTMP_B03f00d0.TIF", "MFGTMP_B04f00d0.TIF"], [(1, 2), (1, 3)]),
    (["plate/A1/field 1.tif", "plate/B12/field 1.tif"], [(0, 0), (1, 11)]),
]
NOT_NAMED = [
    ["C1.tif", "C2.tif", "C3.tif"],
    ["img_Q01.tif", "img_A25.tif", "img_A00.tif"],
    ["SA01.tif", "SB02.tif"],
    ["A01_1.tif", "A01_2.tif"],
    ["A01.tif", "B02.tif", "cells.tif"],
    [],
]


@pytest.mark.parametrize(("names", "places"), NAMED)
def test_wells_are_guessed_from_names(names: list[str], places: list[tuple[int, int]]) -> None:
    found = wells_of(names)
    assert [found[name][1:] for name in names] == places
    assert {plate for plate, *_ in found.values()} == {"plate" if "/" in names[0] else ""}


@pytest.mark.parametrize("names", NOT_NAMED)
def test_no_well_is_guessed_where_names_do_not_tell(names: list[str]) -> None:
    assert wells_of(names) == {}


def test_a_plate_sums_up_its_wells() -> None:
    rows = [
        counted_row("p1/A01_1.tif"),
        counted_row("p1/A01_2.tif", flags=()),
        counted_row("p1/B02.tif", flags=()),
        counted_row("p2/H12.tif", flags=()),
    ]
    first, second = plates_of(rows, [3, 6, 7, 9], wells_of(row.image for row in rows))
    assert (first.name, second.name) == ("p1", "p2")
    well = first.wells[0]
    assert (well.row, well.column, well.group.name) == (0, 0, "A01")
    assert (well.group.planes, well.group.total, well.group.mean, well.group.flagged) == (2, 9, 4.5, 1)
    assert well.group.deviation == pytest.approx(4.5**0.5)
    assert first.shape == second.shape == SMALL_PLATE
    assert Plate("", plates_of(rows[:1], [3], {"p1/A01_1.tif": ("", 8, 0)})[0].wells).shape == LARGE_PLATE


def test_groups_are_in_the_order_of_the_images() -> None:
    rows = [counted_row(name) for name in ("b/1.tif", "a/1.tif", "b/2.tif")]
    groups = groups_by(rows, [1, 5, 4], lambda row: row.image.partition("/")[0])
    assert [(group.name, group.planes, group.total, group.least, group.most) for group in groups] == [
        ("b", 2, 5, 1, 4),
        ("a", 1, 5, 5, 5),
    ]
    assert groups[1].deviation is None


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (
            ["control_1_w1.tif", "control_2_w1.tif", "drug_1_w1.tif", "drug_2_w1.tif"],
            ["control", "control", "drug", "drug"],
        ),
        (["x/drug-5uM (1).tif", "x/drug-5uM (2).tif", "a-1.tif", "a-2.tif"], ["drug-5uM", "drug-5uM", "a", "a"]),
        (["a1.tif", "b1.tif", "c1.tif"], None),
        (["1.tif", "2.tif", "a1.tif", "a2.tif"], None),
        (["img_1.tif", "img_2.tif"], None),
    ],
)
def test_groups_are_guessed_from_how_names_begin(names: list[str], found: list[str] | None) -> None:
    assert beginnings(names) == (dict(zip(names, found, strict=True)) if found else {})
