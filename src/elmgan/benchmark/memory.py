"""Peak memory of a process that does nothing but load a network and run it."""

import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from elmgan.benchmark.engines import EngineSetting, run_onnx, run_torch

if TYPE_CHECKING:
    from torch import nn


def peak_memory(
    engine: EngineSetting, network: "Path | Callable[[], nn.Module]", shape: tuple[int, ...], *, threads: int
) -> int | None:
    """Run a network in a process of its own, as one that counts would, without PyTorch where the engine is another.

    Args:
        engine: What runs it.
        network: An ONNX file or, for torch, what makes the network; it can be pickled.
        shape: Of the images.
        threads: To run it with.

    Returns:
        Bytes of the whole process at its peak; None where the system does not tell.
    """
    # Such a process imports the program it was started from again: one that imports PyTorch at its head spoils this.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_load_and_run, engine, network, shape, threads).result()


def _load_and_run(
    engine: EngineSetting, network: "Path | Callable[[], nn.Module]", shape: tuple[int, ...], threads: int
) -> int | None:
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    if isinstance(network, Path):
        run = run_onnx(engine, network, images, threads=threads)
    else:
        import torch

        torch.set_num_threads(threads)
        run = run_torch(engine, network(), images)
    run()
    run()  # a first run may not keep all that later ones do
    return peak_so_far()


def peak_so_far() -> int | None:
    """Give the peak memory of this process in bytes; None where the system does not tell."""
    # Not ru_maxrss: there a process begins with the peak of the one that started it.
    status = Path("/proc/self/status")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE) if status.exists() else None
    return 1024 * int(found[1]) if found else None
