"""Smaller copies of images: how far they are from the images as the network sees them, and how far off counts are.

    python experiments/levels.py DATA SPLIT ROWS

Of images that trained, by SPLIT, those of bsst265 at 63x are seen at a scale of 0.25 and every 12th of bbbc039 at one
of 0.5. Noise is added, in shares of the image's standard deviation; copies are made in four ways, as small as the
network sees the image. A row of the CSV file ROWS has the difference that :func:`elmgan.counting.levels.difference`
tells of a copy, and what is counted in the image and in the copy. That says up to which difference copies are read.
"""

import csv
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zarr
from numpy.typing import NDArray

from elmgan import Model
from elmgan.counting import OnDisk, levels
from elmgan.images import Plane, View, open_image, read_image
from elmgan.light import to_grey
from elmgan.models import find_bundle, read_bundle

COLUMNS = ("image", "scale", "noise", "copy", "difference", "estimate", "estimate_of_copy")
NOISE = (0, 0.025, 0.0625, 0.125, 0.25)
Image = NDArray[np.float32]


def by_means(image: Image, factor: int) -> Image:
    """Mean values."""
    rows, columns = (-(-side // factor) for side in image.shape)
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def by_stride(image: Image, factor: int) -> Image:
    """Every so many pixels."""
    return image[::factor, ::factor]


def by_gauss(image: Image, factor: int) -> Image:
    """Every so many pixels of the image, blurred before."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), factor / 3), np.float32)[::factor, ::factor]


def linear(image: Image, factor: int) -> Image:
    """Linear interpolation between four pixels."""
    rows, columns = (-(-side // factor) for side in image.shape)
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)


COPIES: dict[str, Callable[[Image, int], Image]] = {
    "mean values": by_means,
    "every so many pixels": by_stride,
    "Gaussian": by_gauss,
    "linear": linear,
}


def images(data: Path, split: Path) -> Iterator[tuple[str, Image, float]]:
    """Give images that trained, and the scale at which they are seen."""
    with split.open(newline="", encoding="utf-8") as file:
        trained = [row["image"] for row in csv.DictReader(file) if row["side"] == "train"]
    with (data / "bsst265" / "images.csv").open(newline="", encoding="utf-8") as file:
        large = [row["image"] for row in csv.DictReader(file) if row["magnification"] == "63"]
    for name in sorted(large):
        if f"bsst265/{Path(name).stem}" in trained:
            yield name, to_grey(read_image(data / "bsst265" / "images" / name)).astype(np.float32), 0.25
    for name in sorted(each.removeprefix("bbbc039/") for each in trained if each.startswith("bbbc039/"))[::12]:
        yield name, read_image(data / "bbbc039" / "images" / f"{name}.tif").astype(np.float32), 0.5


def rows_of(model: Model, name: str, image: Image, scale: float) -> Iterator[tuple[Any, ...]]:
    """Compare an image with copies of it, without noise and with it."""
    look = partial(OnDisk, normalisation=model.card.normalisation)
    for noise in NOISE:
        noisy = image + np.random.default_rng(0).normal(0, noise * image.std(), image.shape).astype(np.float32)
        for kind, copied in COPIES.items():
            copy = copied(noisy, round(1 / scale))
            with tempfile.TemporaryDirectory() as folder:
                plane, small = as_plane(Path(folder) / "image.zarr", noisy, copy).levels
                found = levels.difference(look(plane), look(small), scale)
            counts = (model.count(each, scale=at).estimate for each, at in ((noisy, scale), (copy, 1.0)))
            yield name, scale, noise, kind, round(found, 4), *counts


def as_plane(path: Path, image: Image, copy: Image) -> Plane:
    """Write an image with a copy of it as OME-Zarr, and open it."""
    root = zarr.open_group(str(path), mode="w", zarr_format=2)
    for number, level in enumerate((image, copy)):
        root.create_array(str(number), data=level, chunks=(512, 512))
    axes, datasets = [{"name": "y"}, {"name": "x"}], [{"path": "0"}, {"path": "1"}]
    root.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return open_image(path).planes(View())[0]


def main() -> None:
    """Write the rows, and tell what they say."""
    data, split, out = map(Path, sys.argv[1:])
    model = Model(read_bundle(find_bundle("nuclei")))
    rows = [row for each in images(data, split) for row in rows_of(model, *each)]
    with out.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    print(f"{len({row[0] for row in rows})} images, {len(rows)} copies")
    for least, most in ((0, 0.05), (0.05, 0.1), (0.1, 0.15), (0.15, 0.2), (0.2, 0.3), (0.3, np.inf)):
        off = [abs(copy - of) / max(of, 10) for *_, found, of, copy in rows if least <= found < most]
        if off:
            middle, largest = np.median(off), max(off)
            print(
                f"difference {least:g} to {most:g}: {len(off)} copies, counts off {middle:.4f}, at most {largest:.4f}"
            )


if __name__ == "__main__":
    main()
