"""FBU, fold beyond-nearest upsampling: a 1x1 convolution whose channels are folded into space."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def fold(x: Float[Tensor, "n blocks_channels row column"], factor: int) -> Float[Tensor, "n channels rows columns"]:
    """Fold channels into space: channel (i, j, c) of pixel (y, x) becomes channel c of pixel (y*r+i, x*r+j).

    The block index (i, j) is the slowest of the channel axis: depth-to-space in ONNX's mode DCR. Memory stays in
    channels-last order, where the fold moves whole runs of C values.

    Args:
        x: Any number of images with ``factor**2 * C`` channels.
        factor: The r above.

    Returns:
        C channels, with ``factor`` times as many rows and columns.

    Raises:
        RuntimeError: When the channels are not a multiple of ``factor**2``.

    >>> import torch
    >>> fold(torch.arange(4.0).reshape(1, 4, 1, 1), 2)
    tensor([[[[0., 1.],
              [2., 3.]]]])
    """
    n, channels, rows, columns = x.shape
    if torch.onnx.is_in_onnx_export():  # as the one operator that it is, rather than as its parts
        shape = (n, channels // factor**2, rows * factor, columns * factor)
        return torch.onnx.ops.symbolic(
            "DepthToSpace", [x], {"blocksize": factor, "mode": "DCR"}, dtype=x.dtype, shape=shape
        )
    blocks = x.permute(0, 2, 3, 1).reshape(n, rows, columns, factor, factor, channels // factor**2)
    folded = blocks.permute(0, 1, 3, 2, 4, 5).reshape(n, rows * factor, columns * factor, channels // factor**2)
    return folded.permute(0, 3, 1, 2)


def unfold(x: Float[Tensor, "n channels rows columns"], factor: int) -> Float[Tensor, "n blocks_channels row column"]:
    """Undo :func:`fold`: channel c of pixel (y*r+i, x*r+j) becomes channel (i, j, c) of pixel (y, x).

    Args:
        x: Any number of images whose rows and columns are multiples of ``factor``.
        factor: The r above.

    Returns:
        ``factor**2`` times as many channels.

    Raises:
        RuntimeError: When rows or columns are not a multiple of ``factor``.
    """
    n, channels, rows, columns = x.shape
    blocks = x.permute(0, 2, 3, 1).reshape(n, rows // factor, factor, columns // factor, factor, channels)
    flat = blocks.permute(0, 1, 3, 2, 4, 5).reshape(n, rows // factor, columns // factor, channels * factor**2)
    return flat.permute(0, 3, 1, 2)


class FBU(nn.Module):
    """Upsampling by a bias-free 1x1 convolution to ``out_channels * factor**2`` channels, then a fold.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        factor: Rows and columns grow by it.
    """

    def __init__(self, in_channels: int, out_channels: int, factor: int = 2) -> None:
        super().__init__()
        self.factor = factor
        self.project = nn.Conv2d(in_channels, out_channels * factor**2, kernel_size=1, bias=False)

    def forward(self, x: Float[Tensor, "n _ row column"]) -> Float[Tensor, "n channels rows columns"]:
        """Upsample any number of images."""
        return fold(self.project(x), self.factor)
