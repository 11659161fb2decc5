"""The generator and the U-Net: sizes, shapes, and what an output pixel may depend on."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from architectures import architectures, fields_of_words, words
from elmgan.counting.tiling import Tiling, assembled
from elmgan.errors import UsageError
from elmgan.models import Architecture
from elmgan.nn.fbu import FBU
from elmgan.nn.generator import (
    PRESETS,
    Generator,
    MapCountHead,
    PooledCountHead,
    normalisation,
    pooling_matrix,
    upsample,
)
from elmgan.nn.unet import UNet

Layer = TypeVar("Layer", bound=nn.Module)
UPSAMPLINGS = words(Architecture, "upsampling")


def tiny(**changes: object) -> Architecture:
    """Our presets' architecture, with few channels."""
    return Architecture.model_validate({"width": 4, **changes})


def paper(width: int = 4, size: tuple[int, int] = (128, 192)) -> Architecture:
    """The paper's architecture, with few channels."""
    return PRESETS["paper"].model_copy(update={"width": width, "size": size})


def layers(network: nn.Module, kind: type[Layer]) -> list[Layer]:
    return [layer for layer in network.modules() if isinstance(layer, kind)]


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def trained(architecture: Architecture) -> Generator:
    """A generator at inference that is not what it was at the beginning: statistics, biases, outputs that vary."""
    random = torch.manual_seed(1)
    generator = Generator(architecture)
    for name, values in generator.state_dict().items():
        if "running_var" in name:
            values.copy_(0.5 + torch.rand(values.shape, generator=random))
        elif "running_mean" in name or name.endswith("bias"):
            values.copy_(0.5 * torch.randn(values.shape, generator=random))
        elif name in ("mask_head.out.weight", "count_head.out.weight"):
            values.mul_(20)
    return generator.eval()


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def test_the_papers_network_has_15_7_million_parameters_and_less_than_half_of_a_u_net() -> None:
    with torch.device("meta"):
        ours, unet = Generator(PRESETS["paper"]), UNet()
    assert 15.65e6 < parameters(ours) < 15.75e6
    assert 34.4e6 < parameters(unet) < 34.6e6
    assert parameters(ours) < 0.5 * parameters(unet)


def test_the_papers_network_is_built_as_published() -> None:
    with torch.device("meta"):
        network = Generator(PRESETS["paper"])
    convolutions = [layers(block, nn.Conv2d)[0] for block in network.encoder]
    assert [c.out_channels for c in convolutions] == [64, 128, 256, 512, 512, 512]
    assert [c.bias is not None for c in convolutions] == [
        True,
        False,
        False,
        False,
        False,
        True,
    ]  # where no norm follows
    assert all((c.kernel_size, c.stride, c.padding) == ((4, 4), (2, 2), (1, 1)) for c in convolutions)
    assert [len(layers(block, nn.InstanceNorm2d)) for block in network.encoder] == [0, 1, 1, 1, 1, 0]
    assert [len(layers(block, nn.Dropout)) for block in network.encoder] == [0, 0, 0, 0, 1, 1]
    convolutions = [layers(block, FBU)[0].project for block in network.decoder]
    assert [c.out_channels // 4 for c in convolutions] == [512, 512, 256, 128, 64]
    assert [len(layers(block, nn.InstanceNorm2d)) for block in network.decoder] == [1, 1, 1, 1, 1]
    assert [len(layers(block, nn.Dropout)) for block in network.decoder] == [1, 1, 0, 0, 0]
    assert [str(layer) for layer in network.mask_head.children()][1:] == [
        "ZeroPad2d((1, 0, 1, 0))",
        "Conv2d(64, 1, kernel_size=(4, 4), stride=(1, 1), padding=(1, 1))",
    ]
    assert {layer.p for layer in layers(network, nn.Dropout)} == {0.5}
    assert {layer.negative_slope for layer in layers(network, nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize("shape", [(64, 64), (64, 192), (320, 128)])
def test_our_networks_take_any_multiple_of_64(shape: tuple[int, int]) -> None:
    prediction = trained(tiny())(noise(2, 1, *shape))
    assert prediction.mask_logits.shape == (2, 1, *shape)
    assert prediction.count_map.shape == (2, 1, shape[0] // 4, shape[1] // 4)


@pytest.mark.parametrize("depth", [3, 4, 5, 6, 7])
def test_the_encoder_halves_and_the_decoder_doubles_depth_times(depth: int) -> None:
    network = Generator(tiny(depth=depth, width=2)).eval()
    sides: list[int] = []
    for block in (*network.encoder, *network.decoder):
        block.register_forward_hook(lambda module, given, made: sides.append(made.shape[-1]))
    side = 2 * 2**depth
    assert network(noise(1, 1, side, side)).count_map.shape[-1] == side // 4
    halved = [side // 2**k for k in range(1, depth + 1)]
    assert sides == halved + halved[-2::-1]


def test_the_papers_network_takes_its_size_and_gives_one_number() -> None:
    prediction = Generator(paper())(noise(2, 1, 128, 192))
    assert prediction.mask_logits.shape == (2, 1, 128, 192)
    assert prediction.count_map.shape == (2, 1, 1, 1)


@pytest.mark.parametrize("size", [None, (100, 128), (0, 64)])
def test_the_pooled_head_does_not_guess_its_size(size: tuple[int, int] | None) -> None:
    with pytest.raises(UsageError, match=r"architecture\.size is .*multiple of 64"):
        Generator(paper().model_copy(update={"size": size}))


@pytest.mark.parametrize(("size", "bins"), [(4, 8), (8, 8), (11, 8), (12, 8), (16, 8), (3, 5)])
def test_the_pooling_matrix_is_adaptive_average_pooling(size: int, bins: int) -> None:
    x = noise(1, 3, size)
    torch.testing.assert_close(x @ pooling_matrix(size, bins).T, F.adaptive_avg_pool1d(x, bins))


def test_the_pooled_head_pools_as_pytorch_does() -> None:
    head = PooledCountHead(32, (5, 7))
    deepest = noise(1, 32, 5, 7)
    torch.testing.assert_close(head(deepest), head.out(F.adaptive_avg_pool2d(deepest, 8)))


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_the_count_map_is_never_negative(scale: float) -> None:
    count_map = trained(tiny())(scale * noise(1, 1, 128, 128)).count_map
    assert count_map.min() >= 0
    assert torch.isfinite(count_map).all()


def test_the_papers_mask_is_the_tanh_of_its_last_convolution() -> None:
    network = Generator(paper()).eval()
    last: list[Tensor] = []
    network.get_submodule("mask_head.out").register_forward_hook(lambda module, given, made: last.append(made))
    probability = torch.sigmoid(network(noise(1, 1, 128, 192)).mask_logits)
    torch.testing.assert_close(probability, (torch.tanh(last[0]) + 1) / 2)


def predict(network: Generator, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with torch.no_grad():
        prediction = network(torch.from_numpy(np.ascontiguousarray(image))[None, None])
    return torch.sigmoid(prediction.mask_logits)[0, 0].numpy(), prediction.count_map[0, 0].numpy()


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_tiles_with_the_halo_give_what_the_whole_image_gives(upsampling: str) -> None:
    architecture = tiny(depth=4, upsampling=upsampling)
    assert architecture.tiles
    network = trained(architecture)
    image = noise(8 * 16, 13 * 16).numpy()
    probability, count_map = predict(network, image)
    tiling = Tiling(
        image.shape,
        tile=32,
        halo=architecture.halo,
        stride=architecture.stride,
        grid=architecture.multiple,
    )
    tops = range(0, len(image), tiling.height)
    bands = [tiling.band(lambda part: predict(network, part.of(image)), top) for top in tops]
    tiled_probability, tiled_count_map = assembled(bands, image.shape, architecture.stride)
    assert min(probability.std(), count_map.std()) > 10 * 1e-4
    np.testing.assert_allclose(tiled_probability, probability, atol=1e-4)
    np.testing.assert_allclose(tiled_count_map, count_map, atol=1e-4)


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize("mask_head", words(Architecture, "mask_head"))
def test_nothing_beyond_the_halo_decides_a_pixel(upsampling: str, mask_head: str) -> None:
    architecture = tiny(depth=3, upsampling=upsampling, mask_head=mask_head)
    network = trained(architecture)
    image = noise(1, 1, 16, 32 * architecture.multiple).requires_grad_()
    middle = image.shape[-1] // 2
    prediction = network(image)
    for place in range(middle, middle + architecture.multiple):
        for output, stride in ((prediction.mask_logits, 1), (prediction.count_map, architecture.stride)):
            (influence,) = torch.autograd.grad(output[0, 0, :, place // stride].sum(), image, retain_graph=True)
            columns = influence[0, 0].abs().sum(0).nonzero()
            assert (columns - place).abs().max() <= architecture.halo


def test_padding_does_not_reach_further_than_the_halo() -> None:
    """The image is padded to a multiple with 0, the background. More of it changes nothing beyond the halo.

    Nearer to the padding a background of 0 and the convolutions' own zero padding are not quite the same context.
    """
    architecture = tiny(depth=4)
    network = trained(architecture)
    image = np.pad(noise(90, 200).numpy(), ((0, 6), (0, 8)))
    probability, count_map = predict(network, image)
    more_probability, more_count_map = predict(network, np.pad(image, ((0, 0), (0, 5 * architecture.multiple))))
    safe = image.shape[1] - architecture.halo
    np.testing.assert_allclose(more_probability[:, :safe], probability[:, :safe], atol=1e-5)
    safe //= architecture.stride
    np.testing.assert_allclose(more_count_map[: count_map.shape[0], :safe], count_map[:, :safe], rtol=1e-4)


def test_only_networks_with_statistics_of_the_image_see_its_other_parts() -> None:
    """Why the paper's preset cannot tile: its norms carry a change in one corner to everywhere."""
    image = noise(1, 1, 128, 192)
    changed = image.clone()
    changed[..., -4:, -4:] += 5
    for architecture, reaches in ((paper(), True), (tiny(depth=4), False)):
        network = trained(architecture)
        difference = network(image).mask_logits[..., :32, :32] - network(changed).mask_logits[..., :32, :32]
        assert (difference.abs().max().item() > 1e-6) is reaches
        assert architecture.tiles is not reaches


@pytest.mark.parametrize("architecture", architectures().values(), ids=architectures())
def test_an_architecture_says_what_its_network_does(architecture: Architecture) -> None:
    network = trained(architecture)
    image = noise(1, 1, *(architecture.size or (32, 48)))
    prediction = network(image)
    rows, columns = image.shape[2:]
    stride = architecture.stride
    assert prediction.mask_logits.shape == image.shape
    assert prediction.count_map.shape[2:] == ((rows // stride, columns // stride) if architecture.maps else (1, 1))
    changed = image.clone()
    changed[..., -1, -1] += 100  # further from the other corner than any halo
    assert architecture.halo < columns
    difference = (network(changed).mask_logits - prediction.mask_logits)[..., 0, 0].abs().item()
    assert difference < 1e-6 or not architecture.tiles


UNKNOWN_WORDS = {
    "upsampling": lambda: upsample("cubic", 4, 4),  # type: ignore[arg-type]
    "norm": lambda: normalisation("layer", 4),  # type: ignore[arg-type]
    "halo": lambda: tiny().model_copy(update={"upsampling": "cubic"}).halo,
    "maps": lambda: tiny().model_copy(update={"count_head": "sum"}).maps,
    "tiles": lambda: tiny().model_copy(update={"norm": "layer"}).tiles,
    **{
        field: lambda field=field: Generator(tiny().model_copy(update={field: "unheard-of"}))  # type: ignore[misc]
        for field in fields_of_words(Architecture)
    },
}


@pytest.mark.parametrize("use", UNKNOWN_WORDS.values(), ids=UNKNOWN_WORDS)
def test_an_unknown_word_is_never_taken_for_another(use: Callable[[], object]) -> None:
    with pytest.raises((AssertionError, TypeCheckError), match=r"cubic|layer|sum|unheard-of"):
        use()


def test_the_u_net_keeps_the_size() -> None:
    assert UNet(4).eval()(noise(2, 1, 48, 80)).shape == (2, 1, 48, 80)


def test_cells_are_counted_on_the_mask_which_does_not_learn_from_it() -> None:
    head, free = MapCountHead(8, 4, free=False), MapCountHead(8, 4, free=True)
    free.load_state_dict(head.state_dict())
    features = torch.randn(1, 8, 4, 4)
    logits = torch.full((1, 1, 16, 16), 30.0)
    logits[..., :8] = -30
    logits.requires_grad_()
    count_map, everywhere = head(features, logits), free(features, logits)
    assert (count_map[..., :2] < 1e-12).all()
    torch.testing.assert_close(count_map[..., 2:], everywhere[..., 2:])
    assert (everywhere > 0).all()
    count_map.sum().backward()
    assert logits.grad is None
    assert all(parameter.grad is not None for parameter in head.parameters())
