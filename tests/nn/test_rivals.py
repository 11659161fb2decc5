"""Other networks in LFMMG's place: as large as they are known to be, and taking what LFMMG takes."""

from collections.abc import Callable

import pytest
import torch

from elmgan.models import Architecture
from elmgan.nn.generator import Generator
from elmgan.nn.rivals import Rival, pix2pix, unet
from elmgan.training.config import read_config
from elmgan.training.step import GanStep, collate
from elmgan.training.windows import Window

SIZE = (64, 128)
SMALL = Architecture(width=2, count_head="pooled", size=SIZE)
RIVALS = (unet, pix2pix)


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_they_are_as_large_as_their_authors_have_them() -> None:
    paper = Architecture(width=64, count_head="pooled", size=(256, 256))
    with torch.device("meta"):
        assert 34.4e6 < parameters(unet(paper).network) < 34.6e6
        assert 54.40e6 < parameters(pix2pix(paper).network) < 54.41e6
        assert parameters(unet(paper)) - parameters(unet(paper).network) == 1024 * 64 + 1  # the pooled head


@pytest.mark.parametrize("build", RIVALS)
def test_they_give_what_lfmmg_gives(build: Callable[[Architecture], Rival]) -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 1, *SIZE)
    ours, theirs = Generator(SMALL).eval()(image), build(SMALL).eval()(image)
    assert [part.shape for part in theirs] == [part.shape for part in ours]
    assert [part.dtype for part in theirs] == [part.dtype for part in ours]
    assert theirs.mask_logits.std() > 0


@pytest.mark.parametrize("build", RIVALS)
def test_they_train_by_the_same_steps(build: Callable[[Architecture], Rival]) -> None:
    torch.manual_seed(0)
    config = read_config("paper", ["architecture.width=2", "discriminator.width=2", "optimisation.precision=fp32"])
    config = config.model_copy(update={"architecture": config.architecture.model_copy(update={"size": SIZE})})
    step = GanStep(config, 30, torch.device("cpu"), build)
    before = [parameter.detach().clone() for parameter in step.generator.parameters()]
    half = torch.zeros(SIZE)
    half[:, :64] = 1
    ones, unknown = torch.ones(SIZE).numpy(), torch.full((1, 1), torch.nan).numpy()
    batch = collate([Window(half.numpy(), half.numpy(), ones, ones, 3.0, unknown)], torch.device("cpu"))
    terms = [step([batch], adversarial=True) for _ in range(30)]
    assert terms[-1]["mask"] < terms[0]["mask"]
    assert terms[-1]["count"] < terms[0]["count"]
    moved = [not torch.equal(a, b) for a, b in zip(before, step.generator.parameters(), strict=True)]
    assert all(moved)
