"""Draw the tables of docs/recipe.md anew, from the results that are kept in experiments/.

    python experiments/table.py

The page has `<!-- table of NAME -->` before each table and `<!-- end of table -->` after it; NAME is a folder with an
experiment.yaml, or one of DRAWN, which have scripts of their own.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev

import yaml

from elmgan.files import write_text
from elmgan.scores import BASELINE, SCORES, Metrics, Value
from elmgan.strict import Strict
from elmgan.work import METRICS

EXPERIMENTS = Path(__file__).parent
PAGE = EXPERIMENTS.parent / "docs" / "recipe.md"
PLACE = re.compile(r"(<!-- table of (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
SHOWN = ("mae", "bias", "dice", "ap50")

SEPARATED = "separated by shape and count map"
OF_MODEL, OF_TRUTH = "masks of the model", "true masks"
WAYS = {
    "connected parts of the mask": (OF_MODEL, "components"),
    "plain watershed": (OF_MODEL, "plain watershed"),
    "separated by shape": (OF_MODEL, "by shape"),
    SEPARATED: (OF_MODEL, "program"),
    "true masks, connected parts": (OF_TRUTH, "components"),
    "true masks, plain watershed": (OF_TRUTH, "plain watershed"),
    "true masks, separated by shape": (OF_TRUTH, "program"),
}
"""Row of the table of separation.py -> where its scores are."""


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
    columns = ["images of", "images", "mean count", "model", "runs", *(SCORES[name].heading for name in scores)]
    rows = []
    for kind, of_all in first[0].kinds.items():
        data = [kind, str(of_all.images), "" if of_all.mean_count is None else f"{of_all.mean_count:.1f}"]
        for row, metrics in results.items():
            found = [run.kinds[kind].model for run in metrics]
            rows.append([*data, row, str(len(found)), *(spread(name, found) for name in scores)])
            data = ["", "", ""]
        found = [run.kinds[kind].baseline for run in first]
        rows.append([*data, BASELINE, "", *(spread(name, found) for name in scores)])
    return markdown(columns, rows)


def draw_separation(experiments: Path) -> str:
    """Draw the AP50 of each way to tell cells apart, and the time of those that were timed."""
    found = json.loads((experiments / "separation" / METRICS).read_bytes())
    groups = {"bbbc039": "bbbc039", "fluorescence": "dsb2018, fluorescence", "other": "dsb2018, others"}
    times = dict.fromkeys(WAYS, "")
    for row, (median, low, high) in found["milliseconds of a core"]["median and quartiles of a call"].items():
        if row not in times:
            raise ValueError(f"{row} was timed, and has no row in the table")
        times[row] = f"{median:.0f} ({low:.0f} to {high:.0f})"
    rows = []
    for row, (masks, way) in WAYS.items():
        scores = found[masks][way]
        ap50 = scores.get("ap50", scores)
        rows.append([row, *(f"{ap50[group]:.3f}" for group in groups), times[row]])
    return markdown(["", *groups.values(), "ms of a core"], rows)


def draw_layers(experiments: Path) -> str:
    """Draw the size of each layer, and its time with either mask head."""
    fold, detail = (
        {part["part"]: part for part in json.loads((experiments / f"layers-{head}.json").read_bytes())["parts"]}
        for head in ("fold", "detail")
    )
    rows = [
        [
            name,
            f"{part['parameters']:,}",
            f"{part['multiply_adds'] / 1e6:.1f}",
            f"{part['megabytes']:.2f}",
            f"{part['milliseconds']:.2f}",
            f"{detail[name]['milliseconds']:.2f}",
        ]
        for name, part in fold.items()
    ]
    columns = ["part", "parameters", "million multiply-adds", "outputs, MB", "ms, `fold`", "ms, `detail`"]
    return markdown(columns, rows)


DRAWN: dict[str, Callable[[Path], str]] = {"separation": draw_separation, "layers": draw_layers}


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (columns, ["---"] * len(columns), *rows))


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

    def drawn(name: str) -> str:
        return DRAWN[name](experiments) if name in DRAWN else draw(experiments / name)

    return PLACE.sub(lambda place: f"{place[1]}\n{drawn(place[2])}\n{place[3]}", page)


def main() -> None:
    """Draw the page anew."""
    write_text(PAGE, fill(PAGE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
