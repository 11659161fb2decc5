"""An earlier elmgan beside this one: both count a folder from the command line, in turns.

It writes `earlier.json`, a result of the kind that `elmgan benchmark throughput` writes; README.md says how.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import tifffile

from elmgan.benchmark.counting import field
from elmgan.benchmark.engines import usual_threads
from elmgan.benchmark.throughput import (
    DISTINCT,
    EARLIER,
    NOW,
    NOW_QUICK,
    ThroughputMeasured,
    ThroughputRow,
)
from elmgan.benchmark.timing import Conditions, take_turns

MODEL = "nuclei"


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for earlier.json")
    parser.add_argument("--earlier", type=Path, required=True, help="interpreter of the earlier version's environment")
    parser.add_argument("--images", type=int, default=300, help="in the folder")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    command = shlex.join(["python", "benchmarks/earlier/measure.py", *sys.argv[1:]])
    conditions = Conditions.now(threads=usual_threads(), rounds=asked.rounds, block=0, command=command)
    if conditions.warning:
        print(conditions.warning, file=sys.stderr)

    with TemporaryDirectory() as place:
        images, out = Path(place) / "images", Path(place) / "counted"
        images.mkdir()
        drawn = [field(k) for k in range(min(DISTINCT, asked.images))]
        for k in range(asked.images):
            tifffile.imwrite(images / f"{k:05}.tif", drawn[k % len(drawn)])

        def count(python: Path, engine: str, *options: str) -> None:
            shutil.rmtree(out, ignore_errors=True)
            what = ["count", str(images), "-o", str(out), "--model", MODEL, "--engine", engine, "--labels", "--quiet"]
            # Each version keeps its compiled network in a cache of its own, which its first turn fills.
            environment = os.environ | {"XDG_CACHE_HOME": str(Path(place) / f"cache-{python == asked.earlier}")}
            subprocess.run([python, "-m", "elmgan", *what, *options], env=environment, check=True)

        this = Path(sys.executable)
        ways = {EARLIER: (asked.earlier, ()), NOW: (this, ()), NOW_QUICK: (this, ("--quick",))}
        candidates = {
            (engine, name): partial(count, python, engine, *options)
            for engine in ("openvino", "onnxruntime")
            for name, (python, options) in ways.items()
        }
        times = take_turns(candidates, conditions)
    rows = tuple(
        ThroughputRow(part="folder", name=name, engine=engine, amount=asked.images, times=taken)
        for (engine, name), taken in times.items()
    )
    result = ThroughputMeasured(conditions=conditions, model=MODEL, side=256, images=asked.images, rows=rows)
    result.write(asked.out / "earlier.json")
    for row in rows:
        print(f"{row.engine}, {row.name}: {row.per_second:.3g} images/s")


if __name__ == "__main__":
    main()
