"""Compare the training loop with its bare step, in images/s.

    python experiments/throughput.py DATASET CONFIG OUT [KEY=VALUE]...

DATASET is a data set folder, CONFIG a configuration with a count map, shipped or a file, changed by KEY=VALUE. The bare
step finds its batches ready; the loop has its windows drawn, changed in their grey values and put into batches
meanwhile: the same ones. They take turns, after one round that is not timed. OUT gets a JSON file: images/s of both and
their ratio, as the median and the range over the rounds, for the generator alone and with the discriminator.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from elmgan.data import load_example, read_data_set
from elmgan.report.record import machine
from elmgan.training.config import read_config
from elmgan.training.feed import Feed
from elmgan.training.step import Batch, GanStep, collate

MOST = 200  # images that are read
STEPS = 20  # of a block
ROUNDS = 7
SEED = 0


def images_per_second(
    step: Callable[..., object], steps: Iterable[list[Batch]], images: int, adversarial: bool
) -> float:
    """Time steps over batches, which are made while they are asked for in the loop."""
    started = time.perf_counter()
    for groups in steps:
        step(groups, adversarial=adversarial)  # gives numbers, so that no device is still at work when it returns
    return images / (time.perf_counter() - started)


def summary(values: list[float]) -> dict[str, float]:
    """Give the median and the range."""
    return {"median": round(float(np.median(values)), 3), "low": round(min(values), 3), "high": round(max(values), 3)}


def main(dataset: Path, name: str, out: Path, settings: list[str]) -> None:
    """Time both and write what came out."""
    config = read_config(name, [*settings, f"optimisation.steps={STEPS}"])
    examples = [load_example(record, config.normalisation) for record in read_data_set(dataset)[:MOST]]
    feed = Feed(config, examples, [])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    step = GanStep(config, 10**6, device)

    def drawn() -> Iterable[list[Batch]]:
        for groups in feed.epoch(np.random.default_rng(SEED)):
            yield [collate(group, device) for group in groups]

    ready = list(drawn())
    images = STEPS * config.optimisation.batch
    results = {}
    for adversarial in [False] if config.discriminator is None else [False, True]:
        bare: list[float] = []
        loop: list[float] = []
        for k in range(ROUNDS + 1):
            for rates, steps in [(bare, ready), (loop, drawn())][:: 1 if k % 2 else -1]:
                rates.append(images_per_second(step, steps, images, adversarial))
        del bare[0], loop[0]
        ratios = [one / other for one, other in zip(loop, bare, strict=True)]
        row = {"step": summary(bare), "loop": summary(loop), "ratio": summary(ratios)}
        results["adversarial" if adversarial else "generator"] = row
        print("with" if adversarial else "without", "discriminator:", row, flush=True)
    record = {
        "config": config.model_dump(mode="json"),
        "images": len(examples),
        "steps": STEPS,
        "rounds": ROUNDS,
        "seed": SEED,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": machine(),
        "images_per_second": results,
    }
    out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
