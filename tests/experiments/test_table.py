"""The tables say what the files say; the page has the tables; every experiment can be begun."""

import argparse
import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import prepare
import table
from elmgan.apps.cli import app
from elmgan.models import find_bundle, read_bundle
from elmgan.training.config import read_config
from elmgan.training.trainer import starting_from

EXPERIMENTS = [path.parent for path in sorted(table.EXPERIMENTS.glob("*/experiment.yaml"))]


def write_metrics(run: Path, mae: float, **others: float) -> None:
    """Write the scores of a run; the baseline is 7.5 cells off on average."""
    values = {name: {"value": value, "low": None, "high": None} for name, value in ({"mae": mae} | others).items()}
    baseline = {name: {"value": 7.5, "low": 7.0, "high": 8.0} for name in values}
    summary = {"images": 9, "counted": 9, "masks": 0, "labelled": 0, "mean_count": 12.25}
    kinds = {"all": summary | {"model": values, "baseline": baseline}}
    run.mkdir(parents=True)
    (run / "metrics.json").write_text(json.dumps({"seed": 0, "kinds": kinds, "failed": [], "run": {}}))


def test_a_table_says_what_came_out(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(
        "{data: some, seeds: [1, 2, 3], train: {ours: '', late: ''}, unchanged: [old]}"
    )
    assert table.draw(tmp_path) == "Not run yet.\n"
    write_metrics(tmp_path / "ours-1", 2.0, bias=-1.0)
    write_metrics(tmp_path / "ours-3", 5.0, bias=1.5)
    write_metrics(tmp_path / "old", 4.0, bias=0.125)
    assert table.draw(tmp_path) == (
        "| images of | images | mean count | model | runs | MAE | bias |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        "| all | 9 | 12.2 | ours | 2 | 3.50 ± 2.12 | +0.25 ± 1.77 |\n"
        "|  |  |  | old, unchanged | 1 | 4.00 | +0.12 |\n"
        "|  |  |  | Otsu + watershed |  | 7.50 | +7.50 |\n"
    )


def test_only_tables_change_on_a_page(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "experiment.yaml").write_text("{data: some, seeds: [1], train: {ours: ''}}")
    place = "<!-- table of {} -->\n{}<!-- end of table -->\n"
    page = "# Title\n" + place.format("one", "old\n") + "Text.\n" + place.format("other", "")
    once = table.fill(page, tmp_path)
    new = "\nNot run yet.\n\n"
    assert once == "# Title\n" + place.format("one", new) + "Text.\n" + place.format("other", new)
    assert table.fill(once, tmp_path) == once


def test_the_page_shows_the_results_of_every_experiment() -> None:
    page = table.PAGE.read_text(encoding="utf-8")
    assert table.fill(page) == page, "python experiments/table.py draws the tables anew"
    experiments = [folder.name for folder in EXPERIMENTS]
    assert sorted(name for _, name, _ in table.PLACE.findall(page)) == sorted([*experiments, *table.DRAWN])


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: folder.name)
def test_an_experiment_can_be_begun(folder: Path, tmp_path: Path) -> None:
    experiment = table.read_experiment(folder)
    assert experiment.data in prepare.SETS
    for options in experiment.train.values():
        chosen = shlex.split(f"{experiment.options} {options} --set seed={experiment.seeds[0]}")
        done = CliRunner().invoke(app, ["train", str(tmp_path / "nowhere"), "-o", str(tmp_path / "run"), *chosen])
        assert "nowhere is no folder" in done.stderr  # so that all before the data was right
    assert not [model for model in experiment.unchanged if CliRunner().invoke(app, ["info", model]).exit_code]


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: folder.name)
def test_kept_configurations_are_what_the_options_give_today(folder: Path) -> None:
    """Otherwise the results are of another program: carry the experiment out again.

    Those that started from an earlier version of a model may stay where the page names it.
    """
    page = table.PAGE.read_text(encoding="utf-8")
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--from", dest="start")
    experiment = table.read_experiment(folder)
    kept = {
        (variant, seed): folder / f"{variant}-{seed}/config.yaml"
        for variant in experiment.train
        for seed in experiment.seeds
    }
    for (variant, seed), path in kept.items():
        if path.exists():
            options = parser.parse_args(
                shlex.split(f"{experiment.options} {experiment.train[variant]} --set seed={seed}")
            )
            config = read_config(options.config, options.set)
            found = read_config(path)
            if options.start and found.start in page:
                kept_of_start = {"architecture", "normalisation", "start"}
                assert found.model_dump(exclude=kept_of_start) == config.model_dump(exclude=kept_of_start), path
                continue
            if options.start:
                config = starting_from(read_bundle(find_bundle(options.start)), config)
            assert found == config, path


def test_results_are_of_the_experiment(tmp_path: Path) -> None:
    for folder in EXPERIMENTS:
        runs = {run for of_row in table.read_experiment(folder).runs().values() for run in of_row}
        assert {found.name for found in folder.iterdir() if found.is_dir()} <= runs
