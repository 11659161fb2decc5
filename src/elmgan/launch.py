"""How this process was started: alone, or by torchrun as one of several that do one job together."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

TORCHRUN = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "LOCAL_RANK")
"""Variables that torchrun sets, all of them. Schedulers of clusters set some of these for purposes of their own."""


@dataclass(frozen=True)
class Launch:
    """The place of a process among those that were started together."""

    rank: int = 0
    """Its number, from 0."""
    local_rank: int = 0
    """Its number among those on this machine, from 0."""
    processes: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the only one, or the one of several that writes and speaks for all."""
        return self.rank == 0


def launch(environment: Mapping[str, str] = os.environ) -> Launch:
    """Say how this process was started, by the variables of its environment.

    >>> launch({"RANK": "1", "WORLD_SIZE": "2"})
    Launch(rank=0, local_rank=0, processes=1)
    >>> numbers = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}
    >>> launch({"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "here", "MASTER_PORT": "29500"} | numbers)
    Launch(rank=3, local_rank=1, processes=4)
    """
    if not all(environment.get(name) for name in TORCHRUN):
        return Launch()
    return Launch(*(int(environment[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")))
