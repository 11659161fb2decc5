"""The page that counts in a browser: what it is made of, and its counts in Chromium, opened from the disk."""

import base64
import csv
import gzip
import hashlib
import io
import json
import math
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from axe_playwright_python.sync_playwright import Axe
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from browsers import chromium
from bundles import known, squares, tiny_bundle
from drawn_slides import slide
from elmgan.counting import Model
from elmgan.data.synthetic import SyntheticScene, draw
from elmgan.errors import UsageError
from elmgan.export.counter import RUNTIME, RUNTIME_SCRIPT, RUNTIME_WASM, counter, rules_of, write_counter
from elmgan.images import View, read_image
from elmgan.models import Bundle, find_bundle, read_bundle
from pages import Links

ROOT = Path(__file__).parents[2]
VERSION = "1.30.0"
"""Of the runtime that is tested with."""

SMALL, NUCLEI = (read_bundle(find_bundle(name)) for name in ("nuclei-small", "nuclei"))
WITHIN, OR_CELLS = 0.01, 0.1
"""Of elmgan's count, as far as that of the page may be from it."""

NARROW, WIDE = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
MOST_BYTES = 25_000_000


def runtime_in(folder: Path) -> Path:
    """A folder that looks like the runtime."""
    for name in (RUNTIME_SCRIPT, RUNTIME_WASM):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not " + name.encode())
    (folder / "package.json").write_text(json.dumps({"name": RUNTIME, "version": "0.1<2"}))
    return folder


@pytest.fixture(scope="module")
def runtime() -> Path:
    """The runtime from npm's registry; it stays beside the checkout's environments."""
    folder = ROOT / f".venv-{RUNTIME}-{VERSION}"
    if (folder / RUNTIME_WASM).exists():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"{RUNTIME} cannot be fetched: npm is not installed")
    fresh = ROOT / f".venv-{RUNTIME}-{os.getpid()}"
    fresh.mkdir()
    command = [
        npm,
        "pack",
        "--silent",
        "--fetch-retries",
        "0",
        f"{RUNTIME}@{VERSION}",
        "--pack-destination",
        str(fresh),
    ]
    try:
        done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{RUNTIME} cannot be fetched: {done.stderr.strip()[:200]}")
        with tarfile.open(next(fresh.glob("*.tgz"))) as packed:
            for name in ("package.json", RUNTIME_SCRIPT, RUNTIME_WASM):
                member = packed.extractfile(f"package/{name}")
                assert member is not None
                (fresh / name).parent.mkdir(exist_ok=True)
                (fresh / name).write_bytes(member.read())
        next(fresh.glob("*.tgz")).unlink()
        try:
            fresh.rename(folder)
        except OSError:  # another process was faster
            assert (folder / RUNTIME_WASM).exists()
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


@pytest.fixture(scope="module")
def browser(runtime: Path) -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


class Opened:
    """A page from the disk; what it loads, and errors of its scripts, are noted."""

    def __init__(self, browser: Browser, file: Path, size: dict[str, int] = WIDE, **options: Any) -> None:
        self.page: Page = browser.new_context(viewport=size, accept_downloads=True, **options).new_page()  # type: ignore[arg-type]
        self.page.set_default_timeout(60_000)
        self.loaded: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.loaded.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda told: self.faults.append(told.text) if told.type == "error" else None)
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def count(self, files: Sequence[Path]) -> list[dict[str, str]]:
        """Count files; give the rows of the table that is saved."""
        self.page.set_input_files("#files", list(map(str, files)))
        expect(self.page.locator("html")).to_have_attribute("data-left", "0", timeout=120_000)
        return self.table()

    def table(self) -> list[dict[str, str]]:
        if self.page.locator("#save").is_hidden():
            return []
        with self.page.expect_download() as saved:
            self.page.click("#save")
        return list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text(encoding="utf-8"))))

    def shot(self, name: str, *, full_page: bool = True) -> None:
        if where := os.environ.get("ELMGAN_SCREENSHOTS"):
            self.page.screenshot(path=f"{where}/{name}.png", full_page=full_page)


@pytest.fixture(scope="module")
def small(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the small shipped model."""
    file = tmp_path_factory.mktemp("page") / "counter.html"
    write_counter(file, SMALL, runtime)
    return file


@pytest.fixture(scope="module")
def page(browser: Browser, small: Path) -> Opened:
    return Opened(browser, small)


def drawn(cells: int = 25, seed: int = 5, **scene: Any) -> NDArray:
    rows, columns = scene.pop("rows", 250), scene.pop("columns", 320)
    return draw(SyntheticScene(rows=rows, columns=columns, cells=cells, **scene), rng=np.random.default_rng(seed)).image


def pixels_of(path: Path) -> int:
    with Image.open(path) as image:
        return math.prod(image.size)


def agrees(row: dict[str, str], image: NDArray, bundle: Bundle, **view: Any) -> None:
    """Hold a row of the page against elmgan's result."""
    result = Model(bundle, "onnxruntime", precision="int8").count(image, **view)
    estimate = known(result.estimate)
    assert float(row["estimate"]) == pytest.approx(estimate, rel=WITHIN, abs=OR_CELLS)
    assert float(row["scale"]) == pytest.approx(result.scale, abs=1e-3)
    assert row["flags"] == ";".join(result.flags)
    assert float(row["foreground"]) == pytest.approx(known(result.foreground), abs=0.002)
    assert int(row["objects"]) == pytest.approx(known(result.objects), rel=0.02, abs=1)
    assert (row["low"] == "") == (result.interval is None)
    if result.interval is not None:
        assert float(row["low"]) == pytest.approx(result.interval[0], rel=0.02, abs=0.3)
        assert float(row["high"]) == pytest.approx(result.interval[1], rel=0.02, abs=0.3)
    assert row["channel"] == result.seen_as
    assert row["model"] == bundle.version


# ---- What the file is made of


def test_the_file_holds_all_and_names_nothing_else(tmp_path: Path) -> None:
    html = counter(SMALL, runtime_in(tmp_path))
    links = Links(html)
    assert links.loaded == links.linked == []
    (policy,) = (value for tag, name, value in links.attributes if tag == "meta" and value.startswith("default-src"))
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|unsafe-inline|'self'|\*", policy)
    for kind in ("script", "style"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
        assert f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}" in policy
    held = dict(re.findall(r'<script type="text/plain" id="(\w+)">(.*?)</script>', html, re.DOTALL))
    assert set(held) == {"rules", "script", "wasm", "seeing", "network", "worker"}
    assert gzip.decompress(base64.b64decode(held["network"])) == SMALL.int8
    assert gzip.decompress(base64.b64decode(held["wasm"])) == b"not " + RUNTIME_WASM.encode()
    assert json.loads(held["rules"]) == json.loads(json.dumps(rules_of(SMALL)))
    assert not re.search(r"\b(?:fetch|XMLHttpRequest|WebSocket|sendBeacon|EventSource)\b", held["worker"] + html)


def test_texts_of_a_model_stay_texts(tmp_path: Path) -> None:
    nasty = "</script><script>alert(1)</script><!-- <b>"
    bundle = tiny_bundle()
    card = bundle.card.model_copy(update={"description": nasty, "training": {"diameter": (1.0, 9.0)}})
    html = counter(replace(bundle, card=card), runtime_in(tmp_path))
    assert Links(html).tags.count("script") == 7
    assert nasty not in html
    assert nasty in Links(html).text
    assert "0.1&lt;2" in html


def test_what_is_no_runtime_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no unpacked onnxruntime-web .*npm pack onnxruntime-web"):
        counter(SMALL, tmp_path)
    (tmp_path / "package.json").write_text('{"name": "left-pad", "version": "1"}')
    with pytest.raises(UsageError, match="is the package left-pad, not onnxruntime-web"):
        counter(SMALL, tmp_path)
    runtime = runtime_in(tmp_path)
    (runtime / RUNTIME_WASM).unlink()
    with pytest.raises(UsageError, match=r"has no dist/ort-wasm.*take another version"):
        counter(SMALL, runtime)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"architecture": tiny_bundle().card.architecture.model_copy(update={"norm": "instance"})},
            "cannot read images",
        ),
        ({"view": View(cells="dark")}, "counts with cells dark, which the page cannot"),
        ({"view": View(channel="DAPI")}, "counts with channel DAPI"),
    ],
)
def test_models_that_the_page_cannot_count_with_are_refused(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    bundle = tiny_bundle()
    with pytest.raises(UsageError, match=told):
        counter(replace(bundle, card=bundle.card.model_copy(update=changed)), runtime_in(tmp_path))


# ---- What it reads


def test_every_way_to_store_an_image_gives_the_same_count(page: Opened, tmp_path: Path) -> None:
    cells = drawn(12, rows=140, columns=190).astype(np.float64)
    deep = (cells / cells.max() * 60_000).round().astype(np.uint16)
    plain = (deep >> 8).astype(np.uint8)
    colour = np.stack([plain, plain // 2, plain // 3], axis=2)
    alpha = np.full((*plain.shape, 1), 77, np.uint8)
    for name, image in {"deep": deep, "plain": plain, "colour": colour}.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), image[..., ::-1] if image.ndim == 3 else image)
        rgb: dict[str, Any] = {"photometric": "rgb"} if image.ndim == 3 else {}
        for compression in ("lzw", "zlib", "packbits", None):
            for predictor in (False, True):
                if predictor and compression not in ("lzw", "zlib"):
                    continue
                told = f"{name}-{compression}-{predictor}"
                tifffile.imwrite(tmp_path / f"{told}.tif", image, compression=compression, predictor=predictor, **rgb)
    tifffile.imwrite(tmp_path / "deep-tiles.tif", deep, tile=(64, 96), compression="lzw")
    tifffile.imwrite(tmp_path / "deep-big.tif", deep, byteorder=">", rowsperstrip=7)
    tifffile.imwrite(tmp_path / "plain-strips.tif", plain, rowsperstrip=11, compression="zlib")
    planes = np.ascontiguousarray(colour.transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "colour-apart.tif", planes, photometric="rgb", planarconfig="separate")
    cv2.imwrite(str(tmp_path / "colour-alpha.png"), np.concatenate([colour[..., ::-1], alpha], axis=2))
    files = sorted(tmp_path.iterdir())
    rows = page.count(files)[-len(files) :]
    assert len(rows) == len(files) > 20
    expected = {"deep": deep, "plain": plain, "colour": colour}
    for name, image in expected.items():
        of = [row for row in rows if row["image"].startswith(name)]
        agrees(of[0], image, SMALL)
        assert len({row["estimate"] for row in of}) == 1, of
    assert page.faults == []


REFUSED: dict[str, tuple[NDArray, dict[str, Any], str]] = {
    "stack.tif": (np.zeros((2, 40, 40), np.uint8), {"photometric": "minisblack"}, "holds 2 planes"),
    "imagej.tif": (np.zeros((3, 40, 40), np.uint8), {"imagej": True}, "holds 3 planes"),
    "channels.tif": (
        np.zeros((40, 40, 2), np.uint8),
        {"planarconfig": "contig", "photometric": "minisblack"},
        "has 2 channels",
    ),
    "float.tif": (np.zeros((40, 40), np.float32), {}, "has 32 bits in a pixel"),
    "signed.tif": (np.zeros((40, 40), np.int16), {}, "has signed numbers"),
    "big.tif": (np.zeros((40, 40), np.uint8), {"bigtiff": True}, "is a BigTIFF"),
    "jpeg.tif": (np.zeros((40, 40), np.uint8), {"compression": "jpeg"}, "compressed in a way that this page does not"),
}


def test_what_is_not_read_is_refused_with_a_sentence(page: Opened, tmp_path: Path) -> None:
    told = {}
    for name, (image, options, sentence) in REFUSED.items():
        tifffile.imwrite(tmp_path / name, image, **options)
        told[name] = sentence
    contents = {
        "cut.png": (cv2.imencode(".png", drawn())[1].tobytes()[:-400], "is damaged or cut off"),
        "cut.jpg": (cv2.imencode(".jpg", drawn())[1].tobytes()[:-400], "is cut off"),
        "cut.tif": (_tiff(drawn())[:-400], "is damaged or cut off"),
        "text.tif": (b"a,b\n1,2\n", "is no PNG, JPEG or TIFF"),
        "<img src=x onerror=document.title=1>.png": (b"\x89PNG\r\n\x1a\n", "is damaged or cut off"),
    }
    stains = np.zeros((250, 320, 3), np.uint8)
    stains[..., 2], stains[..., 0] = drawn(seed=1), drawn(seed=2)
    contents["merge.png"] = cv2.imencode(".png", stains)[1].tobytes(), "shows several stains, in red and blue"
    for name, (content, sentence) in contents.items():
        (tmp_path / name).write_bytes(content)
        told[name] = sentence
    before = len(page.table())
    assert len(page.count(sorted(tmp_path.iterdir()))) == before
    shown = {row.locator("th").inner_text(): row.inner_text() for row in page.page.locator("tr.failed").all()}
    assert shown.keys() == told.keys()
    for name, sentence in told.items():
        assert sentence in shown[name]
    assert page.page.title() == "elmgan: count cells"
    assert page.faults == []
    page.page.select_option("#channel", "3")
    row = page.count([tmp_path / "merge.png"])[-1]
    page.page.select_option("#channel", "auto")
    agrees({**row, "channel": ""}, stains[..., ::-1], SMALL, channel=3)
    page.shot("counter-refused")


def _tiff(image: NDArray) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, image)
    return file.getvalue()


# ---- What it counts


def test_it_counts_as_elmgan_does(page: Opened, tmp_path: Path) -> None:
    """Sizes that need padding and tiles, another scale, slopes, dark cells, nothing at all."""
    down, across = np.mgrid[-1:1:250j, -1:1:320j]
    images = {
        "odd": drawn(30, rows=203, columns=331),
        "large": drawn(60, seed=3, rows=200, columns=1400),
        "coarse": drawn(14, seed=4, radius=40, rows=500, columns=600),
        "slope": np.clip(100 * drawn() + 9000 * down - 5000 * across + 14000, 0, 65535).astype(np.uint16),
        "dark": 255 - drawn(),
        "nothing": np.random.default_rng(0).normal(1000, 5, (300, 300)).astype(np.uint16),
        "stained": slide(40),
        "saturated": np.minimum(drawn().astype(np.uint16) * 3, 255).astype(np.uint8),
    }
    files = []
    for name, image in images.items():
        files.append(tmp_path / f"{name}.tif")
        tifffile.imwrite(files[-1], image, photometric="rgb" if image.ndim == 3 else "minisblack")
    for row, image in zip(page.count(files)[-len(files) :], images.values(), strict=True):
        agrees(row, image, SMALL)
    page.page.select_option("#scale", "factor")
    page.page.fill("#size", "0.5")
    agrees(page.count([tmp_path / "coarse.tif"])[-1], images["coarse"], SMALL, scale=0.5)
    page.page.fill("#size", "20")
    page.page.set_input_files("#files", [tmp_path / "coarse.tif"])
    expect(page.page.locator("#alert")).to_have_text("The factor is 20; expected 0.1 to 10.")
    page.page.select_option("#scale", "auto")
    assert page.faults == []
    assert {url.partition(":")[0] for url in page.loaded} <= {"file", "blob"}


@pytest.mark.slow
def test_real_images_are_counted_within_one_per_cent(
    browser: Browser, runtime: Path, shared_data: Path, tmp_path: Path
) -> None:
    folders = {"bbbc039/images/*.tif": (2, 400_000), "dsb2018/images/*.png": (18, 90_000)}
    files: list[Path] = []
    for pattern, (number, pixels) in folders.items():
        found = [path for path in sorted(shared_data.glob(pattern)) if pixels_of(path) <= pixels]
        files += found[:: len(found) // number][:number]
    assert len(files) == 20
    page = tmp_path / "counter.html"
    write_counter(page, NUCLEI, runtime)
    assert page.stat().st_size < MOST_BYTES
    opened, model = Opened(browser, page), Model(NUCLEI)
    for row, path in zip(opened.count(files), files, strict=True):
        estimate = known(model.count(read_image(path)).estimate)
        assert float(row["estimate"]) == pytest.approx(estimate, rel=WITHIN, abs=OR_CELLS), path


# ---- What it looks like


def orange(png: bytes) -> float:
    """Share of a picture's pixels that are."""
    with Image.open(io.BytesIO(png)) as picture:
        red, _, blue = np.moveaxis(np.asarray(picture.convert("RGB"), int), 2, 0)
    return float((red > blue + 80).mean())


def test_it_can_be_looked_at(browser: Browser, small: Path, tmp_path: Path) -> None:
    """The picture of docs/counter.md is "counter"."""
    noise = np.random.default_rng(0).normal(0, 25, (250, 320))
    cv2.imwrite(str(tmp_path / "drawn cells.png"), drawn(60, rows=384, columns=576))
    tifffile.imwrite(tmp_path / "noisy.tif", np.clip(drawn().astype(float) + noise, 0, 255).astype(np.uint8))
    opened = Opened(browser, small, {"width": 900, "height": 1180})
    opened.count([tmp_path / "drawn cells.png"])
    opened.shot("counter", full_page=False)
    opened.count([tmp_path / "noisy.tif"])
    for size, scheme in ((WIDE, "light"), (NARROW, "dark")):
        opened.page.set_viewport_size(size)  # type: ignore[arg-type]
        opened.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        opened.shot(f"counter-{scheme}")
        assert opened.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        found = Axe().run(opened.page).response["violations"]
        assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
    picture = opened.page.locator("figure .stage").first
    assert 0.005 < orange(picture.screenshot()) < 0.2
    opened.page.get_by_label("outlines").first.uncheck()
    assert orange(picture.screenshot()) < 0.001


def test_the_table_is_copied(page: Opened, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "=1+1.png"), squares(9).astype(np.uint16))
    page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    row = page.count([tmp_path / "=1+1.png"])[-1]
    assert row["image"] == "'=1+1.png"
    page.page.click("#copy")
    expect(page.page.locator("#copy")).to_have_text("Copied")
    header, *_, cells, end = page.page.evaluate("navigator.clipboard.readText()").split("\n")
    assert dict(zip(header.split("\t"), cells.split("\t"), strict=True)) == row
    assert end == ""
