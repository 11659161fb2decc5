import pytest
import torch
from torch import nn

from architectures import words
from elmgan.nn.discriminator import Discriminator, DiscriminatorNorm
from elmgan.training.config import DiscriminatorOptions


def judge(network: Discriminator, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(2, 1, rows, columns, generator=random)
    mask = torch.rand(2, 1, rows, columns, generator=random)
    matrix, count_map = network(image, mask)
    return matrix, count_map


@pytest.mark.parametrize("norm", words(DiscriminatorOptions, "norm"))
@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (64, 160)])
def test_matrix_and_count_map_have_a_value_per_16_pixels(norm: DiscriminatorNorm, rows: int, columns: int) -> None:
    matrix, count_map = judge(Discriminator(4, norm), rows, columns)
    assert matrix.shape == count_map.shape == (2, 1, rows // 16, columns // 16)
    assert count_map.min() >= 0


def test_it_is_built_as_published() -> None:
    with torch.device("meta"):
        network = Discriminator()
    convolutions = [layer for layer in network.blocks.modules() if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(2, 64), (64, 128), (128, 256), (256, 512)]
    assert all((c.kernel_size, c.stride, c.padding) == ((4, 4), (2, 2), (1, 1)) for c in convolutions)
    assert [layer.num_features for layer in network.modules() if isinstance(layer, nn.InstanceNorm2d)] == [
        128,
        256,
        512,
    ]
    assert [str(layer) for layer in network.matrix.children()] == [
        "ZeroPad2d((1, 0, 1, 0))",
        "Conv2d(512, 1, kernel_size=(4, 4), stride=(1, 1), padding=(1, 1))",
    ]


def test_the_matrix_looks_two_patches_up_and_left_and_one_down_and_right() -> None:
    network = Discriminator(4, "none")
    features = torch.zeros(1, 32, 8, 8, requires_grad=True)
    (influence,) = torch.autograd.grad(network.matrix(features)[0, 0, 4, 4], features)
    seen = influence.abs().sum((0, 1)).nonzero()
    assert (seen.amin(0).tolist(), seen.amax(0).tolist()) == ([2, 2], [5, 5])


def test_image_and_mask_are_both_looked_at() -> None:
    image, mask = (torch.rand(1, 1, 64, 64).requires_grad_() for _ in range(2))
    for output in Discriminator(4)(image, mask):
        for influence in torch.autograd.grad(output.sum(), (image, mask), retain_graph=True):
            assert influence.abs().max() > 0


def test_without_a_norm_it_sees_density() -> None:
    """The same patch, once alone and once in a crowd: instance norm makes it look different, no norm does not."""
    patch = torch.zeros(1, 1, 64, 192)
    patch[..., 24:40, 24:40] = 1
    crowd = patch.clone()
    crowd[..., 128:] = 1
    expected: dict[DiscriminatorNorm, bool] = {"none": True, "instance": False}
    for norm, same in expected.items():
        network = Discriminator(4, norm)
        alone, crowded = (network(mask, mask).count_map[..., :2] for mask in (patch, crowd))
        assert torch.allclose(alone, crowded, rtol=1e-5) is same
