"""Time the networks of a bundled model in each engine and precision, in turns, on one image.

    python experiments/eight_bits.py MODEL ROWS COLUMNS ROUNDS OUT

OUT gets a JSON file: engine and precision -> seconds of each round, and the medians of the ratios of fp32 in ONNX
Runtime, which the plain install has, to each, within a round. Run it on an idle machine.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from elmgan.engines import open_engine
from elmgan.errors import UsageError
from elmgan.models import find_bundle, read_bundle

PLAIN = "onnxruntime fp32"
CALLS = 3
"""Of each engine in a round."""


def main(name: str, rows: int, columns: int, rounds: int, out: Path) -> None:
    """Time, and write what came out."""
    bundle = read_bundle(find_bundle(name))
    engines = {}
    for engine in ("onnxruntime", "openvino"):
        for precision in ("fp32", "bf16", "int8"):
            try:
                engines[f"{engine} {precision}"] = open_engine(bundle, engine, precision=precision)
            except UsageError as error:
                print(error)
    image = np.random.default_rng(0).normal(0, 0.3, (1, 1, rows, columns)).astype(np.float32)
    for one in engines.values():
        one.predict(image)
    seconds: dict[str, list[float]] = {each: [] for each in engines}
    for _ in range(rounds):
        for each, one in engines.items():
            begun = time.perf_counter()
            for _ in range(CALLS):
                one.predict(image)
            seconds[each].append(round((time.perf_counter() - begun) / CALLS, 5))
    plain = np.array(seconds[PLAIN])
    ratios = {
        each: np.percentile(plain / np.array(taken), (25, 50, 75)).round(3).tolist() for each, taken in seconds.items()
    }
    for each, taken in seconds.items():
        print(f"{each:18s} {1000 * np.median(taken):7.1f} ms, {ratios[each][1]:.2f} times as fast as {PLAIN}")
    result = {"model": bundle.version, "image": [rows, columns], "seconds": seconds, "quartiles of ratios": ratios}
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 6:
        raise SystemExit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
