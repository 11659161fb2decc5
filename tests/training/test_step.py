"""One step of the two networks: who moves, what stops it, and what a later process goes on from."""

import copy
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from architectures import fields_of_words, words
from elmgan.errors import TrainingError
from elmgan.models import Architecture
from elmgan.nn.loss import LossWeights, discriminator_loss
from elmgan.training.config import DiscriminatorOptions, Optimisation, read_config
from elmgan.training.step import FETCHED, Batch, GanStep, collate, one_cycle
from elmgan.training.windows import UNKNOWN, Window, Windows

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
    return Window(image=mask + noise, mask=mask, seen=seen, core=seen, total=float(5 + seed), squares=UNKNOWN)


def batch(*seeds: int) -> Batch:
    return collate([window(seed=seed) for seed in seeds or (0, 1)], CPU)


def copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in network.named_parameters()}


def moved(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, values in network.named_parameters() if not torch.equal(values, before[name])}


def test_an_adversarial_step_moves_both_networks() -> None:
    one = step()
    assert one.discriminator is not None
    generator, discriminator = copied(one.generator), copied(one.discriminator)
    terms = one([batch()], adversarial=True)
    assert terms.keys() == {
        "mask",
        "count",
        "squares",
        "adversarial",
        "coordination",
        "discriminator",
        "discriminator_count",
    }
    assert moved(one.generator, generator) == generator.keys()
    assert moved(one.discriminator, discriminator) == discriminator.keys()
    assert one.done == 1


def test_without_the_adversarial_part_the_discriminator_rests() -> None:
    one = step()
    assert one.discriminator is not None
    generator, discriminator = copied(one.generator), copied(one.discriminator)
    terms = one([batch()], adversarial=False)
    assert terms.keys() == {"mask", "count", "squares"}
    assert moved(one.generator, generator) == generator.keys()
    assert not moved(one.discriminator, discriminator)


def test_each_network_gets_the_gradient_of_its_own_loss_alone() -> None:
    one = step("loss={mask: 0, count: 0, adversarial: 0, coordination: 3}")
    assert one.discriminator is not None
    judge = copy.deepcopy(one.discriminator)
    masks: list[Tensor] = []
    one.discriminator.register_forward_pre_hook(lambda module, pair: masks.append(pair[1].detach()))
    given = batch()
    one([given], adversarial=True)
    predicted, pairs_judged = masks
    true, predicted_again = pairs_judged.chunk(2)
    assert torch.equal(predicted, predicted_again)
    assert torch.equal(true, given.targets.mask)
    pairs = judge(given.image, true), judge(given.image, predicted)
    terms = discriminator_loss(*pairs, given.targets, one.config.loss, given.targets.known())
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    for expected, parameter in zip(judge.parameters(), one.discriminator.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad)
    # The generator learns from the discriminator through its mask alone.
    gradients = {name: parameter.grad for name, parameter in one.generator.named_parameters()}
    for name, gradient in gradients.items():
        assert gradient is not None
        assert bool(gradient.any()) is not name.startswith("count_head")


def test_steps_bring_the_loss_down() -> None:
    one = step("optimisation.learning_rate=3e-3", "optimisation.schedule=constant", steps=80)
    terms = [one([batch(0, 1, 2)], adversarial=True) for _ in range(80)]
    assert terms[-1]["mask"] < 0.7 * terms[0]["mask"]
    assert terms[-1]["count"] < 0.7 * terms[0]["count"]
    assert terms[-1]["discriminator_count"] < terms[0]["discriminator_count"]


@pytest.mark.parametrize("adversarial", [False, True])
@pytest.mark.parametrize("name", ["image", "total"])
def test_a_loss_that_is_not_finite_moves_nothing(name: str, adversarial: bool) -> None:
    one = step()
    assert one.discriminator is not None
    one([batch()], adversarial=True)
    networks = [one.generator, one.discriminator, one.best_generator]
    before = [copied(network) for network in networks]
    broken = batch()
    if name == "image":
        broken.image[0, 0, 3, 3] = torch.nan
    else:
        broken.targets.total[1] = torch.inf
    with pytest.raises(TrainingError, match=r"the loss is not finite \(.*count.*\); lower optimisation.learning_rate"):
        one([broken], adversarial=adversarial)
    for network, parameters in zip(networks, before, strict=True):
        assert not moved(network, parameters)
    assert one.done == 1


def test_a_discriminator_that_is_not_finite_moves_nothing_either() -> None:
    one = step("loss.adversarial=0", "loss.coordination=0")
    assert one.discriminator is not None
    generator = copied(one.generator)
    real = one.discriminator.forward
    calls = 0

    def breaks_at_the_second_call(image: Tensor, mask: Tensor) -> object:
        nonlocal calls
        calls += 1
        return real(image, mask * torch.nan if calls == 2 else mask)

    one.discriminator.forward = breaks_at_the_second_call  # type: ignore[method-assign, assignment]
    with pytest.raises(TrainingError, match="discriminator"):
        one([batch()], adversarial=True)
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
    one([replace(given, image=given.image * seen, targets=targets)], adversarial=True)
    assert [len(mask) for mask in masks] == [2, 4]
    assert all((mask[..., 32:] == 0).all() for mask in masks)


def test_a_state_taken_back_goes_on_identically() -> None:
    whole = step("optimisation.ema=0.9")
    for seed in range(2):
        whole([batch(seed)], adversarial=True)
    file = io.BytesIO()
    torch.save(whole.state(), file)
    file.seek(0)
    resumed = step("optimisation.ema=0.9", "seed=1")
    resumed.restore(torch.load(file, weights_only=True))
    assert resumed.done == 2
    for seed in range(2, 5):
        assert whole([batch(seed)], adversarial=True) == resumed([batch(seed)], adversarial=True)
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
        one([batch(seed)], adversarial=False)
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
        one([batch(0)], adversarial=False)
    assert rates == pytest.approx([0.01 * one_cycle(k / 10) for k in range(10)])
    assert max(rates) == pytest.approx(0.01)


def test_the_gradient_is_clipped() -> None:
    one = step("optimisation.clip=0.001", "loss.mask=1000")
    one([batch()], adversarial=False)
    norm = torch.stack([p.grad.norm() for p in one.generator.parameters() if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(0.001, rel=1e-3)


def test_bf16_trains_with_losses_in_float32() -> None:
    one = step("optimisation.precision=bf16")
    exact = step()([batch()], adversarial=True)
    for name, value in one([batch()], adversarial=True).items():
        assert value == pytest.approx(exact[name], rel=0.1, abs=0.01)


def gradients(one: GanStep) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in one.generator.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("config", ["paper", "base"])
def test_the_gradients_of_accumulated_batches_are_those_of_one(config: str) -> None:
    settings = ["architecture={width: 4, depth: 4, norm: instance}", "optimisation.clip=null"]
    together, apart = step(*settings, config=config), step(*settings, config=config)
    windows = [window(seed=seed) for seed in range(3)]
    unknown = np.full_like(windows[1].mask, np.nan)
    windows[1] = replace(windows[1], mask=unknown)
    windows[2] = replace(windows[2], total=np.nan)
    terms = together([collate(windows, CPU)], adversarial=True)
    accumulated = apart([collate(windows[:2], CPU), collate(windows[2:], CPU)], adversarial=True)
    for name, term in terms.items():
        assert accumulated[name] == pytest.approx(term, rel=1e-4), name
    for name, gradient in gradients(together).items():
        torch.testing.assert_close(gradients(apart)[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


SECTIONS: dict[str, type[BaseModel]] = {
    "architecture": Architecture,
    "discriminator": DiscriminatorOptions,
    "loss": LossWeights,
    "optimisation": Optimisation,
}
EVERY_WORD = [
    f"{section}.{field}={word}"
    for section, record in SECTIONS.items()
    for field in fields_of_words(record)
    for word in words(record, field)
]


@pytest.mark.parametrize("setting", EVERY_WORD)
def test_a_step_is_made_with_every_word_of_the_configuration(setting: str) -> None:
    pooled = ("architecture.size=[64, 64]", "data.tile=null", "augmentation.zoom=[1, 1]", "augmentation.mosaic=0")
    one = step(setting, *(pooled if setting.endswith("=pooled") else ()))
    before = copied(one.generator)
    terms = one([batch()], adversarial=True)
    assert all(np.isfinite(term) for term in terms.values())
    assert moved(one.generator, before)


@pytest.mark.parametrize("norm", words(LossWeights, "mask_norm"))
def test_an_image_beyond_memory_gives_the_gradient_of_the_whole_image(norm: str) -> None:
    """Mask, count and padding included; batch norms use their fixed statistics in both."""
    settings = ["architecture={width: 4, depth: 3}", "optimisation.clip=null", f"loss.mask_norm={norm}"]
    fixed = "optimisation.fix_norm=0"
    whole, tiled = step(*settings, fixed), step(*settings, fixed, f"data.pixels={64 * 64}")
    one = window(168, 104, seed=4)
    one.mask[100:] = np.nan  # known in part
    one.seen[:, 96:] = one.core[:, 96:] = one.image[:, 96:] = 0
    given = collate([one], CPU)
    for each in (whole, tiled):
        for _ in range(3):  # so that the statistics are not those of the beginning
            each.generator.train()
            each.generator(collate([window(seed=9)], CPU).image)
    sizes: list[torch.Size] = []
    tiled.generator.register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0].shape))
    expected, terms = whole([given], adversarial=False), tiled([given], adversarial=False)
    assert max(rows * columns for _, _, rows, columns in sizes) <= 64 * 64
    for name, term in expected.items():
        assert terms[name] == pytest.approx(term, rel=1e-5), name
    for name, gradient in gradients(whole).items():
        largest = gradient.abs().max().item()
        torch.testing.assert_close(gradients(tiled)[name], gradient, rtol=1e-4, atol=1e-4 * largest, msg=name)


def test_statistics_of_norms_follow_images_beyond_memory() -> None:
    one = step("architecture={width: 4, depth: 3}", f"data.pixels={64 * 64}")
    before = copy.deepcopy(one.generator.state_dict())
    one([collate([window(168, 104)], CPU)], adversarial=True)
    name = "encoder.1.1.running_mean"
    assert not torch.equal(before[name], one.generator.state_dict()[name])
    one = step("architecture={width: 4, depth: 3}", f"data.pixels={64 * 64}", "optimisation.fix_norm=0")
    one([collate([window(168, 104)], CPU)], adversarial=True)
    assert torch.equal(before[name], one.generator.state_dict()[name])


def test_statistics_of_norms_are_fixed_for_the_end_of_a_run() -> None:
    one = step("optimisation.fix_norm=0.5", steps=4)
    means = []
    for _ in range(4):
        one([batch()], adversarial=False)
        means.append(one.generator.state_dict()["encoder.1.1.running_mean"].clone())
    assert not torch.equal(means[0], means[1])
    assert torch.equal(means[1], means[2])
    assert torch.equal(means[2], means[3])


def test_a_process_without_a_window_takes_part_and_teaches_nothing() -> None:
    one = step("optimisation.weight_decay=0")
    before = copied(one.generator)
    terms = one([], adversarial=True)
    assert set(terms.values()) == {0}
    assert not moved(one.generator, before)


def late(*settings: str) -> GanStep:
    """A step whose terms are fetched now and then, as on a GPU."""
    one = step(*settings)
    one.at_once = False
    return one


def test_terms_that_are_fetched_late_are_those_of_each_step() -> None:
    at_once, one = step("optimisation.ema=0.9"), late("optimisation.ema=0.9")
    expected = [at_once([batch(seed)], adversarial=seed % 2 == 0) for seed in range(FETCHED + 3)]
    fetched, times = [], []
    for seed in range(FETCHED + 3):
        one.move([batch(seed)], adversarial=seed % 2 == 0)
        found = one.fetch()
        fetched += found
        times += [seed] * bool(found)
    assert times == [FETCHED - 1]
    assert fetched + one.fetch(now=True) == expected
    assert one.fetch(now=True) == []
    for name, values in at_once.best_generator.state_dict().items():
        assert torch.equal(values, one.best_generator.state_dict()[name]), name


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_is_found_when_it_is_fetched(what: str) -> None:
    one = late("discriminator=null")
    if what == "gradient":
        weight = one.generator.get_parameter("encoder.0.0.weight")
        weight.register_hook(lambda gradient: gradient * torch.nan)
    for seed in range(FETCHED):
        given = batch(seed)
        if seed == 3 and what == "loss":
            given.targets.total[0] = torch.inf
        one.move([given], adversarial=False)
    expected = "count" if what == "loss" else "gradient of the generator"
    with pytest.raises(TrainingError, match=rf"the loss is not finite \(.*{expected}.*\)"):
        one.fetch()


def test_windows_that_were_stacked_before_make_the_same_batch() -> None:
    windows = [window(seed=0), replace(window(seed=1), total=np.nan)]
    one, other = collate(windows, CPU), collate(Windows.of(windows), CPU)
    assert one.known == other.known == one.targets.known()
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.masked, torch.tensor([0, 1]))
    assert (one.known.images, one.known.counted) == (2, 1)


def test_stacked_windows_have_one_order_in_memory() -> None:
    """A compiled step would be compiled anew for another one."""
    turned = replace(window(), squares=np.arange(16, dtype=np.float32).reshape(4, 4).T)
    stacked = Windows.of([turned, turned])
    for name in ("image", "mask", "seen", "core", "total", "squares"):
        assert getattr(stacked, name).flags.c_contiguous
    np.testing.assert_array_equal(stacked[1].squares, turned.squares)
