import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from elmgan.nn.fbu import FBU, fold, unfold

small = st.integers(1, 4)


def numbered(*shape: int) -> torch.Tensor:
    """An array of this shape in which every value is another."""
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


@given(n=small, channels=small, rows=small, columns=small, factor=small)
def test_fold_is_depth_to_space_with_the_block_index_slowest(
    n: int, channels: int, rows: int, columns: int, factor: int
) -> None:
    x = numbered(n, channels * factor**2, rows, columns)
    folded = fold(x, factor)
    assert folded.shape == (n, channels, rows * factor, columns * factor)
    for i in range(factor):
        for j in range(factor):
            for c in range(channels):
                expected = x[:, (i * factor + j) * channels + c]
                assert torch.equal(folded[:, c, i::factor, j::factor], expected)


@given(n=small, channels=small, rows=small, columns=small, factor=small)
def test_unfold_undoes_fold(n: int, channels: int, rows: int, columns: int, factor: int) -> None:
    folded = numbered(n, channels, rows * factor, columns * factor)
    unfolded = unfold(folded, factor)
    assert unfolded.shape == (n, channels * factor**2, rows, columns)
    assert torch.equal(fold(unfolded, factor), folded)
    assert torch.equal(unfold(fold(unfolded, factor), factor), unfolded)


@pytest.mark.parametrize("factor", [2, 3])
def test_fbu_is_pixel_shuffle_up_to_a_permutation_of_the_convolutions_channels(factor: int) -> None:
    channels = 5
    fbu = FBU(3, channels, factor)
    x = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    # Pixel shuffle wants (c, i, j) where the fold has (i, j, c).
    order = numbered(factor, factor, channels).permute(2, 0, 1).flatten().long()
    shuffled = F.pixel_shuffle(F.conv2d(x, fbu.project.weight[order]), factor)
    torch.testing.assert_close(fbu(x), shuffled)


def test_fbu_has_a_1x1_convolution_without_bias_and_nothing_else() -> None:
    (parameter,) = FBU(8, 4, factor=2).parameters()
    assert parameter.shape == (16, 8, 1, 1)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RuntimeError):
        fold(torch.zeros(1, 6, 4, 4), 2)
    with pytest.raises(RuntimeError):
        unfold(torch.zeros(1, 1, 4, 5), 2)
