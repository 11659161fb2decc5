import re
from typing import Any, Literal

import numpy as np
import pytest

from bundles import tiny_bundle
from counted_rows import counted_row
from elmgan.apps.results import flags_told
from elmgan.counting import Failure, Model, Row
from elmgan.report import run_record, thumbnail
from elmgan.report.counts import (
    BYTES_OF_PICTURES,
    FLAGGED_PICTURES,
    MOST_FAILED,
    MOST_PICTURES,
    MOST_ROWS,
    OTHER_PICTURES,
    WIDE_PICTURES,
    RowPictures,
    Thumbnails,
    counts_report,
    key_of,
    look_first,
    rows_to_picture,
)
from elmgan.trust import ADVICE, REMEDY
from pages import Links


def record(*learned: Literal["mask", "count"], **fields: Any) -> dict[str, Any]:
    return run_record(Model(tiny_bundle(learned=learned or ("mask", "count"))), {}) | {"seconds": 2.5} | fields


def pictures_of(rows: list[Row], pictures: RowPictures) -> Thumbnails:
    return {key_of(row): pictures for of in rows_to_picture(rows).values() for row in of}


def many(number: int, flagged: int = 0) -> list[Row]:
    """Rows, the last ones flagged; the others have intervals that are the wider the later they come."""
    rows = [counted_row(f"{k:06d}.tif", flags=(), low=0.0, high=3 + k / number) for k in range(number - flagged)]
    return rows + [counted_row(f"flagged{k:06d}.tif") for k in range(flagged)]


def test_the_page_loads_nothing_and_shows_everything() -> None:
    grey = np.random.default_rng(0).random((600, 900), dtype=np.float32)
    image = "<script>alert('x')</script> & {{ facts }} \"'.tif"
    page = counts_report(
        [counted_row(image, unlike="<b>larger</b> cells")],
        [Failure(image="b.tif", error="b.tif is <damaged>")],
        {(image, (1, 1, 1)): RowPictures(thumbnail(grey), thumbnail(grey, grey > 0.5), f"overlays/{image}.png")},
        record(notes=["<i>a note</i>"]),
    )
    read = Links(page)
    assert all(address.startswith("data:") for address in read.loaded)
    assert len(read.loaded) == 3  # two pictures and the icon
    assert read.tags.count("script") == 1  # the page's own
    assert not {"b ", "i "} & set(re.findall(r"<[bi] ", page.partition("<main>")[2]))
    assert "url(" not in page
    assert "@import" not in page
    for shown in (image, "empty", "b.tif is <damaged>", "tiny@", "<i>a note</i>", "<b>larger</b> cells"):
        assert shown in read.text
    assert [address for address in read.linked if not address.startswith("#")] == 2 * [
        "overlays/%3Cscript%3Ealert%28%27x%27%29%3C/script%3E%20%26%20%7B%7B%20facts%20%7D%7D%20%22%27.tif.png"
    ]


def test_only_the_script_of_the_page_may_run() -> None:
    page = counts_report([counted_row("a.tif")], [], {}, record())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy.startswith("default-src 'none';")
    assert "script-src 'sha256-" in policy
    assert not [name for _, name, _ in Links(page).attributes if name.startswith("on")]


def test_a_page_of_masks_alone_shows_objects() -> None:
    rows = [counted_row(f"{objects}.tif", count=None, estimate=None, objects=objects) for objects in (4, 7)]
    read = Links(counts_report(rows, [], pictures_of(rows, RowPictures("data:image", "data:mask")), record("mask")))
    assert read.text.count("This model learned masks alone and cannot count: objects are the separated regions.") == 1
    for shown in ("11objects", "5.5objects per image", "2images segmented"):
        assert shown in read.text
    assert "None" not in read.text


def test_a_page_of_counts_alone_shows_each_image_once() -> None:
    rows = [counted_row("a.tif", objects=None, foreground=None)]
    read = Links(counts_report(rows, [], pictures_of(rows, RowPictures("data:image")), record("count")))
    assert read.text.count("This model learned counts alone: it gives no masks and separates no cells.") == 1
    assert [address for address in read.loaded if address.startswith("data:image")] == ["data:image"]
    assert "outlined" not in read.text
    assert "None" not in read.text


def test_a_page_of_nothing() -> None:
    read = Links(counts_report([], [Failure(image="a", error="damaged")], {}, record()))
    assert "1 image could not be counted" in read.text
    assert "0images counted" in read.text


def test_the_summary_says_what_came_out_and_what_to_do() -> None:
    rows = [
        counted_row("a.tif", flags=("blurred",), count=2),
        counted_row("b.tif", flags=("blurred", "empty"), count=4),
        counted_row("c.tif", flags=(), count=1500, low=1490.0, high=1510.0),
    ]
    read = Links(counts_report(rows, [], {}, record()))
    for shown in (
        "3 images were counted. They show 1\xa0506 cells, 502.0 on average, from 2 to 1500.",
        f"2 of 3 are flagged, mostly blurred (2): {REMEDY['blurred']}. Look at these first.",
        "1 of 3 counts have a 90 % interval, typically ± 10 cells.",
    ):
        assert shown in read.text
    assert "was stopped" in Links(counts_report(rows, [], {}, record(stopped=True))).text
    assert "was stopped" not in read.text
    for shown in ("1 image was counted. It shows 3 cells.", "None is flagged.", "The counts have no interval."):
        assert shown in Links(counts_report([counted_row("a.tif", flags=())], [], {}, record())).text


def test_what_all_images_of_a_quick_count_are_is_said_once() -> None:
    rows = [counted_row("a.tif", flags=("unchecked",)), counted_row("b.tif", flags=("blurred", "unchecked"))]
    page = counts_report(rows, [], pictures_of(rows, RowPictures("data:image")), record())
    read = Links(page)
    assert read.text.count(f"All are unchecked: {ADVICE['unchecked']}.") == 1
    assert "1 of 2 is flagged, blurred" in read.text
    assert page.count("<tr data-flagged>") == 1
    assert read.text.partition("flagged only")[2].count("unchecked") == 2  # in the table each still has it
    assert flags_told(rows)[:2] == [
        f"all are unchecked: {ADVICE['unchecked']}",
        "1 of 2 flagged: do not trust their counts without a look",
    ]
    assert flags_told(rows[:1]) == [f"all are unchecked: {ADVICE['unchecked']}"]


def test_flagged_planes_come_first_then_wide_intervals() -> None:
    rows = [
        counted_row("narrow", flags=(), estimate=99.0, low=80.0, high=120.0),
        counted_row("wide", flags=(), estimate=3.0, low=0.0, high=20.0),
        counted_row("none", flags=()),
        counted_row("flagged", low=1.0, high=2.0),
    ]
    assert [row.image for row in look_first(rows)] == ["flagged", "none", "wide", "narrow"]
    text = Links(counts_report(rows, [], {}, record())).text.partition("flagged only")[2]
    assert text.index("flagged") < text.index("none") < text.index("wide") < text.index("narrow")


@pytest.mark.parametrize(
    ("number", "flagged", "shown"),
    [
        (8, 3, 8),
        (OTHER_PICTURES, 0, OTHER_PICTURES),
        (1000, 0, WIDE_PICTURES + OTHER_PICTURES),
        (1000, 7, 7 + WIDE_PICTURES + OTHER_PICTURES),
        (1000, 900, MOST_PICTURES),
        (1000, 1000, FLAGGED_PICTURES),
    ],
)
def test_flagged_planes_wide_ones_and_a_sample_have_pictures(number: int, flagged: int, shown: int) -> None:
    rows = many(number, flagged)
    chosen = [row for of in rows_to_picture(rows).values() for row in of]
    assert len({key_of(row) for row in chosen}) == len(chosen) == shown
    assert sum(bool(row.flags) for row in chosen) == min(flagged, FLAGGED_PICTURES)
    if flagged < number == 1000:
        assert rows[number - flagged - 1] in chosen  # the widest
        assert rows[0] in chosen  # of the sample


def test_a_page_of_100_000_images_is_small() -> None:
    rows = many(100_000, 40_000)
    failures = [Failure(image=f"f{number}", error="damaged") for number in range(MOST_FAILED + 1)]
    picture = "data:image/jpeg;base64," + 30_000 * "x"
    page = counts_report(rows, failures, pictures_of(rows, RowPictures(picture, picture)), record())
    assert len(page) < 10_000_000
    assert 0 < sum(map(len, re.findall(r'src="([^"]+)"', page))) <= BYTES_OF_PICTURES
    read = Links(page.replace(picture, ""))
    assert "1\xa0000 of 100\xa0000 rows" in read.text
    assert f"The first {MOST_FAILED} of {MOST_FAILED + 1}; failed.csv has all." in read.text
    assert page.count("<tr data-flagged>") >= MOST_ROWS // 2


def test_the_same_count_gives_the_same_page() -> None:
    rows, told = many(3000, 20), record()
    assert counts_report(rows, [], {}, told) == counts_report(rows, [], {}, told)


def test_a_plate_is_shown_as_a_map() -> None:
    rows = [counted_row(f"x_{well}_s{k}.tif", count=10 * k, flags=()) for well in ("A01", "H12") for k in (1, 2)]
    read = Links(counts_report(rows, [], {}, record()))
    wells = {value.partition(":")[0]: value for _, name, value in read.attributes if name == "title"}
    assert wells["A01"] == "A01: 2 images, mean 15.0, 10 to 20"
    assert wells.keys() >= {"A01", "H12"}
    assert read.text.count("15") >= 2
    assert "By name" not in read.text
    assert "Plate" not in Links(counts_report(many(5), [], {}, record())).text


def test_groups_are_summed_up() -> None:
    rows = [counted_row(f"{folder}/{k}.tif", t=t, count=t) for folder in ("a", "b") for k in (1, 2) for t in (1, 3)]
    read = Links(counts_report(rows, [], {}, record()))
    for shown in ("By folder", "By time point", "Cells over time", "a/1.tif, scene 1 t 3 z 1"):
        assert shown in read.text
    assert "By scene" not in read.text
    assert (
        "By name, up to its number"
        in Links(
            counts_report(
                [counted_row(f"{name}_{k}.tif") for name in ("drug", "control") for k in (1, 2)], [], {}, record()
            )
        ).text
    )
