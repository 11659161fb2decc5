"""One alternating step of generator and discriminator."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any, assert_never

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from elmgan.counting.tiling import tiles_of
from elmgan.errors import TrainingError
from elmgan.images import Tile
from elmgan.models import Architecture
from elmgan.nn.discriminator import Discriminator, Judgement
from elmgan.nn.generator import Generator
from elmgan.nn.loss import Known, Sums, Targets, adversarial_loss, discriminator_loss, generator_loss, sums_of
from elmgan.nn.weights import load_weights
from elmgan.training.config import WINDOW_GRID, TrainingConfig
from elmgan.training.processes import average_buffers, parallel, share, summed, unsynchronised
from elmgan.training.windows import Window

Tensors = tuple[Tensor, ...] | list[Tensor]

GENERATOR_TERMS = ("mask", "count", "squares")
ADVERSARIAL_TERMS = ("adversarial", "coordination", "discriminator", "discriminator_count")
"""Names of the loss terms, in an order that all processes share."""


@dataclass(frozen=True)
class Batch:
    """Windows of one size that go through the network together."""

    image: Float[Tensor, "n 1 row column"]
    targets: Targets

    def piece(self, tile: Tile, halo: int) -> "Batch":
        """Give a tile with a halo of context, in which only the tile itself is seen and counted."""
        window = tile.grown(halo, (self.image.shape[-2], self.image.shape[-1]))
        inner = tile.within(window)
        own = torch.zeros(window.height, window.width, device=self.image.device)
        own[inner.top : inner.top + inner.height, inner.left : inner.left + inner.width] = 1
        rows, columns = slice(window.top, window.top + window.height), slice(window.left, window.left + window.width)
        t = self.targets
        mask, seen, core = (values[..., rows, columns] for values in (t.mask, t.seen, t.core))
        return Batch(self.image[..., rows, columns], Targets(mask, seen * own, core * own, t.total, t.squares))


def collate(windows: list[Window], device: torch.device) -> Batch:
    """Stack windows of one size."""
    image, mask, seen, core = (
        torch.from_numpy(np.stack([getattr(window, name) for window in windows])[:, np.newaxis]).to(device)
        for name in ("image", "mask", "seen", "core")
    )
    total = torch.tensor([window.total for window in windows], dtype=torch.float32, device=device)
    squares = torch.from_numpy(np.stack([window.squares for window in windows])).to(device)
    return Batch(image, Targets(mask, seen, core, total, squares))


class GanStep:
    """The networks, their optimisers and how one step moves them.

    Args:
        config: Network sizes, loss and optimisation.
        steps: Steps of the whole run, for the learning rate's schedule.
        device: Where the networks live.
        build: Makes the generator, or the network that is trained in its place.
    """

    def __init__(
        self,
        config: TrainingConfig,
        steps: int,
        device: torch.device,
        build: Callable[[Architecture], Generator] = Generator,
    ) -> None:
        self.config = config
        self.steps = steps
        self.device = device
        self.done = 0
        self.generator = build(config.architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.parallel_generator = parallel(self.generator)
        o = config.optimisation
        self.generator_optimiser = OPTIMISERS[o.optimiser](
            self.generator.parameters(), lr=o.learning_rate, betas=o.betas, weight_decay=o.weight_decay, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.generator_optimiser, lambda step: SCHEDULES[o.schedule](step / steps)
        )
        self.averaged: AveragedModel | None = None
        if o.ema:
            self.averaged = AveragedModel(self.generator, multi_avg_fn=moving_average(o.ema), use_buffers=True)
        self.discriminator: Discriminator | None = None
        if config.discriminator is not None:
            d = config.discriminator
            self.discriminator = Discriminator(d.width, d.norm).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.parallel_discriminator = parallel(self.discriminator)
            self.discriminator_optimiser = torch.optim.Adam(
                self.discriminator.parameters(), lr=d.learning_rate, betas=(0.5, 0.999), fused=True
            )

    @property
    def best_generator(self) -> Generator:
        """The generator to validate and keep: the averaged one where weights are averaged."""
        return self.averaged.module if self.averaged is not None else self.generator  # type: ignore[return-value]

    def __call__(self, groups: list[Batch], *, adversarial: bool) -> dict[str, float]:
        """Move the generator and, if ``adversarial``, the discriminator.

        Args:
            groups: Batches whose gradients are accumulated, each of windows of one size; those of this process, where
                several train. A window of more than ``data.pixels`` goes through the generator tile by tile, and takes
                no part in the adversarial game.
            adversarial: Whether the discriminator takes part.

        Returns:
            The loss terms by name, weighted, from before the step; means over the images of all processes.

        Raises:
            TrainingError: When a loss or gradient is not finite. No weight of either network has moved then.
        """
        average_buffers(self.generator)
        groups = groups or [self.nothing]
        whole = [batch for batch in groups if not self.needs_tiles(batch)]
        known, known_whole = self.known(groups), self.known(whole)
        judge = self.discriminator if adversarial and known_whole.paired else None
        terms = dict.fromkeys(GENERATOR_TERMS + (ADVERSARIAL_TERMS if judge else ()), 0.0)
        self.generator.zero_grad(set_to_none=True)
        pairs: list[tuple[Batch, Tensor]] = []
        for batch in groups:
            self.generator.train()
            if batch is self.nothing or self.done >= self.config.optimisation.fix_norm * self.steps:
                fix_norms(self.generator)
            with unsynchronised(self.parallel_generator, batch is not groups[-1]):
                if self.needs_tiles(batch):
                    add(terms, self.backward_by_tile(batch, known))
                else:
                    losses, probability = self.losses(batch, judge, known, known_whole)
                    self.backward(losses)
                    add(terms, losses)
                    pairs.append((batch, probability.detach()))
        if judge is not None:
            judge.zero_grad(set_to_none=True)
            pairs = pairs or [(self.nothing, self.nothing.targets.seen)]
            for batch, probability in pairs:
                with unsynchronised(self.parallel_discriminator, batch is not pairs[-1][0]):
                    losses = self.judge_losses(batch, probability, known_whole)
                    self.backward(losses)
                    add(terms, losses)
        # Neither network moves before the gradients of both are known to be sound.
        terms = dict(zip(terms, summed(list(terms.values()), self.device), strict=True))
        check_finite(terms)
        clip_gradient(self.generator, self.config.optimisation.clip)
        if judge is not None:
            clip_gradient(judge, None)
            self.discriminator_optimiser.step()
        self.generator_optimiser.step()
        self.schedule.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.generator)
        self.done += 1
        return terms

    def losses(
        self, batch: Batch, judge: Discriminator | None, known: Known, known_whole: Known
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Give the generator's losses of a batch, and the probabilities that it predicts."""
        weights = self.config.loss
        with self.autocast():
            prediction = self.parallel_generator(batch.image)
        losses = generator_loss(sums_of(prediction, batch.targets, weights), batch.targets, weights, known)
        probability = torch.sigmoid(prediction.mask_logits) * batch.targets.seen  # no cells beyond the image
        if judge is not None:
            judge.requires_grad_(False)  # it only passes the gradient on to the generator here
            with self.autocast():
                judgement = judge(batch.image, probability)
            judge.requires_grad_(True)
            losses |= adversarial_loss(judgement, batch.targets, weights, known_whole)
        return losses, probability

    def judge_losses(self, batch: Batch, probability: Tensor, known: Known) -> dict[str, Tensor]:
        """Give the discriminator's losses of the true and the predicted pairs of a batch."""
        targets = batch.targets
        masked = targets.masked
        images = torch.cat([batch.image[masked], batch.image])
        masks = torch.cat([targets.mask[masked], probability])
        with self.autocast():
            judgement = self.parallel_discriminator(images, masks)
        number = int(masked.sum())
        true_pair = Judgement(*(values[:number] for values in judgement))
        predicted_pair = Judgement(*(values[number:] for values in judgement))
        return discriminator_loss(true_pair, predicted_pair, targets, self.config.loss, known)

    def backward(self, losses: dict[str, Tensor]) -> None:
        """Add the gradient of a sum of losses; parallel networks average it over processes, and a sum is wanted."""
        (share()[1] * sum_of_terms(losses)).backward()  # type: ignore[no-untyped-call]

    def backward_by_tile(self, batch: Batch, known: Known) -> dict[str, Tensor]:
        """Add the gradient of one image's losses, with the memory of one tile, and give the losses.

        They are a function of a few sums over pixels. A first pass adds those up over all tiles; the losses of the sums
        and their derivatives are the whole image's, and a second pass sends the derivatives back through each tile.
        Batch norms use their fixed statistics in both; a tile drawn at random moves those before.
        """
        architecture = self.generator.architecture
        side = math.isqrt(self.config.data.pixels) - 2 * architecture.halo
        side = max(side // architecture.multiple, 1) * architecture.multiple
        tiles = tiles_of((batch.image.shape[-2], batch.image.shape[-1]), (side, side))
        drawn = tiles[int(torch.randint(len(tiles), ()))]
        with torch.no_grad():
            self.sums_of_tile(self.generator, batch, drawn)
        fix_norms(self.generator)
        with torch.no_grad():
            parts = [self.sums_of_tile(self.generator, batch, tile) for tile in tiles]
        sums = Sums(*(torch.stack(values).sum(0).requires_grad_() for values in zip(*parts, strict=True)))
        losses = generator_loss(sums, batch.targets, self.config.loss, known)
        derivatives = torch.autograd.grad(
            share()[1] * sum_of_terms(losses), sums, allow_unused=True, materialize_grads=True
        )
        for tile in tiles:
            with unsynchronised(self.parallel_generator, tile is not tiles[-1]):
                part = self.sums_of_tile(self.parallel_generator, batch, tile)
                sent_back = [(x * slope).sum() for x, slope in zip(part, derivatives, strict=True) if x.requires_grad]
                torch.stack(sent_back).sum().backward()  # type: ignore[no-untyped-call]
        return losses

    def sums_of_tile(self, generator: nn.Module, batch: Batch, tile: Tile) -> Sums:
        """Give what the loss sees of one tile of an image."""
        piece = batch.piece(tile, self.generator.architecture.halo)
        with self.autocast():
            prediction = generator(piece.image)
        return sums_of(prediction, piece.targets, self.config.loss)

    def needs_tiles(self, batch: Batch) -> bool:
        """Say whether a batch is a window that is too large to go through the generator at once."""
        architecture = self.generator.architecture
        large = len(batch.image) == 1 and batch.image.numel() > self.config.data.pixels
        return large and architecture.tiles and not architecture.dropout  # which would differ between the passes

    def known(self, groups: list[Batch]) -> Known:
        """Count what is known of the images of a step, on all processes."""
        here = sum((batch.targets.known() for batch in groups), Known())
        return Known(*(round(number) for number in summed(list(astuple(here)), self.device)))

    @cached_property
    def nothing(self) -> Batch:
        """A batch of which nothing is known: for a process that has no window in a step."""
        side = 2 * max(self.generator.architecture.multiple, WINDOW_GRID)
        rows, columns = self.generator.architecture.size or (side, side)
        zeros = torch.zeros(1, 1, rows, columns, device=self.device)
        unknown = torch.full((1, 1, 1), torch.nan, device=self.device)
        return Batch(zeros, Targets(zeros, zeros, zeros, unknown[0, 0], unknown))

    def start_from(self, graph: bytes) -> None:
        """Give the generator, and the averaged one, the weights of an exported one.

        Raises:
            ModelError: When they are another network's.
        """
        for generator in {self.generator, self.best_generator}:
            load_weights(generator, graph)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Run in bf16 where the configuration or the processor says so."""
        match self.config.optimisation.precision:
            case "bf16":
                enabled = True
            case "fp32":
                enabled = False
            case "auto":
                enabled = has_fast_bf16(self.device)
            case unknown:
                assert_never(unknown)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
            yield

    def state(self) -> dict[str, object]:
        """Give everything that a later process needs to go on."""
        parts: dict[str, object] = {name: part.state_dict() for name, part in self.parts()}
        return parts | {"done": self.done}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of :meth:`state` back."""
        for name, part in self.parts():
            part.load_state_dict(state[name])
        self.done = state["done"]

    def parts(self) -> Iterator[tuple[str, "nn.Module | torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler"]]:
        """Give what has a state, by name."""
        yield from (("generator", self.generator), ("generator_optimiser", self.generator_optimiser))
        yield ("schedule", self.schedule)
        if self.averaged is not None:
            yield ("averaged", self.averaged)
        if self.discriminator is not None:
            yield ("discriminator", self.discriminator)
            yield ("discriminator_optimiser", self.discriminator_optimiser)


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Give an exponential moving average that forgets faster at the beginning, when weights are still far off."""

    def update(averaged: Tensors, current: Tensors, steps: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + float(steps)) / (10 + float(steps))))
        else:  # how many batches a norm has seen
            torch._foreach_copy_(averaged, current)

    return update


def one_cycle(progress: float, warm_up: float = 0.1) -> float:
    """Give the learning rate as a share of its peak: up along a line, down along half a cosine, to a thousandth.

    >>> one_cycle(0.1), round(one_cycle(1.0), 4)
    (1.0, 0.001)
    """
    if progress < warm_up:
        return 0.05 + 0.95 * progress / warm_up
    return 0.001 + 0.999 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up)))) / 2


OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULES: dict[str, Callable[[float], float]] = {"constant": lambda progress: 1.0, "onecycle": one_cycle}
"""Word of the configuration -> learning rate as a share of its peak, by the share of the steps that are done."""


def add(sums: dict[str, float], terms: dict[str, Tensor]) -> None:
    """Add terms to sums, by name."""
    for name, term in terms.items():
        sums[name] += float(term.detach())


def sum_of_terms(terms: dict[str, Tensor]) -> Tensor:
    """Add up terms."""
    return torch.stack(list(terms.values())).sum()


def fix_norms(network: nn.Module) -> None:
    """Let batch norms use their fixed statistics, as in counting, until the network's next ``train()``."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def clip_gradient(network: nn.Module, largest: float | None) -> None:
    """Shorten a network's gradient to a norm of at most ``largest``.

    Raises:
        TrainingError: When it is not finite.
    """
    norm = nn.utils.clip_grad_norm_(network.parameters(), largest or math.inf)
    check_finite({f"gradient of the {type(network).__name__.lower()}": float(norm)})


def check_finite(terms: dict[str, float]) -> None:
    """Raise a TrainingError that names the loss terms which are NaN or infinite."""
    wrong = [name for name, term in terms.items() if not math.isfinite(term)]
    if wrong:
        raise TrainingError(
            f"the loss is not finite ({', '.join(wrong)}); lower optimisation.learning_rate, or set "
            "optimisation.precision=fp32"
        )


def has_fast_bf16(device: torch.device) -> bool:
    """Say whether bf16 is faster than float32 here: on GPUs and CPUs with its instructions."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())
