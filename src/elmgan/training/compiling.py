"""A function of a step that is compiled for the sizes that come often, and goes on as it is where that fails."""

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, Literal, ParamSpec, TypeVar

import torch

from elmgan.errors import one_line
from elmgan.launch import launch

OFTEN = 8
"""How often a size has come when it is compiled."""

MOST_SIZES = 3
"""Sizes that are compiled: each takes up to a minute, twice, and PyTorch gives up a function at its eighth time."""

P = ParamSpec("P")
R = TypeVar("R")


class Compiler(Generic[P, R]):
    """Calls a function, for some sizes compiled. Another size than these is never compiled.

    Args:
        function: What is called.
        wanted: Whether to compile, in a process that trains alone; auto is on a GPU.
        device: Where it runs.
        tell: Told in a line why it is not compiled, if it was to be.
    """

    def __init__(
        self,
        function: Callable[P, R],
        wanted: Literal["auto", "on", "off"],
        device: torch.device,
        tell: Callable[[str], None],
    ) -> None:
        self._function = function
        # A rehearsal of one of several processes would wait for the others.
        self._on = launch().processes == 1 and (wanted == "on" or (wanted == "auto" and device.type == "cuda"))
        if wanted == "on" and not self._on:
            tell("steps are not compiled where several processes train together")
        self._tell = tell
        self._met: Counter[Hashable] = Counter()
        self._sizes: set[Hashable] = set()
        self._compiled = function

    def __call__(self, size: Hashable, *args: P.args, **options: P.kwargs) -> R:
        """Call the function with arguments of a size."""
        return (self._compiled if size in self._sizes else self._function)(*args, **options)

    def due(self, size: Hashable) -> bool:
        """Say whether a size has just come often enough to be compiled."""
        if not self._on or len(self._sizes) == MOST_SIZES:
            return False
        self._met[size] += 1
        return self._met[size] == OFTEN

    def prepare(self, size: Hashable, rehearse: Callable[[], None]) -> None:
        """Compile the function for a size.

        Args:
            size: The size.
            rehearse: Calls it with that size, in all ways in which it will be, gradients included. Compilers fail in
                many ways; where this does, nothing is compiled from then on.
        """
        try:
            if self._compiled is self._function:  # not before: it loads a good part of PyTorch
                self._compiled = torch.compile(self._function, dynamic=False)
            self._sizes.add(size)
            rehearse()
        except Exception as error:
            self._on = False
            self._sizes.clear()
            said = one_line(str(error).strip().partition("\n")[0]) or type(error).__name__
            self._tell(f"steps are not compiled, and as fast as before: {type(error).__name__}: {said}")
