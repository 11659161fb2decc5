"""TIFF by its content, whatever its name: plain, OME, ImageJ, LSM, STK, SVS, SCN, NDPI and others."""

import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC, TiffFile, TiffFrame, TiffPage, TiffPageSeries

from elmgan.errors import ImageError
from elmgan.images.damage import LACKING, damage_told
from elmgan.images.directories import Directory, walk_directories
from elmgan.images.ome import OmeImage, read_ome
from elmgan.images.pixel_size import pixel_size, scn_overview
from elmgan.images.reader import Scene
from elmgan.images.samples import COLOUR, Colouring, check_kind, colouring, kept_samples, no_data_value
from elmgan.images.segments import read_page
from elmgan.images.tile import Tile

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF

# Kinds whose axes tifffile knows. Not among them: OME, which is read here, and Micro-Manager's and NDTiff's own, for
# which it would open other files; Micro-Manager writes OME and ImageJ metadata too.
KNOWN_KINDS = (
    *("shaped", "lsm", "imagej", "fluoview", "stk", "sis", "svs", "scn", "qpi", "ndpi", "avs", "philips"),
    *("scanimage", "nih", "mdgel"),
)
PREVIEWS = frozenset({"Label", "Macro", "Map", "Thumbnail"})  # names of series beside the image on a slide

MIXED = "has pages that differ in size or kind, but should be one image; save each as its own file"
PAGES_COUNTED = "Its pages are counted one by one, since the file does not say what they are; --axes ZYX projects them."

# tifffile logs a line for each odd tag; without a handler Python would print it. What matters is raised.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class _Axis:
    """An axis outside the pages, or the one of a page that tifffile calls Z, Y, X or S (``stored``)."""

    letter: str
    length: int
    stored: str = ""


@dataclass(frozen=True)
class _Pixels:
    """Where the pixels of a scene lie.

    Attributes:
        keyframe: Describes every page.
        axes: Outside the pages, slowest first, then those of a page; S of colour is not among them.
        page: The page by its index along the axes outside.
        offset: Where pixels start that are stored one page after the other; ``None`` if the pages tell.
        samples: Indices of those that are kept.
        colouring: Turns kept samples into red, green and blue; ``None`` if nothing is to turn.
        value: Turns samples into values; ``None`` if they are the values.
        no_data: Value of pixels that are none.
    """

    keyframe: TiffPage
    axes: tuple[_Axis, ...]
    page: Callable[[int], TiffPage | TiffFrame]
    offset: int | None
    samples: tuple[int, ...]
    colouring: Colouring | None
    value: Callable[[NDArray], NDArray] | None
    no_data: float | None


_Levels = tuple[_Pixels, ...]
"""Where the pixels of a scene lie, and those of smaller copies of it, the largest first."""


class TiffReader:
    """An open TIFF; see :class:`elmgan.images.reader.Reader`.

    Labels, macros and thumbnails are no scenes, nor are pyramid levels, which are told as smaller copies. Only the file
    that was given is read, whatever other files its metadata name. Orientation and WhiteIsZero are not applied: rows
    and numbers are taken as stored.
    """

    kind = "TIFF"
    suffixes = frozenset({".tif", ".tiff", ".lsm", ".stk", ".btf", ".svs", ".scn", ".flex", ".ndpi"})
    in_parts = True

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """Say whether the first bytes are those of a TIFF."""
        return start.startswith(STARTS)

    def __init__(self, path: Path, axes: str | None) -> None:
        self._axes = axes.upper() if axes else None
        self._name = path.name
        with damage_told(), ExitStack() as opened:
            self._file = opened.enter_context(path.open("rb"))
            layout = walk_directories(self._file)
            self._pages = layout.pages
            self._file.seek(0)
            # Without these kinds and ``_multifile`` tifffile opens no file but this one.
            self._tiff = TiffFile(
                self._file, _multifile=False, is_ome=False, is_mmstack=False, is_ndtiff=False, is_ndpi=layout.ndpi
            )
            self._last: tuple[int, TiffPage] | None = None
            found = self._find()
            if not found:
                raise ImageError("holds previews and no image; save the image itself")
            self._scenes = tuple(scene for scene, _ in found)
            self._levels = tuple(levels for _, levels in found)
            opened.pop_all()

    @property
    def scenes(self) -> Sequence[Scene]:
        """What the file holds, at least one."""
        return self._scenes

    def close(self) -> None:
        """Close the file."""
        self._tiff.close()
        self._file.close()

    def read(self, scene: int, *, t: int, z: int, channel: int | None, region: Tile, level: int = 0) -> NDArray:
        """Read a part of one plane; see :meth:`elmgan.images.reader.Reader.read`."""
        described, pixels = self._scenes[scene], self._levels[scene][level]
        if "C" in described.axes and channel is None:
            raise ImageError(f"has {described.length('C')} channels; name one")
        at = {"T": t, "Z": z, "C": channel or 0}
        index = depth = 0
        samples = pixels.samples
        for axis in pixels.axes:
            if not axis.stored:
                index = index * axis.length + at[axis.letter]
            elif axis.stored == "Z":
                depth = at[axis.letter]
            elif axis.stored == "S":
                samples = (samples[at[axis.letter]],)
        with damage_told():
            image = self._samples(pixels, index, depth, samples, region)
            if pixels.value is not None:
                image = pixels.value(image)
            if pixels.no_data is not None:
                none = (image == image.dtype.type(pixels.no_data)).all(axis=2)
            if pixels.colouring is not None:
                image = pixels.colouring(image)
            if pixels.no_data is not None:
                image = image.astype(described.dtype)
                image[none] = np.nan
            if "S" in described.axes and "C" not in described.axes and channel is not None:
                image = image[..., channel : channel + 1]
            image = image.astype(described.dtype, order="C", copy=False)
        return image if image.shape[2] == 3 else image[..., 0]

    def _samples(self, pixels: _Pixels, index: int, depth: int, samples: tuple[int, ...], region: Tile) -> NDArray:
        """Samples of a region as they are stored, as (row, column, sample)."""
        keyframe = pixels.keyframe
        page: TiffPage | TiffFrame = keyframe
        offset = None
        if pixels.offset is not None:
            offset = pixels.offset + index * keyframe.nbytes
        else:
            page = pixels.page(index)
            if page.parent is not self._tiff:
                raise ImageError("names pixels in another file; give that file itself")
            if page.keyframe is None or _look(page.keyframe) != _look(keyframe):
                raise ImageError(MIXED)
            keyframe = page.keyframe
        apart = keyframe.shaped[0] > 1
        parts = [
            read_page(
                self._file,
                page,
                keyframe,
                region,
                depth=depth,
                plane=plane,
                samples=(0,) if apart else samples,
                offset=offset,
            )
            for plane in (samples if apart else (0,))
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _find(self) -> list[tuple[Scene, _Levels]]:
        first = self._tiff.pages.first
        if "<!ENTITY" in first.description:
            raise ImageError("is damaged: its metadata define entities; save it again")
        if first.is_bif:
            raise ImageError("is a Ventana slide, whose overlapping tiles are not stitched; export it as OME-TIFF")
        if first.is_ome:
            images = read_ome(first.description, self._name, len(self._pages), first.samplesperpixel)
            if images:
                return [self._ome_scene(image) for image in images]
        if any(getattr(self._tiff, f"is_{kind}") for kind in KNOWN_KINDS):
            return self._known_kind()
        return self._plain()

    def _page(self, number: int) -> TiffPage:
        """Page of the chain; the last one is kept, for the next region of it."""
        if number == 0:
            return self._tiff.pages.first
        if self._last is None or self._last[0] != number:
            self._tiff.filehandle.seek(self._pages[number].offset)
            self._last = number, TiffPage(self._tiff, number)
        return self._last[1]

    def _ome_scene(self, image: OmeImage) -> tuple[Scene, _Levels]:
        keyframe = self._page(next(iter(image.pages.values())))
        along = tuple(len(positions) for positions in image.positions)

        def page(index: int) -> TiffPage:
            at = np.unravel_index(index, along)
            position = tuple(int(held[each]) for held, each in zip(image.positions, at, strict=True))
            number = image.pages.get(position)
            if number is None:
                raise ImageError(LACKING)
            return self._page(number)

        scene, levels = self._stacked(keyframe, page, image.axes, along, measured=True, name=image.name)
        channels = image.channels if "S" not in scene.axes and len(image.channels) == scene.length("C") else ()
        return _with_size(replace(scene, channels=channels), image.pixel_size), levels

    def _stacked(
        self,
        keyframe: TiffPage,
        page: Callable[[int], TiffPage],
        axes: str,
        along: tuple[int, ...],
        *,
        measured: bool,
        name: str = "",
    ) -> tuple[Scene, _Levels]:
        """Describe an image of pages, below each of which there may be smaller copies; the axes are those outside."""

        def level(number: int) -> tuple[Scene, _Pixels]:
            return self._image(
                found := _below(keyframe, number),
                axes + found.axes,
                (*along, *found.shape),
                lambda index: _below(page(index), number),
                measured=measured,
            )

        scene, pixels = self._image(
            keyframe, axes + keyframe.axes, (*along, *keyframe.shape), page, measured=measured, name=name
        )
        return _with_levels(scene, pixels, (partial(level, number) for number in range(len(keyframe.subifds or ()))))

    def _known_kind(self) -> list[tuple[Scene, _Levels]]:
        if self._tiff.is_scn and re.search(r"""\b[czr]=["'][^"']{5}""", self._tiff.pages.first.description):
            raise ImageError("is damaged: its metadata count 10,000 channels or planes; save it again")
        series = self._tiff.series
        if not series or series[0].kind in ("generic", "uniform"):
            if self._tiff.is_imagej:
                raise ImageError(LACKING)  # its description counts more images than it has
            return self._plain()
        overview = scn_overview(self._tiff.pages.first.description) if self._tiff.is_scn else None
        found = []
        measured = not self._tiff.is_shaped
        for each in series:
            if each.name in PREVIEWS or each.keyframe.is_reduced or (overview is not None and each.name == overview):
                continue
            name = "" if each.name in ("Baseline", "integrated") else each.name
            scene, levels = _with_levels(
                *self._series(each, measured=measured, name=name),
                (partial(self._series, level, measured=measured) for level in each.levels[1:]),
            )
            size = pixel_size(self._tiff, each.keyframe, each.name)
            found.append((_with_size(replace(scene, channels=self._channels(scene)), size), levels))
        return found

    def _series(self, series: TiffPageSeries, *, measured: bool, name: str = "") -> tuple[Scene, _Pixels]:
        """Describe an image, or a smaller copy of one, whose axes tifffile knows."""
        scene, pixels = self._image(
            series.keyframe,
            series.get_axes(squeeze=False),
            series.get_shape(squeeze=False),
            _page_getter(series),
            offset=series.dataoffset,
            measured=measured,
            name=name,
            value=series.transform,
        )
        self._check_number(series, pixels)
        return scene, pixels

    def _channels(self, scene: Scene) -> tuple[str, ...]:
        """Names of channels as an LSM has them."""
        colours = ((self._tiff.lsm_metadata or {}).get("ChannelColors") or {}) if self._tiff.is_lsm else {}
        names = tuple(str(name) for name in colours.get("ColorNames", ()))
        return names if "S" not in scene.axes and len(names) == scene.length("C") else ()

    def _check_number(self, series: TiffPageSeries, pixels: _Pixels) -> None:
        """Compare the planes that metadata count with what the file holds."""
        number = math.prod(axis.length for axis in pixels.axes if not axis.stored)
        if pixels.offset is not None:
            end = pixels.offset + number * pixels.keyframe.nbytes
            if end > self._tiff.filehandle.size:
                raise ImageError(LACKING)
        elif number > len(series):
            raise ImageError(LACKING)
        images = sum(not page.preview for page in self._pages)
        if series.kind == "imagej" and images not in (1, number):
            raise ImageError(f"holds {images:,} images where its metadata count {number:,}; save it again")

    def _plain(self) -> list[tuple[Scene, _Levels]]:
        """Scenes of a file without metadata: pages of one size and kind are one image."""
        groups: dict[tuple, list[int]] = {}
        pages = [(number, page) for number, page in enumerate(self._pages) if not page.preview]
        for number, page in pages:
            groups.setdefault((page.size, page.kind), []).append(number)
        whole: list[tuple[Directory, list[list[int]]]] = []
        for numbers in groups.values():
            page = self._pages[numbers[0]]
            of = next((them for it, them in whole if len(numbers) == len(them[0]) and _is_level(page, it)), None)
            if of is None:
                whole.append((page, [numbers]))
            else:
                of.append(numbers)
        return [self._stack(*levels) for _, levels in whole]

    def _stack(self, numbers: list[int], *smaller: list[int]) -> tuple[Scene, _Levels]:
        """Describe the image of some pages, of which others are smaller copies."""
        keyframe = self._page(numbers[0])
        axes, along = ("I", (len(numbers),)) if len(numbers) > 1 else ("", ())
        measured = keyframe.is_ome or keyframe.is_imagej

        def level(of: list[int]) -> tuple[Scene, _Pixels]:
            first = self._page(of[0])
            shape = (*along, *first.shape)
            return self._image(first, axes + first.axes, shape, lambda index: self._page(of[index]), measured=measured)

        scene, levels = self._stacked(
            keyframe, lambda index: self._page(numbers[index]), axes, along, measured=measured
        )
        if len(levels) == 1:
            scene, levels = _with_levels(scene, levels[0], (partial(level, of) for of in smaller))
        # An OME-TIFF whose XML does not describe this file has a resolution all the same: a default.
        return _with_size(scene, {} if keyframe.is_ome else pixel_size(self._tiff, keyframe)), levels

    def _image(
        self,
        keyframe: TiffPage,
        axes: str,
        shape: tuple[int, ...],
        page: Callable[[int], TiffPage | TiffFrame],
        *,
        measured: bool,
        offset: int | None = None,
        name: str = "",
        value: Callable[[NDArray], NDArray] | None = None,
    ) -> tuple[Scene, _Pixels]:
        """Describe an image whose pages have some of its axes, and the file the others.

        ``measured``: a microscope's metadata are there, for which a palette is the colour of the display.
        """
        check_kind(keyframe)
        if len(axes) != len(shape):
            raise ImageError(f"is damaged: its metadata give axes {axes} and lengths {_times(shape)}; save it again")
        stored = [each for each in zip(keyframe.axes, keyframe.shape, strict=True) if each[1] > 1 or each[0] in "YX"]
        all_axes = [each for each in zip(axes, shape, strict=True) if each[1] > 1 or each[0] in "YX"]
        outside, inside = all_axes[: len(all_axes) - len(stored)], all_axes[-len(stored) :]
        if len(inside) < len(stored) or any(
            length != other or ((axis in "YX" or letter in "YX") and axis != letter)
            for (axis, length), (letter, other) in zip(inside, stored, strict=True)
        ):
            raise ImageError(
                f"keeps axes {axes} of {_times(shape)} in pages of {_times(keyframe.shape)}; save it with rows and "
                "columns last"
            )
        samples = kept_samples(keyframe)
        colours = colouring(keyframe, len(samples), measured=measured)
        is_colour = colours is not None or (keyframe.photometric in COLOUR and len(samples) == 3)
        found = [_Axis(*each) for each in outside]
        for (axis, length), (letter, _) in zip(inside, stored, strict=True):
            if letter != "S":
                found.append(_Axis(axis, length, letter))
            elif len(samples) > 1 and not is_colour:
                found.append(_Axis(axis if axis in "TZ" else "C", len(samples), letter))
        named, note = self._named(found)
        no_data = no_data_value(keyframe)
        dtype = np.dtype(keyframe.dtype)
        if colours is not None and keyframe.photometric == PHOTOMETRIC.PALETTE:
            dtype, no_data = np.dtype(np.uint8), None
        if value is not None or (no_data is not None and dtype.kind != "f"):
            dtype = np.dtype(np.float32)
        scene = Scene(
            "".join(axis.letter for axis in named) + ("S" if is_colour else ""),
            tuple(axis.length for axis in named) + ((3,) if is_colour else ()),
            dtype.newbyteorder("="),
            name=name,
            note=note,
        )
        return scene, _Pixels(keyframe, named, page, offset, samples, colours, value, no_data)

    def _named(self, axes: Sequence[_Axis]) -> tuple[tuple[_Axis, ...], str]:
        """Give axes that the file leaves open a letter: the user's, or T if there is one, told in a note."""
        letters = "".join(axis.letter for axis in axes)
        open_axes = [axis for axis in axes if axis.letter not in "TZCYX" or letters.count(axis.letter) > 1]
        if not open_axes:
            return tuple(axes), ""
        lengths = _times([axis.length for axis in axes])
        given = self._axes.removesuffix("S") if self._axes else None
        if given is not None:
            fits = len(given) == len(axes) and len(set(given)) == len(given) and set(given) <= set("TZCYX")
            if not fits or any(
                (new in "YX" or axis.letter in "YX") and new != axis.letter
                for new, axis in zip(given, axes, strict=True)
            ):
                raise ImageError(
                    f"has axes {letters} of {lengths}, which --axes {self._axes} does not fit; give each one letter of "
                    "TZCYX, with Y and X where they are"
                )
            return tuple(replace(axis, letter=new) for new, axis in zip(given, axes, strict=True)), ""
        if len(open_axes) > 1 or "T" in letters:
            raise ImageError(
                f"has axes {letters} of {lengths}; say what they are with --axes, one letter of TZCYX for each"
            )
        return tuple(replace(axis, letter="T") if axis in open_axes else axis for axis in axes), PAGES_COUNTED


def _with_levels(
    scene: Scene, pixels: _Pixels, smaller: Iterable[Callable[[], tuple[Scene, _Pixels]]]
) -> tuple[Scene, _Levels]:
    """Add to a scene the smaller copies that hold its planes; what is wrong with one keeps none from the others."""
    levels, sides = [pixels], [scene.sides]
    for described in smaller:
        with suppress(Exception):
            copy, found = described()
            planes = [[each.axes, each.dtype, each.shape[: each.axes.index("Y")]] for each in (scene, copy)]
            if planes[0] == planes[1] and all(side < of for side, of in zip(copy.sides, sides[-1], strict=True)):
                levels.append(found)
                sides.append(copy.sides)
    return replace(scene, levels=tuple(sides[1:])), tuple(levels)


def _below(page: TiffPage, number: int) -> TiffPage:
    """Give a smaller copy that a page names."""
    found = page.pages[number] if page.pages and number < len(page.pages) else None
    if not isinstance(found, TiffPage):
        raise ImageError(LACKING)
    return found


def _look(page: TiffPage) -> tuple:
    """What pages of one image have in common."""
    return page.shaped, page.dtype, page.photometric, page.extrasamples, page.planarconfig


def _with_size(scene: Scene, sizes: Mapping[str, float]) -> Scene:
    """Add the sizes of pixels along axes that the scene has."""
    return replace(scene, pixel_size={axis: size for axis, size in sizes.items() if axis.upper() in scene.axes})


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _is_level(page: Directory, full: Directory) -> bool:
    """Whether a page without a word on it is a whole image reduced 2, 3, 4, ... times."""
    factor = round(full.size[0] / max(page.size[0], 1))
    return (
        factor > 1
        and page.kind == full.kind
        and all(abs(small - large / factor) <= 1 for small, large in zip(page.size, full.size, strict=True))
    )


def _page_getter(series: TiffPageSeries) -> Callable[[int], TiffPage | TiffFrame]:
    def page(index: int) -> TiffPage | TiffFrame:
        found = series[index]
        if found is None:
            raise ImageError(LACKING)
        return found

    return page
