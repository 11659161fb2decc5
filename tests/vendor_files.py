"""What the readers of vendor formats make of files, and of damaged copies; also a program of its own.

As a program it needs only numpy and the library of the format, so that CZI can be read with another Python than the
one that runs the tests: ``python vendor_files.py describe FILE...`` or ``python vendor_files.py damage COUNT FILE...``.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from elmgan.images.reader import Reader

SOURCE = Path(__file__).parents[1] / "src" / "elmgan"

READERS = {
    ".nd2": "vendor.nd2:Nd2Reader",
    ".czi": "vendor.czi:CziReader",
    ".lif": "vendor.lif:LifReader",
    ".oib": "vendor.olympus:OlympusReader",
    ".oif": "vendor.olympus:OlympusReader",
    ".dv": "vendor.deltavision:DeltaVisionReader",
}

SECONDS = 5
"""Of the processor that a damaged file may take."""

MEGABYTES = 1000


def opened(path: Path) -> "Reader":
    """Open a file with the one reader that recognises it."""
    start = path.read_bytes()[:512] if path.is_file() else b""
    classes = []
    for place in sorted({*READERS.values(), "omezarr:OmeZarrReader"}):
        module, name = place.split(":")
        classes.append(getattr(import_module(f"elmgan.images.{module}"), name))
    taken = [each for each in classes if each.recognises(path, start)]
    assert len(taken) <= 1, taken
    if not taken:
        raise import_module("elmgan.errors").ImageError("is of no kind that is known")
    reader: Reader = taken[0](path, None)
    return reader


def planes(reader: "Reader") -> Iterator[tuple[int, dict[str, Any]]]:
    """Every plane of a file: its scene, and the rest of what names it."""
    for index, scene in enumerate(reader.scenes):
        if scene.fault:
            continue
        for t in range(scene.length("T")):
            for z in range(scene.length("Z")):
                for channel in range(scene.length("C")):
                    yield index, {"t": t, "z": z, "channel": channel if "C" in scene.axes else None}


def described(path: Path) -> dict[str, Any]:
    """What a file holds, the first plane of each scene in numbers, and whether regions are the slices that they are."""
    from elmgan.images.tile import Tile

    reader = opened(path)
    told: dict[str, Any] = {"scenes": [], "wrong": []}
    for scene in reader.scenes:
        told["scenes"].append(
            {
                "axes": scene.axes,
                "shape": list(scene.shape),
                "dtype": str(scene.dtype),
                "channels": list(scene.channels),
                "pixel_size_um": dict(scene.pixel_size),
                "note": scene.note,
            }
        )
    for index, where in planes(reader):
        rows, columns = reader.scenes[index].sides
        plane = reader.read(index, **where, region=Tile(0, 0, rows, columns))
        if "first" not in told["scenes"][index]:
            told["scenes"][index]["first"] = [float(plane.min()), float(plane.max()), float(plane.mean())]
        for tile in (Tile(0, 0, 1, 1), Tile(rows // 3, columns // 2, rows // 2, columns // 3)):
            part = reader.read(index, **where, region=tile)
            if part.dtype != reader.scenes[index].dtype or not np.array_equal(part, tile.of(plane)):
                told["wrong"].append([index, where])
    reader.close()
    return told


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Cut a file off, or change some of its bytes, mostly near its start or end, or digits of its text."""
    kind = chance.randrange(4)
    if kind == 0 or not content:
        return content[: chance.randrange(len(content) + 1)]
    changed = bytearray(content)
    for _ in range(chance.choice((1, 3, 10, 50))):
        place = chance.randrange(len(content) if chance.random() < 0.4 else min(len(content), 2048))
        place = len(content) - 1 - place if chance.random() < 0.2 else place
        if kind == 1:
            changed[place] = chance.randrange(256)
        elif kind == 2:
            end = min(place + 4, len(changed))
            changed[place:end] = chance.choice((b"\xff" * 4, b"\xff\xff\xff\x7f", bytes(4)))[: end - place]
        else:
            digits = [at for at in range(place, min(place + 200, len(changed))) if chr(changed[at]).isdigit()]
            if digits:
                changed[chance.choice(digits)] = chance.choice(b"0123456789-")
    return bytes(changed)


class TooSlowError(BaseException):
    """Not to be caught by what is tried."""


def trials(path: Path, count: int) -> Iterator[str]:
    """Read damaged copies of a file or folder; say what did not end in an image or an :class:`ImageError`."""
    from elmgan.errors import ImageError
    from elmgan.images.tile import Tile

    def too_slow(*_: object) -> None:
        raise TooSlowError

    signal.signal(signal.SIGPROF, too_slow)
    opened(path).close()  # imports its library
    for number in range(count):
        chance = random.Random(f"{path.name} {number}")
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, path.name)
            for name in (path, path.with_name(f"{path.name}.files")):
                if name.is_dir():
                    shutil.copytree(name, Path(folder, name.name), copy_function=shutil.copyfile)
                elif name.is_file():
                    shutil.copyfile(name, copy)
            inside = [copy] if copy.is_file() else sorted(each for each in copy.rglob("*") if each.is_file())
            target = chance.choice(inside)
            target.parent.chmod(0o755)
            target.write_bytes(damaged(target.read_bytes(), chance))
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                reader = opened(copy)
                listed = list(planes(reader))
                for index, where in listed[:: max(1, len(listed) // 8)]:
                    rows, columns = reader.scenes[index].sides
                    try:
                        reader.read(index, **where, region=Tile(0, 0, min(rows, 256), min(columns, 256)))
                    except ImageError:
                        continue
                reader.close()
            except ImageError:
                continue
            except BaseException as error:  # whatever it is, it is what is looked for
                yield f"{path.name} {number}: {type(error).__name__} {error}"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                for each in (copy, *copy.rglob("*")):
                    each.chmod(0o755)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Let nobody write a file or open a connection."""
    if event in {"socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.Popen"} or (
        event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    ):
        raise PermissionError(f"{event} {arguments}")


def _whole(reader: "Reader") -> Any:
    return import_module("elmgan.images.tile").Tile(0, 0, *reader.scenes[0].sides)


def main(command: str, *arguments: str) -> None:
    for name, folder in (("elmgan", SOURCE), ("elmgan.images", SOURCE / "images")):
        package = ModuleType(name)  # without what the real one imports
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    sys.dont_write_bytecode = True
    if command == "describe":
        sys.addaudithook(_refuse)
        print(json.dumps({Path(name).name: described(Path(name)) for name in arguments}))  # noqa: T201
        return
    if command == "save":
        target, name = arguments
        reader = opened(Path(name))
        _, where = next(planes(reader))
        np.save(target, reader.read(0, **where, region=_whole(reader)))
        reader.close()
        print("null")  # noqa: T201
        return
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    count, *names = arguments
    found = [fault for name in names for fault in trials(Path(name), int(count))]
    # Of this program alone: ru_maxrss remembers the one that started it.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) >> 10
    print(json.dumps(found + ([f"took {peak} MB"] if peak > MEGABYTES else [])))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
