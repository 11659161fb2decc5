"""See how hard each term of the loss pulls at the generator before anything is learned.

    python experiments/gradients.py DATA OUT [KEY=VALUE]...

DATA is BBBC005. The preset paper, in the reduced setting of `elmgan benchmark accuracy` and with KEY=VALUE changed, is
made three times; images that fold 1 trains on go through it one by one. OUT gets a JSON file and the terminal what it
holds: per term the median norm of its gradient, over images and seeds, in the layers that make the mask (decoder and
mask head) and in the encoder, whose features both heads share.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from elmgan.benchmark.accuracy import SETTINGS, config_of
from elmgan.benchmark.arms import Arm
from elmgan.benchmark.folds import sides_of
from elmgan.data import load_example, read_data_set
from elmgan.images import View
from elmgan.training.material import Material, fitted_to
from elmgan.training.step import GanStep, collate
from elmgan.training.windows import draw_window

EVERY = 10
"""Of the images to train on, every so many-th is taken."""

PARTS = {"mask": ("decoder", "mask_head"), "encoder": ("encoder",)}


def main(data: Path, out: Path, settings: list[str]) -> None:
    """Take the gradients, show and write."""
    setting = SETTINGS["reduced"]
    records = sides_of(read_data_set(data, view=View(scale=setting.scale)), 1, setting.folds).train[::EVERY]
    norms: dict[str, dict[str, list[float]]] = {part: defaultdict(list) for part in PARTS}
    for seed in (1, 2, 3):
        config = config_of(Arm("gradients", "", tuple(settings)), setting, seed)
        examples = [load_example(record, config.normalisation) for record in records]
        fitted = fitted_to(config, Material(examples, [], [], ("mask", "count"), ("mask", "count")))
        torch.manual_seed(seed)
        step = GanStep(fitted, 1, torch.device("cpu"))
        for example in examples:
            rng = np.random.default_rng(0)
            window = draw_window(example, fitted.data, fitted.augmentation, multiple=64, rng=rng)
            batch = collate([window], torch.device("cpu"))
            known = batch.targets.known()
            losses, _ = step.losses(batch, step.discriminator, known, known)
            for part, names in PARTS.items():
                weights = [value for name, value in step.generator.named_parameters() if name.startswith(names)]
                for term, loss in losses.items():
                    if loss.requires_grad:
                        slopes = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
                        squares = [float(slope.square().sum()) for slope in slopes if slope is not None]
                        norms[part][term].append(sum(squares) ** 0.5)
    found = {
        "settings": settings,
        "images": len(records),
        "norms": {
            part: {term: float(f"{np.median(values):.3g}") for term, values in of_part.items()}
            for part, of_part in norms.items()
        },
    }
    print(json.dumps(found, indent=1))
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
