"""Write a data set folder from public data, with the images to test on marked where a score needs some.

    python experiments/prepare.py SET DATA OUT [SEED]

SET is one of
    nuclei        dsb2018, bbbc039 and bsst265, each plate in one of them only, and the masks of nuinsseg; no test side
    two-sets      dsb2018 and bbbc039 alone, of which the first nuclei was trained
    bbbc005       sites s01 to s04 train, s05 and s06 test
    bbbc005-few   20 images of s01 to s04, spread over counts; the same test side
    vgg-cells     64 of the first 100 images, with their totals alone; the last 100 test

DATA holds dsb2018/, bbbc039/, bsst265/, nuinsseg/, bbbc005/ and vgg_cells/ as they are published, those that SET needs;
OUT must not exist yet. SEED (0) decides which images are drawn.
"""

import csv
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.data import read_data_set, read_labels
from elmgan.images import read_image, write_labels, write_png

SMALLEST = 25
"""BBBC039's objects of fewer pixels are micronuclei and crumbs, not cells."""

PLATE = (520, 696)
"""Size of BBBC039's images. dsb2018 has 90 such: 43 are in BBBC039 too, the others may come from its plate."""


EMBRYO = (
    "20b20ab049372d184c705acebe7af026d3580f5fd5a72ed796e3622e1685af2f",
    "cb4df20a83b2f38b394c67f1d9d4aef29f9794d5345da3576318374ec3a11490",
)
"""Two images of dsb2018 that are neighbouring slices; none of the others that nuclei has are alike."""

COMMON = 20
"""Magnification at which bsst265 trains: there nuclei of all its preparations are of the size of those of dsb2018."""

LARGER = "bsst265 as it is"
"""Kind of the images of bsst265 at a larger magnification. They train nothing."""

BLOCK = 20
"""Consecutive images of nuinsseg, which mostly show one organ."""

HELD_OUT = 0.1
"""Share of the images of bsst265 that choose the best epoch, and as many calibrate; of the blocks of nuinsseg, two."""

SIDES = Path(__file__).parent / "nuclei" / "split.csv"
"""The sides of the images of nuclei: none changes its side from one bundled model to the next."""

TRAINING_SITES, TEST_SITES = ("s01", "s02", "s03", "s04"), ("s05", "s06")
"""Of BBBC005's 25: enough for every count in both stains."""

FEW = 20
"""Images that somebody annotates for her own microscope."""

VGG_POOL, VGG_DRAWN = 100, 64
"""Published results draw their training images from the first 100 and are tested on the rest."""


@dataclass(frozen=True)
class Item:
    """One image to put into the data set; its name begins with its source."""

    name: str
    image: Path
    count: int | None
    group: str
    kind: str
    labels: NDArray[np.uint32] | None = None
    mask: Path | None = None
    split: str = ""
    scale: float = 1
    """By which image and labels are resized."""


def bbbc039(data: Path) -> Iterator[Item]:
    """BBBC039: labels are the connected parts of each value of the mask's first channel; a well is a group."""
    for image in sorted((data / "bbbc039/images").glob("*.tif")):
        values = read_image(data / "bbbc039/masks" / f"{image.stem}.png")[..., 0]
        labels = np.zeros(values.shape, np.uint32)
        cells = 0
        for value in np.unique(values[values > 0]):
            _, parts, stats, _ = cv2.connectedComponentsWithStats((values == value).astype(np.uint8))
            kept = stats[:, cv2.CC_STAT_AREA] >= SMALLEST
            kept[0] = False
            labels += np.where(kept, cells + np.cumsum(kept), 0).astype(np.uint32)[parts]
            cells += int(kept.sum())
        well = re.search(r"_([A-P]\d\d)_s\d", image.stem)
        if well is None:
            raise SystemExit(f"{image} is not named as BBBC039 is")
        yield Item(f"bbbc039/{image.stem}", image, cells, well[1], "bbbc039", labels)


def dsb2018(data: Path) -> Iterator[Item]:
    """Stage 1 of the Data Science Bowl 2018, with its four kinds."""
    with (data / "dsb2018/kinds.csv").open(newline="", encoding="utf-8") as file:
        kinds = {row["stem"]: row["kind"] for row in csv.DictReader(file)}
    for image in sorted((data / "dsb2018/images").glob("*.png")):
        labels = read_labels(data / "dsb2018/labels" / image.name).astype(np.uint32)
        kind = f"dsb2018/{kinds[image.stem]}"
        group = "embryo" if image.stem in EMBRYO else image.stem
        yield Item(f"dsb2018/{image.stem}", image, int(labels.max()), group, kind, labels)


def bsst265(data: Path) -> Iterator[Item]:
    """S-BSST265 at its common magnification; at their own, larger ones are beside it, to be validated on alone."""
    with (data / "bsst265/images.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        image, scale = data / "bsst265/images" / row["image"], COMMON / float(row["magnification"])
        labels = read_labels(data / "bsst265/labels" / f"{image.stem}.png").astype(np.uint32)
        item = Item(f"bsst265/{image.stem}", image, len(np.unique(labels)) - 1, image.stem, "bsst265", labels)
        yield replace(item, scale=scale)
        if scale < 1:
            yield replace(item, name=f"bsst265/as-it-is/{image.stem}", kind=LARGER)


def nuinsseg(data: Path) -> Iterator[Item]:
    """NuInsSeg: masks alone, in which nuclei that touch are one."""
    for image in sorted((data / "nuinsseg/images").glob("*.png"), key=lambda path: int(path.stem)):
        group = f"nuinsseg-{int(image.stem) // BLOCK}"
        yield Item(f"nuinsseg/{image.stem}", image, None, group, "nuinsseg", mask=data / "nuinsseg/masks" / image.name)


def two_sets(data: Path, *, rng: np.random.Generator) -> Iterator[Item]:
    """Both sets, but those of dsb2018 that are BBBC039's, or may be others of its plate. Nothing is drawn."""
    for item in dsb2018(data):
        if item.labels is not None and item.labels.shape != PLATE:
            yield item
    yield from bbbc039(data)


def nuclei(data: Path, *, rng: np.random.Generator) -> Iterator[Item]:
    """All four sets.

    Images whose sides are not known yet get one: some of bsst265 validate, others calibrate, and two blocks of nuinsseg
    validate.
    """
    with SIDES.open(newline="", encoding="utf-8") as file:
        sides = {row["image"]: row["side"] for row in csv.DictReader(file)}
    items = [*two_sets(data, rng=rng), *bsst265(data), *nuinsseg(data)]
    of_groups: dict[str, str] = {}
    for kind, calibrates in (("bsst265", True), ("nuinsseg", False)):
        groups = list(dict.fromkeys(item.group for item in items if item.kind == kind and item.name not in sides))
        share = max(2, round(HELD_OUT * len(groups)))
        marks = ["validation"] * share + ["calibration"] * share * calibrates
        order = [groups[k] for k in rng.permutation(len(groups))]
        of_groups |= dict(zip_longest(order, marks, fillvalue="train"))
    for item in items:
        side = sides.get(item.name) or of_groups.get(item.group, "train")
        if item.kind != LARGER or side == "validation":
            yield replace(item, split=side)


def bbbc005(data: Path, *, rng: np.random.Generator) -> Iterator[Item]:
    """Images in focus of six sites, in both stains; sites, and so groups, are on one side. Nothing is drawn."""
    for record in read_data_set(data / "bbbc005"):
        site = record.group.split("_")[1]
        if record.count is not None and record.mask is not None and site in TRAINING_SITES + TEST_SITES:
            split = "train" if site in TRAINING_SITES else "test"
            name, count = f"bbbc005/{record.name}", int(record.count)
            yield Item(name, record.image, count, record.group, record.kind, mask=record.mask, split=split)


def bbbc005_few(data: Path, *, rng: np.random.Generator) -> Iterator[Item]:
    """The test side of bbbc005, and of its training side one image out of each of so many ranges of the count."""
    items = list(bbbc005(data, rng=rng))
    train = sorted((item for item in items if item.split == "train"), key=lambda item: item.count or 0)
    for alike in np.array_split(np.arange(len(train)), FEW):
        yield train[rng.choice(alike)]
    yield from (item for item in items if item.split == "test")


def vgg_cells(data: Path, *, rng: np.random.Generator) -> Iterator[Item]:
    """Totals alone, the dots being counted and left behind."""
    records = read_data_set(data / "vgg_cells")
    drawn = rng.choice(VGG_POOL, VGG_DRAWN, replace=False)
    for k, record in enumerate(records):
        if record.count is not None and (k in drawn or k >= VGG_POOL):
            split = "test" if k >= VGG_POOL else "train"
            yield Item(f"vgg_cells/{record.name}", record.image, int(record.count), "", "", split=split)


SETS = {
    "nuclei": nuclei,
    "two-sets": two_sets,
    "bbbc005": bbbc005,
    "bbbc005-few": bbbc005_few,
    "vgg-cells": vgg_cells,
}
FOLDERS = {
    "nuclei": ("dsb2018", "bbbc039", "bsst265", "nuinsseg"),
    "two-sets": ("dsb2018", "bbbc039"),
    "bbbc005": ("bbbc005",),
    "bbbc005-few": ("bbbc005",),
    "vgg-cells": ("vgg_cells",),
}
LICENCES = {
    "bbbc039": "CC0",
    "bsst265": "CC0",
    "dsb2018": "CC0",
    "nuinsseg": "CC BY 4.0, Mahbod et al., Scientific Data 2024",
}


def main(name: str, data: Path, out: Path, seed: int = 0) -> None:
    """Write the data set folder, whole or not at all."""
    if out.exists():
        raise SystemExit(f"{out} exists already: name a new folder")
    missing = [str(data / part) for part in FOLDERS[name] if not (data / part).is_dir()]
    if missing:
        raise SystemExit(f"there is no folder {' or '.join(missing)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=".prepare-") as scratch:
        cells = write(Path(scratch, "set"), SETS[name](data, rng=np.random.default_rng(seed)))
        Path(scratch, "set").rename(out)
    print(f"{out}: {len(cells)} images, {sum(cells)} cells")


def write(folder: Path, items: Iterator[Item]) -> list[int]:
    """Write the items as a data set folder and give their counts."""
    rows: list[tuple[str, int | None, str, str, str]] = []
    for item in items:
        image = folder / "images" / f"{item.name}{item.image.suffix.lower()}"
        if item.scale == 1:
            copy(item.image, image)
        else:
            image.parent.mkdir(parents=True, exist_ok=True)
            write_png(image, resized(read_image(item.image), item.scale, cv2.INTER_AREA))
        if item.mask is not None:
            copy(item.mask, folder / "masks" / f"{item.name}{item.mask.suffix.lower()}")
        if item.labels is not None:
            labels = item.labels
            if item.scale != 1:
                labels = resized(labels.astype(np.uint16), item.scale, cv2.INTER_NEAREST).astype(np.uint32)
            write_labels(folder / "labels" / f"{item.name}.tif", labels)
        rows.append((item.name + image.suffix, item.count, item.group, item.kind, item.split))
    with (folder / "counts.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "count", "group", "kind", "split"])
        table.writerows(rows)
    images = Counter(name.split("/")[0] for name, _, _, kind, split in rows if split != "test" and kind != LARGER)
    sources = [
        {"name": name, "licence": LICENCES.get(name, "not stated"), "images": images[name]} for name in sorted(images)
    ]
    (folder / "sources.json").write_text(json.dumps(sources, indent=2) + "\n", encoding="utf-8")
    return [count or 0 for _, count, *_ in rows]


def resized(image: NDArray, scale: float, by: int) -> NDArray:
    """Resize (row, column) or (row, column, channel) by a factor."""
    rows, columns = (round(side * scale) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=by))


def copy(source: Path, target: Path) -> None:
    """Copy a file into a folder that may be missing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5) or sys.argv[1] not in SETS or not all(seed.isdecimal() for seed in sys.argv[4:]):
        raise SystemExit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:]))
