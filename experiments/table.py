"""Draw the tables of docs/recipe.md anew, from the results that are kept in experiments/.

    python experiments/table.py

The page has `<!-- table of EXPERIMENT -->` before each table and `<!-- end of table -->` after it.
"""

import re
from pathlib import Path
from statistics import mean, stdev

import yaml

from elmgan.evaluation import BASELINE, METRICS, SCORES, Metrics, Value
from elmgan.models.schema import Strict
from elmgan.reporting import write_text

EXPERIMENTS = Path(__file__).parent
PAGE = EXPERIMENTS.parent / "docs" / "recipe.md"
PLACE = re.compile(r"(<!-- table of (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
SHOWN = ("mae", "bias", "dice", "ap50")


class Experiment(Strict):
    """The content of an experiment.yaml.

    Attributes:
        data: A set of prepare.py. Its test side is scored or, where it has none, the images that a training held out.
        seeds: Each draws the data, the validation images and the weights of one training of every variant.
        train: Variant -> its options of `elmgan train`.
        options: Options of `elmgan train` that all variants share.
        unchanged: Models that are scored as they are.
    """

    data: str
    seeds: tuple[int, ...]
    train: dict[str, str]
    options: str = ""
    unchanged: tuple[str, ...] = ()

    def runs(self) -> dict[str, list[str]]:
        """Give the folders of each row's results: one per seed, or a single one of an unchanged model."""
        trained = {variant: [f"{variant}-{seed}" for seed in self.seeds] for variant in self.train}
        return trained | {f"{model}, unchanged": [model] for model in self.unchanged}


def read_experiment(folder: Path) -> Experiment:
    """Read the experiment.yaml of a folder."""
    return Experiment.model_validate(yaml.safe_load((folder / "experiment.yaml").read_text(encoding="utf-8")))


def read_results(folder: Path) -> dict[str, list[Metrics]]:
    """Read what came out of an experiment so far, by row; rows without any result are left out."""
    found = {
        row: [
            Metrics.model_validate_json(path.read_bytes()) for run in runs if (path := folder / run / METRICS).exists()
        ]
        for row, runs in read_experiment(folder).runs().items()
    }
    return {row: metrics for row, metrics in found.items() if metrics}


def draw(folder: Path) -> str:
    """Draw the results of an experiment in Markdown: for each kind of images the models, and the baseline last."""
    results = read_results(folder)
    if not results:
        return "Not run yet.\n"
    first = next(iter(results.values()))
    scores = [name for name in SHOWN if name in first[0].kinds["all"].model]
    rows = [["images of", "images", "mean count", "model", "runs", *(SCORES[name].heading for name in scores)]]
    rows.append(["---"] * len(rows[0]))
    for kind, of_all in first[0].kinds.items():
        data = [kind, str(of_all.images), f"{of_all.mean_count:.1f}"]
        for row, metrics in results.items():
            found = [run.kinds[kind].model for run in metrics]
            rows.append([*data, row, str(len(found)), *(spread(name, found) for name in scores)])
            data = ["", "", ""]
        found = [run.kinds[kind].baseline for run in first]
        rows.append([*data, BASELINE, "", *(spread(name, found) for name in scores)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def spread(score: str, runs: list[dict[str, Value]]) -> str:
    """Write a score of several runs: their mean and, where they differ, the standard deviation of one run."""
    values = [run[score].value for run in runs if score in run]
    if not values:
        return ""
    style = SCORES[score].format
    deviation = f" ± {stdev(values):{style.removeprefix('+')}}" if len(set(values)) > 1 else ""
    return f"{mean(values):{style}}{deviation}"


def fill(page: str, experiments: Path = EXPERIMENTS) -> str:
    """Put the tables of experiments into their places on a page."""
    return PLACE.sub(lambda place: f"{place[1]}\n{draw(experiments / place[2])}\n{place[3]}", page)


def main() -> None:
    """Draw the page anew."""
    write_text(PAGE, fill(PAGE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
