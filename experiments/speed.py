"""Compare the training step of several versions of elmgan, in images/s.

    python experiments/speed.py DATASET OUT NAME=TREE[,KEY=VALUE]...

DATASET is a data set folder, TREE a checkout. Each runs the generator's step of its own configuration `nuclei`, changed
by KEY=VALUE, on tiles of 256 x 256 that are ready, four a step unless changed, in a process of its own, in turns.
OUT gets a JSON file: images/s, and the ratio to the first, as median and range.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROUNDS = 5
SETTINGS = ["optimisation.batch=4", "optimisation.steps=40", "data.synthetic=0"]

RUN = """
import sys, time
from contextlib import nullcontext
from pathlib import Path
import numpy as np, torch
from elmgan.data import load_example, read_data_set
from elmgan.training import read_config
from elmgan.training.feed import Feed
from elmgan.training.step import GanStep, collate
try:
    from elmgan.training.memory import freed_memory_kept
except ImportError:
    freed_memory_kept = nullcontext
config = read_config("nuclei", sys.argv[2:])
examples = [load_example(record, config.normalisation) for record in read_data_set(Path(sys.argv[1]))[:40]]
device = torch.device("cpu")
with freed_memory_kept():
    step = GanStep(config, 10**6, device)
    feed = Feed(config, examples, []).epoch(np.random.default_rng(0))
    batches = [[collate(group, device) for group in groups] for groups in feed]
    for groups in batches[:10]:
        step(groups, adversarial=False)
    started = time.perf_counter()
    for groups in batches[10:]:
        step(groups, adversarial=False)
    print(config.optimisation.batch * len(batches[10:]) / (time.perf_counter() - started))
"""


def rate(dataset: Path, tree: Path, settings: list[str]) -> float:
    """Run one version once; images/s."""
    command = [sys.executable, "-c", RUN, str(dataset), *SETTINGS, *settings]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def summary(values: list[float]) -> dict[str, float]:
    """Give the median and the range."""
    return {"median": round(float(np.median(values)), 2), "low": round(min(values), 2), "high": round(max(values), 2)}


def main(dataset: Path, out: Path, versions: list[str]) -> None:
    """Time all of them and write what came out."""
    from elmgan.report.record import machine

    parts = [version.partition("=")[::2] for version in versions]
    trees = {name: (Path(rest.split(",")[0]), rest.split(",")[1:]) for name, rest in parts}
    rates: dict[str, list[float]] = {name: [] for name in trees}
    for k in range(ROUNDS):
        for name in list(trees)[:: 1 if k % 2 else -1]:
            tree, settings = trees[name]
            rates[name].append(rate(dataset, tree, settings))
            print(name, round(rates[name][-1], 1), flush=True)
    first = rates[next(iter(rates))]
    rows = {
        name: {
            "settings": trees[name][1],
            "images_per_second": summary(found),
            "ratio": summary([one / other for one, other in zip(found, first, strict=True)]),
        }
        for name, found in rates.items()
    }
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    record = {"rounds": ROUNDS, "threads": threads, "machine": machine(), "versions": rows}
    out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
