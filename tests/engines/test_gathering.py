"""Images of several threads in one batch: the same results, errors to whom they belong, and no waiting for company."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Event

import numpy as np
import pytest
from numpy.typing import NDArray

from bundles import tiny_bundle
from elmgan.counting import predictor
from elmgan.counting.predictor import Predictor
from elmgan.engines import Engine, Gathered, OnnxEngine, Runtime, open_engine, registry
from elmgan.errors import ModelError
from elmgan.models import find_bundle, read_bundle
from elmgan.work import count

Predicted = tuple[NDArray[np.float32], NDArray[np.float32]]
NUCLEI = read_bundle(find_bundle("nuclei"))


class Slow:
    """An engine that says what it was given, and takes its time where it is asked to."""

    runtime = Runtime("slow", "0", "fp32", "cuda")

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.begun, self.go_on = Event(), Event()
        self.at_once = 0

    def predict(self, images: NDArray[np.float32]) -> Predicted:
        self.at_once += 1
        assert self.at_once == 1
        self.batches.append(len(images))
        self.begun.set()
        assert self.go_on.wait(30)
        self.at_once -= 1
        if np.isnan(images).any():
            raise ModelError("a bad image")
        return images + 1, images[..., ::4, ::4]


def numbered(number: float, rows: int = 8) -> NDArray[np.float32]:
    return np.full((1, 1, rows, 8), number, np.float32)


def behind_the_first(engine: Slow, gathered: Gathered, images: list[NDArray[np.float32]]) -> list[Future[Predicted]]:
    """Ask for the first alone, and for the others, in threads, while it is run."""
    pool = ThreadPoolExecutor(len(images))
    asked = [pool.submit(gathered.predict, images[0])]
    assert engine.begun.wait(30)
    for k, each in enumerate(images[1:], 1):
        asked.append(pool.submit(gathered.predict, each))
        while len(gathered._waiting) < k:
            time.sleep(0.001)
    engine.go_on.set()
    pool.shutdown()
    return asked


def test_who_waits_is_the_next_batch() -> None:
    engine = Slow()
    asked = behind_the_first(engine, Gathered(engine), [numbered(k) for k in range(5)])
    assert engine.batches == [1, 4]
    for k, each in enumerate(asked):
        np.testing.assert_array_equal(each.result()[0], numbered(k + 1))
        assert each.result()[1].shape == (1, 1, 2, 2)


def test_batches_are_of_one_size_and_within_the_bound() -> None:
    engine = Slow()
    images = [numbered(k, 16 if k in (2, 4) else 8) for k in range(8)]
    asked = behind_the_first(engine, Gathered(engine, most=3 * 64), images)
    assert sorted(engine.batches) == [1, 1, 1, 2, 3] or sorted(engine.batches) == [1, 1, 1, 1, 1, 3]
    for image, each in zip(images, asked, strict=True):
        np.testing.assert_array_equal(each.result()[0], image + 1)


def test_several_images_of_one_caller_stay_together() -> None:
    engine = Slow()
    images = [numbered(0), np.concatenate([numbered(1), numbered(2)]), numbered(3)]
    asked = behind_the_first(engine, Gathered(engine), images)
    assert engine.batches == [1, 3]
    for image, each in zip(images, asked, strict=True):
        np.testing.assert_array_equal(each.result()[0], image + 1)


def test_an_error_goes_to_the_image_that_caused_it() -> None:
    engine = Slow()
    asked = behind_the_first(engine, Gathered(engine), [numbered(k) for k in (0, 1, np.nan, 3)])
    assert engine.batches == [1, 3, 1, 1, 1]
    with pytest.raises(ModelError, match="a bad image"):
        asked[2].result()
    for k in (0, 1, 3):
        np.testing.assert_array_equal(asked[k].result()[0], numbered(k + 1))


def test_one_who_is_alone_is_run_at_once_also_after_an_error() -> None:
    engine = Slow()
    engine.go_on.set()
    gathered = Gathered(engine)
    with pytest.raises(ModelError):
        gathered.predict(numbered(np.nan))
    np.testing.assert_array_equal(gathered.predict(numbered(2))[0], numbered(3))
    assert engine.batches == [1, 1]


def test_a_batch_that_is_broken_off_is_run_again_for_the_others() -> None:
    class Interrupted(Slow):
        def predict(self, images: NDArray[np.float32]) -> Predicted:
            predicted = super().predict(images)
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return predicted

    engine = Interrupted()
    asked = behind_the_first(engine, Gathered(engine), [numbered(k) for k in range(4)])
    assert engine.batches == [1, 3, 2]
    errors = [each.exception() for each in asked]
    assert [type(error) for error in errors].count(KeyboardInterrupt) == 1
    for k, each in enumerate(asked):
        if errors[k] is None:
            np.testing.assert_array_equal(each.result()[0], numbered(k + 1))


@pytest.mark.parametrize(
    "engine", [lambda: open_engine(NUCLEI, "torch", precision="fp32", device="cpu"), lambda: OnnxEngine(NUCLEI.onnx)]
)
def test_threads_get_what_each_would_get_alone(engine: Callable[[], Engine]) -> None:
    alone = engine()
    gathered = Gathered(alone)
    assert gathered.runtime == alone.runtime
    rng = np.random.default_rng(1)
    images = [rng.random((1, 1, rows, 128), np.float32) for rows in [64] * 6 + [128] * 2]
    together = Barrier(len(images))

    def predict(image: NDArray[np.float32]) -> Predicted:
        together.wait(30)
        return gathered.predict(image)

    with ThreadPoolExecutor(len(images)) as pool:
        for image, found in zip(images, pool.map(predict, images), strict=True):
            for values, expected in zip(found, alone.predict(image), strict=True):
                np.testing.assert_allclose(values, expected, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_graphics_card_is_asked_for_batches(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    class Elsewhere(OnnxEngine):
        def __init__(self, onnx: bytes) -> None:
            super().__init__(onnx)
            self.runtime = replace(self.runtime, device=device)

    class Entry:
        def load(self) -> Callable[..., Engine]:
            return lambda bundle, **options: Elsewhere(bundle.onnx)

    monkeypatch.setattr(registry, "engines", lambda: {"torch": Entry()})
    assert isinstance(open_engine(tiny_bundle(), "torch"), Gathered) is (device == "cuda")


@pytest.mark.parametrize(("device", "at_once"), [("cpu", 1), ("cuda", 2)])
def test_large_images_take_turns_on_a_processor_alone(
    monkeypatch: pytest.MonkeyPatch, device: str, at_once: int
) -> None:
    monkeypatch.setattr(predictor, "SMALL", 0)
    together, inside, most = Barrier(at_once), [], []

    class Watched:
        runtime = Runtime("watched", "0", "fp32", device)

        def predict(self, images: NDArray[np.float32]) -> Predicted:
            inside.append(images)
            most.append(len(inside))
            together.wait(30)
            time.sleep(0.01)
            inside.pop()
            return images, images[..., ::4, ::4]

    predict = Predictor(NUCLEI.card.architecture, Watched())
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(predict, [np.zeros((64, 64), np.float32)] * 4))
    assert max(most) == at_once


def test_beside_a_graphics_card_there_is_work_for_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count, "cores", lambda: 16)
    assert count.pixels_at_once("cpu") == count.PIXELS_AT_ONCE
    assert count.pixels_at_once("cuda") >= 16 * 1024 * 1024
    monkeypatch.setattr(count, "cores", lambda: 1)
    assert count.pixels_at_once("cuda") == count.PIXELS_AT_ONCE
