"""The generators that LFMMG is compared with: as large as is known of them, and what they make of an image."""

import torch
from torch import nn

from elmgan.nn.baselines import FullyConnected, Pix2Pix


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_pix2pix_has_as_many_parameters_as_its_authors_count() -> None:
    with torch.device("meta"):
        assert parameters(Pix2Pix(channels=3)) == 54_413_955  # 54.414 M in the authors' log
        assert 54.40e6 < parameters(Pix2Pix()) < 54.41e6


def test_fully_connected_generators_have_as_many_parameters_as_their_layers() -> None:
    pixels = 256 * 256
    linear = [(pixels, 128), (128, 256), (256, 512), (512, 1024), (1024, pixels)]
    by_hand = sum(inputs * outputs + outputs for inputs, outputs in linear) + 2 * (256 + 512 + 1024)
    with torch.device("meta"):
        assert parameters(FullyConnected((256, 256))) == by_hand
        assert parameters(FullyConnected((256, 256), noise=100)) == by_hand + 100 * 128


def test_a_pixel_that_pix2pix_makes_depends_on_the_far_corner() -> None:
    torch.manual_seed(0)
    network = Pix2Pix(width=4).eval()
    image = torch.randn(1, 1, 256, 512, requires_grad=True)
    made = network(image)
    assert made.shape == image.shape
    assert made.abs().max() <= 1
    (gradient,) = torch.autograd.grad(made[0, 0, 255, 255], image)
    assert gradient[0, 0, 0, 0] != 0  # through the deepest level, where one value is left of 256 pixels


@torch.no_grad()
def test_the_conditional_generator_listens_to_its_noise() -> None:
    torch.manual_seed(0)
    network = FullyConnected((8, 12), noise=3).eval()
    image = torch.randn(2, 1, 8, 12)
    assert network(image).shape == image.shape
    torch.testing.assert_close(network(image), network(image, torch.zeros(2, 3)))
    assert not torch.equal(network(image), network(image, torch.ones(2, 3)))
