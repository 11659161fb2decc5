"""One alternating step of generator and discriminator."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from elmgan.errors import TrainingError
from elmgan.nn import Discriminator, Generator, Targets, discriminator_loss, generator_loss
from elmgan.training.config import TrainingConfig
from elmgan.training.windows import Window


@dataclass(frozen=True)
class Batch:
    """Windows of one step; smaller ones are padded with 0 at bottom and right."""

    image: Float[Tensor, "n 1 row column"]
    targets: Targets


def collate(windows: list[Window], device: torch.device) -> Batch:
    """Stack windows, padded to the largest."""
    rows = max(window.image.shape[0] for window in windows)
    columns = max(window.image.shape[1] for window in windows)

    def stack(name: str) -> Tensor:
        stacked = np.zeros((len(windows), 1, rows, columns), np.float32)
        for plane, window in zip(stacked[:, 0], windows, strict=True):
            values = getattr(window, name)
            plane[: values.shape[0], : values.shape[1]] = values
        return torch.from_numpy(stacked).to(device)

    total = torch.tensor([window.total for window in windows], dtype=torch.float32, device=device)
    return Batch(stack("image"), Targets(stack("mask"), stack("seen"), stack("core"), total))


class GanStep:
    """The networks, their optimisers and how one step moves them.

    Args:
        config: Network sizes, loss and optimisation.
        steps: Steps of the whole run, for the learning rate's schedule.
        device: Where the networks live.
    """

    def __init__(self, config: TrainingConfig, steps: int, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.done = 0
        self.generator = Generator(config.architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        o = config.optimisation
        optimiser = torch.optim.AdamW if o.optimiser == "adamw" else torch.optim.Adam
        self.generator_optimiser = optimiser(
            self.generator.parameters(), lr=o.learning_rate, betas=o.betas, weight_decay=o.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.generator_optimiser, lambda step: one_cycle(step / steps) if o.schedule == "onecycle" else 1.0
        )
        self.averaged = AveragedModel(self.generator, avg_fn=moving_average(o.ema), use_buffers=True) if o.ema else None
        self.discriminator: Discriminator | None = None
        if config.discriminator is not None:
            d = config.discriminator
            self.discriminator = Discriminator(d.width, d.norm).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.discriminator_optimiser = torch.optim.Adam(
                self.discriminator.parameters(), lr=d.learning_rate, betas=(0.5, 0.999)
            )

    @property
    def best_generator(self) -> Generator:
        """The generator to validate and keep: the averaged one where weights are averaged."""
        return self.averaged.module if self.averaged is not None else self.generator  # type: ignore[return-value]

    def __call__(self, batch: Batch, *, adversarial: bool) -> dict[str, float]:
        """Move the generator and, if ``adversarial``, the discriminator.

        Returns:
            The loss terms by name, weighted, from before the step.

        Raises:
            TrainingError: When a loss or gradient is not finite. No weight of either network has moved then.
        """
        self.generator.train()
        masked = batch.targets.masked
        judge = self.discriminator if adversarial and masked.any() else None
        with self.autocast():
            prediction = self.generator(batch.image)
        probability = torch.sigmoid(prediction.mask_logits) * batch.targets.seen  # no cells beyond the image
        judgement = None
        if judge is not None:
            judge.requires_grad_(False)  # it only passes the gradient on to the generator here
            with self.autocast():
                judgement = judge(batch.image, probability)
        terms = generator_loss(prediction, batch.targets, judgement, self.config.loss)
        # Neither network moves before the gradients of both are known to be sound.
        set_gradient(self.generator, terms, self.config.optimisation.clip)
        if judge is not None:
            judge.requires_grad_(True)
            with self.autocast():
                true_pair = judge(batch.image[masked], batch.targets.mask[masked])
                predicted_pair = judge(batch.image, probability.detach())
            judge_terms = discriminator_loss(true_pair, predicted_pair, batch.targets, self.config.loss)
            set_gradient(judge, judge_terms)
            self.discriminator_optimiser.step()
            terms |= judge_terms
        self.generator_optimiser.step()
        self.schedule.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.generator)
        self.done += 1
        return {name: float(term.detach()) for name, term in terms.items()}

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Run in bf16 where the configuration or the processor says so."""
        wanted = self.config.optimisation.precision
        enabled = wanted == "bf16" or (wanted == "auto" and has_fast_bf16(self.device))
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


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Give an exponential moving average that forgets faster at the beginning, when weights are still far off."""

    def update(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        return averaged + (current - averaged) * (1 - min(decay, (1 + float(steps)) / (10 + float(steps))))

    return update


def one_cycle(progress: float, warm_up: float = 0.1) -> float:
    """Give the learning rate as a share of its peak: up along a line, down along half a cosine, to a thousandth.

    >>> one_cycle(0.1), round(one_cycle(1.0), 4)
    (1.0, 0.001)
    """
    if progress < warm_up:
        return 0.05 + 0.95 * progress / warm_up
    return 0.001 + 0.999 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up)))) / 2


def set_gradient(network: nn.Module, terms: dict[str, Tensor], clip: float | None = None) -> None:
    """Give a network the gradient of the sum of its loss terms, with a norm of at most ``clip``.

    Raises:
        TrainingError: When a term or the gradient is not finite.
    """
    check_finite(terms)
    network.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(network.parameters(), math.inf if clip is None else clip)
    check_finite({f"gradient of {' + '.join(terms)}": norm})


def check_finite(terms: dict[str, Tensor]) -> None:
    """Raise a TrainingError that names the loss terms which are NaN or infinite."""
    wrong = [name for name, term in terms.items() if not torch.isfinite(term)]
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
