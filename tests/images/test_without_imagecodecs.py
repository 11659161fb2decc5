"""imagecodecs is an option: TIFF files are read the same without it, or refused with a word on what to do."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from elmgan.images import read_image

BLOCKED = 'import sys; sys.modules["imagecodecs"] = None'  # so that its import fails
READ = """
import pathlib, numpy, elmgan.errors, elmgan.images
for path in map(pathlib.Path, sys.argv[1:]):
    try:
        image = elmgan.images.read_image(path, channel=2 if "planes" in path.name else None)
        numpy.save(path.with_suffix(".npy"), image)
    except elmgan.errors.ImageError as error:
        print(error)
"""
WRITE = """
import pathlib, numpy, elmgan.images
folder = pathlib.Path(sys.argv[1])
elmgan.images.write_mask(folder / "mask.tif", numpy.eye(9, dtype=bool))
elmgan.images.write_labels(folder / "labels.tif", numpy.eye(9, dtype=numpy.uint32))
elmgan.images.write_png(folder / "overlay.png", numpy.eye(9, dtype=numpy.uint8))
"""


def without_imagecodecs(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Run READ, which saves each image as .npy beside itself and prints the errors, or WRITE."""
    command = [sys.executable, "-c", BLOCKED + code, *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def walk(dtype: str, samples: int = 1) -> NDArray:
    """An image that changes a little from column to column; its sides are no multiples of strips, tiles or bytes."""
    steps = np.random.default_rng(0).integers(-3, 4, (53, 61, samples))
    values = steps.cumsum(axis=1) * 7 + 100
    return np.squeeze((values / 7 if dtype[0] == "f" else values).astype(dtype))


def files() -> Iterator[tuple[NDArray, dict[str, Any]]]:
    """Images, and how to write them: the usual kinds in all combinations, and some that are less usual."""
    layouts: list[dict[str, Any]] = [{"rowsperstrip": 10}, {"tile": (16, 32)}]
    for dtype, samples, compression, predictor, byteorder, layout in product(
        ["u1", "u2", "f4"], [1, 3, 4], ["lzw", "zlib"], [False, True], "<>", layouts
    ):
        photometric = "minisblack" if samples == 1 else "rgb"
        options = {"compression": compression, "predictor": predictor, "byteorder": byteorder}
        yield walk(dtype, samples), {"photometric": photometric, **options, **layout}
    for dtype, predictor in product(["u4", "i2", "f2", "f8"], [False, True]):
        yield walk(dtype), {"compression": "lzw", "predictor": predictor, "byteorder": ">"}
    for compression, layout in product(["lzw", "zlib", "packbits"], layouts):
        yield walk("u1") > 99, {"compression": compression, **layout}
    separate = {"photometric": "rgb", "planarconfig": "separate", "rowsperstrip": 10}
    yield np.moveaxis(walk("u2", 3), -1, 0), {"compression": "lzw", "predictor": True, **separate}
    yield np.moveaxis(walk("f4", 3), -1, 0), {"compression": "zlib", "predictor": True, **separate}
    yield walk("u2"), {"compression": "packbits"}


def test_tiff_is_read_the_same(tmp_path: Path) -> None:
    paths = {tmp_path / f"{number}.tif": options for number, (_, options) in enumerate(files())}
    for path, (image, options) in zip(paths, files(), strict=True):
        tifffile.imwrite(path, image, **options)
    done = without_imagecodecs(READ, *paths)
    assert done.stdout + done.stderr == ""
    for path, options in paths.items():
        expected, found = read_image(path), np.load(path.with_suffix(".npy"))
        assert found.dtype == expected.dtype, options
        np.testing.assert_array_equal(found, expected, err_msg=str(options))


def test_one_of_several_planes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "planes.tif"
    planes = np.moveaxis(walk("u2", 3), -1, 0)
    tifffile.imwrite(path, planes, photometric="minisblack", metadata={"axes": "CYX"}, compression="lzw")
    without_imagecodecs(READ, path)
    np.testing.assert_array_equal(np.load(path.with_suffix(".npy")), planes[1])


def test_what_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, walk("u1"), compression="jpeg")
    hint = 'pip install "elmgan[formats]" or save it with LZW or no compression'
    assert without_imagecodecs(READ, path).stdout == f"{path}: is compressed with JPEG: {hint}\n"


def test_half_a_strip_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, walk("u1"), compression="lzw")
    with tifffile.TiffFile(path, mode="r+") as file:
        count = file.pages.first.tags["StripByteCounts"]
        count.overwrite(count.value[0] // 2)
    assert without_imagecodecs(READ, path).stdout.startswith(f"{path}: ")
    assert not path.with_suffix(".npy").exists()


def test_results_are_written(tmp_path: Path) -> None:
    without_imagecodecs(WRITE, tmp_path)
    np.testing.assert_array_equal(read_image(tmp_path / "mask.tif"), 255 * np.eye(9))
    np.testing.assert_array_equal(read_image(tmp_path / "labels.tif"), np.eye(9))
    np.testing.assert_array_equal(read_image(tmp_path / "overlay.png"), np.eye(9))
