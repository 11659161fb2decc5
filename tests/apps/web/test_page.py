"""The page as a person uses it, in a real browser; screenshots go to $ELMGAN_SCREENSHOTS, if that is set.

Those that begin with ``page-`` are the pictures of docs/page.md, of what is first seen.
"""

import base64
import csv
import io
import json
import os
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from browsers import chromium
from bundles import squares
from elmgan.apps.web.jobs import Jobs
from elmgan.apps.web.models import Models
from elmgan.apps.web.refusal import Limits
from elmgan.apps.web.service import Site, create_app
from elmgan.data.synthetic import write_data_set

IMAGES = 22

FAULTS: list[str] = []
"""Errors of scripts of any page."""

NARROW, WIDE = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    jobs = Jobs(tmp_path_factory.mktemp("private"), Models(), Limits())
    server = uvicorn.Server(uvicorn.Config(create_app(Site(jobs)), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
    jobs.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of cells: pictures, a stack, and a file that is damaged and has a nasty name."""
    folder = tmp_path_factory.mktemp("images")
    write_data_set(folder / "set", IMAGES, seed=3, size=(200, 260))
    for path in sorted((folder / "set" / "images").iterdir()):
        path.rename(folder / path.name)
    shutil.rmtree(folder / "set")
    tifffile.imwrite(
        folder / "zstack.tif", np.stack([squares(k) for k in (2, 5)]), imagej=True, metadata={"axes": "TYX"}
    )
    (folder / "<img src=x onerror=document.title=1>.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return folder


def opened(browser: Browser, address: str, size: dict[str, int] = WIDE, **options: Any) -> Page:
    page = browser.new_context(viewport=size, accept_downloads=True, **options).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: FAULTS.append(str(error)))
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    return page


def shot(page: Page, name: str) -> None:
    if where := os.environ.get("ELMGAN_SCREENSHOTS"):
        Path(where).mkdir(parents=True, exist_ok=True)
        whole = not name.startswith("page-") and not page.locator("dialog[open]").count()
        page.screenshot(path=f"{where}/{name}.png", full_page=whole)


DROP = """files => {
  const dropped = new DataTransfer();
  for (const [name, content] of files) {
    dropped.items.add(new File([Uint8Array.from(atob(content), (character) => character.charCodeAt(0))], name));
  }
  const event = new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true });
  document.querySelector("#drop").dispatchEvent(event);
}"""


def drop(page: Page, paths: list[Path]) -> None:
    """Drop files on the page."""
    page.evaluate(DROP, [(path.name, base64.b64encode(path.read_bytes()).decode()) for path in paths])


def type_counts(page: Page, factor: float) -> None:
    """Type so many times what was counted into the column for counts by eye, from the first row on."""
    inputs = page.locator("input.own:not(:disabled)")
    rows = page.locator("tbody tr").filter(has=page.locator("input.own:not(:disabled)"))
    inputs.first.focus()
    for text in rows.locator("td.bar").all_inner_texts():
        page.keyboard.press("Control+a")
        page.keyboard.type(str(round(factor * int(text.replace("\u202f", "")))))
        page.keyboard.press("Enter")


def counted(page: Page, folder: Path) -> None:
    """Choose the images of a folder, and wait until they are counted."""
    page.set_input_files("#files", sorted(map(str, folder.iterdir())))
    expect(page.locator("#state")).to_contain_text("Done", timeout=60_000)


def serious(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found if each["impact"] in ("serious", "critical")
    ]


def test_from_images_to_a_calibrated_model_and_a_table(browser: Browser, address: str, folder: Path) -> None:
    page = opened(browser, address)
    shot(page, "page-start")
    assert serious(page) == []
    counted(page, folder)
    assert page.locator("tbody tr").count() == IMAGES + 2 + 1
    assert page.title() == "elmgan: count cells"  # nothing of a name was run
    expect(page.locator("tr.failed")).to_contain_text("Not counted")
    expect(page.locator("tr.failed th")).to_contain_text("_img src=x")
    shot(page, "counted-wide")
    assert serious(page) == []

    page.select_option("#show", "failed")
    assert page.locator("tbody tr").count() == 1
    page.select_option("#show", "all")
    page.fill("#find", "zstack")
    assert page.locator("tbody tr").count() == 2
    page.fill("#find", "")
    page.click("th[data-key=count] button")
    numbers = [int(text.replace("\u202f", "")) for text in page.locator("td.bar").all_inner_texts()]
    assert numbers == sorted(numbers, reverse=True)
    shot(page, "page-counted")
    page.check("#flagged-first")
    assert "Not counted" in page.locator("tbody tr").first.inner_text() or page.locator("tbody tr details").count() > 0

    page.click("th[data-key=image] button")
    page.uncheck("#flagged-first")
    inputs = page.locator("input.own:not(:disabled)")
    assert inputs.count() == IMAGES
    type_counts(page, 1.5)
    for number in (0, 1, 2):
        inputs.nth(number).fill("")
    inputs.nth(2).blur()
    page.click("#own summary")
    expect(page.locator("#own-body")).to_contain_text("1 more count is needed")
    assert page.locator("#calibrate").is_disabled()
    type_counts(page, 1.5)
    page.click("#calibrate:not(:disabled)")
    page.wait_for_selector("#checks", timeout=60_000)
    assert page.locator("#checks tbody tr").count() == 4
    page.fill("#model-name", "my-microscope")
    shot(page, "calibrated-wide")
    page.locator("#own").scroll_into_view_if_needed()
    page.locator("#save-model").scroll_into_view_if_needed()
    shot(page, "page-fitted")
    assert serious(page) == []
    page.click("#save-model")
    with page.expect_response(lambda answer: answer.url.endswith("/recount")):
        page.click("#count-with")
    expect(page.locator("#state")).to_contain_text("Done", timeout=60_000)

    with page.expect_download() as download:
        page.click("#download")
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert "my-microscope@" in archive.read("counts.csv").decode()
        assert {"counted-by-eye.csv", "failed.csv", "report.html", "masks/zstack.tif"} <= set(archive.namelist())
    assert FAULTS == []


def test_an_image_is_looked_at_corrected_and_counted_again(browser: Browser, address: str, folder: Path) -> None:
    page = opened(browser, address)
    counted(page, folder)
    page.locator("button.picture").first.click()
    page.wait_for_selector("dialog[open]")
    expect(page.locator("#loading")).to_be_hidden()
    shot(page, "page-viewer")
    page.check("[data-layer=mask]")
    page.check("[data-layer=count-map]")
    expect(page.locator("#loading")).to_be_hidden()
    assert serious(page) == []

    page.check("input[value=region]")
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    for x, y in ((0.4, 0.4), (0.6, 0.4), (0.6, 0.6)):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.click("#close-region")
    expect(page.locator("#region-told")).to_contain_text("In the region")

    page.check("input[value=correct]")
    expect(page.locator("#marked")).to_contain_text("cells are marked")
    before = int(page.locator("#marked").inner_text().split()[0])
    page.locator("#canvas").focus()
    page.keyboard.press("+")
    for _ in range(6):  # to a corner, beyond any cell
        page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.locator("#marked")).not_to_contain_text(f"{before} cells")
    after = int(page.locator("#marked").inner_text().split()[0])
    assert abs(after - before) == 1
    expect(page.locator("#own-count")).to_have_value(str(after))
    page.reload()  # the tab still knows its session, and the server the dots
    page.wait_for_selector("html[data-ready]")
    page.locator("button.picture").first.click()
    page.check("input[value=correct]")
    expect(page.locator("#marked")).to_contain_text(f"{after} cells are marked")
    expect(page.locator("#begin-again")).to_be_visible()

    page.click(".again summary")
    page.select_option(".again [name=size]", "scale")
    page.fill(".again [name=scale]", "0.5")
    page.click("#recount-one")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator("#state")).to_contain_text("Done", timeout=60_000)
    expect(page.locator("tbody tr:not(.failed)").first).to_contain_text("scale 0.5")
    assert page.locator("tbody tr").filter(has_text="scale 0.5").count() == 1
    assert page.locator("input.own").first.input_value() == str(after)

    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("tbody tr").count() == IMAGES + 2 + 1
    assert FAULTS == []


@pytest.fixture(scope="module")
def mixed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files as people have them: 30 images, a stack, a broken one, and one of 8192 x 8192."""
    more = tmp_path_factory.mktemp("mixed")
    write_data_set(more / "set", 30 - IMAGES, seed=4, size=(128, 160))
    small = tifffile.imread(more / "set" / "images" / "synthetic_000.tif")
    large = np.full((8192, 8192), np.median(small), small.dtype)
    large[4000:4128, 4000:4160] = small
    tifffile.imwrite(more / "zz-large.tif", large, tile=(512, 512), compression="zlib")
    others = [path.rename(more / f"more-{path.name}") for path in sorted((more / "set" / "images").iterdir())]
    return [*folder.iterdir(), *others, more / "zz-large.tif"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_a_mixed_drop_is_cancelled_counted_again_fitted_and_downloaded(
    browser: Browser, address: str, mixed: list[Path], size: dict[str, int]
) -> None:
    page = opened(browser, address, size)
    page.click("#how summary")
    page.select_option("#how [name=model]", "nuclei-small")
    drop(page, mixed)
    expect(page.locator("tbody tr:not(.failed)")).not_to_have_count(0, timeout=60_000)
    page.click("#cancel")
    expect(page.locator("#state")).to_contain_text("Cancelled", timeout=60_000)
    assert 0 < page.locator("tbody tr").count() < len(mixed) + 1
    assert page.locator("tbody tr").filter(has_text="zz-large.tif").count() == 0

    files = mixed[:-1]
    drop(page, files)
    expect(page.locator("#state")).to_contain_text(f"Done: {len(files)} planes counted", timeout=60_000)
    expect(page.locator("#earlier option")).to_have_count(2)
    page.click("#again summary")
    page.select_option("#again [name=size]", "scale")
    page.fill("#again [name=scale]", "0.5")
    page.click("#recount:not(:disabled)")
    expect(page.locator("#state")).to_contain_text(f"Done: {len(files)} planes counted", timeout=120_000)
    assert page.locator("tbody tr").filter(has_text="scale 0.5").count() == len(files)
    expect(page.locator("tr.failed")).to_contain_text("Not counted")

    type_counts(page, 1.5)
    page.click("#own summary")
    page.click("#calibrate:not(:disabled)")
    page.wait_for_selector("#checks", timeout=120_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert serious(page) == []

    page.locator("button.picture").last.click()
    expect(page.locator("#loading")).to_be_hidden()
    for _ in range(8):
        page.click("#zoom-in")
    page.wait_for_timeout(500)
    shot(page, f"last-{size['width']}")
    page.keyboard.press("Escape")

    with page.expect_download() as download:
        page.click("#download")
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("counts.csv").decode())))
        assert len(rows) == len(files)  # the stack has two, and the broken one none
        assert {row["scale"] for row in rows} == {"0.5"}
        assert len(list(csv.DictReader(io.StringIO(archive.read("counted-by-eye.csv").decode())))) == len(files) - 2
        assert {"report.html", "failed.csv", "overlays/zstack-t2.png"} <= set(archive.namelist())
    assert FAULTS == []


def test_cells_are_measured_and_regions_counted_in_the_download(
    browser: Browser, address: str, folder: Path, tmp_path: Path
) -> None:
    page = opened(browser, address)
    image = min(folder.glob("*.tif"))
    page.set_input_files("#files", str(image))
    expect(page.locator("#state")).to_contain_text("Done", timeout=60_000)
    page.click("#extras summary")
    page.check("#measure")
    page.check("[value=imagej]")
    corners = [[0, 0], [80, 0], [80, 80], [0, 80], [0, 0]]
    drawn = json.dumps({"type": "Polygon", "coordinates": [corners]}).encode()
    (tmp_path / "drawn.geojson").write_bytes(drawn)
    page.set_input_files("#regions", tmp_path / "drawn.geojson")
    expect(page.locator("#regions-told")).to_contain_text("drawn.geojson")
    shot(page, "extras-wide")
    assert serious(page) == []
    with page.expect_download() as download:
        page.click("#download")
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert {"cells.csv", "regions.csv", f"imagej/{image.stem}.zip"} <= set(archive.namelist())
    assert FAULTS == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_a_telephone(browser: Browser, address: str, folder: Path, scheme: str) -> None:
    page = opened(browser, address, NARROW, color_scheme=scheme)
    few = sorted(path for path in folder.iterdir() if path.suffix == ".tif")[:3]
    page.set_input_files("#files", [str(path) for path in few])
    expect(page.locator("#state")).to_contain_text("Done", timeout=60_000)
    expect(page.locator(".picture img[src]")).not_to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    size = "e => parseFloat(getComputedStyle(e).fontSize)"
    texts = "[...document.querySelectorAll('body *')].filter(e => e.innerText)"
    assert min(page.evaluate(f"{texts}.map({size})")) >= 12
    shot(page, f"counted-narrow-{scheme}")
    assert serious(page) == []
    page.locator("button.picture").first.click()
    expect(page.locator("#loading")).to_be_hidden()
    shot(page, f"viewer-narrow-{scheme}")
    assert serious(page) == []
    page.keyboard.press("Escape")
    page.goto(f"{address}/docs")
    page.wait_for_selector("#schemas section")
    assert serious(page) == []
    assert FAULTS == []


def test_two_browsers_are_two_users(browser: Browser, address: str, folder: Path) -> None:
    users, images = [opened(browser, address), opened(browser, address)], sorted(folder.glob("*.tif"))[:2]
    for page, image in zip(users, images, strict=True):  # both at once
        page.set_input_files("#files", str(image))
    for _ in range(2):
        for page, image in zip(users, images, strict=True):
            expect(page.locator("#state")).to_contain_text("Done", timeout=60_000)
            assert page.locator("tbody th").all_inner_texts()[0].startswith(image.name)
            assert page.locator("tbody tr").count() == 1
            page.reload()
            page.wait_for_selector("html[data-ready]")
    third = opened(browser, address)
    assert third.locator("#work").is_hidden()


def test_the_page_opens_fast(browser: Browser, address: str) -> None:
    page = opened(browser, address)
    loaded = page.evaluate("performance.getEntriesByType('resource').reduce((sum, each) => sum + each.transferSize, 0)")
    assert loaded < 300_000
    assert page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") < 1000
