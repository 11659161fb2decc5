"""The counter itself, from a tile to a folder: `elmgan benchmark throughput`."""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Literal

import numpy as np
import onnx
import tifffile
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from pydantic import Field
from torch.export import Dim

from elmgan.benchmark.counting import FIELD, count_folder, count_large, field
from elmgan.benchmark.engines import EngineSetting, Run, run_onnx, run_torch
from elmgan.benchmark.layers import layer_multiply_adds, layer_times
from elmgan.benchmark.networks import U_NET, networks
from elmgan.benchmark.sizes import size_of
from elmgan.benchmark.timing import Conditions, Measured, Times, take_turns
from elmgan.counting import Model
from elmgan.engines import open_engine
from elmgan.images import read_image, write_mask
from elmgan.light import to_grey
from elmgan.models import find_bundle, read_bundle, shipped
from elmgan.nn.generator import Generator
from elmgan.strict import Strict
from elmgan.training.export import export
from elmgan.work import count_images
from elmgan.work.pipeline import cores, in_order

PAPER, PRODUCT = "LFMMG paper", "matrix product"
BARE, UNSEPARATED, SEPARATED = "network alone", "counts and masks", "counts, masks and separated cells"
TWICE = f"{SEPARATED}, looked at twice"
EARLIER, NOW, NOW_QUICK = "earlier elmgan", "this elmgan", "this elmgan, --quick"
"""Of a folder counted by two versions in turns; `benchmarks/earlier/measure.py` writes these rows."""

BATCH = 4
BATCHED = f"network alone, {BATCH} images at a time on all cores"
COMPILED, CACHED = "nothing compiled yet", "network from the cache"
DISTINCT = 8
"""Images that are drawn; the folder repeats them."""


class ThroughputRow(Strict):
    """What was done, by what, and how long it took."""

    part: Literal["tile", "layer", "start", "folder", "large image"]
    name: str = Field(description="the network or, of a folder, what is done with each image")
    layer: str = Field("", description="of the network, where a row is of one; or what all of them take beside")
    engine: str
    amount: float = Field(gt=0, description="of a call: tiles, images, or pixels of a large image")
    multiply_adds: int | None = Field(None, description="of a call; null where not known")
    memory: int | None = Field(None, description="bytes of a process that does this alone, at its peak; null: not told")
    times: Times

    @property
    def per_second(self) -> float:
        """The median's."""
        return self.amount / self.times.spread.median


class ThroughputMeasured(Measured):
    """The result of the benchmark."""

    benchmark: Literal["throughput"] = "throughput"
    model: str = Field(description="that counts all but the tiles")
    side: int = Field(description="rows and columns of a tile")
    images: int = Field(description="in the folder")
    rows: tuple[ThroughputRow, ...]

    def found(self, part: str, name: str | None = None, engine: str | None = None) -> list[ThroughputRow]:
        """Find rows; None stands for any."""
        return [
            row for row in self.rows if row.part == part and name in (None, row.name) and engine in (None, row.engine)
        ]


def measure_throughput(
    engines: Mapping[str, EngineSetting],
    conditions: Conditions,
    *,
    model: str = "nuclei",
    side: int = 256,
    images: int = 200,
    large: int = 8192,
    watch: Callable[[int], None] = lambda total: None,
) -> ThroughputMeasured:
    """Measure tiles, a first image, a folder and a large image, each part by itself and what it compares in turns.

    Args:
        engines: For the tiles. All else is counted by what ``auto`` takes.
        conditions: How they are run; all but the tiles in at most five rounds.
        model: A bundled model, for all but the tiles.
        side: Of a tile.
        images: In the folder.
        large: Rows and columns of the large image; another has a quarter of them.
        watch: Called with the number of steps in all whenever one is done.
    """
    torch.set_num_threads(conditions.threads)
    few = conditions.model_copy(update={"rounds": min(conditions.rounds, 5), "block": 0})
    total = conditions.rounds + 3 * few.rounds

    def advance() -> None:
        watch(total)

    rows = _tiles(engines, conditions, side=side, watch=advance)
    rows += _layers(engines, conditions, side=side)
    rows += _start(few, model=model, watch=advance)
    rows += _folder(few, model=model, images=images, watch=advance)
    rows += _large(few, model=model, sides=(max(large // 4, 64), large), watch=advance)
    return ThroughputMeasured(conditions=conditions, model=model, side=side, images=images, rows=tuple(rows))


def _tiles(
    engines: Mapping[str, EngineSetting], conditions: Conditions, *, side: int, watch: Callable[[], None]
) -> list[ThroughputRow]:
    """Time networks on a tile, and a product of matrices for what the processor can do."""
    tile = np.random.default_rng(0).standard_normal((1, 1, side, side), dtype=np.float32)
    builds = networks(side, [PAPER, U_NET])
    multiply_adds = {name: size_of(build, tile.shape)[1] for name, build in builds.items()}
    runs: dict[tuple[str, str], Run] = {}
    with TemporaryDirectory() as folder:
        graphs = {name: Path(folder) / f"{k}.onnx" for k, name in enumerate([*shipped(), *builds, PRODUCT])}
        eight = {}
        for name in shipped():
            bundle = read_bundle(find_bundle(name))
            graphs[name].write_bytes(bundle.onnx)
            if bundle.int8 is not None:
                eight[name] = Path(folder) / f"{name}-int8.onnx"
                eight[name].write_bytes(bundle.int8)
            multiply_adds[name] = size_of(partial(Generator, bundle.card.architecture), tile.shape)[1]
        for name, build in builds.items():
            graphs[name].write_bytes(export(build(), torch.from_numpy(tile.repeat(2, 0)), free={0: Dim("n")}))
        factor, multiply_adds[PRODUCT] = _product(graphs[PRODUCT], 8 * side)
        for label, engine in engines.items():
            if engine.library == "torch":
                runs[U_NET, label] = run_torch(engine, builds[U_NET](), tile)
                continue
            for name, graph in (eight if engine.precision == "int8" else graphs).items():
                seen = factor if name == PRODUCT else tile
                runs[name, label] = run_onnx(engine, graph, seen, threads=conditions.threads)
        times = take_turns(runs, conditions, watch=watch)
    return [
        ThroughputRow(
            part="tile",
            name=name,
            engine=engine,
            amount=1,
            multiply_adds=multiply_adds[name],
            times=times[name, engine],
        )
        for name, engine in runs
    ]


def _layers(engines: Mapping[str, EngineSetting], conditions: Conditions, *, side: int) -> list[ThroughputRow]:
    """Time the layers of the bundled networks in OpenVINO, in bf16 if that was asked for."""
    chosen = {engine.precision: engine for engine in engines.values() if engine.library == "openvino"}
    chosen.pop("int8", None)  # its layers have other names
    if not chosen:
        return []
    engine = chosen.get("bf16") or chosen["fp32"]
    rows = []
    for name in shipped():
        bundle = read_bundle(find_bundle(name))
        multiply_adds = layer_multiply_adds(partial(Generator, bundle.card.architecture), (1, 1, side, side))
        rows += [
            ThroughputRow(
                part="layer",
                name=name,
                layer=layer,
                engine=str(engine),
                amount=1,
                multiply_adds=multiply_adds.get(layer),
                times=times,
            )
            for layer, times in layer_times(bundle.onnx, engine, (1, 1, side, side), conditions).items()
        ]
    return rows


def _product(path: Path, side: int) -> tuple[NDArray[np.float32], int]:
    """Write a graph that multiplies a square matrix by a constant one; give the matrix, and the multiply-adds."""
    rng = np.random.default_rng(0)
    constant = numpy_helper.from_array(rng.standard_normal((side, side), dtype=np.float32), "constant")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, side]) for name in ("image", "product")]
    node = helper.make_node("MatMul", ["image", "constant"], ["product"])
    graph = helper.make_graph([node], "product", ends[:1], ends[1:], [constant])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return rng.standard_normal((side, side), dtype=np.float32), side**3


def _start(conditions: Conditions, *, model: str, watch: Callable[[], None]) -> list[ThroughputRow]:
    """Count one image on the disk with the command, from the start of its process to its end."""
    seconds: dict[str, list[float]] = {COMPILED: [], CACHED: []}
    with TemporaryDirectory() as place:
        image = Path(place) / "image.tif"
        tifffile.imwrite(image, field(0))
        command = [sys.executable, "-m", "elmgan", "count", str(image), "--model", model, "--quick", "--quiet", "-o"]
        for k in range(conditions.rounds):
            environment = os.environ | {"XDG_CACHE_HOME": str(Path(place) / f"cache-{k}")}
            for name, taken in seconds.items():
                begun = perf_counter()
                subprocess.run([*command, str(Path(place) / f"{name} {k}")], env=environment, check=True)
                taken.append(float(f"{perf_counter() - begun:.4g}"))
            watch()
    runtime = open_engine(read_bundle(find_bundle(model))).runtime
    return [
        ThroughputRow(
            part="start",
            name=name,
            engine=f"{runtime.name} {runtime.precision}",
            amount=1,
            times=Times(calls=1, seconds=tuple(taken)),
        )
        for name, taken in seconds.items()
    ]


def _folder(conditions: Conditions, *, model: str, images: int, watch: Callable[[], None]) -> list[ThroughputRow]:
    """Count a folder of images on the disk, beside what the network alone takes for as many of them."""
    with TemporaryDirectory() as place:
        source, out = Path(place) / "images", Path(place) / "counted"
        source.mkdir()
        drawn = [field(k) for k in range(min(DISTINCT, images))]
        for k in range(images):
            tifffile.imwrite(source / f"{k:05}.tif", drawn[k % len(drawn)])
        bundle = read_bundle(find_bundle(model))
        network = open_engine(bundle, parallel=True)
        counter = Model(bundle, network)
        multiple = counter.card.architecture.multiple
        normalised = counter.card.normalisation(to_grey(drawn[0]))
        padded = np.pad(normalised, [(0, -length % multiple) for length in normalised.shape])[None, None]

        def network_alone() -> None:
            with ThreadPoolExecutor(cores() + 1) as pool:
                for _ in pool.map(network.predict, [padded] * images):
                    pass

        in_batches = open_engine(bundle)

        def network_in_batches() -> None:
            for k in range(0, images, BATCH):
                in_batches.predict(padded.repeat(min(BATCH, images - k), 0))

        def without_separation() -> None:
            out.mkdir(exist_ok=True)
            futures = in_order(
                lambda path: (path, counter.count(read_image(path), quick=True).mask),
                sorted(source.iterdir()),
                workers=cores() + 1,
                size=lambda path: math.prod(FIELD),
                most=2**23,
            )
            for path, mask in (future.result() for _, future in futures):
                assert mask is not None
                write_mask(out / path.name, mask)

        runs: dict[str, Run] = {
            BARE: network_alone,
            BATCHED: network_in_batches,
            UNSEPARATED: without_separation,
            SEPARATED: lambda: count_images([source], out / "whole", counter, quick=True),
            TWICE: lambda: count_images([source], out / "twice", counter),
        }
        times = take_turns(runs, conditions, watch=watch)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            memory = process.submit(count_folder, model, source, out / "again").result().memory
    return [
        ThroughputRow(
            part="folder",
            name=name,
            engine=f"{network.runtime.name} {network.runtime.precision}",
            amount=images,
            memory=memory if name == SEPARATED else None,
            times=times[name],
        )
        for name in runs
    ]


def _large(
    conditions: Conditions, *, model: str, sides: tuple[int, int], watch: Callable[[], None]
) -> list[ThroughputRow]:
    """Count large images and separate their cells, each time in a process of its own."""
    seconds: dict[int, list[float]] = {side: [] for side in sides}
    memory: dict[int, int | None] = {}
    for _ in range(conditions.rounds):
        for side in sides:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                taken, peak = process.submit(count_large, model, side).result()
            seconds[side].append(float(f"{taken:.4g}"))
            memory[side] = peak if peak is None else max(peak, memory.get(side) or 0)
        watch()
    runtime = open_engine(read_bundle(find_bundle(model))).runtime
    return [
        ThroughputRow(
            part="large image",
            name=f"{side} × {side}",
            engine=f"{runtime.name} {runtime.precision}",
            amount=side**2,
            memory=memory[side],
            times=Times(calls=1, seconds=tuple(seconds[side])),
        )
        for side in sides
    ]
