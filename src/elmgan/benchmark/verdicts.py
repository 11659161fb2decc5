"""The paper's claims, judged by what was measured."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from elmgan.benchmark.accuracy import AccuracyMeasured, Setting
from elmgan.benchmark.accuracy_tables import signed
from elmgan.benchmark.arms import ARMS, FULL, OTSU
from elmgan.benchmark.comparison import ENOUGH_SEEDS, Compared, by_setting, compare_arms, scores_of
from elmgan.benchmark.networks import GANS, U_NET, ModelMeasured
from elmgan.benchmark.networks import PAPER_NETWORK as PAPER
from elmgan.benchmark.texts import multiple
from elmgan.benchmark.timing import Measured, Spread, Times
from elmgan.benchmark.upsampling import FOLDED as FBU
from elmgan.benchmark.upsampling import UpsamplingMeasured
from elmgan.scores import SCORES

CLAIMS = FASTER, FEWER, BETTER, THE_WHOLE, REFINES, COORDINATES, EXCELLENT = (
    "1. FBU is twice as fast as traditional interpolation upsampling",
    "2. LFMMG has nearly 50 % fewer parameters than U-Net",
    "2. and segments better",
    "3. The whole is nearly ten times faster at processing an image than a traditional GAN model",
    "4. CMTD refines the details of the mask",
    "4. NH loss coordinates the two tasks",
    "5. Counting and segmentation are excellent with masks and totals alone",
)
NEARLY = 0.9
"""Part of a number that is nearly that number."""

EXCELLENT_AT_LEAST = {"r2": 0.95, "dice": 0.95}
"""Score -> what is excellent, by us: the paper gives no number that can be held against another data set's."""

HOLDS, NEVER, OPEN, NOT_MEASURED = "holds", "does not hold", "cannot be told from this", "not measured"

JUDGED_BY = {
    BETTER: (("unet", "dice"), ("unet", "ssim"), ("unet-alone", "dice"), ("unet-alone", "ssim")),
    REFINES: (("no-discriminator", "dice"), ("no-discriminator", "ssim")),
    COORDINATES: (("l2-alone", "mae"), ("l2-alone", "dice"), ("no-count-output", "mae"), ("no-count-output", "dice")),
}
"""Claim -> the arms that lack what is claimed, and the scores by which the whole method has to be better than they."""


class Verdict(NamedTuple):
    """A claim, held against numbers."""

    claim: str
    measured: str
    on: str
    verdict: str


def verdicts(results: Mapping[str, Measured]) -> list[Verdict]:
    """Judge the claims by results, name -> result; a claim that none of them touches is not measured."""
    found = []
    for name, result in results.items():
        if isinstance(result, UpsamplingMeasured):
            found += _of_upsampling(name, result)
        if isinstance(result, ModelMeasured):
            found += _of_networks(name, result)
    for setting, runs in by_setting(list(results.values())):
        found += _of_accuracy(setting, runs)
    touched = {verdict.claim for verdict in found}
    found += [Verdict(claim, "", "", NOT_MEASURED) for claim in CLAIMS if claim not in touched]
    return sorted(found, key=lambda verdict: CLAIMS.index(verdict.claim))


def against_ours(result: UpsamplingMeasured, engine: str, work: str) -> dict[str, Spread]:
    """Give how many times FBU's time the other ways take, all shapes together, by name."""
    times: dict[str, list[Times]] = {}
    for row in result.rows:
        if (row.engine, row.work) == (engine, work):
            times.setdefault(row.upsampling, []).append(row.times)
    ours = Times.together(times.pop(FBU))
    return {way: Times.together(parts).over(ours) for way, parts in times.items()}


def slower_than_others(result: UpsamplingMeasured) -> list[tuple[str, str, dict[str, Spread]]]:
    """Give where FBU loses, all shapes together: engine, work, and the ways that are faster."""
    lost = []
    for engine, work in result.parts:
        faster = {way: ratio for way, ratio in against_ours(result, engine, work).items() if ratio.median < 1}
        lost += [(engine, work, faster)] if faster else []
    return lost


def judge(ratios: Mapping[str, Spread], least: float) -> str:
    """Say whether each of some ratios, name -> ratio, is large enough.

    >>> twice, even = (Spread(median=x, low=x, high=x) for x in (2, 1))
    >>> judge({"a": twice, "b": even}, 2), judge({"a": twice}, 2), judge({"b": even}, 2)
    ('holds when compared with: a', 'holds', 'does not hold')
    """
    met = [name for name, ratio in ratios.items() if ratio.median >= least]
    if len(met) == len(ratios):
        return HOLDS
    return f"holds when compared with: {'; '.join(met)}" if met else NEVER


def ratios_shown(ratios: Mapping[str, Spread]) -> str:
    """Write ratios, with their quartiles.

    >>> ratios_shown({"a": Spread(median=2, low=1.9, high=2.13)})
    'a 2.0× (1.9× to 2.1×)'
    """
    texts = ((name, *map(multiple, (ratio.median, ratio.low, ratio.high))) for name, ratio in ratios.items())
    return "; ".join(f"{name} {median} ({low} to {high})" for name, median, low, high in texts)


def _of_accuracy(setting: Setting, runs: Sequence[AccuracyMeasured]) -> list[Verdict]:
    compared = compare_arms(runs)
    found = []
    for claim, parts in JUDGED_BY.items():
        for arm, score in parts:
            if (each := compared.get(arm)) and (difference := each.found.get(score)):
                seeds = ", ".join(f"{-value:+{_digits(score)}}" for value in difference.by_seed)
                measured = f"{SCORES[score].heading} {signed(score, difference.times(-1))}; by seed {seeds}"
                on = f"{_where(setting, each)}: {FULL} less {arm}, {ARMS[arm].told}"
                found.append(Verdict(claim, measured, on, _read(setting, each.reading(score))))
    scores = scores_of(runs, FULL)
    baseline = compared.get(OTSU)
    for score, least in EXCELLENT_AT_LEAST.items():
        if values := scores.get(score):
            shown = ", ".join(f"{value:{_digits(score)}}" for value in values)
            measured = f"{SCORES[score].heading} {shown} by seed, {least} wanted"
            met = [value >= least for value in values]
            told = len(values) >= ENOUGH_SEEDS and len(set(met)) == 1
            on = f"{setting.told}: {FULL}"
            reading = ("worse" if met[0] else "better") if told else ""
            found.append(Verdict(EXCELLENT, measured, on, _read(setting, reading)))
    for score in ("mae", "dice") if baseline else ():
        if baseline and (difference := baseline.found.get(score)):
            measured = f"{SCORES[score].heading} {signed(score, difference.times(-1))}"
            on = f"{_where(setting, baseline)}: {FULL} less {ARMS[OTSU].told}"
            found.append(Verdict(EXCELLENT, measured, on, _read(setting, baseline.reading(score))))
    return found


def _read(setting: Setting, reading: str) -> str:
    """Give the verdict on a claim from how the arm that lacks what is claimed did.

    >>> from elmgan.benchmark.accuracy import setting_of
    >>> _read(setting_of(False), "worse")
    'holds in the reduced setting'
    """
    verdict = {"worse": HOLDS, "better": NEVER}.get(reading, OPEN)
    return verdict if verdict == OPEN or setting.name == "full" else f"{verdict} in the {setting.told}"


def _where(setting: Setting, compared: Compared) -> str:
    """Say on what arms were compared.

    >>> from elmgan.benchmark.accuracy import setting_of
    >>> _where(setting_of(False), Compared("unet", (1,), (1, 2), {}))
    'reduced setting, fold 1, seeds 1, 2'
    """
    folds, seeds = (", ".join(map(str, numbers)) for numbers in (compared.folds, compared.seeds))
    return (
        f"{setting.told}, fold{'s' if len(compared.folds) > 1 else ''} {folds}, "
        f"seed{'s' if len(compared.seeds) > 1 else ''} {seeds}"
    )


def _digits(score: str) -> str:
    return SCORES[score].format.lstrip("+")


def _of_upsampling(name: str, result: UpsamplingMeasured) -> list[Verdict]:
    found = []
    for engine, work in result.parts:
        others = against_ours(result, engine, work)
        interpolations = {way: ratio for way, ratio in others.items() if "nearest" in way or "bilinear" in way}
        on = f"{name}: {engine}, {work}, the decoder of w = {result.width}"
        found.append(Verdict(FASTER, ratios_shown(interpolations), on, judge(interpolations, 2)))
    return found


def _of_networks(name: str, result: ModelMeasured) -> list[Verdict]:
    found = []
    parameters = {row.network: row.parameters for row in result.rows}
    ours, theirs = parameters.get(PAPER), parameters.get(U_NET)
    if ours and theirs:
        measured = f"{ours / 1e6:.1f} M against {theirs / 1e6:.1f} M: {100 * (1 - ours / theirs):.0f} % fewer"
        found.append(Verdict(FEWER, measured, name, HOLDS if ours <= (1 - NEARLY * 0.5) * theirs else NEVER))
    for engine in result.engines:
        whole = result.row(PAPER, engine, 1)
        gans = {gan: row.times for gan in GANS if (row := result.row(gan, engine, 1))}
        if whole and gans:
            ratios = {gan: times.over(whole.times) for gan, times in gans.items()}
            found.append(Verdict(THE_WHOLE, ratios_shown(ratios), f"{name}: {engine}", judge(ratios, NEARLY * 10)))
    return found
