"""The losses against hand-computed values, and what they pass back to the networks."""

import math
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor, nn

from architectures import architectures, words
from elmgan.models import Architecture
from elmgan.nn.discriminator import Discriminator, DiscriminatorNorm, Judgement
from elmgan.nn.generator import PRESETS, Generator, Prediction
from elmgan.nn.loss import (
    Known,
    LossWeights,
    Targets,
    adversarial_loss,
    count_errors,
    discriminator_loss,
    generator_loss,
    mask_errors,
    sums_of,
    totals_in,
)
from elmgan.training.config import DiscriminatorOptions

LN3 = math.log(3)
"""Log-odds of a probability of 3/4."""
OURS = LossWeights(mask_norm="overlap", count_norm="relative", mask=1, count=1, adversarial=1, coordination=1)


def targets(
    mask: Tensor,
    *totals: float,
    seen: Tensor | None = None,
    core: Tensor | None = None,
    squares: Tensor | None = None,
) -> Targets:
    everywhere = torch.ones_like(mask)
    seen = everywhere if seen is None else seen
    unknown = torch.full((len(mask), 1, 1), math.nan)
    core = seen if core is None else core
    return Targets(mask, seen, core, torch.tensor(totals), unknown if squares is None else squares)


def nh(
    prediction: Prediction, targets: Targets, judgement: Judgement | None, weights: LossWeights
) -> dict[str, Tensor]:
    """All terms of NH, with means over the images given."""
    known = targets.known()
    terms = generator_loss(sums_of(prediction, targets, weights), targets, weights, known)
    return terms if judgement is None else terms | adversarial_loss(judgement, targets, weights, known)


def half(side: int = 16) -> Tensor:
    """The left half of an image is 1."""
    mask = torch.zeros(1, 1, side, side)
    mask[..., : side // 2] = 1
    return mask


def test_the_papers_loss_by_hand() -> None:
    """L_G = 10 * l1 + (count - predicted count)^2 + adversarial, masks being -1 and +1."""
    prediction = Prediction(torch.full((1, 1, 16, 16), LN3), torch.full((1, 1, 4, 4), 0.25))
    judgement = Judgement(torch.tensor([[[[0.5]]]]), torch.tensor([[[[9.0]]]]))
    terms = nh(prediction, targets(half(), 7.0), judgement, LossWeights())
    # A probability of 3/4 is +1/2 between -1 and +1: half a unit from +1, one and a half from -1.
    assert terms["mask"].item() == pytest.approx(10 * (0.5 + 1.5) / 2)
    assert terms["count"].item() == pytest.approx((7 - 4) ** 2)
    assert terms["adversarial"].item() == pytest.approx((0.5 - 1) ** 2)
    assert terms["coordination"].item() == pytest.approx((7 - 9) ** 2)


def test_our_loss_by_hand() -> None:
    prediction = Prediction(torch.full((1, 1, 16, 16), LN3), torch.full((1, 1, 4, 4), 0.25))
    judgement = Judgement(torch.tensor([[[[0.5]]]]), torch.tensor([[[[9.0]]]]))
    terms = nh(prediction, targets(half(), 8.0), judgement, OURS)
    entropy = -(math.log(3 / 4) + math.log(1 / 4)) / 2
    dice = (2 * 3 / 8 + 0.01) / (3 / 4 + 1 / 2 + 0.01)  # of shares of the image, 1 % added above and below
    assert terms["mask"].item() == pytest.approx(entropy + 1 - dice)
    # Errors over the root of 8 + 1: 4/3 is on the line of the smooth L1, 1/3 on its parabola.
    assert terms["count"].item() == pytest.approx(4 / 3 - 1 / 2)
    assert terms["coordination"].item() == pytest.approx((1 / 3) ** 2 / 2)


def test_the_discriminators_loss_by_hand() -> None:
    true_pair = Judgement(torch.tensor([[[[0.75, 1.25]]]]), torch.tensor([[[[2.0, 1.0]]]]))
    predicted_pair = Judgement(torch.tensor([[[[0.5, 0.0]]]]), torch.tensor([[[[100.0, 100.0]]]]))
    known = targets(torch.zeros(1, 1, 16, 32), 5.0)
    terms = discriminator_loss(true_pair, predicted_pair, known, LossWeights(coordination=3), known.known())
    assert terms["discriminator"].item() == pytest.approx((0.25**2 + 0.5**2 / 2) / 2)
    assert terms["discriminator_count"].item() == pytest.approx(3 * (5 - 3) ** 2)


def test_terms_are_means_over_images() -> None:
    prediction = Prediction(torch.full((2, 1, 16, 16), LN3), torch.full((2, 1, 4, 4), 0.25))
    terms = nh(prediction, targets(half().repeat(2, 1, 1, 1), 4.0, 6.0), None, LossWeights())
    assert terms.keys() == {"mask", "count", "squares"}
    assert terms["mask"].item() == pytest.approx(10.0)
    assert terms["count"].item() == pytest.approx((0 + 2**2) / 2)


@pytest.mark.parametrize("name", ["mask", "count", "adversarial", "coordination"])
def test_each_weight_scales_its_own_term(name: str) -> None:
    prediction, known, judgement = example()
    terms, scaled = (nh(prediction, known, judgement, OURS.model_copy(update={name: weight})) for weight in (1.0, 3.0))
    for other, term in terms.items():
        torch.testing.assert_close(scaled[other], (3 if other == name else 1) * term)


@pytest.mark.parametrize("weights", [LossWeights(), OURS], ids=["paper", "ours"])
def test_a_perfect_prediction_costs_nothing(weights: LossWeights) -> None:
    mask = half()
    prediction = Prediction(60 * (2 * mask - 1), mask[..., ::4, ::4] / 2)
    judgement = Judgement(torch.ones(1, 1, 1, 1), torch.tensor([[[[4.0]]]]))
    for term in nh(prediction, targets(mask, 4.0), judgement, weights).values():
        assert term.item() == pytest.approx(0, abs=1e-6)


def test_one_crowded_image_does_not_swamp_a_step() -> None:
    """A count 10 % off weighs with the number of cells at most, where the squared error weighs with its square."""

    def term(total: float) -> float:
        prediction = Prediction(torch.zeros(1, 1, 16, 16), torch.full((1, 1, 4, 4), 0.9 * total / 16))
        return nh(prediction, targets(half(), total), None, OURS)["count"].item()

    assert term(400.0) / term(10.0) < 400 / 10


@given(
    top=st.integers(0, 2),
    left=st.integers(0, 2),
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
    seed=st.integers(0),
)
def test_the_total_is_the_sum_over_the_core(top: int, left: int, rows: int, columns: int, seed: int) -> None:
    core = torch.zeros(1, 1, 64, 64)
    core[..., 16 * top : 16 * (top + rows), 16 * left : 16 * (left + columns)] = 1
    for stride in (4, 16):
        count_map = torch.rand(1, 1, 64 // stride, 64 // stride, generator=torch.Generator().manual_seed(seed % 2**60))
        per_pixel = count_map.repeat_interleave(stride, 2).repeat_interleave(stride, 3) / stride**2
        torch.testing.assert_close(totals_in(count_map, core, (1, 1))[:, 0, 0], (per_pixel * core).sum((1, 2, 3)))


def test_a_value_that_the_images_end_cuts_counts_whole() -> None:
    """As in counting, which crops the count map to the image's size over the stride, rounded up."""
    core = torch.zeros(1, 1, 16, 16)
    core[..., :9, :5] = 1
    assert totals_in(torch.ones(1, 1, 4, 4), core, (1, 1)).tolist() == [[[3 * 2]]]
    assert totals_in(torch.ones(1, 1, 4, 4), core, (2, 4)).tolist() == [[[2, 2, 0, 0], [1, 1, 0, 0]]]


def test_squares_by_hand() -> None:
    """Two squares are known of the first image, nothing of the second: a mean over squares, then over images."""
    counts = torch.full((2, 1, 4, 4), 0.25)
    known = targets(torch.zeros(2, 1, 16, 16), 4.0, 4.0, squares=torch.tensor([[[3.0, 1.0]], [[math.nan, math.nan]]]))
    weights = LossWeights(squares=6)
    terms = nh(Prediction(torch.zeros(2, 1, 16, 16), counts), known, None, weights)
    assert terms["count"] == 0
    assert terms["squares"] == 6 * (1 + 1) / 2 / 2


def test_squares_tell_where_the_cells_are() -> None:
    """The gradient of the squares takes from where cells are too many and gives where they are too few."""
    counts = torch.full((1, 1, 4, 4), 0.25, requires_grad=True)
    known = targets(torch.zeros(1, 1, 16, 16), 4.0, squares=torch.tensor([[[3.0, 1.0]]]))
    nh(Prediction(torch.zeros(1, 1, 16, 16), counts), known, None, OURS)["squares"].backward()  # type: ignore[no-untyped-call]
    assert counts.grad is not None
    assert (counts.grad[..., :2] < 0).all()
    assert (counts.grad[..., 2:] > 0).all()


def example(core_margin: int = 16) -> tuple[Prediction, Targets, Judgement]:
    """Two windows with padding to the right and a margin that is not counted."""
    random = torch.Generator().manual_seed(0)
    mask = (torch.rand(2, 1, 64, 96, generator=random) < 0.3).float()
    seen = torch.ones_like(mask)
    seen[..., 80:] = 0
    core = seen.clone()
    core[..., :core_margin, :] = 0
    prediction = Prediction(torch.randn(mask.shape, generator=random), torch.rand(2, 1, 16, 24, generator=random))
    judgement = Judgement(torch.rand(2, 1, 4, 6, generator=random), torch.rand(2, 1, 4, 6, generator=random))
    return prediction, targets(mask, 50.0, 90.0, seen=seen, core=core), judgement


@pytest.mark.parametrize("weights", [LossWeights(), OURS], ids=["paper", "ours"])
def test_what_is_not_seen_or_not_counted_contributes_nothing(weights: LossWeights) -> None:
    prediction, known, judgement = example()
    inputs = [prediction.mask_logits, prediction.count_map, judgement.count_map]
    regions = [known.seen, known.core[..., ::4, ::4], known.core[..., ::16, ::16]]
    names = ["mask", "count", "coordination"]
    for values in inputs:
        values.requires_grad_()
    terms = nh(prediction, known, judgement, weights)
    changed = [torch.where(region > 0, values, values + 7) for values, region in zip(inputs, regions, strict=True)]
    other = nh(Prediction(changed[0], changed[1]), known, Judgement(judgement.matrix, changed[2]), weights)
    for name, values, region in zip(names, inputs, regions, strict=True):
        assert other[name].item() == terms[name].item()
        (gradient,) = torch.autograd.grad(terms[name], values)
        assert (gradient[region == 0] == 0).all()
        assert (gradient[region > 0] != 0).all()


def generators() -> dict[str, Architecture]:
    paper = PRESETS["paper"].model_copy(update={"width": 4, "size": (128, 64)})
    base = PRESETS["base"].model_copy(update={"width": 4})
    others = {
        f"{name} {upsampling}": preset.model_copy(update={"upsampling": upsampling})
        for name, preset in (("paper", paper), ("base", base))
        for upsampling in words(Architecture, "upsampling")
    }
    return {"paper": paper, "base": base, **others, **architectures()}


def assert_all_move(network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("weights", [LossWeights(), OURS], ids=["paper", "ours"])
@pytest.mark.parametrize("architecture", generators().values(), ids=generators())
def test_every_parameter_of_the_generator_gets_a_gradient(architecture: Architecture, weights: LossWeights) -> None:
    torch.manual_seed(0)
    shape = 2, 1, *(architecture.size or (128, 64))
    image, mask = torch.randn(shape), (torch.rand(shape) < 0.3).float()
    generator = Generator(architecture)
    prediction = generator(image)
    judgement = Discriminator(4)(image, torch.sigmoid(prediction.mask_logits))
    terms = nh(prediction, targets(mask, 3.0, 5.0), judgement, weights)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert_all_move(generator)


def test_an_unknown_norm_of_the_loss_is_never_taken_for_another() -> None:
    known = targets(torch.zeros(1, 1, 8, 8), 1.0)
    prediction = Prediction(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 2, 2))
    sums = sums_of(prediction, known, LossWeights())
    for use in (
        lambda: sums_of(prediction, known, LossWeights().model_copy(update={"mask_norm": "focal"})),
        lambda: mask_errors(sums, known, "focal"),  # type: ignore[arg-type]
        lambda: count_errors(sums.cells, known.total, "focal"),  # type: ignore[arg-type]
    ):
        with pytest.raises((AssertionError, TypeCheckError), match="focal"):
            use()


@pytest.mark.parametrize("name", ["adversarial", "coordination"])
def test_the_discriminator_alone_teaches_the_mask(name: str) -> None:
    torch.manual_seed(0)
    image, mask = torch.randn(2, 1, 64, 64), (torch.rand(2, 1, 64, 64) < 0.3).float()
    generator = Generator(Architecture(width=4))
    prediction = generator(image)
    judgement = Discriminator(4)(image, torch.sigmoid(prediction.mask_logits))
    nh(prediction, targets(mask, 3.0, 5.0), judgement, OURS)[name].backward()  # type: ignore[no-untyped-call]
    assert_all_move(generator.mask_head)
    assert all(parameter.grad is None for parameter in generator.count_head.parameters())


@pytest.mark.parametrize("weights", [LossWeights(), OURS], ids=["paper", "ours"])
@pytest.mark.parametrize("norm", words(DiscriminatorOptions, "norm"))
def test_every_parameter_of_the_discriminator_gets_a_gradient(norm: DiscriminatorNorm, weights: LossWeights) -> None:
    torch.manual_seed(0)
    image, mask = torch.randn(2, 1, 128, 64), (torch.rand(2, 1, 128, 64) < 0.3).float()
    discriminator = Discriminator(4, norm)
    pairs = discriminator(image, mask), discriminator(image, torch.rand_like(mask))
    known = targets(mask, 3.0, 5.0)
    terms = discriminator_loss(*pairs, known, weights, known.known())
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert_all_move(discriminator)


@pytest.mark.parametrize("weights", [LossWeights(), OURS])
def test_what_is_not_known_of_an_image_is_left_out(weights: LossWeights) -> None:
    logits, counts = torch.randn(3, 1, 16, 16), torch.rand(3, 1, 4, 4)
    counts.requires_grad_()
    logits.requires_grad_()
    mask = half().repeat(3, 1, 1, 1)
    mask[1] = math.nan  # the second image has a count alone, the third a mask alone
    known = targets(mask, 4.0, 9.0, math.nan)
    terms = nh(Prediction(logits, counts), known, None, weights)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert counts.grad is not None
    assert (logits.grad.abs().sum((1, 2, 3)) > 0).tolist() == [True, False, True]
    assert (counts.grad.abs().sum((1, 2, 3)) > 0).tolist() == [True, True, False]
    masked, counted = torch.tensor([True, False, True]), torch.tensor([True, True, False])
    part = targets(half().repeat(2, 1, 1, 1), 4.0, 9.0)
    alone = nh(Prediction(logits[masked], counts[counted]), part, None, weights)
    for name, term in terms.items():
        torch.testing.assert_close(term, alone[name])


def test_a_batch_of_which_nothing_is_known_costs_nothing() -> None:
    prediction = Prediction(torch.randn(1, 1, 16, 16), torch.rand(1, 1, 4, 4))
    terms = nh(prediction, targets(torch.full((1, 1, 16, 16), math.nan), math.nan), None, OURS)
    assert [float(term) for term in terms.values()] == [0, 0, 0]


@pytest.mark.parametrize("weights", [LossWeights(), OURS], ids=["paper", "ours"])
def test_the_sums_of_an_images_parts_add_up_to_its_own(weights: LossWeights) -> None:
    prediction, known, _ = example()
    left = torch.zeros_like(known.seen)
    left[..., :48] = 1
    sums = [
        sums_of(prediction, replace(known, seen=known.seen * part, core=known.core * part), weights)
        for part in (left, 1 - left)
    ]
    whole = sums_of(prediction, known, weights)
    for one, other, both in zip(*sums, whole, strict=True):
        torch.testing.assert_close(one + other, both)


@pytest.mark.parametrize("weights", [LossWeights(), OURS], ids=["paper", "ours"])
def test_images_in_several_batches_share_one_mean(weights: LossWeights) -> None:
    prediction, known, judgement = example()
    known.mask[0] = math.nan  # so that the mean over masks is of one image, that over counts of two
    together = nh(prediction, known, judgement, weights)
    apart: dict[str, float] = {}
    for k in (torch.tensor([True, False]), torch.tensor([False, True])):
        one = Targets(*(getattr(known, field.name)[k] for field in fields(known)))
        sums = sums_of(Prediction(*(values[k] for values in prediction)), one, weights)
        terms = generator_loss(sums, one, weights, known.known())
        terms |= adversarial_loss(Judgement(*(values[k] for values in judgement)), one, weights, known.known())
        for name, term in terms.items():
            apart[name] = apart.get(name, 0) + term.item()
    for name, term in together.items():
        assert term.item() == pytest.approx(apart[name], rel=1e-6)


def test_a_mask_that_is_known_in_part_teaches_there() -> None:
    mask = half()
    mask[..., 8:, :] = math.nan
    logits = torch.randn(1, 1, 16, 16, requires_grad=True)
    known = targets(mask, 4.0)
    term = nh(Prediction(logits, torch.rand(1, 1, 4, 4)), known, None, OURS)["mask"]
    (gradient,) = torch.autograd.grad(term, logits)
    assert (gradient[..., 8:, :] == 0).all()
    assert (gradient[..., :8, :] != 0).all()
    assert known.known() == Known(images=1, masked=1, counted=1, paired=0, paired_counted=0)
