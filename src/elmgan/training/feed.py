"""What a run is fed with: windows for each step, planned for an epoch and rendered ahead of the steps."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from elmgan.data import Example
from elmgan.training.config import WINDOW_GRID, TrainingConfig
from elmgan.training.windows import Window, Windows, draw_window, draw_zoom, mosaic, padded_size, tile_side

AHEAD = 2
"""Steps that are rendered, or being so, when one is given out."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Draw:
    """All that decides a window of an example.

    Attributes:
        example: Its number.
        zoom: Window pixels per image pixel; ``None`` for a tile, whose seed decides it.
        seed: Of everything else that is drawn.
    """

    example: int
    zoom: float | None
    seed: int


Step = list[list[Draw]]
"""The windows of a step: each one draw, or the draws that a mosaic is glued of."""

Render = Callable[[Iterable[Step]], Generator[list[Windows], None, None]]
"""Renders steps, each before it is asked for, in order."""


@dataclass(frozen=True)
class Renderer:
    """Draws the windows of a step.

    Attributes:
        config: Windows and their changes.
        examples: All of them, as draws number them.
    """

    config: TrainingConfig
    examples: Sequence[Example]

    @property
    def multiple(self) -> int:
        """What the sides of windows are multiples of."""
        return max(self.config.architecture.multiple, WINDOW_GRID)

    def __call__(self, step: Step) -> list[Windows]:
        """Draw the windows of a step, in groups."""
        pixels = self.config.data.pixels
        same_sizes = alike(map(self.window, step), lambda window: (window.image.shape, window.squares.shape))
        groups = [group for same in same_sizes for group in cut(same, max(1, pixels // same[0].image.size))]
        return [Windows.of(group) for group in groups]

    def window(self, draws: list[Draw]) -> Window:
        """Draw one window, glued of several where it is a mosaic."""
        data, augmentation = self.config.data, self.config.augmentation
        multiple = self.multiple if len(draws) == 1 else 1  # the parts of a mosaic are padded together
        parts = []
        for draw in draws:
            rng, example = np.random.default_rng(draw.seed), self.examples[draw.example]
            parts.append(draw_window(example, data, augmentation, multiple=multiple, zoom=draw.zoom, rng=rng))
        return parts[0] if len(parts) == 1 else mosaic(parts, multiple=self.multiple)


class Feed:
    """Draws the windows of a run's steps.

    Images that are seen whole come in steps of one padded size as far as there are enough of one, and one zoom a step
    keeps them alike. Tiles are drawn the more often the larger their image and, with ``data.balance``, the rarer its
    kind is where ``optimisation.steps`` is given; otherwise each image is shown once an epoch or, with
    ``optimisation.steps``, as often as any other.

    Args:
        config: Batch, steps, windows and their changes.
        train: The examples to learn from.
        synthetic: Examples that take the place of others in a share of the draws; none where there are none.
        share: Which of how many processes this one is. It renders only its windows of each step; those of all processes
            together are the ones that a single process would render.
        render: What renders ``train`` and ``synthetic``, numbered in this order; by default a thread.

    Attributes:
        steps: Steps of an epoch.
    """

    def __init__(
        self,
        config: TrainingConfig,
        train: list[Example],
        synthetic: list[Example],
        *,
        share: tuple[int, int] = (0, 1),
        render: Render | None = None,
    ) -> None:
        self.config = config
        self.train = train
        self.all = [*train, *synthetic]
        self.share = share
        self.renderer = Renderer(config, self.all)
        self.render = render or partial(ahead, self.renderer)
        self.steps = config.optimisation.steps or -(-len(train) // config.optimisation.batch)

    def epoch(self, rng: np.random.Generator) -> Generator[list[Windows], None, None]:
        """Draw an epoch; its next steps are rendered in the background meanwhile.

        Args:
            rng: Decides everything drawn, before this returns.

        Yields:
            The windows of each step in groups to go through the network at once: of one size, with at most
            ``data.pixels`` pixels together; a larger window is a group of its own. A process that has no share of a
            step's windows gets no group. Closing the generator ends the rendering.
        """
        first, processes = self.share
        return self.render([windows[first::processes] for windows in self.plan(rng)])

    def plan(self, rng: np.random.Generator) -> list[Step]:
        """Decide all windows of an epoch."""
        batch = self.config.optimisation.batch
        pieces = [piece for same in alike(self.shown(rng), self.size) for piece in cut(same, batch)]
        full = [piece for piece in pieces if len(piece) == batch]
        left = [example for piece in pieces if len(piece) < batch for example in piece]
        steps = full + cut(left, batch)
        return [self.plan_step(steps[k], rng) for k in rng.permutation(len(steps))]

    def size(self, number: int) -> tuple[int, int]:
        """Give rows and columns of an example's windows, when not zoomed."""
        example = self.all[number]
        side = tile_side(example, self.config.data)
        return (side, side) if side else padded_size(example.image.shape, self.renderer.multiple)

    def shown(self, rng: np.random.Generator) -> list[int]:
        """Draw the examples of an epoch, in any order."""
        data, o = self.config.data, self.config.optimisation
        shown = o.steps * o.batch if o.steps else len(self.train)
        if data.tile and o.steps:
            kinds = Counter(example.kind for example in self.train)
            chance = np.sqrt([max(1.0, example.image.size / data.tile**2) for example in self.train])
            chance /= [kinds[example.kind] ** data.balance for example in self.train]
            order = rng.choice(len(self.train), shown, p=chance / chance.sum())
        else:
            rounds = -(-shown // len(self.train))
            order = np.concatenate([rng.permutation(len(self.train)) for _ in range(rounds)])[:shown]
        if len(self.all) > len(self.train):
            replaced = rng.random(shown) < data.synthetic_share
            by = len(self.train) + rng.integers(len(self.all) - len(self.train), size=shown)
            order = np.where(replaced, by, order)
        return [int(k) for k in order]

    def plan_step(self, examples: list[int], rng: np.random.Generator) -> Step:
        """Decide the windows of a step."""
        zoom = draw_zoom(self.config.augmentation, rng=rng)
        glued = rng.random() < self.config.augmentation.mosaic
        seeds = rng.integers(2**63, size=len(examples))
        draws = [
            Draw(example, zoom if tile_side(self.all[example], self.config.data) is None else None, int(seed))
            for example, seed in zip(examples, seeds, strict=True)
        ]
        if not glued:
            return [[draw] for draw in draws]
        return mosaics(draws, lambda draw: self.all[draw.example].image.shape)


def ahead(render: Callable[[Step], R], steps: Iterable[Step]) -> Generator[R, None, None]:
    """Render steps in a thread, before they are asked for; an exception in it is raised here."""
    thread = ThreadPoolExecutor(1)
    results: deque[Future[R]] = deque()
    try:
        for step in steps:
            results.append(thread.submit(render, step))
            if len(results) > AHEAD:
                yield results.popleft().result()
        while results:
            yield results.popleft().result()
    finally:
        thread.shutdown(cancel_futures=True)


def mosaics(draws: list[T], size: Callable[[T], Hashable]) -> list[list[T]]:
    """Put draws of images of one size together by fours, then by twos.

    >>> mosaics([1, 2, 3, 4, 5, 6, 7], lambda draw: (2, 3))
    [[1, 2, 3, 4], [5, 6], [7]]
    """
    glued = []
    for same in alike(draws, size):
        fours = len(same) // 4 * 4
        glued += cut(same[:fours], 4) + cut(same[fours:], 2)
    return glued


def alike(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Put together what has the same key, in the order in which keys are first met.

    >>> alike([1.5, 2.2, 1.7], int)
    [[1.5, 1.7], [2.2]]
    """
    found: dict[Hashable, list[T]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return list(found.values())


def cut(items: list[T], length: int) -> list[list[T]]:
    """Cut a list into pieces of a length; the last may be shorter.

    >>> cut([1, 2, 3, 4, 5], 2)
    [[1, 2], [3, 4], [5]]
    """
    return [items[first : first + length] for first in range(0, len(items), length)]
