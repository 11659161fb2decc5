"""Profile the generator part by part: what each costs in parameters, multiply-adds, memory and time.

    python experiments/layers.py OUT [KEY=VALUE]...

The network is that of the configuration `nuclei`, changed by KEY=VALUE (architecture.mask_head=detail). It runs in
PyTorch on one image of 256 x 256 pixels, in bf16 where the processor computes in it, on as many threads as
OMP_NUM_THREADS says. OUT gets a JSON file and the terminal a Markdown table. Multiply-adds are those of convolutions;
memory is that of their outputs; time is the median over the rounds, of all parts in turn.
"""

import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from elmgan.nn.generator import Generator
from elmgan.report.record import machine
from elmgan.training.config import read_config
from elmgan.training.step import has_fast_bf16

SIDE = 256
ROUNDS = 30


def parts(generator: Generator) -> dict[str, nn.Module]:
    """Name the parts in the order in which they run."""
    encoders = {f"encoder {k + 1}": part for k, part in enumerate(generator.encoder)}
    decoders = {f"decoder {k + 1}": part for k, part in enumerate(generator.decoder)}
    return encoders | decoders | {"mask head": generator.mask_head, "count head": generator.count_head}


def profile(generator: Generator, image: Tensor) -> list[dict[str, object]]:
    """Measure every part; the last row is of the whole network."""
    found: dict[str, dict[str, float]] = defaultdict(lambda: {"multiply_adds": 0.0, "bytes": 0.0})
    seconds: dict[str, list[float]] = defaultdict(list)
    began: dict[str, float] = {}
    counting = True
    for name, part in parts(generator).items():
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d):

                def add(layer: nn.Module, given: object, made: Tensor, name: str = name) -> None:
                    if counting:
                        assert isinstance(layer, nn.Conv2d)
                        found[name]["multiply_adds"] += made.shape[-2] * made.shape[-1] * layer.weight.numel()
                        found[name]["bytes"] += made.numel() * made.element_size()

                layer.register_forward_hook(add)

        def begin(part: nn.Module, given: object, name: str = name) -> None:
            began[name] = time.perf_counter()

        def end(part: nn.Module, given: object, made: object, name: str = name) -> None:
            seconds[name].append(time.perf_counter() - began[name])

        part.register_forward_pre_hook(begin)
        part.register_forward_hook(end)
    whole: list[float] = []
    with torch.no_grad():
        for _ in range(ROUNDS + 5):
            started = time.perf_counter()
            generator(image)
            whole.append(time.perf_counter() - started)
            counting = False
    rows: list[dict[str, object]] = []
    for name, part in [*parts(generator).items(), ("whole", generator)]:
        every = found.values() if part is generator else [found[name]]
        rows.append(
            {
                "part": name,
                "parameters": sum(parameter.numel() for parameter in part.parameters()),
                "multiply_adds": int(sum(each["multiply_adds"] for each in every)),
                "megabytes": round(sum(each["bytes"] for each in every) / 1e6, 3),
                "milliseconds": round(1e3 * float(np.median((whole if part is generator else seconds[name])[5:])), 3),
            }
        )
    return rows


def main(out: Path, settings: list[str]) -> None:
    """Profile, show, write."""
    architecture = read_config("nuclei", settings).architecture
    torch.manual_seed(0)
    bf16 = has_fast_bf16(torch.device("cpu"))
    dtype = torch.bfloat16 if bf16 else torch.float32
    generator = Generator(architecture).eval().to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = profile(generator, torch.randn(1, 1, SIDE, SIDE, dtype=dtype))
    print(f"| part | parameters | million multiply-adds | outputs, MB | ms, {'bf16' if bf16 else 'fp32'} |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        million = int(str(row["multiply_adds"])) / 1e6
        print(f"| {row['part']} | {row['parameters']:,} | {million:.1f} | {row['megabytes']} | {row['milliseconds']} |")
    record = {"architecture": architecture.model_dump(), "bf16": bf16, "threads": torch.get_num_threads()}
    out.write_text(json.dumps(record | {"side": SIDE, "rounds": ROUNDS, "parts": rows, "machine": machine()}, indent=1))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
