"""Write a data set folder from public data that `elmgan train` cannot read as they are.

    python experiments/prepare.py nuclei DATA OUT    dsb2018 and bbbc039, each plate in one of them only

DATA is the folder that holds dsb2018/ and bbbc039/ as they are published; OUT must not exist yet.
"""

import csv
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.data import read_labels
from elmgan.imaging import read_image, write_labels

SMALLEST = 25
"""BBBC039's objects of fewer pixels are micronuclei and crumbs, not cells."""

PLATE = (520, 696)
"""Size of BBBC039's images. dsb2018 has 90 such: 43 are in BBBC039 too, the others may come from its plate."""


@dataclass(frozen=True)
class Item:
    """One image to put into the data set."""

    name: str
    image: Path
    count: int
    group: str
    kind: str
    labels: NDArray[np.uint32]


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
        yield Item(f"dsb2018/{image.stem}", image, int(labels.max()), image.stem, kind, labels)


def nuclei(data: Path) -> Iterator[Item]:
    """Both sets, but those of dsb2018 that are BBBC039's images, or may be others of its plate."""
    for item in dsb2018(data):
        if item.labels.shape != PLATE:
            yield item
    yield from bbbc039(data)


SETS = {"nuclei": nuclei}
FOLDERS = {"nuclei": ("dsb2018", "bbbc039")}
LICENCES = {"bbbc039": "CC0", "dsb2018": "CC0"}


def main(name: str, data: Path, out: Path) -> None:
    """Write the data set folder, whole or not at all."""
    if out.exists():
        raise SystemExit(f"{out} exists already: name a new folder")
    missing = [str(data / part) for part in FOLDERS[name] if not (data / part).is_dir()]
    if missing:
        raise SystemExit(f"there is no folder {' or '.join(missing)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=".prepare-") as scratch:
        cells = write(Path(scratch, "set"), SETS[name](data))
        Path(scratch, "set").rename(out)
    print(f"{out}: {len(cells)} images, {sum(cells)} cells")


def write(folder: Path, items: Iterator[Item]) -> list[int]:
    """Write the items as a data set folder and give their counts."""
    rows: list[tuple[str, int, str, str]] = []
    for item in items:
        image = folder / "images" / f"{item.name}{item.image.suffix.lower()}"
        image.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(item.image, image)
        write_labels(folder / "labels" / f"{item.name}.tif", item.labels)
        rows.append((item.name + image.suffix, item.count, item.group, item.kind))
    with (folder / "counts.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "count", "group", "kind"])
        table.writerows(rows)
    images = Counter(kind.split("/")[0] for _, _, _, kind in rows)
    sources = [{"name": name, "licence": LICENCES[name], "images": images[name]} for name in sorted(images)]
    (folder / "sources.json").write_text(json.dumps(sources, indent=2) + "\n", encoding="utf-8")
    return [count for _, count, _, _ in rows]


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in SETS:
        raise SystemExit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
