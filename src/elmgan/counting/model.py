"""A model that counts: from an array to a Result."""

import math
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elmgan.counting.clumps import Clumps, clumped_share
from elmgan.counting.levels import level_for
from elmgan.counting.looks import Looks, Scaled, scale_for, usual_scales
from elmgan.counting.picture import PREVIEW_SIDE, shrunk
from elmgan.counting.predictor import TILE, Predictor
from elmgan.counting.result import Result
from elmgan.counting.scaling import LARGEST_SCALE, SMALLEST_SCALE
from elmgan.counting.streaming import Bands, OnDisk, Streamed, find_in_strips, is_streamed
from elmgan.counting.tiling import Band
from elmgan.engines import Engine, Runtime, open_engine
from elmgan.engines.engine import threads
from elmgan.errors import ImageError, ModelError, UsageError
from elmgan.images import COLOUR_SAMPLES, Plane, Tile, View, as_numpy, axis_names, only_plane, open_image
from elmgan.light import Appearance, Cells, Seen, Surveyed, appearance_of, channel_left, see
from elmgan.models import Bundle, ModelCard
from elmgan.trust import ImagePlace, darkness_told, flags_by, flags_of

DIFFERS = 1.5, 0.1
"""A merge may be counted as one if each stain alone gives the count up to so many cells, or this share of it."""

AS_LARGE = 1.1
"""Pixels that differ by less than this factor are of one size."""

PART = 2048
"""Side of the part of a large plane that shows whether stains are counted alike."""


MOST_SAMPLED = 1 << 22
"""Pixels of a sample that are kept until they are counted, with what was seen of them: about 20 bytes each."""


@dataclass(frozen=True, eq=False)
class _Sampled:
    """A plane that was looked at for the scale."""

    pixels: NDArray
    seen: Seen
    looks: Looks


@dataclass(frozen=True)
class _Judged:
    """How far an image is from the known ones, and what that means for its count."""

    place: ImagePlace | None
    distance: float | None
    far: bool | None
    """None where that is not known."""
    gain: float
    vouched: bool
    """Whether its interval can be given."""
    remarks: tuple[str, ...]


class Model:
    """Counts the cells of images with the network of a bundle.

    Args:
        bundle: The model as read from disk.
        engine: What runs the network, or its name, or auto for the fastest there is; see :func:`open_engine`.
        precision: What the named engine's layers compute in: fp32, bf16, int8 or auto.
        device: What the named engine runs on: cpu, cuda or auto.
        parallel: Whether several threads count with it at once; for a named engine.
        tile: Side of the tiles in which large images are read; see :class:`Predictor`.

    Raises:
        ModelError: The network cannot be loaded.
        UsageError: The tile does not fit the network, or there is no such engine, precision or device.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine | str = "auto",
        *,
        precision: str = "auto",
        device: str = "auto",
        parallel: bool = False,
        tile: int = TILE,
    ) -> None:
        self._made = bundle, engine, precision, device, tile
        self.card: ModelCard = bundle.card
        self.version: str = bundle.version
        if isinstance(engine, str):
            engine = open_engine(bundle, engine, precision=precision, device=device, parallel=parallel)
        self.runtime: Runtime = engine.runtime
        self._predict = Predictor(bundle.card.architecture, engine, tile=tile)
        known = bundle.known if bundle.card.segments and bundle.card.counts and bundle.card.architecture.maps else None
        self.known = known if known is not None and known.usable else None
        self.usual: tuple[float, ...] = (1.0,)
        """Scales of the images that are counted, the most frequent first; see :meth:`at_scales_of`."""
        self._sampled: dict[Hashable, _Sampled] = {}

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the engine again, for as many threads as it has."""
        return _opened_again, (*self._made, self.usual)

    def __repr__(self) -> str:
        return f"Model({self.version}, {self.runtime})"

    @property
    def pixel_size(self) -> float | None:
        """Micrometres along a pixel, as the network saw the images that it knows; None where that is not known."""
        return None if self.known is None else self.known.pixel_size

    @property
    def view(self) -> View:
        """How it sees images by default: as it was calibrated or trained to; every scene and time point."""
        kept = self.card.view or View()
        return kept.model_copy(update={"scene": "each", "t": "each"})

    def count(
        self,
        image: ArrayLike | Plane,
        *,
        view: View | None = None,
        channel: int | str | None = None,
        scale: float | None = None,
        cells: Cells | None = None,
        quick: bool = False,
        pixels: NDArray | None = None,
    ) -> Result:
        """Count the cells of a (row, column) or (row, column, channel) image of any numeric dtype, or of a plane.

        An array may be NumPy's, Dask's, or a tensor. One that names its axes, as xarray's do, may have them in any
        order, and more of them, of which the view leaves one plane.

        The result has what the model learned: counts, masks or both. An image that counts 0 has no foreground. Pixels
        without data - NaN, infinite, or of one value along the image's border - are neither counted nor foreground.
        Under another view than the one that the model was calibrated under (see :meth:`calibrated_for`), and far from
        the images that it knows, counts are not corrected and have no interval. Nor has one that was counted at a
        scale of its own, or quickly by a model that knows images.

        Args:
            image: The pixels, as read; they are normalised here. Or a plane of an opened image, which has its own view.
            view: How an array is shown to the network; by default as the model's own view says.
            channel: In place of the view's: which channel to count in, from 1, or luminance, red or haematoxylin of
                colour; without it, a stained slide is seen as haematoxylin and other colour as luminance.
            scale: In place of the view's: the network sees the image resized by this factor, 0.1 to 10: 0.5 for cells
                twice as large as those that the model learned from. The result is of the image's own size all the same.
            cells: In place of the view's: whether cells are brighter or darker than the background; auto finds out.
            quick: Look at the image once. A scale that is to be found out is the first of :attr:`usual` then, and
                whether the image is unlike the known ones is not said; the flag ``unchecked`` tells so.
            pixels: Of a plane, where they have been read before.

        Raises:
            ImageError: The image is not of a kind or size that the model takes, has several planes under the view, or
                is a merge of several stains that would be counted otherwise each, and no channel is named.
            ModelError: The network cannot run on the image, or gives numbers that are not finite.
            UsageError: There is no such scale.
        """
        if isinstance(image, Plane):
            view, pixels = image.view, image.read() if pixels is None else pixels
        elif isinstance(image, str | Path):
            raise ImageError(f"{image} is a path: give an array, or a plane of elmgan.open_image(path)")
        elif axis_names(image) is not None:
            view = (view or self.view).changed(channel=channel, scale=scale, cells=cells)
            return self.count(only_plane(open_image(image), view), quick=quick)
        else:
            view, pixels = view or self.view, np.asarray(as_numpy(image))
        view = view.changed(channel=channel, scale=scale, cells=cells)
        judged_view = self._view_of(image, view) if isinstance(image, Plane) else view
        channel = view.channel if channel is not None else channel_left(view, pixels)
        kept = self._sampled.pop(_key(image, view), None) if isinstance(image, Plane) else None
        if kept is not None and (quick or not np.array_equal(kept.pixels, pixels)):
            kept = None
        seen = see(pixels, self.card.normalisation, channel=channel, cells=view.cells) if kept is None else kept.seen
        hint = self._hint(image) if isinstance(image, Plane) else None
        chosen, looks = self._looked(seen, view, quick=quick, hint=hint, taken=None if kept is None else kept.looks)
        predicted = self._predict.within(
            seen, scale=chosen.scale, predicted=looks.predicted(chosen.scale) if looks else None
        )
        probability = predicted[0] if self.card.segments else None
        count_map = predicted[1] if self.card.counts else None
        if not all(math.isfinite(values.sum()) for values in (probability, count_map) if values is not None):
            raise ModelError(f"model {self.version} gives no finite numbers for this image: train or choose another")
        judged = self._judged(looks, chosen, judged_view, quick=quick)
        if count_map is not None and judged.gain != 1:
            count_map = count_map * np.float32(judged.gain)
        # As it is shown, and rounded again for the count.
        estimate = None if count_map is None else round(float(count_map.sum(dtype=np.float64)), 2)
        mask = None if probability is None else probability >= self.card.threshold
        if mask is not None and estimate is not None and estimate < 0.5:
            mask = np.zeros_like(mask)  # what is no cell by the count is none by the mask: a few pixels of a background
        interval = self._interval(estimate, judged)
        found = Result(seen.grey.shape, estimate, mask, probability, count_map, (), scale=chosen.scale)
        if seen.stains:
            self._refuse_to_mix(pixels, view, seen.stains, found)
        appearance = appearance_of(seen.grey, seen.stretch, mask, estimate, scale=chosen.scale, data=seen.data)
        if self._told_by_clumps and mask is not None and count_map is not None:
            appearance = {**appearance, "clumped": clumped_share(mask, count_map)}
        flags = flags_of(
            pixels if channel is None or seen.as_read is None else seen.as_read,
            mask,
            appearance,
            self.card.training,
            probability=probability,
            data=seen.data,
            far=judged.far,
            remarks=(*seen.remarks, *judged.remarks),
        )
        return Result(
            seen.grey.shape,
            estimate,
            mask,
            probability,
            count_map,
            flags,
            interval,
            seen.data,
            chosen.scale,
            "haematoxylin" if channel is None and seen.channel == "haematoxylin" else "",
            "" if "unlike-training" not in flags else self._unlike(appearance, judged.place if judged.far else None),
            judged.place,
            judged.distance,
            None if interval is None else self.card.calibration,
            self._doubt(judged),
            shrunk(seen.grey, PREVIEW_SIDE),
        )

    def stream(
        self,
        plane: Plane,
        *,
        quick: bool = False,
        scratch: Path | None = None,
        watch: Callable[[float], None] = lambda share: None,
        bands: Bands | None = None,
    ) -> Streamed:
        """Count the cells of a plane of any size, of which only some rows are in memory at a time.

        The numbers are those of :meth:`count`, within rounding, and so are the cells. Where the network sees the plane
        smaller and its file holds a smaller copy that looks the same to it, cells are found in that; what is found has
        the size of the plane all the same.

        Args:
            plane: The plane, of an open source.
            quick: See :meth:`count`.
            scratch: Folder for what does not fit memory: numbers of the cells, packed; by default the system's.
            watch: Told the share of the plane that is done, now and then.
            bands: Runs the network elsewhere; see :meth:`band`.

        Raises:
            ImageError: It cannot be read or counted; see :meth:`count`. Or the model has no count map, or is for images
                of one size, and so for no such planes.
            ModelError: See :meth:`count`.
        """
        card, view = self.card, plane.view
        if not (card.architecture.tiles and card.architecture.maps):
            raise ImageError(f"is too large for {self.version}: choose a model with a count map, which counts in tiles")
        channel = view.channel if plane.samples == len(COLOUR_SAMPLES) else None
        look = partial(OnDisk, normalisation=card.normalisation, channel=channel, cells=view.cells)
        on_disk = look(plane)
        chosen, looks = self._looked(on_disk, view, quick=quick, hint=self._hint(plane))
        judged = self._judged(looks, chosen, self._view_of(plane, view), quick=quick)
        counted = level_for(on_disk, chosen.scale, look)
        scale = chosen.scale * counted.plane.reduction
        surveyed = on_disk.surveyed
        if surveyed.stains:  # refused where a part of it is
            rows, columns = (min(side, PART) for side in plane.shape)
            middle = Tile((plane.shape[0] - rows) // 2, (plane.shape[1] - columns) // 2, rows, columns)
            self.count(plane.read(middle), view=view.changed(scale=chosen.scale), quick=True)
        clumps = Clumps() if self._told_by_clumps else None
        found = find_in_strips(
            counted,
            self._predict,
            scale=scale,
            threshold=card.threshold,
            gain=judged.gain,
            segments=card.segments,
            counts=card.counts,
            clumps=clumps,
            scratch=scratch,
            watch=watch,
            bands=bands,
        )
        estimate = round(found.cells, 2) if card.counts else None
        tally, strips, pixels = found.tally, found.strips, found.tally.held
        blank = strips is not None and estimate is not None and estimate < 0.5
        if blank and strips is not None:  # what is no cell by the count is none by the mask
            strips.close()
            strips, tally = None, replace(tally, inside=0, clipped_inside=0)
        measuring = found.measuring.blank() if blank else found.measuring
        appearance = measuring.appearance(estimate, pixels, scale=scale)
        if clumps is not None:
            appearance = {**appearance, "clumped": clumps.share}
        remarks = (*surveyed.remarks, *judged.remarks)
        flags = flags_by(tally, appearance, card.training, far=judged.far, remarks=remarks)
        objects = None if not card.segments else 0 if strips is None else strips.number
        interval = self._interval(estimate, judged)
        return Streamed(
            plane.shape,
            estimate,
            interval,
            objects,
            None if tally.inside is None else tally.inside / max(1, pixels),
            flags,
            chosen.scale,
            "haematoxylin" if channel is None and on_disk.channel == "haematoxylin" else "",
            "" if "unlike-training" not in flags else self._unlike(appearance, judged.place if judged.far else None),
            judged.distance,
            surveyed.preview,
            counted.plane.shape,
            counted.plane.reductions,
            counted.box,
            strips,
            found.count_map,
            None if interval is None else card.calibration,
            self._doubt(judged),
        )

    def tops_of_bands(self, shape: tuple[int, int], scale: float) -> range:
        """Give the first rows of the bands in which the network sees so many rows and columns at a scale."""
        return self._predict.tops_of_bands(shape, scale=scale)

    def band(self, plane: Plane, surveyed: Surveyed, top: int, scale: float) -> Band:
        """Run the network on one band of a plane that is too large for memory; any of them, in any order.

        Args:
            plane: The plane, of an open source.
            surveyed: What was found of its light.
            top: First row of the band, one of :meth:`tops_of_bands`.
            scale: The network sees the plane resized by this factor.

        Returns:
            ``top``, the probability of cell, and the count map.
        """
        on_disk = OnDisk(plane, self.card.normalisation, surveyed=surveyed)

        def read(rows: range) -> NDArray:
            return on_disk.seen(Tile(rows.start, 0, len(rows), on_disk.shape[1])).grey

        return self._predict.seen_band(read, on_disk.shape, top, scale=scale, stretch=on_disk.stretch)

    def _view_of(self, plane: Plane, view: View) -> View:
        """Give the view by which a plane is judged: where there was nothing to project, the model's own projection."""
        return view.changed(z=self.view.z) if plane.described.length("Z") == 1 else view

    @property
    def _told_by_clumps(self) -> bool:
        return "clumped" in self.card.training and self.card.counts and self.card.segments

    def _looked(
        self, seen: Seen | OnDisk, view: View, *, quick: bool, hint: float | None, taken: Looks | None = None
    ) -> tuple[Scaled, Looks | None]:
        """Choose the scale at which an image is counted, by looks at it if it is to be looked at."""
        fixed = view.scale != "auto"
        if self.known is None or quick:
            return Scaled(view.factor if fixed else self.usual[0]), None
        looks = taken or self._looks(seen, hint)
        return scale_for(looks, self.known, (view.factor,) if fixed else self.usual, fixed=fixed), looks

    def _judged(self, looks: Looks | None, chosen: Scaled, view: View, *, quick: bool) -> "_Judged":
        """Say how far an image is from the known ones, and what that means for its count."""
        place = None if looks is None else looks.place(chosen.scale)
        known, distance = self.known, None
        if known is not None and place is not None:
            distance = known.least_distance(place)
        far = known is not None and distance is not None and distance > known.far
        calibration = self.card.calibration
        calibrated = calibration is not None and not far and self.calibrated_for(view, chosen.scale)
        return _Judged(
            place,
            distance,
            None if known is None else far,
            calibration.gain if calibration is not None and calibrated else 1.0,
            calibrated and not chosen.own and (known is None or not quick),
            (*(["object-size"] if chosen.own else []), *(["unchecked"] if quick else [])),
        )

    def _interval(self, estimate: float | None, judged: "_Judged") -> tuple[float, float] | None:
        calibration = self.card.calibration
        if estimate is None or calibration is None or not judged.vouched:
            return None
        return calibration.interval(estimate, self._doubt(judged))

    def _doubt(self, judged: "_Judged") -> float:
        if self.known is None:
            return 0.0
        others = None if judged.place is None else self.known.least_distance(judged.place, itself=False)
        return self.known.doubt(others)

    def _refuse_to_mix(self, pixels: NDArray, view: View, stains: Sequence[int], together: Result) -> None:
        """Refuse a merge of stains of which one alone would be counted otherwise than all together."""

        def cells(result: Result) -> float:
            return float((result.objects if result.estimate is None else result.estimate) or 0)

        alone = {
            stain: cells(self.count(pixels, view=view.changed(channel=stain, scale=together.scale), quick=True))
            for stain in stains
        }
        most = max(DIFFERS[0], DIFFERS[1] * cells(together))
        if any(abs(number - cells(together)) > most for number in alone.values()):
            told = ", ".join(
                f"{number:.0f} in channel {stain} ({COLOUR_SAMPLES[stain - 1]})" for stain, number in alone.items()
            )
            raise ImageError(f"shows several stains, with {told}: name one with channel=N (--channel N)")

    def _unlike(self, appearance: Appearance, place: ImagePlace | None) -> str:
        """Say in words why an image is unlike training; its place is given where that is why."""
        words = []
        if (dark := darkness_told(appearance, self.card.training)) is not None:
            words.append(dark)
        if place is not None and self.known is not None:
            words.append(self.known.unlike(place))
        return " and ".join(words)

    def at_scales_of(self, planes: Iterable[Plane], *, known_alone: bool = False) -> Self:
        """Return the model as it counts images of which these planes, of opened files, are a sample.

        Where the scale of an image is to be found out, it is one of those that suit the sample, or, if the image is far
        from known ones at these and near at another, that one, which is flagged; see
        :func:`~elmgan.counting.looks.scale_for`. What of the sample cannot be read is passed over.

        Args:
            planes: The sample.
            known_alone: As of :func:`~elmgan.counting.looks.usual_scales`.
        """
        if self.known is None:
            return self
        known, sample, kept, room = self.known, [], {}, MOST_SAMPLED

        alone = Lock()

        def look(plane: Plane, keep: bool) -> None:
            size = plane.shape[0] * plane.shape[1] * plane.samples
            # What cannot be read or seen will be told when the plane is counted.
            with suppress(Exception), alone if size > MOST_SAMPLED else nullcontext():
                pixels = None if is_streamed(plane) else plane.read()
                seen = self._seen(plane, pixels)
                looks = self._looks(seen, self._hint(plane))
                scale_for(looks, known)  # each look is taken once, and all that will be asked for are taken here
                if keep and pixels is not None and isinstance(seen, Seen):
                    kept[_key(plane, plane.view)] = _Sampled(pixels, seen, looks)
                else:
                    looks.forget()
                sample.append(looks)

        with ThreadPoolExecutor(threads() or os.cpu_count()) as pool:
            for plane in planes:
                size = plane.shape[0] * plane.shape[1] * plane.samples
                pool.submit(look, plane, size <= room)
                room -= size if size <= room else 0
        other = self.at(usual_scales(sample, known, known_alone=known_alone))
        other._sampled = kept
        return other

    def at(self, usual: Sequence[float]) -> Self:
        """Return the model as it counts images of these scales, the most frequent first."""
        other = copy(self)
        other.usual = tuple(usual)
        return other

    def scale_of(self, diameter: float) -> float:
        """Give the scale at which cells of a diameter in pixels are as large as those that the model knows.

        Raises:
            UsageError: The model does not know how large its cells were, or the scale would be beyond 0.1 to 10.
        """
        across = math.nan if self.known is None else self.known.diameter
        if math.isnan(across):
            raise UsageError(
                f"{self.version} does not say how large its cells were: give --scale in place of --diameter"
            )
        least, most = across / LARGEST_SCALE, across / SMALLEST_SCALE
        if not least <= diameter <= most:
            raise UsageError(f"--diameter is {diameter:g}; {self.version} takes {least:.0f} to {most:.0f} pixels")
        return round(across / diameter, 4)

    def place(self, plane: Plane) -> ImagePlace:
        """Measure a plane, as its view shows it, for its place among others; at its own size where the scale is open.

        Raises:
            ImageError: It cannot be read or seen.
        """
        return self._looks(self._seen(plane)).place(plane.view.factor)

    def _seen(self, plane: Plane, pixels: NDArray | None = None) -> Seen | OnDisk:
        view = plane.view
        if is_streamed(plane):
            channel = view.channel if plane.samples == len(COLOUR_SAMPLES) else None
            return OnDisk(plane, self.card.normalisation, channel=channel, cells=view.cells)
        pixels = plane.read() if pixels is None else pixels
        channel = channel_left(view, pixels)
        return see(pixels, self.card.normalisation, channel=channel, cells=view.cells)

    def _looks(self, seen: Seen | OnDisk, hint: float | None = None) -> Looks:
        return Looks(self._predict, seen, self.card.threshold, hint)

    def _hint(self, plane: Plane) -> float | None:
        """Give the scale at which pixels are as large as those that the model knows; None where that is not told."""
        if self.pixel_size is None or plane.pixel_side is None:
            return None
        scale = plane.pixel_side / self.pixel_size
        if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
            return None
        return 1.0 if 1 / AS_LARGE < scale < AS_LARGE else round(scale, 4)

    def calibrated_for(self, view: View, scale: float | None = None) -> bool:
        """Say whether the model's calibration holds under a view: it was calibrated under one that shows the same.

        A model that finds the scale by the images that it knows is calibrated for any: an image that does not look
        like these is far from them.

        Args:
            view: The view.
            scale: At which an image is counted; by default that of the view.
        """
        kept = self.card.view or View()
        if self.known is not None and kept.scale == "auto":
            kept = kept.changed(scale=view.factor if scale is None else scale)
        return kept.shows_alike(view, scale)


def _key(plane: Plane, view: View) -> Hashable:
    """By what a plane is known that is opened again."""
    return plane.source.path, plane.place, plane.index, view.channel, view.cells, view.scale


def _opened_again(
    bundle: Bundle, engine: str, precision: str, device: str, tile: int, usual: tuple[float, ...]
) -> Model:
    if not isinstance(engine, str):
        raise UsageError("a model with an engine of its own stays in its process: name the engine")
    return Model(bundle, engine, precision=precision, device=device, parallel=True, tile=tile).at(usual)
