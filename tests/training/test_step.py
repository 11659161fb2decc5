"""One step of the two networks: who moves, what stops it, and what a later process goes on from."""

import copy
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from elmgan.errors import TrainingError
from elmgan.nn import discriminator_loss
from elmgan.training import read_config
from elmgan.training.step import Batch, GanStep, collate, one_cycle
from elmgan.training.windows import Window

CPU = torch.device("cpu")
TINY = ["architecture={width: 4, depth: 4}", "discriminator.width=4", "optimisation.precision=fp32"]


def step(*settings: str, config: str = "small", steps: int = 20) -> GanStep:
    torch.manual_seed(0)
    return GanStep(read_config(config, [*TINY, *settings]), steps, CPU)


def window(rows: int = 64, columns: int = 64, seed: int = 0) -> Window:
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.random((rows // 8, columns // 8)) < 0.3, np.ones((8, 8))).astype(np.float32)
    noise = rng.standard_normal((rows, columns), np.float32) / np.float32(4)
    seen = np.ones_like(mask)
    return Window(image=mask + noise, mask=mask, seen=seen, core=seen, total=float(5 + seed))


def batch(*seeds: int) -> Batch:
    return collate([window(seed=seed) for seed in seeds or (0, 1)], CPU)


def copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in network.named_parameters()}


def moved(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, values in network.named_parameters() if not torch.equal(values, before[name])}


def test_windows_of_different_sizes_are_padded_at_bottom_and_right() -> None:
    small, wide = window(48, 64, seed=1), window(32, 80, seed=2)
    stacked = collate([small, wide], CPU)
    assert stacked.image.shape == stacked.targets.mask.shape == (2, 1, 48, 80)
    assert stacked.targets.total.tolist() == [6, 7]
    for k, one in enumerate((small, wide)):
        rows, columns = one.image.shape
        for given, put in (
            (one.image, stacked.image),
            (one.mask, stacked.targets.mask),
            (one.seen, stacked.targets.seen),
            (one.core, stacked.targets.core),
        ):
            assert np.array_equal(put[k, 0, :rows, :columns].numpy(), given)
            assert put[k].sum().item() == pytest.approx(given.sum(), rel=1e-5)


def test_an_adversarial_step_moves_both_networks() -> None:
    one = step()
    assert one.discriminator is not None
    generator, discriminator = copied(one.generator), copied(one.discriminator)
    terms = one(batch(), adversarial=True)
    assert terms.keys() == {"mask", "count", "adversarial", "coordination", "discriminator", "discriminator_count"}
    assert moved(one.generator, generator) == generator.keys()
    assert moved(one.discriminator, discriminator) == discriminator.keys()
    assert one.done == 1


def test_without_the_adversarial_part_the_discriminator_rests() -> None:
    one = step()
    assert one.discriminator is not None
    generator, discriminator = copied(one.generator), copied(one.discriminator)
    terms = one(batch(), adversarial=False)
    assert terms.keys() == {"mask", "count"}
    assert moved(one.generator, generator) == generator.keys()
    assert not moved(one.discriminator, discriminator)


def test_each_network_gets_the_gradient_of_its_own_loss_alone() -> None:
    one = step("loss={mask: 0, count: 0, adversarial: 0, coordination: 3}")
    assert one.discriminator is not None
    judge = copy.deepcopy(one.discriminator)
    masks: list[Tensor] = []
    one.discriminator.register_forward_pre_hook(lambda module, pair: masks.append(pair[1].detach()))
    given = batch()
    one(given, adversarial=True)
    predicted, true, predicted_again = masks
    assert torch.equal(predicted, predicted_again)
    assert torch.equal(true, given.targets.mask)
    pairs = judge(given.image, true), judge(given.image, predicted)
    terms = discriminator_loss(*pairs, given.targets, one.config.loss)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    for expected, parameter in zip(judge.parameters(), one.discriminator.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad)
    # The generator learns from the discriminator through its mask alone.
    gradients = {name: parameter.grad for name, parameter in one.generator.named_parameters()}
    for name, gradient in gradients.items():
        assert gradient is not None
        assert bool(gradient.any()) is not name.startswith("count_head")


def test_steps_bring_the_loss_down() -> None:
    one = step("optimisation.learning_rate=3e-3", "optimisation.schedule=constant")
    terms = [one(batch(0, 1, 2), adversarial=True) for _ in range(30)]
    assert terms[-1]["mask"] < 0.7 * terms[0]["mask"]
    assert terms[-1]["count"] < 0.7 * terms[0]["count"]
    assert terms[-1]["discriminator_count"] < terms[0]["discriminator_count"]


@pytest.mark.parametrize("adversarial", [False, True])
@pytest.mark.parametrize("name", ["image", "total"])
def test_a_loss_that_is_not_finite_moves_nothing(name: str, adversarial: bool) -> None:
    one = step()
    assert one.discriminator is not None
    one(batch(), adversarial=True)
    networks = [one.generator, one.discriminator, one.best_generator]
    before = [copied(network) for network in networks]
    broken = batch()
    if name == "image":
        broken.image[0, 0, 3, 3] = torch.nan
    else:
        broken.targets.total[1] = torch.inf
    with pytest.raises(TrainingError, match=r"the loss is not finite \(.*count.*\); lower optimisation.learning_rate"):
        one(broken, adversarial=adversarial)
    for network, parameters in zip(networks, before, strict=True):
        assert not moved(network, parameters)
    assert one.done == 1


def test_a_discriminator_that_is_not_finite_moves_nothing_either() -> None:
    one = step("loss.adversarial=0", "loss.coordination=0")
    assert one.discriminator is not None
    generator = copied(one.generator)
    real = one.discriminator.forward
    calls = 0

    def breaks_at_the_true_pair(image: Tensor, mask: Tensor) -> object:
        nonlocal calls
        calls += 1
        return real(image, mask * torch.nan if calls == 2 else mask)

    one.discriminator.forward = breaks_at_the_true_pair  # type: ignore[method-assign, assignment]
    with pytest.raises(TrainingError, match="discriminator"):
        one(batch(), adversarial=True)
    assert not moved(one.generator, generator)


def test_padding_teaches_nothing() -> None:
    """Nothing that a network predicts beyond the image reaches a loss, not even through the discriminator."""
    one = step("optimisation.clip=1e9")
    given = batch()
    seen = given.targets.seen.clone()
    seen[..., 32:] = 0
    targets = replace(given.targets, mask=given.targets.mask * seen, seen=seen, core=seen)
    masks: list[Tensor] = []
    assert one.discriminator is not None
    one.discriminator.register_forward_pre_hook(lambda module, pair: masks.append(pair[1]))
    one(Batch(given.image * seen, targets), adversarial=True)
    assert len(masks) == 3
    assert all((mask[seen == 0] == 0).all() for mask in masks)


def test_a_state_taken_back_goes_on_identically() -> None:
    whole = step("optimisation.ema=0.9")
    for seed in range(2):
        whole(batch(seed), adversarial=True)
    file = io.BytesIO()
    torch.save(whole.state(), file)
    file.seek(0)
    resumed = step("optimisation.ema=0.9", "seed=1")
    resumed.restore(torch.load(file, weights_only=True))
    assert resumed.done == 2
    for seed in range(2, 5):
        assert whole(batch(seed), adversarial=True) == resumed(batch(seed), adversarial=True)
    for network, other in (
        (whole.generator, resumed.generator),
        (whole.best_generator, resumed.best_generator),
        (whole.discriminator, resumed.discriminator),
    ):
        assert network is not None
        assert other is not None
        for name, values in network.state_dict().items():
            assert torch.equal(values, other.state_dict()[name]), name
    assert whole.schedule.get_last_lr() == resumed.schedule.get_last_lr()


def test_the_averaged_generator_follows_the_raw_one() -> None:
    one = step("optimisation.ema=0.9", "optimisation.learning_rate=1e-2")
    first = copied(one.generator)
    for seed in range(6):
        one(batch(seed), adversarial=False)
    assert one.best_generator is not one.generator
    name = "encoder.0.0.weight"
    raw, averaged = one.generator.state_dict()[name], one.best_generator.state_dict()[name]
    assert not torch.equal(raw, averaged)
    assert (averaged - raw).abs().sum() < (first[name] - raw).abs().sum()
    assert not torch.equal(
        one.generator.state_dict()["encoder.1.1.running_mean"],
        one.best_generator.state_dict()["encoder.1.1.running_mean"],
    )


def test_without_averaging_the_raw_generator_is_the_best() -> None:
    one = step("optimisation.ema=null")
    assert one.best_generator is one.generator


@pytest.mark.parametrize(
    ("progress", "share"), [(0, 0.05), (0.05, 0.525), (0.1, 1), (0.55, 0.5005), (1, 0.001), (1.2, 0.001)]
)
def test_one_cycle(progress: float, share: float) -> None:
    assert one_cycle(progress) == pytest.approx(share)


def test_the_learning_rate_runs_through_its_cycle() -> None:
    one = step("optimisation.learning_rate=0.01", steps=10)
    rates = []
    for _ in range(10):
        rates.append(one.schedule.get_last_lr()[0])
        one(batch(0), adversarial=False)
    assert rates == pytest.approx([0.01 * one_cycle(k / 10) for k in range(10)])
    assert max(rates) == pytest.approx(0.01)


def test_the_gradient_is_clipped() -> None:
    one = step("optimisation.clip=0.001", "loss.mask=1000")
    one(batch(), adversarial=False)
    norm = torch.stack([p.grad.norm() for p in one.generator.parameters() if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(0.001, rel=1e-3)


def test_bf16_trains_with_losses_in_float32() -> None:
    one = step("optimisation.precision=bf16")
    exact = step()(batch(), adversarial=True)
    for name, value in one(batch(), adversarial=True).items():
        assert value == pytest.approx(exact[name], rel=0.1, abs=0.01)
