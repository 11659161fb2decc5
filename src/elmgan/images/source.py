"""A file as a source of planes: opened without its pixels, which are read when a plane of a view is asked for them."""

import math
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elmgan.errors import ImageError, UsageError
from elmgan.images.arrays import ArrayReader
from elmgan.images.damage import problem
from elmgan.images.reader import START, Reader, Scene, endings, readers
from elmgan.images.tile import Tile, reduction_of
from elmgan.images.view import COLOURS, View

PIXELS_ALLOWED = 1 << 29
"""Pixels of a plane, samples of colour counted each, that are read unless more are allowed: 23 170 x 23 170 in grey."""

PIXELS_STREAMED = 1 << 33
"""Likewise of planes that are read a part at a time: 92 681 x 92 681 in grey."""

COLOUR_SAMPLES = ("red", "green", "blue")
"""Names of the samples of colour."""

CONVERT = "open it in Fiji (Bio-Formats) or with bfconvert and save it as OME-TIFF"


def open_image(
    path: str | Path | ArrayLike, *, axes: str | None = None, most_pixels: int | None = PIXELS_ALLOWED
) -> "Source":
    """Open an image of any kind that is read: TIFF and its kin, PNG, JPEG, ND2, CZI, LIF and others; by content.

    Nothing but what describes the pixels is read. Close the source, or use it in a ``with`` block.

    An array is taken for an image too: NumPy's, xarray's, Dask's, a tensor; see :class:`ArrayReader`.

    Args:
        path: The file, or the folder of an OME-Zarr image; or an array.
        axes: What the axes of a file mean that does not say so itself, one letter each: T, Z, C, Y, X; of an array also
            S, the samples of colour.
        most_pixels: Planes of more pixels than this are refused. ``None`` for who reads planes a part at a time: files
            that give parts may have :data:`PIXELS_STREAMED` then.

    Raises:
        ImageError: It does not exist, is damaged, or is of a kind that cannot be read.
        UsageError: The axes are none.
    """
    if not isinstance(path, str | Path):
        return array_source(ArrayReader(path, axes), most_pixels=most_pixels)
    path, axes = Path(path), checked_axes(axes)
    try:
        reader = _opened(path, axes)
    except Exception as error:  # on damaged bytes the decoders raise whatever they trip over
        raise ImageError(f"{path}: {problem(error)}") from error
    return Source(path, reader, most_pixels)


def array_source(reader: ArrayReader, name: str = "the array", *, most_pixels: int | None = PIXELS_ALLOWED) -> "Source":
    """Give the planes of an array, which errors call by this name."""
    return Source(Path(name), reader, most_pixels)


def checked_axes(axes: str | None) -> str | None:
    """Give axes that a user says in capitals.

    Raises:
        UsageError: They are not letters of T, Z, C, each once, then YX.
    """
    if axes is None:
        return None
    given, axes = axes, axes.upper()
    if set(axes) - set("TZCYX") or len(set(axes)) < len(axes) or not axes.endswith("YX"):
        raise UsageError(f"--axes is {given}; expected letters of T, Z, C, each once, then YX, such as ZYX")
    return axes


def _opened(path: Path, axes: str | None) -> Reader:
    start = b""
    mode = path.stat().st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise ImageError("is neither a file nor a folder; give a copy of what it holds")
    if not stat.S_ISDIR(mode):
        with path.open("rb") as file:
            start = file.read(START)
        if not start:
            raise ImageError("is empty, as after a broken copy; copy or save it again")
    for reader in readers():
        if reader.recognises(path, start):
            return reader(path, axes)
    if path.is_dir():
        raise ImageError(f"is a folder and no image; {readable()}")
    raise ImageError(f"is not an image of a kind that is read, whatever its name says; {CONVERT}")


def readable() -> str:
    """Say in words for people which names of files are read."""
    return "elmgan reads " + " ".join(sorted(endings()))


class Source:
    """An open file. Its ``axes``, ``shape``, ``dtype``, ``channels`` and ``pixel_size`` are of its first scene.

    Scenes that cannot be read are not meant there.

    Several threads may read its planes; they take turns.
    """

    def __init__(self, path: Path, reader: Reader, most_pixels: int | None) -> None:
        self.path = path
        self.kind = reader.kind
        self.scenes: tuple[Scene, ...] = tuple(reader.scenes)
        self._first = next((scene for scene in self.scenes if not scene.fault), self.scenes[0])
        self._reader = reader
        self._most_pixels = most_pixels
        self._lock = Lock()

    @property
    def axes(self) -> str:
        """One letter per axis: T, Z, C, Y, X, and S for the samples of colour. Those of length 1 are left out."""
        return self._first.axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self._first.shape

    @property
    def dtype(self) -> np.dtype:
        """Of the pixels."""
        return self._first.dtype

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels; empty where the file names none."""
        return self._first.channels

    @property
    def pixel_size(self) -> dict[str, float]:
        """x, y and z, as far as they are known -> micrometres."""
        return dict(self._first.pixel_size)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed of the file since it does not say, each once."""
        return tuple(dict.fromkeys(scene.note for scene in self.scenes if scene.note))

    def planes(self, view: View | None = None) -> "list[Plane]":
        """List the planes of a view, in the order of scene, t and z.

        Raises:
            ImageError: The view asks for what the file does not have, leaves open which of several channels is meant,
                or a plane is larger than allowed.
        """
        view = view or View()
        try:
            numbers = _chosen("scene", view.scene, len(self.scenes))
            if view.scene == "each":  # those that cannot be read keep no other from it
                numbers = [number for number in numbers if not self.scenes[number - 1].fault]
            return [plane for number in numbers for plane in self._planes(number, view)]
        except ImageError as error:
            which = f"scene {view.scene}: " if len(self.scenes) > 1 and view.scene != "each" else ""
            raise ImageError(f"{self.path}: {which}{error}") from None

    def _planes(self, number: int, view: View) -> "list[Plane]":
        scene = self.scenes[number - 1]
        if scene.fault:
            raise ImageError(scene.fault)
        samples = 3 if "S" in scene.axes else 1
        rows, columns = scene.sides
        most = self._most_pixels
        if most is None:
            most = PIXELS_STREAMED if self._reader.in_parts else PIXELS_ALLOWED
        if rows * columns * samples > most:
            raise ImageError(
                f"has planes of {rows} x {columns} pixels, more than the {most} that are allowed: "
                "check that the file is meant, then allow more (elmgan count --max-pixels N)"
            )
        channel, index = _channel(scene, view.channel)
        times = _chosen("t", view.t, scene.length("T"))
        depths: Sequence[int | Literal["max", "mean"]]
        if view.z == "max" or view.z == "mean":
            depths = [view.z] if "Z" in scene.axes else [1]
        else:
            depths = _chosen("z", view.z, scene.length("Z"))
        return [Plane(self, number, t, z, channel, index, view) for t in times for z in depths]

    def read(self, plane: "Plane", region: Tile) -> NDArray:
        """Read a part of a plane; see :meth:`Plane.read`."""
        depths = range(plane.described.length("Z")) if isinstance(plane.z, str) else [plane.z - 1]
        level = {"level": plane.level} if plane.level else {}  # other readers have none

        def one(z: int) -> NDArray:
            with self._lock:
                pixels = self._reader.read(
                    plane.scene - 1, t=plane.t - 1, z=z, channel=plane.index, region=region, **level
                )
            return as_numbers(pixels)

        try:
            return one(depths[0]) if len(depths) == 1 else _projected((one(z) for z in depths), plane.z == "mean")
        except Exception as error:  # on damaged bytes the decoders raise whatever they trip over
            raise ImageError(f"{self.path}: {plane.told}{problem(error)}") from error

    def close(self) -> None:
        """Close the file; its planes can no longer be read."""
        with self._lock:
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        scenes = f", {len(self.scenes)} scenes" if len(self.scenes) > 1 else ""
        return f"Source({self.path.name}: {self.kind}, {described(self._first)}{scenes})"


@dataclass(frozen=True)
class Plane:
    """One plane of a source under a view: a (row, column) image, or (row, column, 3) where its colour is seen.

    Attributes:
        source: Where it is read from.
        scene: Number of its scene, from 1.
        t: Number of its time point, from 1.
        z: Number of its focal plane, from 1; max or mean of all.
        channel: Name or number of its channel, or what colour is seen as; empty for an image of one grey channel.
        index: Of the channel, from 0; None for all samples of colour.
        view: How it is shown.
        level: 0 for its pixels as they were taken; else the number of a smaller copy that its file holds.
    """

    source: Source
    scene: int
    t: int
    z: int | Literal["max", "mean"]
    channel: str
    index: int | None
    view: View
    level: int = 0

    @property
    def described(self) -> Scene:
        """What its scene is like."""
        return self.source.scenes[self.scene - 1]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.described.levels[self.level - 1] if self.level else self.described.sides

    @property
    def levels(self) -> "list[Plane]":
        """The plane, and the smaller copies of it that its file holds, the largest first."""
        return [replace(self, level=number) for number in range(1 + len(self.described.levels))]

    @property
    def reductions(self) -> tuple[float, float]:
        """How many pixels, as they were taken, one stands for along rows and columns; 1 but for a smaller copy."""
        down, across = map(reduction_of, self.described.sides, self.shape)
        return down, across

    @property
    def reduction(self) -> float:
        """The geometric mean of both."""
        return math.sqrt(math.prod(self.reductions))

    @property
    def samples(self) -> int:
        """Values per pixel: 3 where colour is read, else 1."""
        return 3 if self.index is None and "S" in self.described.axes else 1

    @property
    def pixel_side(self) -> float | None:
        """Micrometres along the side of a pixel, which is square but for a tenth; None where that is not known."""
        size = self.described.pixel_size
        if not {"x", "y"} <= size.keys() or not 0.9 < size["x"] / size["y"] < 1.1:
            return None
        return math.sqrt(size["x"] * size["y"]) * self.reduction

    @property
    def place(self) -> tuple[int, int, int | Literal["max", "mean"]]:
        """Its scene, t and z."""
        return self.scene, self.t, self.z

    @property
    def told(self) -> str:
        """Which plane of its file it is, in words that go before others; empty where the file has no other."""
        places = {
            "scene": (self.scene, len(self.source.scenes)),
            "t": (self.t, self.described.length("T")),
            "z": (self.z, self.described.length("Z")),
        }
        names = [f"{name} {number}" for name, (number, most) in places.items() if most > 1]
        return f"{', '.join(names)}: " if names else ""

    def read(self, region: Tile | None = None) -> NDArray:
        """Read the plane, or a part of it; what is read of its file is not kept.

        uint8, uint16 and other whole numbers keep their type, floats become float32, one-bit images become uint8 0 and
        255. Pixels that the file calls no data are NaN.

        Args:
            region: The part; by default all of it.

        Raises:
            ImageError: Pixels are damaged or lacking, or their type is not of grey values.
        """
        return self.source.read(self, region or Tile(0, 0, *self.shape))


def read_every(plane: Plane, step: int, rows: int = 512) -> NDArray:
    """Read every so many rows and columns of a plane, with a few of its rows in memory at a time.

    Raises:
        ImageError: See :meth:`Plane.read`.
    """
    high, wide = plane.shape
    strips = (Tile(top, 0, min(rows, high - top), wide) for top in range(0, high, rows))
    # A view would keep the whole strip in memory.
    return np.concatenate([plane.read(strip)[-strip.top % step :: step, ::step].copy() for strip in strips])


def read_image(path: str | Path, view: View | None = None, *, axes: str | None = None) -> NDArray:
    """Read the one plane that a view has of a file; see :func:`open_image` and :meth:`Plane.read`.

    Raises:
        ImageError: The file cannot be read whole, does not have what the view asks for, or has several planes under it.
    """
    with open_image(path, axes=axes) as source:
        return only_plane(source, view).read()


def image_size(path: str | Path, view: View | None = None) -> tuple[int, int]:
    """Give the (rows, columns) of the one plane that a view has of a file, without unpacking its pixels.

    Raises:
        ImageError: As for :func:`read_image`.
    """
    with open_image(path) as source:
        return only_plane(source, view).shape


def only_plane(source: Source, view: View | None = None) -> Plane:
    """Give the plane of a source where a view has one alone.

    Raises:
        ImageError: It has several.
    """
    planes = source.planes(view)
    if len(planes) == 1:
        return planes[0]
    several = [name for name in ("scene", "t", "z") if len({getattr(plane, name) for plane in planes}) > 1]
    options = " and ".join(f"--{name}" for name in several)
    unsaid = any("--axes" in note for note in source.notes)
    stack = ", or give --axes ZYX if they are one stack" if unsaid else ""
    raise ImageError(
        f"{source.path}: has {len(planes)} planes ({described(source.scenes[0])}), and one is taken here: "
        f"name it with {options}{stack}"
    )


def described(scene: Scene) -> str:
    """Say the axes and the shape of a scene, and the type of its pixels.

    >>> described(Scene("CYX", (2, 64, 80), np.dtype(np.uint16)))
    'CYX 2 x 64 x 80, uint16'
    """
    return f"{scene.axes} {' x '.join(map(str, scene.shape))}, {scene.dtype}"


def channel_names(scene: Scene) -> str:
    """List the channels of a scene by number, and by name where the file has one, for people."""
    colour = "C" not in scene.axes and "S" in scene.axes
    number = scene.length("S" if colour else "C")
    given = COLOUR_SAMPLES if colour else scene.channels
    names = given if len(given) == number else [""] * number
    return ", ".join(f"{k} {name}".strip() for k, name in enumerate(names, 1))


def _chosen(axis: str, wanted: int | str, number: int) -> list[int]:
    """Numbers along an axis that are meant, from 1."""
    if isinstance(wanted, str):
        return list(range(1, number + 1))
    if wanted > number:
        raise ImageError(f"has no {axis} {wanted}: there {'is 1' if number == 1 else f'are {number}'}, counted from 1")
    return [wanted]


def _channel(scene: Scene, wanted: int | str | None) -> tuple[str, int | None]:
    """What a channel is called in the table, and its index; of the samples of colour that are seen together, None."""
    axis = "C" if "C" in scene.axes else "S" if "S" in scene.axes else None
    number = scene.length(axis) if axis else 1
    word = str(wanted).casefold()
    if axis == "S" and (wanted is None or word in COLOURS):
        return COLOURS[0] if wanted is None else word, None
    if wanted is None:
        if number > 1:
            raise ImageError(f"{described(scene)} has channels {channel_names(scene)}; name one with --channel")
        return "", 0 if axis != "S" else None
    named = scene.channels if axis != "S" else COLOUR_SAMPLES
    places = [k for k, name in enumerate(named) if name.casefold() == word]
    if isinstance(wanted, int) and wanted <= number:
        return (named[wanted - 1] if len(named) == number else str(wanted)), wanted - 1
    if len(places) == 1:
        return named[places[0]], places[0]
    if number == 1:
        what = f"is not colour ({described(scene)})" if word in COLOURS else f"has one channel ({described(scene)})"
        raise ImageError(f"{what}, and no {wanted}: leave --channel {wanted} out")
    again = " more than once" if places else ""
    raise ImageError(f"has no channel {wanted}{again}: {described(scene)} has {channel_names(scene)}; name one of them")


def _projected(planes: Iterator[NDArray], mean: bool) -> NDArray:
    """The maximum or the mean of planes, of which one is in memory at a time beside the result; NaN is no value."""
    first = next(planes)
    if not mean:
        for plane in planes:
            np.fmax(first, plane, out=first)
        return first
    total, number = np.zeros(first.shape, np.float32), np.zeros(first.shape, np.uint32)
    for plane in chain([first], planes):
        known = np.isfinite(plane)
        np.add(total, plane, out=total, where=known, casting="unsafe")
        number += known
    with np.errstate(invalid="ignore"):  # 0 / 0: no data in any plane
        return np.asarray(total / number, np.float32)


def as_numbers(pixels: NDArray) -> NDArray:
    """Bring pixels to a type that is passed on: whole numbers in this machine's byte order, or float32.

    Raises:
        ImageError: They are of a type that holds no grey values, or finite and too large for float32.
    """
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * 255
    if np.issubdtype(pixels.dtype, np.integer):
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise ImageError(f"pixels of type {pixels.dtype} are not grey values; save them as whole numbers or floats")
    try:
        with np.errstate(over="raise"):  # infinite pixels are no data: none may become so
            return pixels.astype(np.float32, copy=False)
    except FloatingPointError:
        raise ImageError("some pixels are beyond 3.4e38, which float32 cannot hold; divide them first") from None
