"""The report as a browser shows it: it fits, can be read, sorts and filters, and says nothing on the console."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundles import tiny_bundle
from counted_rows import counted_row
from elmgan.counting import Failure, Model
from elmgan.report import run_record, thumbnail
from elmgan.report.counts import RowPictures, counts_report, key_of

CHROMIUM = shutil.which("chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

SMALLEST_TEXT = """() => Math.min(...[...document.querySelectorAll("body *")]
  .filter(each => [...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())
                  && each.getBoundingClientRect().width && !["SCRIPT", "TITLE"].includes(each.tagName))
  .map(each => {
    const drawing = each.closest("svg");
    const scale = drawing ? drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width : 1;
    return parseFloat(getComputedStyle(each).fontSize) * scale;
  }))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all that a page may have."""
    grey = np.random.default_rng(0).random((300, 400), dtype=np.float32)
    pictures = RowPictures(thumbnail(grey), thumbnail(grey, grey > 0.9), "overlays/a.png")
    rows = [
        counted_row(
            f"folder with a name {k % 2}/an_image_with_a_long_name_{'AB'[k % 2]}{k % 24 + 1:02d}_field_{k}.tif",
            t=k % 3 + 1,
            count=1000 * k,
            estimate=1000.0 * k,
            low=0.0,
            high=k + 1.0,
            flags=("unlike-training", "object-size", "debris") if k == 7 else (),
            unlike="larger cells (3 times)" if k == 7 else "",
        )
        for k in range(30)
    ]
    record = run_record(Model(tiny_bundle()), {"labels": False}, "elmgan count images -o out") | {"seconds": 1.0}
    failures = [Failure(image="broken.tif", error="is damaged: save it again")]
    page = tmp_path_factory.mktemp("report") / "report.html"
    page.write_text(counts_report(rows, failures, {key_of(row): pictures for row in rows}, record), encoding="utf-8")
    return page


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(browser: Any, report: Path, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else said.append(request.url))
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(SMALLEST_TEXT) >= 12
    assert said == []
    page.close()


def test_its_table_sorts_and_filters(browser: Any, report: Path) -> None:
    page = browser.new_page()
    page.set_default_timeout(5000)
    page.goto(report.as_uri())
    counts = page.locator("table.sortable td[data-name=count]:visible")
    assert counts.first.inner_text() == "7000"  # the flagged one
    head = page.get_by_role("button", name="count", exact=True)
    head.press("Enter")
    assert counts.first.inner_text() == "0"
    head.click()
    assert counts.first.inner_text() == "29000"
    page.get_by_label("flagged only").check()
    assert counts.all_inner_texts() == ["7000"]
    assert page.locator("output").inner_text() == "1 of 30 shown"
    page.get_by_label("flagged only").uncheck()
    page.get_by_label("Name or flag").fill("FIELD_3")
    assert counts.all_inner_texts() == ["3000"]
    page.close()
