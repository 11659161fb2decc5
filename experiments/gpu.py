"""Measure training and counting on a graphics card, in under six minutes in all.

    python experiments/gpu.py OUT [--device cuda|cpu] [--tiny]

Everything is drawn: no data are needed. Training is that of the configuration `nuclei`, in tiles/s, at 4 and 16 tiles a
step: the bare step, with its batches ready, and the loop, whose windows are rendered meanwhile by a thread or by
processes; compiled or not. `terms at once` fetches the loss terms in each step, as on a processor. Counting is that of
`elmgan count`, in images/s, on a folder of images of 520 x 696 pixels: PyTorch on the device, and ONNX Runtime on all
cores, looked at once (`quick`) and as by default. OUT gets a JSON file; lines appear as they come. `--tiny` tries the
script itself on small images.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from elmgan import load
from elmgan.data import Example, load_example, read_data_set
from elmgan.data.synthetic import write_data_set
from elmgan.report.record import machine
from elmgan.training.config import TrainingConfig, read_config
from elmgan.training.feed import Feed
from elmgan.training.mapped import ImageShelf
from elmgan.training.memory import freed_memory_kept
from elmgan.training.renderers import Renderers, workers_for
from elmgan.training.step import Batch, GanStep, collate
from elmgan.work import count_images

MOST_SECONDS = 330.0
"""After which nothing more is begun."""


READY = 10
"""Steps whose batches the bare step finds ready, over and over."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    image: tuple[int, int] = (520, 696)
    images: int = 24
    counted: int = 400
    steps: int = 300
    seconds: float = 6.0
    settings: tuple[str, ...] = ()


TINY = Size((128, 160), 3, 6, 10, 0.5, ("architecture.width=4", "data.tile=64", "data.squares=32", "data.margin=16"))


def training(size: Size, examples: list[Example], device: torch.device, tell: Callable[[str, float], None]) -> None:
    """Measure the step and the loop."""
    for compiled, batch in product(("off", "on"), (4, 16)):
        settings = [*size.settings, f"optimisation.batch={batch}", f"optimisation.steps={size.steps}"]
        # One form of the step, and so one compilation.
        settings += ["data.synthetic=0", "optimisation.fix_norm=1"]
        config = read_config("nuclei", [*settings, f"machine.compile={compiled}"])
        processes = workers_for(config, device) or 2
        shown = f"training, batch {batch}, {'compiled' if compiled == 'on' else 'not compiled'}"
        step = GanStep(config, 10**6, device, tell=partial(print, flush=True))
        feed = Feed(config, examples, [])
        with freed_memory_kept():
            few = islice(feed.epoch(np.random.default_rng(0)), READY)
            ready = partial(iter, [collated(groups, device) for groups in few] * (size.steps // READY))
            tell(f"{shown}: bare step", rate(step, ready, size))
            if compiled == "off":
                tell(f"{shown}: bare step, terms at once", rate(step, ready, size, at_once=True))
                tell(f"{shown}: loop, thread", rate(step, loop(feed, device), size))
            with rendering(processes, config, examples) as feed_of_processes:
                tell(f"{shown}: loop, {processes} processes", rate(step, loop(feed_of_processes, device), size))


@contextmanager
def rendering(processes: int, config: TrainingConfig, examples: list[Example]) -> Iterator[Feed]:
    """Give a feed whose windows are rendered by processes."""
    with ExitStack() as stack:
        shelf = ImageShelf(0)
        stack.callback(shelf.close)
        shelf.keep(examples)
        shelf.examples()
        yield Feed(config, examples, [], render=stack.enter_context(Renderers(processes, config, shelf)))


def collated(groups: list, device: torch.device) -> list[Batch]:
    """Bring the windows of a step to the device."""
    return [collate(group, device) for group in groups]


def loop(feed: Feed, device: torch.device) -> Callable[[], Iterator[list[Batch]]]:
    """Give what draws an epoch."""
    return lambda: (collated(groups, device) for groups in feed.epoch(np.random.default_rng(0)))


def rate(step: GanStep, epoch: Callable[[], Iterator[list[Batch]]], size: Size, *, at_once: bool = False) -> float:
    """Give tiles/s over whole epochs, after one that is not timed."""
    take = step if at_once else step.move
    for groups in epoch():
        take(groups, adversarial=False)
    step.fetch(now=True)
    tiles, started = 0, time.perf_counter()
    while time.perf_counter() - started < size.seconds:
        for groups in epoch():
            take(groups, adversarial=False)
            step.fetch()
            tiles += sum(len(batch.image) for batch in groups)
        step.fetch(now=True)
    return tiles / (time.perf_counter() - started)


def counting(size: Size, folder: Path, device: str, tell: Callable[[str, float], None]) -> None:
    """Measure folders."""
    few = folder / "few"
    few.mkdir()
    many = folder / "many"
    many.mkdir()
    drawn = sorted((folder / "data/images").iterdir())
    for k in range(size.counted):
        source = drawn[k % len(drawn)]
        (many / f"{k:04d}{source.suffix}").write_bytes(source.read_bytes())
        if k < len(drawn):
            (few / source.name).write_bytes(source.read_bytes())
    for engine, precision, where in [
        ("torch", "auto", device),
        ("onnxruntime", "auto", "cpu"),
        ("onnxruntime", "fp32", "cpu"),
    ]:
        model = load(engine=engine, precision=precision, device=where, parallel=True)
        for quick in (True, False):
            name = f"counting, {model.runtime}{', quick' if quick else ''}"
            count_images([few], folder / "out", model, quick=quick)
            started = time.perf_counter()
            done = count_images([many], folder / "out", model, quick=quick)
            tell(name, len(done.rows) / (time.perf_counter() - started))


def main() -> None:
    """Measure all of it and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    size, device = TINY if options.tiny else Size(), torch.device(options.device)
    begun = time.perf_counter()
    measured: dict[str, float] = {}

    def tell(name: str, per_second: float) -> None:
        measured[name] = round(per_second, 1)
        print(f"{time.perf_counter() - begun:5.0f} s  {per_second:9.1f}/s  {name}", flush=True)
        if time.perf_counter() - begun > MOST_SECONDS:
            raise TimeoutError

    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            write_data_set(folder / "data", size.images, seed=0, size=size.image)
            counting(size, folder, options.device, tell)
            normalisation = read_config("nuclei").normalisation
            examples = [load_example(record, normalisation) for record in read_data_set(folder / "data")]
            training(size, examples, device, tell)
        except TimeoutError:
            print("stopped: it took too long")
    record = {
        "per_second": measured,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "machine": machine(),
        "size": vars(size),
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
