"""Other programs' networks beside ours, in turns on one tile: Cellpose 3's, and StarDist's where it is installed.

Weights are random but for ours. It writes `peers.json`, a result of `elmgan benchmark model`; README.md says how.
"""

import argparse
import shlex
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elmgan.benchmark.engines import ENGINES, Run, run_onnx, run_torch
from elmgan.benchmark.memory import peak_memory
from elmgan.engines import open_engine
from elmgan.models import find_bundle, read_bundle

# PyTorch is not imported here: the processes whose memory is measured import this file.
if TYPE_CHECKING:
    from torch import nn

OURS, CELLPOSE, STARDIST = "nuclei", "Cellpose 3", "StarDist"
PEERS = ("cellpose", "stardist", "tensorflow-cpu", "tensorflow")
CHANNELS, OUTPUTS = 2, 3
"""Of Cellpose's images, of which nuclei leave one empty; and of what it gives."""


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for peers.json")
    parser.add_argument("--side", type=int, default=256, help="rows and columns of the tile (a multiple of 64)")
    parser.add_argument("--threads", type=int, help="of every network; as many as PyTorch takes by default")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--block", type=float, default=0.3, help="seconds of a turn, at least")
    asked = parser.parse_args()

    import torch

    from elmgan.benchmark.networks import ModelMeasured, NetworkRow
    from elmgan.benchmark.timing import Conditions, take_turns

    threads = asked.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    conditions = Conditions.now(threads=threads, rounds=asked.rounds, block=asked.block)
    if conditions.warning:
        print(conditions.warning, file=sys.stderr)
    peers = {name: metadata.version(name) for name in PEERS if _is_installed(name)}
    command = shlex.join(["python", "benchmarks/peers/measure.py", *sys.argv[1:]])
    conditions = conditions.model_copy(update={"command": command, "versions": conditions.versions | peers})

    tile = np.random.default_rng(0).standard_normal((1, CHANNELS, asked.side, asked.side), dtype=np.float32)
    runs: dict[tuple[str, str], Run] = {}
    facts: dict[tuple[str, str], dict[str, Any]] = {}
    with TemporaryDirectory() as folder:
        graph = Path(folder) / "nuclei.onnx"
        for measured in (
            _ours(graph, tile[:, :1].copy(), threads),
            _cellpose(tile, threads),
            _stardist(tile[:, :1].copy(), threads) if find_spec("stardist") else {},
        ):
            for key, (run, known) in measured.items():
                runs[key], facts[key] = run, known
        times = take_turns(runs, conditions)
    rows = [
        NetworkRow(network=name, engine=engine, batch=1, times=taken, **facts[name, engine])
        for (name, engine), taken in times.items()
    ]
    ModelMeasured(conditions=conditions, side=asked.side, rows=tuple(rows)).write(asked.out / "peers.json")
    for row in rows:
        print(f"{row.network}, {row.engine}: {1e3 * row.times.spread.median:.3g} ms")


Measured = dict[tuple[str, str], tuple[Run, dict[str, Any]]]
"""Network and engine -> what runs it, and the facts of its row."""


def _ours(graph: Path, tile: NDArray[np.float32], threads: int) -> Measured:
    """Our model on the engine that counting takes, and on the one that every installation has."""
    from functools import partial

    from elmgan.benchmark.sizes import size_of
    from elmgan.nn.generator import Generator

    bundle = read_bundle(find_bundle(OURS))
    graph.write_bytes(bundle.onnx)
    parameters, multiply_adds = size_of(partial(Generator, bundle.card.architecture), tile.shape)
    runtime = open_engine(bundle, device="cpu").runtime
    return {
        (OURS, name): (
            run_onnx(ENGINES[name], graph, tile, threads=threads),
            {
                "parameters": parameters,
                "multiply_adds": multiply_adds,
                "memory": peak_memory(ENGINES[name], graph, tile.shape, threads=threads),
                "note": "its trained weights",
            },
        )
        for name in dict.fromkeys((f"{runtime.name} {runtime.precision}", "onnxruntime fp32"))
    }


def cellpose_network() -> "nn.Module":
    """Make the network that `CellposeModel` makes, with random weights."""
    from cellpose.resnet_torch import CPnet

    network: nn.Module = CPnet([CHANNELS, 32, 64, 128, 256], OUTPUTS, 3, max_pool=True)
    return network


def _cellpose(tile: NDArray[np.float32], threads: int) -> Measured:
    """Cellpose's network in PyTorch's usual order of memory, channels-last, and as Cellpose itself runs it."""
    import torch
    from torch.utils import mkldnn

    from elmgan.benchmark.sizes import size_of

    parameters, multiply_adds = size_of(cellpose_network, tile.shape)
    facts = {"parameters": parameters, "multiply_adds": multiply_adds}
    measured: Measured = {}
    for name in ("torch fp32", "torch fp32 channels-last"):
        memory = peak_memory(ENGINES[name], cellpose_network, tile.shape, threads=threads)
        known = facts | {"memory": memory, "note": "random weights"}
        measured[CELLPOSE, name] = run_torch(ENGINES[name], cellpose_network(), tile), known
    network = cellpose_network().eval()
    network.mkldnn = True  # type: ignore[assignment]
    converted = mkldnn.to_mkldnn(network)
    image = torch.from_numpy(tile)

    def as_by_default() -> object:
        with torch.no_grad():
            return converted(image)

    note = (
        "random weights; Cellpose's default on a processor, its weights converted once and not at every call as there"
    )
    measured[CELLPOSE, "torch fp32 mkldnn"] = as_by_default, facts | {"memory": None, "note": note}
    return measured


def _stardist(tile: NDArray[np.float32], threads: int) -> Measured:
    """StarDist's network with the settings of its model `2D_versatile_fluo`."""
    import tensorflow
    from stardist.models import Config2D, StarDist2D

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    network = StarDist2D(Config2D(n_rays=32, grid=(2, 2), n_channel_in=1), basedir=None).keras_model
    compiled = tensorflow.function(lambda image: network(image, training=False))
    image = tensorflow.constant(tile.transpose(0, 2, 3, 1))
    facts = {"parameters": network.count_params(), "multiply_adds": None, "memory": None}
    note = "random weights; settings of 2D_versatile_fluo, the network as a compiled function"
    return {(STARDIST, "tensorflow fp32"): (lambda: [each.numpy() for each in compiled(image)], facts | {"note": note})}


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
