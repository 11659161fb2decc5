"""The page says what the numbers say."""

import json
from pathlib import Path

import numpy as np
import pytest

from elmgan.benchmark.networks import ModelMeasured, NetworkRow
from elmgan.benchmark.report import read_result, results_page, write_report
from elmgan.benchmark.timing import Conditions, Times
from elmgan.benchmark.upsampling import Upsampled, UpsamplingMeasured
from elmgan.benchmark.verdicts import FASTER, FEWER, THE_WHOLE, verdicts
from elmgan.errors import DataError
from elmgan.images import read_image

ROOT = Path(__file__).parents[2]
CONDITIONS = Conditions.now(threads=2, rounds=3, block=0).model_copy(update={"load": 0.0})


def times(seconds: float) -> Times:
    """Rounds of which the middle one is the median."""
    return Times(calls=1, seconds=(0.5 * seconds, seconds, 4 * seconds))


def upsampled(**seconds: float) -> UpsamplingMeasured:
    """Two shapes that take 1 and 2 ms by FBU; by other ways, with _ for a space, times some factor."""
    ways = {"FBU": 1.0} | {name.replace("_", " "): factor for name, factor in seconds.items()}
    return UpsamplingMeasured(
        conditions=CONDITIONS,
        width=64,
        side=256,
        batch=1,
        rows=tuple(
            Upsampled(
                upsampling=way,
                engine="torch fp32",
                work="forward",
                in_channels=8,
                out_channels=4,
                side=4 * k,
                parameters=32,
                multiply_adds=10**6,
                times=times(1e-3 * k * factor),
            )
            for k in (1, 2)
            for way, factor in ways.items()
        ),
    )


def network(name: str, seconds: float, parameters: int | None = None, **more: str) -> NetworkRow:
    return NetworkRow(
        network=name,
        engine="torch fp32",
        batch=1,
        parameters=parameters,
        multiply_adds=None,
        memory=None,
        times=times(seconds),
        **more,
    )


def modelled(*rows: NetworkRow) -> ModelMeasured:
    return ModelMeasured(conditions=CONDITIONS, side=256, rows=rows)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (2.0, 2.0, "holds"),
        (3.0, 1.9, "holds when compared with: nearest, then 1×1"),
        (1.9, 0.5, "does not hold"),
    ],
)
def test_upsampling_is_judged_by_all_interpolations(before: float, after: float, verdict: str) -> None:
    measured = upsampled(**{"nearest,_then_1×1": before, "1×1,_then_nearest": after, "transposed_4×4": 0.1})
    (judged,) = (found for found in verdicts({"here": measured}) if found.claim == FASTER)
    assert judged.verdict == verdict
    assert f"nearest, then 1×1 {before:.1f}× ({before:.1f}× to {before:.1f}×)" in judged.measured
    assert "transposed" not in judged.measured  # it interpolates nothing


@pytest.mark.parametrize(("parameters", "verdict"), [(55, "holds"), (56, "does not hold")])
def test_parameters_are_judged(parameters: int, verdict: str) -> None:
    measured = modelled(network("LFMMG paper", 1, parameters * 10**6), network("U-Net", 1, 100 * 10**6))
    (judged,) = (found for found in verdicts({"here": measured}) if found.claim == FEWER)
    assert judged.verdict == verdict
    assert judged.measured == f"{parameters}.0 M against 100.0 M: {100 - parameters} % fewer"


@pytest.mark.parametrize(
    ("connected", "pix2pix", "verdict"),
    [(9, 10, "holds"), (8.9, 9, "holds when compared with: pix2pix"), (1, 8.9, "does not hold")],
)
def test_the_whole_is_judged_by_each_gan(connected: float, pix2pix: float, verdict: str) -> None:
    gans = (network("fully connected GAN", connected), network("pix2pix", pix2pix))
    found = verdicts({"here": modelled(network("LFMMG paper", 1), *gans)})
    assert [judged.verdict for judged in found if judged.claim == THE_WHOLE] == [verdict]


def test_what_was_not_measured_is_said_so() -> None:
    assert {judged.verdict for judged in verdicts({})} == {"not measured"}
    only_ours = verdicts({"here": modelled(network("LFMMG paper", 1, 10))})
    assert [judged.verdict for judged in only_ours] == ["not measured"] * 7


def test_the_page_shows_where_fbu_loses_and_other_programs_rows() -> None:
    up = upsampled(**{"nearest,_then_1×1": 3.0, "1×1,_then_nearest": 0.5})
    networks = modelled(network("LFMMG paper", 0.05, 10), network("another's", 0.5, note="its fastest setting"))
    busy = networks.model_copy(update={"conditions": CONDITIONS.model_copy(update={"load": 0.5})})
    drawn = results_page({"up": up, "networks": busy}, {"up": "up.svg", "networks": "networks.svg"})
    assert "- torch fp32, forward: 1×1, then nearest 0.50× (0.50× to 0.50×)\n" in drawn
    assert "| nearest, then 1×1 | 6.4e-05 | 2 | 3 (3.0×) | 6 (3.0×) | 9 (3.0×) |" in drawn
    assert "| another's | 500 (375 to 1250) |" in drawn
    assert "- another's, torch fp32: its fastest setting" in drawn
    assert drawn.count("**The machine was busy") == 1


def test_files_that_are_no_results_are_refused(tmp_path: Path) -> None:
    upsampled().write(tmp_path / "good.json")
    upsampled().write(tmp_path / "other" / "good.json")
    assert read_result(tmp_path / "good.json") == upsampled()
    faulty = json.loads((tmp_path / "good.json").read_text(encoding="utf-8"))
    del faulty["rows"][0]["times"]
    (tmp_path / "faulty.json").write_text(json.dumps(faulty))
    (tmp_path / "text.json").write_text("no JSON")
    for names, told in [
        (["faulty.json"], "faulty.json is no result of elmgan benchmark .*rows.0.times"),
        (["text.json"], "text.json is no result of elmgan benchmark"),
        (["none.json"], "none.json cannot be read"),
        (["good.json", "other/good.json"], "two results have the same file name"),
    ]:
        with pytest.raises(DataError, match=told):
            write_report([tmp_path / name for name in names], tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()


def test_the_page_of_results_is_drawn_from_the_kept_ones(tmp_path: Path) -> None:
    """Otherwise: elmgan benchmark report benchmarks/*.json benchmarks/{accuracy,grid}/*.json -o docs/results.md."""
    folders = [ROOT / "benchmarks" / name for name in ("", "accuracy", "grid")]
    results = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    kept = sorted((ROOT / "docs").glob("results*"))
    drawn = write_report(results, tmp_path / "results.md") if results else []
    assert {path.name for path in kept} == {path.name for path in drawn}
    for path in kept:
        again = tmp_path / path.name
        if path.suffix == ".png":
            assert np.array_equal(read_image(path), read_image(again))
        else:
            assert path.read_text(encoding="utf-8") == again.read_text(encoding="utf-8")
