"""How large a network is, and how much it computes: parameters and multiply-adds."""

from collections.abc import Callable

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode


def size_of(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> tuple[int, int]:
    """Give the number of parameters, and of multiply-adds for images of a shape.

    Multiply-adds are those of convolutions and matrix products, half the operations that PyTorch counts; norms,
    activations, interpolation and folding count nothing. The network is only imagined, and takes no memory.

    >>> size_of(lambda: nn.Conv2d(2, 3, 1, bias=False), (1, 2, 10, 10))
    (6, 600)
    """
    with FakeTensorMode(), FlopCounterMode(display=False) as counter, torch.no_grad():
        network = build().eval()
        network(torch.zeros(shape))
        return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2
