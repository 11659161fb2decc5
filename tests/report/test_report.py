from typing import Any, Literal

import numpy as np

from bundles import tiny_bundle
from elmgan.counting import Failure, Model, Row
from elmgan.report import run_record, thumbnail
from elmgan.report.counts import MOST_ROWS, counts_report
from pages import Links


def row(image: str, **fields: Any) -> Row:
    texts = Row(
        image=image,
        scene=1,
        t=1,
        z=1,
        channel="",
        count=3,
        estimate=3.2,
        low=None,
        high=None,
        objects=3,
        foreground=0.1,
        flags=("empty",),
        unlike="",
        scale=1,
        height=8,
        width=9,
        seconds=1,
        model="tiny@01234567",
    )
    return texts.model_copy(update=fields)


def record(*learned: Literal["mask", "count"]) -> dict[str, Any]:
    return run_record(Model(tiny_bundle(learned=learned or ("mask", "count"))), {}) | {"seconds": 2.5}


def test_the_page_loads_nothing_and_shows_everything() -> None:
    grey = np.random.default_rng(0).random((600, 900), dtype=np.float32)
    image = "<script>alert('x')</script> & $facts.tif"
    page = counts_report(
        [row(image)],
        [Failure(image="b.tif", error="b.tif is <damaged>")],
        {(image, (1, 1, 1)): (thumbnail(grey), thumbnail(grey, grey > 0.5))},
        record(),
    )
    read = Links(page)
    assert all(address.startswith("data:") for address in read.loaded)
    assert len(read.loaded) == 3  # two pictures and the icon
    assert "script" not in read.tags
    assert "url(" not in page
    assert "@import" not in page
    for shown in (image, "3.20", "empty", "b.tif is <damaged>", "tiny@"):
        assert shown in read.text


def test_a_page_of_masks_alone_shows_objects() -> None:
    rows = [row(f"{objects}.tif", count=None, estimate=None, objects=objects) for objects in (4, 7)]
    pictures = {(each.image, each.place): ("data:image", "data:mask") for each in rows}
    read = Links(counts_report(rows, [], pictures, record("mask")))
    assert read.text.count("This model learned masks alone and cannot count: objects are the separated regions.") == 1
    for shown in ("11objects", "5.5objects per image", "7 objects", "2images segmented"):
        assert shown in read.text
    assert "None" not in read.text


def test_a_page_of_counts_alone_shows_each_image_once() -> None:
    rows = [row("a.tif", objects=None, foreground=None)]
    read = Links(counts_report(rows, [], {("a.tif", (1, 1, 1)): ("data:image",)}, record("count")))
    assert read.text.count("This model learned counts alone: it gives no masks and separates no cells.") == 1
    assert [address for address in read.loaded if address.startswith("data:image")] == ["data:image"]
    assert "outlined" not in read.text
    assert "None" not in read.text


def test_a_large_report_stays_small() -> None:
    rows = [row(f"{number}.tif") for number in range(MOST_ROWS + 500)]
    failures = [Failure(image=f"f{number}", error="damaged") for number in range(MOST_ROWS + 1)]
    read = Links(counts_report(rows, failures, {}, record()))
    assert f"The first {MOST_ROWS} of {MOST_ROWS + 500} images; counts.csv has all." in read.text
    assert f"The first {MOST_ROWS} of {MOST_ROWS + 1} images; failed.csv has all." in read.text
    flags = 2  # a head, and the one that the rows have
    assert read.tags.count("tr") == 2 * MOST_ROWS + 1 + len(Row.model_fields) + flags
