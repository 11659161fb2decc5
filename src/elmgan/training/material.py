"""What a run learns from and is judged by: read, or drawn, and kept at hand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from rich.console import Console

from elmgan.counting import Model
from elmgan.data import Example, Record, Sides, load_example, reduce_labels
from elmgan.data.synthetic import draw, random_scene
from elmgan.errors import DataError
from elmgan.images import View
from elmgan.light import Normalisation, diameter_of, to_grey
from elmgan.models import Bundle, Learned, ModelCard
from elmgan.training.bundling import with_progress
from elmgan.training.config import TrainingConfig
from elmgan.training.mapped import ImageShelf
from elmgan.training.windows import padded_size
from elmgan.trust import other_size_told
from elmgan.work.views import at_scales

BOTH: Learned = ("mask", "count")

STEADY = 0.6
"""Share of the steps for which batch norms follow the batches, at least, where a model meets totals alone."""


@dataclass(frozen=True)
class Material:
    """What a run learns from and is judged by, in memory or mapped from a file.

    Attributes:
        train: The data set's images to train on.
        synthetic: Drawn ones to train on.
        validation: Images that choose the best epoch.
        taught: What the first two teach.
        learned: That, and what the model has learned before if the third can vouch for it.
    """

    train: list[Example]
    synthetic: list[Example]
    validation: list[Example]
    taught: Learned
    learned: Learned

    def unvalidated(self) -> str:
        """Say what is learned and not known of any image to validate on; nothing if all is."""
        return "; ".join(
            f"no image to validate on has a {what}: {what}s are learned, but not checked"
            for what in self.learned
            if what not in known_of(self.validation)
        )

    def of_another_size(self, start: ModelCard, view: View) -> str:
        """Say that cells are larger or smaller than a model that training starts from knows; nothing if they are not.

        Args:
            start: The model.
            view: Under which the images were read.
        """
        regions = [found for each in self.train if (found := each.regions) is not None and found.any()]
        if not regions:
            return ""
        across = float(np.median([diameter_of(each) for each in regions])) / view.factor
        return other_size_told(across, start.training, start.name, scale=view.factor)


def at_usual_scale(
    config: TrainingConfig, start: Bundle, records: Sequence[Record], console: Console
) -> TrainingConfig:
    """Give the configuration the scale at which images look most like those that a model knows, where it is open.

    Args:
        config: Says how the images are shown; the model that is trained will keep that.
        start: The model that training starts from.
        records: The images.
        console: Where the scale is told, if it is not their own size.
    """
    view = config.view
    if view.scale != "auto":
        return config
    images = [record.image for record in records]
    model = at_scales(Model(start), images, view, axes=config.axes, known_alone=True)
    scale, *others = model.usual
    if scale == 1:
        return config
    also = f"; some suit {' and '.join(f'{other:.3g}' for other in others)} more" if others else ""
    console.print(
        f"trained at scale {scale:.3g}, where the images look most like those that {start.version} knows{also}"
    )
    return config.model_copy(update={"view": view.changed(scale=scale)})


def gather(
    sides: Sides,
    config: TrainingConfig,
    before: Learned,
    shelf: ImageShelf,
    *,
    rng: np.random.Generator,
    console: Console,
) -> Material:
    """Read the images to train and to validate on, and draw the synthetic ones.

    Args:
        sides: The parted data set.
        config: Says how images are normalised, how many are drawn, and which terms the loss has.
        before: What the model that training starts from has learned.
        shelf: Where all of them are kept, those to train on first, then the synthetic ones; empty.
        rng: Decides the synthetic images.
        console: Where progress is shown.

    Raises:
        DataError: When nothing that can be learned can be validated.
        ImageError: When an image cannot be read.
        OutputError: When the disk has no room for what the memory has none.
    """
    shelf.keep(load_examples(sides.train, config.normalisation, "training images", console))
    shelf.keep(draw_synthetic(config, rng, console))
    shelf.keep(load_examples(sides.validation, config.normalisation, "validation images", console))
    examples = iter(shelf.examples())
    train, synthetic = (list(islice(examples, number)) for number in (len(sides.train), config.data.synthetic))
    validation = list(examples)
    weights = {"mask": config.loss.mask, "count": config.loss.count}
    there = known_of([*train, *(synthetic if config.data.synthetic_share else [])])
    taught: Learned = tuple(what for what in there if weights[what])
    judged = known_of(validation)
    if not set(taught) & set(judged):
        teaches, judges = (f"{what[0]}s alone" if what else "nothing" for what in (taught, judged))
        raise DataError(
            f"the images to train on teach {teaches}, those to validate on have {judges}: "
            "give images with both, or mark some of each sort for either side in the column split of counts.csv"
        )
    learned: Learned = tuple(what for what in BOTH if what in taught or (what in before and what in judged))
    return Material(train, synthetic, validation, taught, learned)


def known_of(examples: list[Example]) -> Learned:
    """Name what is known of any of the examples."""
    masked = any(example.regions is not None for example in examples)
    counted = any(example.total is not None for example in examples)
    return tuple(what for what, there in zip(BOTH, (masked, counted), strict=True) if there)


def load_examples(
    records: list[Record], normalisation: Normalisation, what: str, console: Console
) -> Iterator[Example]:
    """Read examples, one by one."""
    for record in with_progress(records, f"reading {what}", console):
        yield load_example(record, normalisation)


def draw_synthetic(config: TrainingConfig, rng: np.random.Generator, console: Console) -> Iterator[Example]:
    """Draw the synthetic images that the configuration asks for, one by one."""
    side = config.data.tile or 512
    for k in with_progress(range(config.data.synthetic), "drawing synthetic images", console):
        drawn = draw(random_scene((side, side), rng=rng), rng=rng)
        labels = drawn.labels.astype(np.uint16)
        image = config.normalisation(to_grey(drawn.image))
        yield Example(f"synthetic_{k}", "synthetic", image, labels, reduce_labels(labels), drawn.count)


def fitted_to(config: TrainingConfig, material: Material) -> TrainingConfig:
    """Give the configuration what only the data tell.

    A count map is free of a mask that nothing teaches. The pooled count head has the one size of the images. A model
    that meets other images with totals alone loses its counts if its batch norms are fixed before :data:`STEADY`.
    """
    architecture = config.architecture
    if config.start and "mask" not in material.taught:
        steady = max(STEADY, config.optimisation.fix_norm)
        config = config.model_copy(update={"optimisation": config.optimisation.model_copy(update={"fix_norm": steady})})
    if architecture.maps:
        free = architecture.count_head == "free" or "mask" not in material.taught
        return _with_architecture(config, count_head="free" if free else "map")
    everything = material.train + material.validation + material.synthetic
    sizes = {padded_size(example.image.shape, architecture.multiple) for example in everything}
    if len(sizes) > 1:
        raise DataError(
            f"images of {len(sizes)} sizes, and the pooled count head takes one only: "
            "give images of one size, or set architecture.count_head=map"
        )
    return _with_architecture(config, size=sizes.pop())


def _with_architecture(config: TrainingConfig, **changes: object) -> TrainingConfig:
    return config.model_copy(update={"architecture": config.architecture.model_copy(update=changes)})
