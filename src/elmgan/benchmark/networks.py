"""LFMMG against other networks, on all engines: `elmgan benchmark model`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.export import Dim

from elmgan.benchmark.engines import EngineSetting, Run, run_onnx, run_torch
from elmgan.benchmark.memory import peak_memory
from elmgan.benchmark.sizes import size_of
from elmgan.benchmark.timing import Conditions, Measured, Times, take_turns
from elmgan.errors import UsageError
from elmgan.nn.baselines import FullyConnected, Pix2Pix
from elmgan.nn.generator import PRESETS, Generator
from elmgan.nn.unet import UNet
from elmgan.strict import Strict
from elmgan.training.export import export

PAPER_NETWORK, U_NET, PIX2PIX = "LFMMG paper", "U-Net", "pix2pix"
GANS = ("fully connected GAN", "conditional GAN", PIX2PIX)
NOISE = 100
"""Random values beside the image in the conditional GAN."""

HALVINGS = 256
"""Pixels that pix2pix makes one of."""


class NetworkRow(Strict):
    """A network on an engine, with a batch of some size.

    Other programs' networks, measured in environments of their own, are rows of the same kind in files of their own.
    """

    network: str
    engine: str
    batch: int = Field(ge=1)
    parameters: int | None = Field(description="null where not known")
    multiply_adds: int | None = Field(description="of one image; null where not known")
    memory: int | None = Field(description="bytes of a process that runs this alone, at its peak; null where not known")
    times: Times = Field(description="of a batch")
    note: str = Field("", description="what else a reader has to know, such as whose setting it is")

    @property
    def images_per_second(self) -> float:
        """The median's."""
        return self.batch / self.times.spread.median


class ModelMeasured(Measured):
    """The result of the benchmark."""

    benchmark: Literal["model"] = "model"
    side: int = Field(description="rows and columns of an image")
    rows: tuple[NetworkRow, ...]

    @property
    def engines(self) -> list[str]:
        """Engines, by name."""
        return list(dict.fromkeys(row.engine for row in self.rows))

    @property
    def names(self) -> list[str]:
        """Networks, by name."""
        return list(dict.fromkeys(row.network for row in self.rows))

    @property
    def batches(self) -> list[int]:
        """Sizes of batches."""
        return sorted({row.batch for row in self.rows})

    def row(self, network: str, engine: str, batch: int) -> NetworkRow | None:
        """Find a row; None if there is none."""
        found = (row for row in self.rows if (row.network, row.engine, row.batch) == (network, engine, batch))
        return next(found, None)


def networks(side: int, names: Sequence[str] | None = None) -> dict[str, Callable[[], nn.Module]]:
    """Give what is compared, for square images of a side: our presets first; weights are random.

    Args:
        side: Rows and columns.
        names: Those that are taken; None for all.

    Raises:
        UsageError: A name is not known, or a network does not take images of this side.
    """
    if side % PRESETS["paper"].multiple:
        raise UsageError(f"--side is {side}; expected a multiple of {PRESETS['paper'].multiple}")
    paper = PRESETS["paper"].model_copy(update={"size": (side, side)})
    ways = ("nearest", "bilinear", "transposed")
    builds: dict[str, Callable[[], nn.Module]] = {
        **{f"LFMMG {name}": partial(Generator, preset) for name, preset in (PRESETS | {"paper": paper}).items()},
        **{f"{PAPER_NETWORK}, {way}": partial(Generator, paper.model_copy(update={"upsampling": way})) for way in ways},
        U_NET: UNet,
        PIX2PIX: Pix2Pix,
        "fully connected GAN": partial(FullyConnected, (side, side)),
        "conditional GAN": partial(FullyConnected, (side, side), NOISE),
    }
    for name in names or ():
        if name not in builds:
            raise UsageError(f"network {name!r} is not known; there are: {'; '.join(builds)}")
    chosen = {name: builds[name] for name in names or builds}
    if PIX2PIX in chosen and side % HALVINGS:
        raise UsageError(f"--side is {side}; {PIX2PIX} takes multiples of {HALVINGS}: choose others with --network")
    return chosen


def measure_networks(
    builds: Mapping[str, Callable[[], nn.Module]],
    engines: Mapping[str, EngineSetting],
    conditions: Conditions,
    *,
    side: int,
    batches: Sequence[int] = (1, 8),
    watch: Callable[[int], None] = lambda total: None,
) -> ModelMeasured:
    """Time networks on engines: the networks and batches in turns, one engine after the other.

    Args:
        builds: Name -> what makes the network, with random weights; it can be pickled.
        engines: To run them.
        conditions: How they are run.
        side: Of the images, square and with one channel.
        batches: Sizes of batches.
        watch: Called with the number of steps in all whenever one is done.
    """
    threads = conditions.threads
    torch.set_num_threads(threads)
    total = len(engines) * (conditions.rounds + len(builds) * len(batches))
    images = np.random.default_rng(0).standard_normal((max(batches), 1, side, side), dtype=np.float32)
    sizes = {name: size_of(build, (1, 1, side, side)) for name, build in builds.items()}
    rows = []
    with TemporaryDirectory() as folder:
        graphs = {}
        if any(engine.library != "torch" for engine in engines.values()):
            for k, (name, build) in enumerate(builds.items()):
                graphs[name] = Path(folder) / f"{k}.onnx"
                graphs[name].write_bytes(export(build(), torch.from_numpy(images[:1].repeat(2, 0)), free={0: Dim("n")}))
        for engine_name, engine in engines.items():
            runs: dict[tuple[str, int], Run] = {}
            memory = {}
            for name, build in builds.items():
                network = build() if engine.library == "torch" else None
                for batch in batches:
                    memory[name, batch] = peak_memory(
                        engine, build if network is not None else graphs[name], images[:batch].shape, threads=threads
                    )
                    watch(total)
                    runs[name, batch] = (
                        run_onnx(engine, graphs[name], images[:batch], threads=threads)
                        if network is None
                        else run_torch(engine, network, images[:batch])
                    )
            times = take_turns(runs, conditions, watch=lambda: watch(total))
            for (name, batch), taken in times.items():
                parameters, multiply_adds = sizes[name]
                rows.append(
                    NetworkRow(
                        network=name,
                        engine=engine_name,
                        batch=batch,
                        parameters=parameters,
                        multiply_adds=multiply_adds,
                        memory=memory[name, batch],
                        times=taken,
                    )
                )
    return ModelMeasured(conditions=conditions, side=side, rows=tuple(rows))
