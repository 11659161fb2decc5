"""The accuracy benchmark in small: folds, arms, interruption, what is there and what is missing, verdicts."""

import copy
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from elmgan.apps.cli import app
from elmgan.benchmark import timing
from elmgan.benchmark.accuracy import (
    RUNS,
    Accuracy,
    AccuracyMeasured,
    ImageScored,
    OnDrawn,
    Run,
    Setting,
    as_picture,
    as_text,
    config_of,
    measure_missing,
    read_accuracy,
    runs_of,
    setting_of,
    used_of,
)
from elmgan.benchmark.accuracy_page import CAPTION, masks_side_by_side
from elmgan.benchmark.arms import ARMS, FULL, OTSU, chosen_arms, reference
from elmgan.benchmark.comparison import compare_arms
from elmgan.benchmark.folds import folds_of, sides_of
from elmgan.benchmark.timing import Conditions
from elmgan.benchmark.verdicts import BETTER, COORDINATES, EXCELLENT, REFINES, verdicts
from elmgan.data import Example, Record, read_data_set
from elmgan.errors import DataError, TrainingError, UsageError
from elmgan.holding import held
from elmgan.images import read_image
from elmgan.training.feed import Draw, Feed
from elmgan.training.trainer import Trainer
from public_data import write_bbbc005

TINY = Setting(name="reduced", scale=1, width=2, epochs=2, steps=2)
CONDITIONS = Conditions(
    command="elmgan benchmark accuracy",
    started="2026-01-01T00:00:00+00:00",
    versions={},
    machine={"processor": "abacus", "cores": 2, "memory": None, "platform": "Linux"},
    threads=1,
    load=None,
    rounds=1,
    block=0,
)


@pytest.fixture(autouse=True)
def no_look_at_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "LOOKED", 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("accuracy") / "bbbc005"
    write_bbbc005(folder)
    return folder


def elmgan(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner(env={"COLUMNS": "250"}).invoke(app, [str(argument) for argument in arguments])


def record(name: str, group: str, count: float) -> Record:
    return Record(name, Path(name), Path(name), None, count, group, "")


@pytest.mark.parametrize(("groups", "folds"), [(144, 5), (7, 5), (9, 2)])
def test_folds_do_not_leak(groups: int, folds: int) -> None:
    records = [record(f"{k}_{stain}", str(k), k // 6) for k in range(groups) for stain in (1, 2)]
    dealt = folds_of(records, folds)
    assert set.union(*dealt) == {str(k) for k in range(groups)}
    assert sum(map(len, dealt)) == groups
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    for fold in range(1, folds + 1):
        for inner in (False, True):
            sides = sides_of(records, fold, folds, inner=inner)
            trained, scored = ({record.group for record in side} for side in (sides.train, sides.test))
            assert trained
            assert scored
            assert not trained & scored
            assert not sides.validation + sides.calibration
            if inner:
                assert not (trained | scored) & dealt[fold - 1]


def test_folds_have_every_count() -> None:
    """As many sites of every count as can be: of six sites one or two in each of five folds."""
    records = [record(f"{column}_{site}", f"{column}_{site}", column) for column in range(24) for site in range(6)]
    for fold in folds_of(records, 5):
        columns = [name.split("_")[0] for name in fold]
        assert {columns.count(column) for column in set(columns)} <= {1, 2}
        assert len(set(columns)) == 24
    with pytest.raises(DataError, match="3 groups of images cannot be dealt to 5 folds"):
        folds_of(records[:3], 5)


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Write nested values with keys such as loss.count."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return found


@pytest.mark.parametrize("name", [name for name, arm in ARMS.items() if arm.learns])
def test_an_arm_changes_what_it_says_and_sees_the_same_windows(name: str) -> None:
    arm, other = ARMS[name], reference(ARMS[name])
    ours, theirs = (flat(config_of(each, TINY, 7).model_dump(mode="json")) for each in (arm, other))
    differing = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)} - {"name"}
    said = {setting.partition("=")[0] for setting in arm.settings if setting not in other.settings}
    assert all(any(key.startswith(each) for each in said) for key in differing)
    assert all(any(key.startswith(each) for key in differing) for each in said)
    assert differing or arm is other or arm.build is not other.build

    def planned(of: str) -> list[list[list[tuple[str, float | None, int]]]]:
        def told(draw: Draw) -> tuple[str, float | None, int]:
            return str(draw.example), draw.zoom, draw.seed

        images = [Example(str(k), "", np.zeros((64, 72), np.float32), None, None, 1.0) for k in range(5)]
        plan = Feed(config_of(ARMS[of], TINY, 7), images, []).plan(np.random.default_rng([7, 0]))
        return [[[told(draw) for draw in draws] for draws in step] for step in plan]

    assert planned(name) == planned(FULL)


def test_weights_of_what_is_off_are_no_setting() -> None:
    alone, full = (config_of(ARMS[name], TINY, 7).model_dump(mode="json") for name in ("no-discriminator", "full"))
    for config, other in ((alone, used_of(alone)), (full, used_of(full))):
        changed = copy.deepcopy(config)
        changed["loss"]["coordination"] = 5
        assert (used_of(changed) == other) == (config is alone)
        changed["loss"]["count"] = 5
        assert used_of(changed) != other


def test_arms_are_chosen_by_name() -> None:
    assert [arm.name for arm in chosen_arms(["unet", "full", "unet"])] == ["unet", "full"]
    assert not any(arm.grid for arm in chosen_arms(None))
    grid = [arm.name for arm in ARMS.values() if arm.grid]
    assert [arm.name for arm in chosen_arms(["otsu", "grid"])] == ["otsu", *grid]
    with pytest.raises(UsageError, match="--arms has magic; there are: grid, full, no-discriminator"):
        chosen_arms(["full", "magic"])
    assert runs_of([ARMS[FULL], ARMS[OTSU]], [1, 2], [3, 4]) == [
        *(Run("full", fold, seed) for fold in (1, 2) for seed in (3, 4)),
        *(Run("otsu", fold, 0) for fold in (1, 2)),
    ]


def content(measured: AccuracyMeasured | None) -> dict[str, Any]:
    """What of a run does not depend on when it was made."""
    assert measured is not None
    return measured.model_dump(exclude={"conditions", "seconds"})


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(FULL, 1, 1)
    whole = Accuracy(data, tmp_path / "whole", TINY, [run]).measure(run)

    pieces = Accuracy(data, tmp_path / "pieces", TINY, [run])
    assert pieces.measure(run, until=time.monotonic()) is None  # time is over: after an epoch it stops
    assert not pieces.path(run).exists()
    assert pieces.missing == [run]
    again = Accuracy(data, tmp_path / "pieces", TINY, [run])  # as another process would
    assert content(again.measure(run)) == content(whole)

    # Killed after the last epoch, before the file was written: nothing is trained again.
    killed = Accuracy(data, tmp_path / "killed", TINY, [run])
    with monkeypatch.context() as patch:
        patch.setattr(AccuracyMeasured, "write", lambda self, path: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            killed.measure(run)
    curves = (killed.folder(run) / "curves.csv").read_bytes()
    assert content(killed.measure(run)) == content(whole)
    assert (killed.folder(run) / "curves.csv").read_bytes() == curves
    assert not list(killed.folder(run).glob("*.pt"))  # the large files go when the run is done
    assert content(read_accuracy(killed.path(run))) == content(whole)


def test_ctrl_c_ends_the_benchmark_and_keeps_the_epoch(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_epoch = Trainer.one_epoch

    def interrupted(self: Trainer, show: Any) -> dict[str, float]:
        if self.epoch == 1:
            raise KeyboardInterrupt
        return one_epoch(self, show)

    runs = [Run(FULL, 1, 1), Run(OTSU, 1, 0)]
    benchmark = Accuracy(data, tmp_path, TINY, runs)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "one_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            measure_missing(benchmark)
    assert benchmark.missing == runs
    assert (benchmark.folder(runs[0]) / "last.pt").exists()
    assert measure_missing(benchmark) == []
    assert benchmark.missing == []


def test_another_seed_adds_to_what_is_there(data: Path, tmp_path: Path) -> None:
    first, second = Run(FULL, 1, 1), Run(FULL, 1, 2)
    measure_missing(Accuracy(data, tmp_path, TINY, [first]))
    before = (tmp_path / "full-1-1.json").read_bytes()
    both = Accuracy(data, tmp_path, TINY, [first, second])
    assert both.missing == [second]
    measure_missing(both)
    assert (tmp_path / "full-1-1.json").read_bytes() == before
    assert content(both.there[first])["rows"] != content(both.there[second])["rows"]
    assert {path.name for path in tmp_path.iterdir()} == {"full-1-1.json", "full-1-2.json", RUNS}

    # Other settings or other data are never mixed in.
    with pytest.raises(UsageError, match=r"full-1-1.json was measured with another setting: name another folder"):
        Accuracy(data, tmp_path, TINY.model_copy(update={"width": 4}), [first])
    fewer = tmp_path / "fewer"
    write_bbbc005(fewer)
    for path in fewer.glob("*/*_A01_*_s01_*"):
        path.unlink()
    with pytest.raises(UsageError, match="measured with another data"):
        Accuracy(fewer, tmp_path, TINY, [first])
    (tmp_path / "full-1-1.json").write_text("{}")
    with pytest.raises(DataError, match=r"full-1-1.json is no run of elmgan benchmark accuracy \(Field required\)"):
        Accuracy(data, tmp_path, TINY, [first])


def test_what_is_held_out_does_not_train(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []
    fit = Trainer.fit

    def watched(self: Trainer) -> None:
        trained.extend(example.name for example in self.material.train + self.material.validation)
        fit(self)

    monkeypatch.setattr(Trainer, "fit", watched)
    run = Run(FULL, 2, 1)
    benchmark = Accuracy(data, tmp_path, TINY, [run])
    measured = benchmark.measure(run)
    assert measured is not None
    groups = {record.name: record.group for record in read_data_set(data)}
    assert not {groups[name] for name in trained} & {row.group for row in measured.rows}
    assert {row.kind for row in measured.rows} == {"w1", "w2"}
    assert len(benchmark.records) == 18  # the images without a mask are left out


def test_a_run_that_fails_or_is_made_elsewhere_does_not_stop_the_others(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    runs = [Run(FULL, 1, 1), Run("no-count", 1, 1), Run(OTSU, 1, 0)]
    benchmark = Accuracy(data, tmp_path, TINY, runs, tell=lines.append)
    train = Accuracy.train

    def fails(self: Accuracy, run: Run, *others: Any) -> Any:
        if run.arm == "no-count":
            raise TrainingError("the loss is not finite (count)")
        return train(self, run, *others)

    monkeypatch.setattr(Accuracy, "train", fails)
    with held(benchmark.folder(runs[0])):
        assert measure_missing(benchmark) == ["no-count-1-1: the loss is not finite (count)"]
    assert benchmark.missing == runs[:2]
    assert any(line.startswith("full-1-1 is left out: ") and "being written to by process" in line for line in lines)


def test_what_another_process_makes_meanwhile_is_not_made_again(data: Path, tmp_path: Path) -> None:
    runs = [Run(OTSU, 1, 0), Run(OTSU, 2, 0)]
    first, second = (Accuracy(data, tmp_path, TINY, runs) for _ in range(2))
    begun: list[Run] = []
    assert second.measure(runs[1]) is not None
    assert measure_missing(first, watch=begun.append) == []
    assert begun == runs[:1]
    assert not first.missing


def test_the_command_makes_what_is_missing_and_draws_the_page(data: Path, tmp_path: Path) -> None:
    arms = "full,no-count,count-map,bilinear,unet,pix2pix,otsu,grid-full,grid-late"
    small = (
        data,
        "-o",
        tmp_path / "out",
        "--arms",
        arms,
        "--steps",
        2,
        "--width",
        2,
        "--seeds",
        "1",
        "--device",
        "cpu",
    )
    done = elmgan("benchmark", "accuracy", *small, "--budget", 0)
    assert done.exit_code == 0, done.stderr
    for told in (
        "9 runs are missing",
        "the reduced setting as a whole: 46 runs",
        "the full setting as a whole: 230 runs",
    ):
        assert told in done.stderr
    assert "missing: full-1-1, no-count-1-1" in done.stdout
    assert not (tmp_path / "out").exists()

    done = elmgan("benchmark", "accuracy", *small)
    assert done.exit_code == 0, done.stderr
    assert "pix2pix-1-1, 4 to go" in done.stderr
    assert "missing" not in done.stdout
    written = sorted((tmp_path / "out").glob("*.json"))
    assert [path.stem for path in written] == sorted(f"{arm}-1-{int(arm != 'otsu')}" for arm in arms.split(","))

    done = elmgan("benchmark", "accuracy", *small, "--json")
    assert done.exit_code == 0, done.stderr
    assert "missing" not in done.stderr  # nothing was left to do, or to say
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert [run["arm"] for run in runs] == arms.split(",")
    assert all(run["there"] for run in runs)
    by_arm = {run["arm"]: run["scores"] for run in runs}
    assert "mae" not in by_arm["no-count"]
    assert {"mae", "rmse", "relative_error", "r2", "bias", "dice", "iou", "psnr", "ssim"} <= by_arm["full"].keys()

    done = elmgan("benchmark", "report", *written, "-o", tmp_path / "page" / "results.md")
    assert done.exit_code == 0, done.stderr
    page = (tmp_path / "page" / "results.md").read_text(encoding="utf-8")
    key = setting_of(False, steps=2, width=2).key
    assert key == "reduced-2-steps-width-2"
    for name in ("dice.svg", "mae.svg", "masks.png"):
        assert f"(results-accuracy-{key}-{name})" in page
        assert (tmp_path / "page" / f"results-accuracy-{key}-{name}").exists()
    assert "not run: no-discriminator, " in page
    assert "the grid on training images alone" in page
    assert "cannot be told from this" in page  # there is one seed alone
    picture = read_image(tmp_path / "page" / f"results-accuracy-{key}-masks.png")
    assert picture.shape[0] == 3 * (29 + CAPTION)  # three rows: image, truth, and seven arms


def test_faults_are_told_in_a_line(data: Path, tmp_path: Path) -> None:
    for arguments, told in [
        ((data, "--arms", "magic"), "--arms has magic"),
        ((data, "--folds", "6"), "--folds has 6; the data set is dealt to folds 1 to 5"),
        ((data, "--seeds", "one"), "--seeds is one; expected numbers from 1"),
        ((data, "--seeds", "0"), "--seeds is 0; expected numbers from 1"),
        ((tmp_path / "none",), "none is no folder"),
    ]:
        done = elmgan("benchmark", "accuracy", *arguments, "-o", tmp_path / "out", "--device", "cpu")
        assert (done.exit_code, done.stdout) == (2, "")
        assert told in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


GROUPS = 10


def made(arm: str, seed: int, dice: float, error: float = 0.0, *, fold: int = 1) -> AccuracyMeasured:
    """A run whose images have a Dice around a value, and counts off by around an error."""
    rows = tuple(
        ImageScored(
            image=f"{k}_{stain}",
            kind=stain,
            group=str(k),
            truth=10.0 * k,
            estimate=10.0 * k + error + 0.1 * (k % 3),
            dice=dice + 0.001 * k,
            iou=dice,
            psnr=20.0,
            ssim=dice,
        )
        for k in range(GROUPS)
        for stain in ("w1", "w2")
    )
    mask = np.zeros((20, 30), bool)
    mask[5:10, 5:10] = True
    extra = {"image": as_text(np.full((20, 30), 90, np.uint8)), "true_mask": as_text(mask)} if arm == OTSU else {}
    return AccuracyMeasured(
        conditions=CONDITIONS,
        arm=arm,
        fold=fold,
        seed=seed,
        setting=TINY,
        data="",
        config={},
        parameters=1,
        trained=5,
        seconds=60,
        drawn=OnDrawn(truth=1, estimate=2.0, mask=as_text(mask), **extra),
        rows=rows,
    )


def judged(claim: str, *runs: AccuracyMeasured) -> dict[str, str]:
    """The verdicts on a claim: the score -> what is said, of the reduced setting."""
    found = verdicts({f"{run.run.name}": run for run in runs})
    return {
        verdict.measured.split()[0]: verdict.verdict.removesuffix(f" in the {TINY.told}")
        for verdict in found
        if verdict.claim == claim
    }


@pytest.mark.parametrize(
    ("dices", "verdict"),
    [
        ([0.80, 0.81, 0.82], "holds"),
        ([0.95, 0.96, 0.97], "does not hold"),
        ([0.80, 0.91, 0.82], "cannot be told from this"),  # another seed says otherwise
        ([0.80, 0.81], "cannot be told from this"),  # too few seeds
        ([0.90, 0.90, 0.90], "cannot be told from this"),  # no difference at all
    ],
)
def test_a_claim_is_judged_by_interval_and_seeds(dices: list[float], verdict: str) -> None:
    ours = [made(FULL, seed, 0.9) for seed in (1, 2, 3)]
    theirs = [made("unet", seed, dice) for seed, dice in enumerate(dices, start=1)]
    assert judged(BETTER, *ours, *theirs) == {"Dice": verdict, "SSIM": verdict}


def test_fewer_errors_are_better() -> None:
    ours = [made(FULL, seed, 0.9, error=1) for seed in (1, 2, 3)]
    theirs = [made("l2-alone", seed, 0.95, error=3) for seed in (1, 2, 3)]
    assert judged(COORDINATES, *ours, *theirs) == {"MAE": "holds", "Dice": "does not hold"}
    (open_still,) = (each for each in verdicts({run.run.name: run for run in ours}) if each.claim == REFINES)
    assert open_still.verdict == "not measured"


def test_excellent_is_a_number_and_better_than_nothing_learned() -> None:
    good = [made(FULL, seed, 0.97, error=1) for seed in (1, 2, 3)]
    assert judged(EXCELLENT, *good) == {"R²": "holds", "Dice": "holds"}
    assert judged(EXCELLENT, *good[:2]) == {"R²": "cannot be told from this", "Dice": "cannot be told from this"}
    poor = [made(FULL, seed, 0.5, error=40) for seed in (1, 2, 3)]
    found = verdicts({run.run.name: run for run in [*poor, made(OTSU, 0, 0.9, error=1)]})
    assert [each.verdict for each in found if each.claim == EXCELLENT] == [f"does not hold in the {TINY.told}"] * 4


def test_runs_are_compared_on_the_same_folds_and_seeds() -> None:
    ours = [made(FULL, seed, 0.9, fold=fold) for fold in (1, 2) for seed in (1, 2, 3)]
    theirs = [made("l2", seed, 0.8, fold=1) for seed in (2, 3, 4)] + [made("l2", 2, 0.8, fold=2)]
    compared = compare_arms([*ours, *theirs, made(OTSU, 0, 0.7)])
    assert (compared["l2"].folds, compared["l2"].seeds) == ((1,), (2, 3))
    assert (compared[OTSU].folds, compared[OTSU].seeds) == ((1,), (1, 2, 3))
    assert compared["l2"].found["dice"].value == pytest.approx(-0.1)
    assert compare_arms(theirs) == {}


def test_pictures_come_back_as_they_were() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (12, 17), np.uint8)
    assert np.array_equal(as_picture(as_text(picture)), picture)
    assert np.array_equal(as_picture(as_text(picture > 100)) > 0, picture > 100)
    with pytest.raises(DataError, match="picture of the drawn image is damaged"):
        as_picture("bm8gcGljdHVyZQ==")
    side_by_side = masks_side_by_side([made(FULL, 1, 0.9), made(OTSU, 0, 0.8)])
    assert {0, 90, 255} <= set(np.unique(side_by_side))


def test_the_rate_is_that_of_training(data: Path, tmp_path: Path) -> None:
    benchmark = Accuracy(data, tmp_path, TINY, [Run(FULL, 1, 1)])
    work = {arm.name: benchmark.work(arm, TINY) for arm in chosen_arms(None)}
    assert 0 < benchmark.rate() < 1e15
    assert work["no-discriminator"].multiply_adds < work["full"].multiply_adds < work["unet"].multiply_adds
    assert work["otsu"].multiply_adds == 0
    counts: dict[str, int] = defaultdict(int)
    for arm in chosen_arms(None):
        if arm.learns:
            architecture = config_of(arm, TINY, 0).architecture.model_copy(
                update={"size": None if arm.name == "count-map" else (64, 128)}
            )
            counts[arm.name] = sum(parameter.numel() for parameter in arm.build(architecture).parameters())
    assert {name: each.parameters for name, each in work.items() if each.parameters} == counts
