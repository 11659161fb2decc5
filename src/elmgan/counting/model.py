"""A model that counts: from an array to a Result."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from elmgan.counting.predictor import TILE, Predictor
from elmgan.counting.result import Result
from elmgan.engines import Engine, Runtime, open_engine
from elmgan.errors import ImageError, ModelError
from elmgan.images import Plane, View
from elmgan.light import Cells, appearance_of, channel_left, see
from elmgan.models import Bundle, ModelCard
from elmgan.trust import flags_of


class Model:
    """Counts the cells of images with the network of a bundle.

    Args:
        bundle: The model as read from disk.
        engine: What runs the network, or its name, or auto for the fastest there is; see :func:`open_engine`.
        precision: What the named engine's layers compute in: fp32, bf16 or auto.
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
        self.card: ModelCard = bundle.card
        self.version: str = bundle.version
        if isinstance(engine, str):
            engine = open_engine(bundle, engine, precision=precision, device=device, parallel=parallel)
        self.runtime: Runtime = engine.runtime
        self._predict = Predictor(bundle.card.architecture, engine, tile=tile)

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
    ) -> Result:
        """Count the cells of a (row, column) or (row, column, channel) image of any numeric dtype, or of a plane.

        The result has what the model learned: counts, masks or both. An image that counts 0 has no foreground. Pixels
        without data - NaN, infinite, or of one value along the image's border - are neither counted nor foreground.
        There is no interval under another view than the one that the model was calibrated under; see
        :meth:`calibrated_for`.

        Args:
            image: The pixels, as read; they are normalised here. Or a plane of an opened image, which has its own view.
            view: How an array is shown to the network; by default as the model's own view says.
            channel: In place of the view's: which channel to count in, from 1, or luminance, red or haematoxylin of
                colour, which is reduced to luminance without it.
            scale: In place of the view's: the network sees the image resized by this factor, 0.1 to 10: 0.5 for cells
                twice as large as those that the model learned from. The result is of the image's own size all the same.
            cells: In place of the view's: whether cells are brighter or darker than the background; auto finds out.

        Raises:
            ImageError: The image is not of a kind or size that the model takes.
            ModelError: The network cannot run on the image, or gives numbers that are not finite.
            UsageError: There is no such scale.
        """
        if isinstance(image, Plane):
            view, pixels = image.view, image.read()
        elif isinstance(image, str | Path):
            raise ImageError(f"{image} is a path: give an array, or a plane of elmgan.open_image(path)")
        else:
            view, pixels = view or self.view, np.asarray(image)
        given = {"channel": channel, "scale": scale, "cells": cells}
        view = view.model_copy(update={name: value for name, value in given.items() if value is not None})
        channel = channel_left(view, pixels) if channel is None else channel
        seen = see(pixels, self.card.normalisation, channel=channel, cells=view.cells)
        predicted = self._predict.within(seen, scale=view.scale)
        probability = predicted[0] if self.card.segments else None
        count_map = predicted[1] if self.card.counts else None
        if not all(math.isfinite(values.sum()) for values in (probability, count_map) if values is not None):
            raise ModelError(f"model {self.version} gives no finite numbers for this image: train or choose another")
        calibration = self.card.calibration
        if count_map is not None and calibration is not None:
            count_map = count_map * np.float32(calibration.gain)
        # As it is shown, and rounded again for the count.
        estimate = None if count_map is None else round(float(count_map.sum(dtype=np.float64)), 2)
        mask = None if probability is None else probability >= self.card.threshold
        if mask is not None and estimate is not None and estimate < 0.5:
            mask = np.zeros_like(mask)  # what is no cell by the count is none by the mask: a few pixels of a background
        interval = None
        if estimate is not None and calibration is not None and self.calibrated_for(view):
            interval = calibration.interval(estimate)
        appearance = appearance_of(seen.grey, seen.stretch, mask, estimate, scale=view.scale, data=seen.data)
        flags = flags_of(
            pixels if channel is None else seen.grey,
            mask,
            appearance,
            self.card.training,
            probability=probability,
            data=seen.data,
            remarks=seen.remarks,
        )
        return Result(seen.grey.shape, estimate, mask, probability, count_map, flags, interval, seen.data)

    def calibrated_for(self, view: View) -> bool:
        """Say whether the model's calibration holds under a view: it was calibrated under one that shows the same."""
        return (self.card.view or View()).shows_alike(view)
