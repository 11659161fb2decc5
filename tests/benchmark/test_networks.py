"""Networks are measured on every engine and batch; the command does it in small."""

import json
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from elmgan.apps.cli import app
from elmgan.benchmark import networks
from elmgan.benchmark.engines import engines_here
from elmgan.benchmark.networks import measure_networks
from elmgan.benchmark.report import read_result
from elmgan.benchmark.timing import Conditions
from elmgan.nn.baselines import FullyConnected


def elmgan(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])


def test_every_network_is_measured_on_every_engine_and_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "peak_memory", lambda engine, network, shape, threads: 1000 * shape[0])
    builds = {"without noise": partial(FullyConnected, (8, 8)), "with noise": partial(FullyConnected, (8, 8), 3)}
    engines = engines_here()
    steps: list[int] = []
    measured = measure_networks(
        builds, engines, Conditions.now(threads=1, rounds=2, block=0), side=8, batches=(1, 3), watch=steps.append
    )
    assert (measured.engines, measured.names, measured.batches) == (list(engines), list(builds), [1, 3])
    assert len(measured.rows) == len(engines) * 2 * 2
    for row in measured.rows:
        assert row.memory == 1000 * row.batch
        assert row.images_per_second == pytest.approx(row.batch / row.times.spread.median)
    assert len(steps) == steps[0] == len(engines) * (2 + 2 * 2)
    assert measured.row("with noise", "torch fp32", 2) is None


def test_the_commands_measure_and_draw_the_page(tmp_path: Path) -> None:
    quick = ("--rounds", 1, "--block", 0, "--threads", 1, "--engine", "torch fp32", "--side", 64)
    done = elmgan("benchmark", "upsampling", "-o", tmp_path / "out", "--width", 2, *quick)
    assert done.exit_code == 0, done.stderr
    for told in ("torch fp32, forward + backward", "1×1, then bilinear", "16→16 at 1×1", "upsampling.json"):
        assert told in done.stdout
    done = elmgan(
        "benchmark", "model", "-o", tmp_path / "out", "--network", "LFMMG small", "--batch", 2, *quick, "--json"
    )
    assert done.exit_code == 0, done.stderr
    (row,) = (json.loads(line) for line in done.stdout.splitlines())
    kept = read_result(tmp_path / "out" / "model.json").rows
    assert [json.loads(of.model_dump_json()) for of in kept] == [row]
    assert (row["network"], row["batch"], round(row["parameters"] / 1e6, 1)) == ("LFMMG small", 2, 1.0)

    small = ("--rounds", 1, "--block", 0, "--engine", "onnxruntime fp32", "--side", 64, "--images", 2, "--large", 320)
    done = elmgan("benchmark", "throughput", "-o", tmp_path / "out", "--model", "nuclei-small", *small)
    assert done.exit_code == 0, done.stderr
    for told in ("matrix product", "nothing compiled yet", "counts and masks", "320 × 320"):
        assert told in done.stdout

    results = sorted((tmp_path / "out").glob("*.json"))
    assert len(results) == 3
    done = elmgan("benchmark", "report", *results, "-o", tmp_path / "page" / "results.md")
    assert done.exit_code == 0, done.stderr
    page = (tmp_path / "page" / "results.md").read_text(encoding="utf-8")
    for result in results:
        assert f"(results-{result.stem}.svg)" in page
        assert (tmp_path / "page" / f"results-{result.stem}.svg").exists()


def test_faults_are_told_in_a_line(tmp_path: Path) -> None:
    for arguments, told in [
        (("upsampling", "--side", 100), "expected a multiple of 64"),
        (("model", "--engine", "abacus"), "engine 'abacus' is not known"),
        (("model", "--network", "abacus"), "network 'abacus' is not known"),
        (("report", tmp_path / "none.json"), "cannot be read"),
    ]:
        done = elmgan("benchmark", *arguments, "-o", tmp_path / "out")
        assert (done.exit_code, done.stdout) == (2, "")
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
