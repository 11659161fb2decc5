"""What the commands print of models."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from elmgan.apps.terminal import console, tell
from elmgan.counting import Model
from elmgan.engines import open_engine
from elmgan.models import Bundle, shortcoming


def print_models(bundles: Sequence[Bundle]) -> None:
    """Print the list of shipped models."""
    table = Table("model", "what it is for", "size", "made", box=SIMPLE_HEAD)
    for bundle in bundles:
        size = f"{len(bundle.onnx) / 1e6:.1f} MB"
        table.add_row(bundle.version, bundle.card.description, size, bundle.card.created[:10])
    terminal = console()
    terminal.print(table if bundles else "no models are shipped with this installation")
    if bundles:
        terminal.out(f"they run on {open_engine(bundles[0]).runtime}; --engine and --precision choose otherwise")


def print_card(bundle: Bundle) -> None:
    """Print what is known of one model."""
    card, terminal = bundle.card, console()
    architecture, calibration = card.architecture, card.calibration
    facts = {
        "model": bundle.version,
        **({"for": card.description} if card.description else {}),
        "made": f"{card.created} with elmgan {card.elmgan}, seed {card.seed}",
        "learned": shortcoming(card.learned) or "masks and counts",
        "network": ", ".join(f"{name} {value}" for name, value in architecture if value is not None),
        "tiles": "yes, images of any size" if architecture.tiles else "no, the whole image at once",
        "normalisation": ", ".join(f"{name} {value:g}" for name, value in card.normalisation),
        "threshold": f"cell from a probability of {card.threshold:g}",
        "calibration": "none: counts have no interval" if calibration is None else calibration.correction,
        "view": card.view.told or "the default" if card.view else "the default",
        "size": f"{len(bundle.onnx) / 1e6:.1f} MB",
        "runs on": f"{open_engine(bundle).runtime}; --engine and --precision choose otherwise",
    }
    if calibration is not None:
        facts["interval"] = calibration.promise
    if diameters := card.training.get("diameter"):
        facts["cells"] = "{:.0f} to {:.0f} pixels across in the training images".format(*diameters)
    table = Table(box=None, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    for name, value in facts.items():
        table.add_row(name, value)
    terminal.print(table)

    data = Table("made from", "licence", "images", box=SIMPLE_HEAD)
    for source in card.data:
        data.add_row(source.name, source.licence, str(source.images))
    names = list(dict.fromkeys(name for scores in card.scores.values() for name in scores))
    scores = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    scores.add_column("scored on", overflow="fold")  # in a narrow window names break, never numbers
    rows = [[f"{values[name]:.3g}" if name in values else "" for name in names] for values in card.scores.values()]
    for name, *column in zip(names, *rows, strict=True):
        words = name.split("_")
        scores.add_column(" ".join(words), justify="right", min_width=max(map(len, (*words, *column))))
    for name, row in zip(card.scores, rows, strict=True):
        scores.add_row(name, *row)
    for part in (data, scores):
        if part.row_count:
            terminal.print(part)


def tell_shortcoming(model: Model, quiet: bool) -> None:
    """Print what a model lacks that learned masks or counts alone; to standard error, beside lines of JSON."""
    lacks = shortcoming(model.card.learned)
    if lacks and not quiet:
        tell(lacks, debug=False)
