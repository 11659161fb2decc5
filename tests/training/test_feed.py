"""Feeding steps: what is shown how often, equal sizes, shares of processes, mosaics, and rendering ahead."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmgan.data import Example
from elmgan.models import Architecture
from elmgan.training.config import Augmentation, DataOptions, Optimisation, TrainingConfig
from elmgan.training.feed import AHEAD, Feed, ahead
from elmgan.training.windows import Window, Windows, draw_window

shapes = st.lists(st.sampled_from([(16, 16), (20, 30), (31, 25), (40, 16)]), min_size=1, max_size=20)


def examples(*shapes: tuple[int, int], first: int = 1, tiles: bool = False) -> list[Example]:
    """Examples whose grey value, and total, is their number."""
    return [
        Example(
            name=str(number),
            kind="",
            image=np.full(shape, number, np.float32),
            regions=np.ones(shape, np.uint16),
            shares=np.array([0, number / np.prod(shape)], np.float32) if tiles else None,
            total=float(number),
        )
        for number, shape in enumerate(shapes, first)
    ]


def configuration(
    batch: int, steps: int | None = None, data: DataOptions | None = None, **augmentation: object
) -> TrainingConfig:
    return TrainingConfig(
        architecture=Architecture(width=4, depth=4),
        data=data or DataOptions(),
        augmentation=Augmentation.model_validate(augmentation),
        optimisation=Optimisation(batch=batch, steps=steps),
    )


def epoch(feed: Feed, seed: int = 0) -> list[list[Windows]]:
    return list(feed.epoch(np.random.default_rng(seed)))


def numbers(step: list[Windows]) -> list[int]:
    """The examples that a step shows, where none are glued."""
    return [round(float(window.image.max())) for group in step for window in group]


def sizes(step: list[Windows]) -> set[tuple[int, ...]]:
    return {window.image.shape for group in step for window in group}


@given(shapes=shapes, batch=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_an_epoch_shows_each_image_once_and_equal_sizes_together(
    shapes: list[tuple[int, int]], batch: int, seed: int
) -> None:
    feed = Feed(configuration(batch), examples(*shapes), [])
    steps = epoch(feed, seed)
    assert len(steps) == feed.steps == -(-len(shapes) // batch)
    assert sorted(number for step in steps for number in numbers(step)) == list(range(1, len(shapes) + 1))
    assert sorted(len(numbers(step)) for step in steps)[1:] == [batch] * (feed.steps - 1)
    padded = Counter((-(-rows // 16) * 16, -(-columns // 16) * 16) for rows, columns in shapes)
    unmixed = sum(len(sizes(step)) == 1 and len(numbers(step)) == batch for step in steps)
    assert unmixed >= sum(number // batch for number in padded.values())


def test_epochs_and_the_order_of_sizes_differ() -> None:
    feed = Feed(configuration(2), examples(*[(16, 16)] * 6, *[(32, 32)] * 6), [])
    orders = {tuple(next(iter(sizes(step))) for step in epoch(feed, seed)) for seed in range(20)}
    assert len(orders) > 10
    assert numbers(epoch(feed, 0)[0]) != numbers(epoch(feed, 1)[0])


@given(shapes=shapes, pixels=st.integers(6400, 12000))
def test_groups_are_of_one_size_and_within_the_limit(shapes: list[tuple[int, int]], pixels: int) -> None:
    data = DataOptions(pixels=pixels)
    big = [(16 * k, 64) for k in (3, 5, 9)]
    (step,) = epoch(Feed(configuration(30, data=data), examples(*shapes, *big), []))
    for group in step:
        assert len({window.image.shape for window in group}) == 1
        assert len(group) == 1 or sum(window.image.size for window in group) <= pixels
    by_size = Counter(group[0].image.shape for group in step)
    for (rows, columns), groups in by_size.items():  # no more groups than the limit asks for
        windows = sum(window.image.shape == (rows, columns) for group in step for window in group)
        assert groups == -(-windows // max(1, pixels // (rows * columns)))


@given(
    shapes=shapes, processes=st.integers(2, 5), glued=st.sampled_from([0.0, 0.5, 1.0]), batch=st.sampled_from([3, 8])
)
def test_the_shares_of_all_processes_are_what_one_alone_would_render(
    shapes: list[tuple[int, int]], processes: int, glued: float, batch: int
) -> None:
    config = configuration(batch, mosaic=glued, zoom=(0.8, 1.3), noise=0.1, gain=(0.5, 2))
    alone = epoch(Feed(config, examples(*shapes), []))
    parts = [epoch(Feed(config, examples(*shapes), [], share=(rank, processes))) for rank in range(processes)]
    for whole, *shares in zip(alone, *parts, strict=True):
        counts = [sum(map(len, share)) for share in shares]
        assert max(counts) - min(counts) <= 1
        together = Counter(window.image.tobytes() for share in shares for group in share for window in group)
        assert together == Counter(window.image.tobytes() for group in whole for window in group)


def test_steps_show_whole_images_equally_often() -> None:
    feed = Feed(configuration(3, steps=7), examples(*[(16, 16)] * 5), [])
    steps = epoch(feed)
    assert feed.steps == len(steps) == 7
    assert sorted(Counter(number for step in steps for number in numbers(step)).values()) == [4, 4, 4, 4, 5]


def test_steps_show_tiles_of_large_images_more_often() -> None:
    """Four times the side is four times the chance."""
    data = DataOptions(tile=64, margin=16, overhang=0)
    feed = Feed(configuration(10, steps=100, data=data), examples((256, 256), (64, 64), (20, 20), tiles=True), [])
    steps = epoch(feed)
    assert all(sizes(step) == {(64, 64)} for step in steps)
    shown = Counter(number for step in steps for number in numbers(step))
    assert shown[1] == pytest.approx(1000 * 4 / 6, abs=60)
    assert shown[2] == pytest.approx(1000 / 6, abs=50)


@pytest.mark.parametrize(("balance", "expected"), [(0, 1 / 5), (0.5, 1 / 3), (1, 1 / 2)])
def test_balance_shows_tiles_of_rare_kinds_more_often(balance: float, expected: float) -> None:
    data = DataOptions(tile=64, margin=16, overhang=0, balance=balance)
    material = [
        replace(example, kind="rare" if number == 0 else "common")
        for number, example in enumerate(examples(*[(64, 64)] * 5, tiles=True))
    ]
    steps = epoch(Feed(configuration(10, steps=100, data=data), material, []))
    shown = Counter(number for step in steps for number in numbers(step))
    assert shown[1] == pytest.approx(1000 * expected, abs=60)


def test_examples_without_totals_of_tiles_come_whole_beside_tiles() -> None:
    data = DataOptions(tile=64, margin=16)
    material = examples((200, 200), (200, 200), tiles=True) + examples((100, 30), (90, 20), first=3)
    steps = epoch(Feed(configuration(2, data=data), material, []))
    assert {tuple(sorted(numbers(step))): sizes(step) for step in steps} == {
        (1, 2): {(64, 64)},
        (3, 4): {(112, 32)} | {(96, 32)},
    }


def test_synthetic_images_have_their_share() -> None:
    config = configuration(4, steps=250, data=DataOptions(synthetic_share=0.2))
    steps = epoch(Feed(config, examples((16, 16)), examples((16, 16), (16, 16), first=2)))
    shown = Counter(number for step in steps for number in numbers(step))
    assert shown[2] + shown[3] == pytest.approx(200, abs=40)
    assert min(shown[2], shown[3]) > 70


def test_one_zoom_a_step_keeps_equal_images_equal() -> None:
    steps = epoch(Feed(configuration(4, zoom=(0.5, 2)), examples(*[(64, 64)] * 40), []))
    assert all(len({window.seen.sum() for group in step for window in group}) == 1 for step in steps)
    assert len({step[0][0].seen.sum() for step in steps}) > 5


def test_every_tile_has_a_zoom_of_its_own() -> None:
    data = DataOptions(tile=128, margin=16, overhang=0)
    (step,) = epoch(Feed(configuration(9, data=data, zoom=(0.5, 2)), examples(*[(50, 50)] * 9, tiles=True), []))
    assert len({window.seen.sum() for window in step[0]}) > 5


@given(shapes=shapes, seed=st.integers(0, 2**32))
def test_mosaics_lose_no_image_and_no_cell(shapes: list[tuple[int, int]], seed: int) -> None:
    material = examples(*shapes)
    (step,) = epoch(Feed(configuration(len(shapes), mosaic=1), material, []), seed)
    windows = [window for group in step for window in group]
    assert sum(window.total for window in windows) == sum(example.total or 0 for example in material)
    shown = np.concatenate([window.image[window.core > 0] for window in windows])
    true = Counter({float(number): rows * columns for number, (rows, columns) in enumerate(shapes, 1)})
    assert Counter(shown.tolist()) == true
    glued = sorted(len(np.unique(window.image[window.core > 0])) for window in windows)
    assert glued == sorted(
        parts
        for number in Counter(shapes).values()
        for parts in [4] * (number // 4) + [2] * (number % 4 // 2) + [1] * (number % 2)
    )


def test_mosaics_are_a_share_of_the_steps() -> None:
    steps = epoch(Feed(configuration(4, steps=200, mosaic=0.3), examples(*[(16, 16)] * 4), []))
    windows = [sum(map(len, step)) for step in steps]
    assert set(windows) == {1, 4}
    assert windows.count(1) == pytest.approx(60, abs=25)


def test_the_same_rng_draws_the_same_windows_whatever_the_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(2, zoom=(0.5, 2), noise=0.1, gain=(0.5, 2), mosaic=0.5)
    feed = Feed(config, examples(*[(32, 32)] * 6), [])

    def images(steps: Iterator[list[Windows]], pause: float) -> list[bytes]:
        found = []
        for step in steps:
            found += [window.image.tobytes() for group in step for window in group]
            time.sleep(pause)
        return found

    rng = np.random.default_rng(3)
    steps = feed.epoch(rng)
    rng.random()  # drawn meanwhile
    first = images(steps, pause=0.01)

    def slow(*arguments: object, **options: object) -> Window:
        time.sleep(0.01)
        return draw_window(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("elmgan.training.feed.draw_window", slow)
    assert images(feed.epoch(np.random.default_rng(3)), pause=0) == first
    assert images(feed.epoch(np.random.default_rng(4)), pause=0) != first


def test_steps_are_rendered_ahead_but_not_far() -> None:
    rendered: list[int] = []
    far = threading.Event()

    def render(step: list) -> int:
        rendered.append(threading.get_ident())
        if len(rendered) == AHEAD + 1:
            far.set()
        return len(rendered)

    results = ahead(render, [[]] * 10)
    assert next(results) == 1
    assert far.wait(10)  # while nothing more is asked for
    assert len(rendered) == AHEAD + 1
    assert list(results) == list(range(2, 11))
    assert threading.get_ident() not in rendered


def test_an_exception_while_rendering_reaches_the_loop() -> None:
    def render(step: list) -> str:
        if not step:
            raise ValueError("no windows")
        return "rendered"

    results = ahead(render, [[[]], [], [[]]])
    assert next(results) == "rendered"
    with pytest.raises(ValueError, match="no windows"):
        next(results)
    assert not list(results)


def test_leaving_the_loop_ends_the_thread() -> None:
    before = set(threading.enumerate())
    rendered: list[list] = []
    started: set[threading.Thread] = set()

    def loop() -> None:
        for _ in ahead(rendered.append, [[]] * 100):
            started.update(set(threading.enumerate()) - before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert [thread.is_alive() for thread in started] == [False]
    assert len(rendered) <= AHEAD + 1
