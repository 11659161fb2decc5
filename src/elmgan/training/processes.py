"""Several processes that train one model, as torchrun starts them; a single process is the case of one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from elmgan.launch import launch

Thing = TypeVar("Thing")


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the other processes for as long as the context lasts, where torchrun started this one among several."""
    if launch().processes == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what is told to all travels by way of the current GPU
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def share() -> tuple[int, int]:
    """Give this process's number, from 0, and how many there are."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def summed(values: list[float], device: torch.device) -> list[float]:
    """Add up each value over the processes."""
    if not distributed.is_initialized():
        return values
    added = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(added)
    return added.tolist()


def told(thing: Thing | None) -> Thing:
    """Give what the first process has, to all."""
    things = [thing]
    if distributed.is_initialized():
        distributed.broadcast_object_list(things)
    return things[0]  # type: ignore[return-value]


def parallel(network: nn.Module) -> nn.Module:
    """Wrap a network so that its gradients are averaged over the processes."""
    # Buffers are averaged, not taken from the first process: see average_buffers.
    return DistributedDataParallel(network, broadcast_buffers=False) if distributed.is_initialized() else network


def average_buffers(network: nn.Module) -> None:
    """Let the processes agree on a network's running statistics: on the mean of theirs."""
    buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    if distributed.is_initialized() and buffers:
        together = torch.cat([buffer.flatten() for buffer in buffers])  # one message, not one for each
        distributed.all_reduce(together)
        together /= distributed.get_world_size()
        for buffer, mean in zip(buffers, torch.split(together, [buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(mean.view_as(buffer))


def unsynchronised(network: nn.Module, more: bool) -> AbstractContextManager[None]:
    """Keep a parallel network's gradients to this process for now, when ``more`` of the same step follow."""
    return network.no_sync() if more and isinstance(network, DistributedDataParallel) else nullcontext()
