"""Carry out an experiment: prepare its data, train every variant with every seed, score, and keep what came out.

    python experiments/run.py EXPERIMENT DATA OUT

EXPERIMENT is a folder with an experiment.yaml (table.py says what that holds), DATA the one of the public data sets.
All that is made goes to OUT; what is there already is not made again, so that the same command goes on after an
interruption, and another OUT begins anew. Of each run config.yaml, curves.csv and metrics.json are put into EXPERIMENT,
in place of earlier ones. At the end the tables of docs/recipe.md are drawn.
"""

import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import prepare
import table
from elmgan.files import write_text

ELMGAN = Path(sysconfig.get_path("scripts"), "elmgan")


def main(folder: Path, data: Path, out: Path) -> None:
    """Do what is not done yet, seed by seed."""
    experiment = table.read_experiment(folder)
    for seed in experiment.seeds:
        data_set = out / f"data-{seed}"
        if not data_set.exists():
            prepare.main(experiment.data, data, data_set, seed)
        for variant, options in experiment.train.items():
            run = out / f"{variant}-{seed}"
            train(data_set, run, *shlex.split(f"{experiment.options} {options}"), "--set", f"seed={seed}")
            score(data_set, str(run / "model"), run / "split.csv", run)
            keep(run, folder)
    seed, variant = experiment.seeds[0], next(iter(experiment.train))
    for model in experiment.unchanged:  # once, since all seeds have the same test side
        score(out / f"data-{seed}", model, out / f"{variant}-{seed}" / "split.csv", out / model)
        keep(out / model, folder)


def train(data_set: Path, run: Path, *options: str) -> None:
    """Train a model, or go on after the last whole epoch."""
    if (run / "model").exists():
        return
    if (run / "last.pt").exists():
        options = ("--resume",)
    else:
        shutil.rmtree(run, ignore_errors=True)  # begun, but interrupted in its first epoch
    elmgan("train", str(data_set), "-o", str(run), *options)


def score(data_set: Path, model: str, split: Path, run: Path) -> None:
    """Score a model on the images that a training held out."""
    if not (run / "scored" / "metrics.json").exists():
        elmgan("evaluate", str(data_set), "--only", str(split), "--model", model, "-o", str(run / "scored"))


def elmgan(*arguments: str) -> None:
    """Run the elmgan command, or end with it."""
    # In a group of its own, since Ctrl-C would end the training early, with a model; this script's end does not.
    done = subprocess.run([ELMGAN, *arguments], process_group=0, check=False)
    if done.returncode:
        raise SystemExit(f"elmgan {shlex.join(arguments)} failed; mended, the same command goes on from there")


def keep(run: Path, folder: Path) -> None:
    """Put what is small of a run into the experiment's folder; of an unchanged model that is the metrics."""
    for file in (run / "config.yaml", run / "curves.csv", run / "scored" / "metrics.json"):
        if file.exists():
            write_text(folder / run.name / file.name, file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    try:
        main(*map(Path, sys.argv[1:]))
    except KeyboardInterrupt:
        raise SystemExit("\ninterrupted; the same command goes on from there") from None
    table.main()
