"""Damaged and hostile files against every reader: only an ImageError may come out, soon and in little memory.

``python tests/fuzz.py 2000 [SEED] [SHARED_DATA]`` tries so many and prints what went wrong.
"""

import io
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image

from elmgan.errors import ImageError
from elmgan.images.reader import START, readers
from elmgan.images.tile import Tile

SECONDS = 5
MEMORY = 2**30
"""Bytes that a file may take beside what the libraries take."""

LARGEST = 1_200_000
"""Bytes of a real file that is damaged here."""

MOST_PIXELS = 2**25
"""Of a plane that is read; whoever reads for a user has a limit as well."""

EXTREMES = (0, 1, 2, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**62)


def small_files() -> dict[str, bytes]:
    """Files of all kinds that are written here."""
    rows, columns = np.mgrid[:40, :56]
    grey = np.rint(127.5 + 127.5 * np.sin(rows / 7) * np.cos(columns / 9)).astype(np.uint8)
    colour = np.stack([grey, grey[::-1], grey[:, ::-1]], axis=-1)
    stack = np.stack([grey, 255 - grey, grey // 2, grey // 3, grey, grey // 5])
    files = {}
    for suffix, image in (("png", grey), ("png", colour), ("bmp", colour), ("jpg", grey), ("jpg", colour)):
        files[f"{image.ndim}.{suffix}"] = bytes(cv2.imencode(f".{suffix}", image)[1])
    palette = Image.fromarray(colour).convert("P")
    for format, lossless in (("gif", False), ("webp", True), ("webp", False), ("bmp", False), ("png", False)):
        file = io.BytesIO()
        (palette if format != "webp" else Image.fromarray(colour)).save(file, format, lossless=lossless)
        files[f"palette{lossless:d}.{format}"] = file.getvalue()
    tiffs: dict[str, tuple[Any, dict[str, Any]]] = {
        "grey": (grey, {}),
        "big": (grey.astype(">u2"), {"bigtiff": True, "byteorder": ">"}),
        "stack": (stack, {"metadata": None, "photometric": "minisblack"}),
        "shaped": (stack, {"photometric": "minisblack"}),
        "ome": (stack.reshape(1, 2, 3, 40, 56), {"ome": True, "metadata": {"axes": "TCZYX"}, "compression": "zlib"}),
        "imagej": (stack, {"imagej": True, "metadata": {"axes": "ZYX", "unit": "um"}, "resolution": (2, 2)}),
        "palette": (grey, {"photometric": "palette", "colormap": np.arange(768, dtype=np.uint16).reshape(3, 256)}),
        "cmyk": (np.dstack([colour, grey]), {"photometric": "separated", "compression": "lzw", "predictor": True}),
        "float": (grey / 3, {"compression": "zstd", "predictor": True, "rowsperstrip": 7}),
        "bits": (grey > 99, {"compression": "packbits"}),
        "12bit": (grey.astype(np.uint16), {"bitspersample": 12}),
        "nodata": (grey.astype(np.float32), {"extratags": [(42113, "s", 0, "3", True)]}),
    }
    for compression in ("jpeg", "png", "jpeg2000", "jpegxl", "webp", "jpegxr", "lerc", "lzma"):
        image = colour if compression != "lerc" else grey
        tiffs[compression] = (image, {"compression": compression, "tile": (16, 32)})
    for name, (image, options) in tiffs.items():
        file = io.BytesIO()
        tifffile.imwrite(file, image, **options)
        files[f"{name}.tif"] = re.sub(rb"urn:uuid:[0-9a-f-]{36}", b"urn:uuid:" + b"0" * 36, file.getvalue())
    with tifffile.TiffWriter(file := io.BytesIO()) as pyramid:
        pyramid.write(grey, subifds=1, tile=(16, 16), metadata=None)
        pyramid.write(grey[::2, ::2], subfiletype=1, metadata=None)
    files["pyramid.tif"] = file.getvalue()
    return files


def real_files(shared_data: Path | None) -> dict[str, bytes]:
    """Small files of real microscopes."""
    folder = shared_data / "formats" if shared_data else None
    if folder is None or not folder.is_dir():
        return {}
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.stat().st_size <= LARGEST)
    return {path.name: path.read_bytes() for path in paths if path.suffix not in (".json", ".md")}


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file in one place, or in a few; most hits go to its first and last bytes, where the headers are."""
    changed = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        near = min(int(rng.choice([64, 512, 4096, len(changed)])), len(changed))
        at = int(rng.integers(0, near)) if near else 0
        at = at if rng.random() < 0.6 else len(changed) - at
        kind = str(rng.choice(["flip", "extreme", "splice", "flips", "cut"], p=[0.3, 0.35, 0.2, 0.1, 0.05]))
        if kind == "flip":
            changed[at : at + 1] = bytes([int(rng.integers(0, 256))])
        elif kind == "flips":
            for place in rng.integers(0, len(changed), 20) if changed else ():
                changed[place] ^= 1 << int(rng.integers(0, 8))
        elif kind == "extreme":
            size, form = [(1, "B"), (2, "H"), (4, "I"), (8, "Q")][int(rng.integers(0, 4))]
            number = int(rng.choice(EXTREMES)) if rng.random() < 0.5 else int(rng.integers(0, len(changed) + 9))
            order = str(rng.choice(["<", ">"]))
            changed[at : at + size] = struct.pack(order + form, number % 2 ** (8 * size))
        elif kind == "splice":
            source, length = int(rng.integers(0, len(changed) + 1)), int(rng.integers(1, 400))
            changed[at : at + length] = changed[source : source + length]
        else:
            del changed[at:]
    return bytes(changed)


def mutants(number: int, seed: int, shared_data: Path | None) -> Iterator[tuple[str, bytes]]:
    """Names of files and damaged contents, each name in turn."""
    files = sorted({**small_files(), **real_files(shared_data)}.items())
    rng = np.random.default_rng(seed)
    for index in range(number):
        name, content = files[index % len(files)]
        yield name, damaged(content, rng)


def try_file(path: Path) -> None:
    """Open a file with each reader that knows it, and read of the first scenes a corner and the part below it."""
    with path.open("rb") as file:
        start = file.read(START)
    for kind in readers():
        if not kind.recognises(path, start):
            continue
        with refusal_allowed():
            reader = kind(path, None)
            with closing(reader):
                for index, scene in enumerate(reader.scenes[:3]):
                    rows, columns = scene.sides
                    if rows * columns > MOST_PIXELS:
                        continue
                    parts = [Tile(0, 0, 1, 1), Tile(rows // 2, columns // 3, -(-rows // 2), -(-columns // 3))]
                    read = [(0, part) for part in parts]
                    for number, (high, wide) in enumerate(scene.levels, 1):
                        read += [(number, Tile(0, 0, high, wide))] if high * wide <= MOST_PIXELS else []
                    for level, region in read:
                        with refusal_allowed():
                            at = {"level": level} if level else {}
                            channel = 0 if "C" in scene.axes else None
                            image = reader.read(index, t=0, z=0, channel=channel, region=region, **at)
                            colour = (3,) if "S" in scene.axes else ()
                            assert image.shape == (region.height, region.width, *colour), (image.shape, region, scene)
                            assert image.dtype == scene.dtype, (image.dtype, scene.dtype)


@contextmanager
def refusal_allowed() -> Iterator[None]:
    """Let an ImageError pass that is one line, and does not come from a lack of memory."""
    try:
        yield
    except ImageError as error:
        if "\n" in str(error) or isinstance(error.__cause__, MemoryError):
            raise AssertionError(f"{type(error.__cause__).__name__}: {error}") from error


def child(folder: Path) -> None:
    """Try files whose paths come by standard input, one a line, and answer each with a line."""
    with tempfile.TemporaryDirectory() as first:  # libraries are loaded before memory is limited
        for name, content in small_files().items():
            (Path(first) / name).write_bytes(content)
            try_file(Path(first) / name)
    taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))

    def too_long(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(f"takes longer than {SECONDS} s")  # no reader takes it for damage

    signal.signal(signal.SIGALRM, too_long)
    for line in sys.stdin:
        fault = ""
        signal.alarm(SECONDS)
        try:
            try_file(folder / line.strip())
        except BaseException as error:
            fault = f"{type(error).__name__}: {' '.join(str(error).split())}"
        signal.alarm(0)
        sys.stdout.write(f"{json.dumps(fault)}\n")
        sys.stdout.flush()


def faults(number: int, seed: int, shared_data: Path | None, folder: Path) -> list[str]:
    """Try damaged files in a process of their own, and return a line for each that was not simply read or refused.

    Files with faults are left in the folder.
    """
    found = []
    process: subprocess.Popen[str] | None = None
    for index, (name, content) in enumerate(mutants(number, seed, shared_data)):
        path = folder / f"{index}-{name}"
        path.write_bytes(content)
        if process is None:
            command = [sys.executable, __file__, "child", str(folder)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path.name}\n")
        process.stdin.flush()
        started = time.monotonic()
        watch = threading.Timer(3 * SECONDS, process.kill)  # for decoders that do not come back to Python
        watch.start()
        answer = process.stdout.readline()
        watch.cancel()
        fault = json.loads(answer) if answer else f"the process died with code {process.wait()}"
        if fault:
            found.append(f"{path.name}: {fault} (after {time.monotonic() - started:.1f} s)")
            sys.stderr.write(f"{found[-1]}\n")
        else:
            path.unlink()
        if not answer:
            process.stdin.close()
            process.stdout.close()
            process = None
    if process is not None:
        process.communicate()
    return found


if __name__ == "__main__":
    if sys.argv[1] == "child":
        child(Path(sys.argv[2]))
    else:
        seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
        folder = Path(tempfile.mkdtemp())
        wrong = faults(int(sys.argv[1]), seed, Path(sys.argv[3]) if len(sys.argv) > 3 else None, folder)
        sys.stdout.write(f"{len(wrong)} of {sys.argv[1]} files went wrong; they are in {folder}\n")
        sys.exit(bool(wrong))
