"""One alternating step of generator and discriminator."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from itertools import chain
from typing import Any, assert_never

import numpy as np
import torch
from jaxtyping import Float, Int64
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
from elmgan.training.compiling import Compiler
from elmgan.training.config import WINDOW_GRID, TrainingConfig
from elmgan.training.processes import average_buffers, parallel, share, summed, unsynchronised
from elmgan.training.windows import Window, Windows

FETCHED = 20
"""Steps of a GPU whose loss terms are fetched together: to fetch them is to wait until it has nothing more to do."""

GENERATOR_TERMS = ("mask", "count", "squares")
ADVERSARIAL_TERMS = ("adversarial", "coordination", "discriminator", "discriminator_count")
"""Names of the loss terms, in an order that all processes share."""

GRADIENT = "gradient of the {}"


@dataclass(frozen=True)
class Batch:
    """Windows of one size that go through the network together.

    Attributes:
        image: The windows.
        targets: What is true of them.
        known: How many there are of what is known.
        masked: Numbers of those with a mask.
    """

    image: Float[Tensor, "n 1 row column"]
    targets: Targets
    known: Known
    masked: Int64[Tensor, " masked"]

    def piece(self, tile: Tile, halo: int) -> "Batch":
        """Give a tile with a halo of context, in which only the tile itself is seen and counted."""
        window = tile.grown(halo, (self.image.shape[-2], self.image.shape[-1]))
        inner = tile.within(window)
        own = torch.zeros(window.height, window.width, device=self.image.device)
        own[inner.top : inner.top + inner.height, inner.left : inner.left + inner.width] = 1
        rows, columns = slice(window.top, window.top + window.height), slice(window.left, window.left + window.width)
        t = self.targets
        mask, seen, core = (values[..., rows, columns] for values in (t.mask, t.seen, t.core))
        targets = Targets(mask, seen * own, core * own, t.total, t.squares)
        return Batch(self.image[..., rows, columns], targets, self.known, self.masked)


def collate(windows: Sequence[Window], device: torch.device) -> Batch:
    """Bring windows of one size to a device, stacked before or here; what is known of them is counted before."""
    stacked = windows if isinstance(windows, Windows) else Windows.of(windows)

    def brought(tensor: Tensor) -> Tensor:
        # From other memory than this, a copy waits until the GPU has nothing more to do.
        return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)

    here = stacked.targets
    targets = Targets(*(brought(getattr(here, part.name)) for part in fields(Targets)))
    image, masked = torch.from_numpy(stacked.image[:, np.newaxis]), torch.from_numpy(stacked.masked)
    return Batch(brought(image), targets, stacked.known, brought(masked))


class GanStep:
    """The networks, their optimisers and how one step moves them.

    Args:
        config: Network sizes, loss and optimisation.
        steps: Steps of the whole run, for the learning rate's schedule.
        device: Where the networks live.
        build: Makes the generator, or the network that is trained in its place.
        tell: Told in a line why a step is not compiled although it was to be.
    """

    def __init__(
        self,
        config: TrainingConfig,
        steps: int,
        device: torch.device,
        build: Callable[[Architecture], Generator] = Generator,
        tell: Callable[[str], None] = lambda line: None,
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
            self.averaged = AveragedModel(self.generator, use_buffers=True)
        self.discriminator: Discriminator | None = None
        if config.discriminator is not None:
            d = config.discriminator
            self.discriminator = Discriminator(d.width, d.norm).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.parallel_discriminator = parallel(self.discriminator)
            self.discriminator_optimiser = torch.optim.Adam(
                self.discriminator.parameters(), lr=d.learning_rate, betas=(0.5, 0.999), fused=True
            )
        self.look = Compiler(self.look_at, config.machine.compile, device, tell)
        self.at_once = device.type == "cpu"
        self.pending: list[tuple[int, dict[str, Tensor]]] = []
        self.fetched: list[dict[str, float]] = []

    @property
    def best_generator(self) -> Generator:
        """The generator to validate and keep: the averaged one where weights are averaged."""
        return self.averaged.module if self.averaged is not None else self.generator  # type: ignore[return-value]

    def __call__(self, groups: list[Batch], *, adversarial: bool) -> dict[str, float]:
        """Move the networks as :meth:`move` does, and give the loss terms at once."""
        self.move(groups, adversarial=adversarial)
        return self.fetch(now=True)[-1]

    def move(self, groups: list[Batch], *, adversarial: bool) -> None:
        """Move the generator and, if ``adversarial``, the discriminator; :meth:`fetch` gives the loss terms.

        Args:
            groups: Batches whose gradients are accumulated, each of windows of one size; those of this process, where
                several train. A window of more than ``data.pixels`` goes through the generator tile by tile, and takes
                no part in the adversarial game.
            adversarial: Whether the discriminator takes part.

        Raises:
            TrainingError: When a loss or gradient is not finite, on a processor. No weight of either network has moved
                then. A GPU is not waited for: it is found out when the terms are fetched.
        """
        average_buffers(self.generator)
        groups = groups or [self.nothing]
        whole = [batch for batch in groups if not self.needs_tiles(batch)]
        known, known_whole = self.known(groups), self.known(whole)
        judge = self.discriminator if adversarial and known_whole.paired else None
        zero = torch.zeros((), dtype=torch.float64, device=self.device)
        terms = dict.fromkeys(GENERATOR_TERMS + (ADVERSARIAL_TERMS if judge else ()), zero)
        for batch in whole:
            self.compile_for(batch, known)
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
        number = len(terms)
        terms[GRADIENT.format("generator")] = clipped(self.generator, self.config.optimisation.clip)
        if judge is not None:
            terms[GRADIENT.format("discriminator")] = clipped(judge, None)
        self.pending.append((number, terms))
        if self.at_once:  # neither network moves before the gradients of both are known to be sound
            self.fetch_pending()
        if judge is not None:
            self.discriminator_optimiser.step()
        self.generator_optimiser.step()
        self.schedule.step()
        if self.averaged is not None and self.config.optimisation.ema:
            average_in(self.averaged, self.generator, self.config.optimisation.ema)
        self.done += 1

    def fetch(self, *, now: bool = False) -> list[dict[str, float]]:
        """Give the loss terms of the steps since they were fetched last, when there are enough of them.

        Args:
            now: Give what there is.

        Returns:
            The loss terms by name, weighted, from before each step; means over the images of all processes.

        Raises:
            TrainingError: When a loss or gradient was not finite. The weights are then worth nothing.
        """
        if now or len(self.pending) >= FETCHED:
            self.fetch_pending()
        fetched, self.fetched = self.fetched, []
        return fetched

    def fetch_pending(self) -> None:
        """Fetch what is pending, and check it."""
        pending, self.pending = self.pending, []
        if not pending:
            return
        values = iter(torch.stack([term.double() for _, terms in pending for term in terms.values()]).tolist())
        steps = [(number, dict(zip(terms, values, strict=False))) for number, terms in pending]
        kept = [dict(list(terms.items())[:number]) for number, terms in steps]
        together = iter(summed([value for terms in kept for value in terms.values()], self.device))
        for (_, terms), shown in zip(steps, kept, strict=True):
            told = dict(zip(shown, together, strict=False))
            check_finite(terms | told)
            self.fetched.append(told)

    def compile_for(self, batch: Batch, known: Known) -> None:
        """Compile for a size that comes often; a rehearsal shows whether it works, and leaves no trace."""
        key = *batch.image.shape, *batch.targets.squares.shape[1:]
        if not self.look.due(key):
            return
        kept = [buffer.clone() for buffer in self.generator.buffers()]

        def rehearse() -> None:
            fixed_from = self.config.optimisation.fix_norm * self.steps
            for fixed in [True] if self.done >= fixed_from else [False, True][: 1 + (fixed_from < self.steps)]:
                self.generator.train()
                if fixed:
                    fix_norms(self.generator)
                losses, _ = self.losses(batch, None, known, known)
                self.backward(losses)

        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices):
                self.look.prepare(key, rehearse)
        finally:
            with torch.no_grad():
                for buffer, before in zip(self.generator.buffers(), kept, strict=True):
                    buffer.copy_(before)

    def look_at(self, image: Tensor, targets: Targets) -> tuple[Tensor, Sums]:
        """Give the log-odds of cell that the generator predicts, and what the loss sees of the prediction."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.low):
            prediction = self.parallel_generator(image)
        return prediction.mask_logits, sums_of(prediction, targets, self.config.loss)

    def losses(
        self, batch: Batch, judge: Discriminator | None, known: Known, known_whole: Known
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Give the generator's losses of a batch, and the probabilities that it predicts."""
        weights, targets = self.config.loss, batch.targets
        key = *batch.image.shape, *targets.squares.shape[1:]
        logits, sums = self.look(key, batch.image, targets)
        losses = generator_loss(sums, targets, weights, known)
        probability = torch.sigmoid(logits) * targets.seen  # no cells beyond the image
        if judge is not None:
            judge.requires_grad_(False)  # it only passes the gradient on to the generator here
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.low):
                judgement = judge(batch.image, probability)
            judge.requires_grad_(True)
            losses |= adversarial_loss(judgement, targets, weights, known_whole)
        return losses, probability

    def judge_losses(self, batch: Batch, probability: Tensor, known: Known) -> dict[str, Tensor]:
        """Give the discriminator's losses of the true and the predicted pairs of a batch."""
        targets, masked, number = batch.targets, batch.masked, len(batch.masked)
        images = torch.cat([batch.image[masked], batch.image])
        masks = torch.cat([targets.mask[masked], probability])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.low):
            judgement = self.parallel_discriminator(images, masks)
        true_pair = Judgement(*(values[:number] for values in judgement))
        predicted_pair = Judgement(*(values[number:] for values in judgement))
        return discriminator_loss(true_pair, predicted_pair, targets, self.config.loss, known, masked)

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
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.low):
            prediction = generator(piece.image)
        return sums_of(prediction, piece.targets, self.config.loss)

    def needs_tiles(self, batch: Batch) -> bool:
        """Say whether a batch is a window that is too large to go through the generator at once."""
        architecture = self.generator.architecture
        large = len(batch.image) == 1 and batch.image.numel() > self.config.data.pixels
        return large and architecture.tiles and not architecture.dropout  # which would differ between the passes

    def known(self, groups: list[Batch]) -> Known:
        """Count what is known of the images of a step, on all processes."""
        here = sum((batch.known for batch in groups), Known())
        return Known(*(round(number) for number in summed(list(astuple(here)), self.device)))

    @cached_property
    def nothing(self) -> Batch:
        """A batch of which nothing is known: for a process that has no window in a step."""
        side = 2 * max(self.generator.architecture.multiple, WINDOW_GRID)
        rows, columns = self.generator.architecture.size or (side, side)
        zeros = torch.zeros(1, 1, rows, columns, device=self.device)
        unknown = torch.full((1, 1, 1), torch.nan, device=self.device)
        masked = torch.zeros(1, dtype=torch.int64, device=self.device)  # it has a mask: of nothing
        return Batch(zeros, Targets(zeros, zeros, zeros, unknown[0, 0], unknown), Known(), masked)

    def start_from(self, graph: bytes) -> None:
        """Give the generator, and the averaged one, the weights of an exported one.

        Raises:
            ModelError: When they are another network's.
        """
        for generator in {self.generator, self.best_generator}:
            load_weights(generator, graph)

    @cached_property
    def low(self) -> bool:
        """Whether the networks run in bf16: where the configuration or the processor says so."""
        match self.config.optimisation.precision:
            case "bf16":
                return True
            case "fp32":
                return False
            case "auto":
                return has_fast_bf16(self.device)
            case unknown:
                assert_never(unknown)

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


@torch.no_grad()
def average_in(averaged: AveragedModel, network: nn.Module, decay: float) -> None:
    """Move averaged weights on: a moving average that forgets faster at the beginning, when weights are still far off.

    The first time it is the network itself. What ``averaged`` would do by itself is the same, but waits for the device.
    """
    done = int(averaged.n_averaged)  # which is not on the device
    pairs = [
        (ours.detach(), theirs.detach())
        for ours, theirs in zip(
            chain(averaged.module.parameters(), averaged.module.buffers()),
            chain(network.parameters(), network.buffers()),
            strict=True,
        )
    ]
    moving = [pair for pair in pairs if done and pair[0].is_floating_point()]
    taken = [pair for pair in pairs if not (done and pair[0].is_floating_point())]
    if moving:
        weight = 1 - min(decay, (1 + done) / (10 + done))
        torch._foreach_lerp_([ours for ours, _ in moving], [theirs for _, theirs in moving], weight)
    if taken:  # how many batches a norm has seen, say
        torch._foreach_copy_([ours for ours, _ in taken], [theirs for _, theirs in taken])
    averaged.n_averaged += 1


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


def add(sums: dict[str, Tensor], terms: dict[str, Tensor]) -> None:
    """Add terms to sums, by name."""
    for name, term in terms.items():
        sums[name] = sums[name] + term.detach().double()


def sum_of_terms(terms: dict[str, Tensor]) -> Tensor:
    """Add up terms."""
    return torch.stack(list(terms.values())).sum()


def fix_norms(network: nn.Module) -> None:
    """Let batch norms use their fixed statistics, as in counting, until the network's next ``train()``."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def clipped(network: nn.Module, largest: float | None) -> Tensor:
    """Shorten a network's gradient to a norm of at most ``largest``; give the norm that it had."""
    return nn.utils.clip_grad_norm_(network.parameters(), largest or math.inf)


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
