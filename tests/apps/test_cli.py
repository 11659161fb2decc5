import csv
import errno
import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from markupsafe import escape
from typer.testing import CliRunner, Result

from bundles import squares, write_tiny
from elmgan import __version__
from elmgan.apps.cli import app, main
from elmgan.apps.results import ROWS_SHOWN
from elmgan.apps.terminal import command_line
from elmgan.counting import Model, Row
from elmgan.errors import ModelError
from elmgan.images import Plane, write_mask, write_png
from elmgan.images.source import CONVERT
from elmgan.models import Bundle, read_bundle, shipped


def elmgan(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny(tmp_path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with 1.tif, 2.tif and 3.tif, which show as many squares."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (1, 2, 3):
        tifffile.imwrite(folder / f"{number}.tif", squares(number))
    return folder


def counts(out: Path) -> dict[str, str]:
    with (out / "counts.csv").open(newline="") as file:
        return {row["image"]: row["count"] for row in csv.DictReader(file)}


def test_count_writes_the_folder_and_says_so(tmp_path: Path, model: Path, images: Path) -> None:
    out = tmp_path / "out"
    done = elmgan("count", images, "-o", out, "--model", model, "--labels", "--overlays")
    assert done.exit_code == 0
    assert counts(out) == {"1.tif": "1", "2.tif": "2", "3.tif": "3"}
    assert "3 images" in done.stdout
    for path in out.iterdir():
        assert f"wrote {path}" in done.stdout
    assert done.stderr == ""
    assert "\x1b" not in done.stdout  # no colours, no bar


def test_count_at_another_scale(tmp_path: Path, model: Path, images: Path) -> None:
    for path in images.iterdir():
        tifffile.imwrite(path, np.kron(tifffile.imread(path), np.ones((2, 2), np.uint16)))
    out = tmp_path / "out"
    assert elmgan("count", images, "-o", out, "--model", model, "--scale", "0.5").exit_code == 0
    assert counts(out) == {"1.tif": "1", "2.tif": "2", "3.tif": "3"}
    assert tifffile.imread(out / "masks" / "1.tif").shape == tifffile.imread(images / "1.tif").shape
    record = json.loads((out / "run.json").read_text())
    assert record["view"]["scale"] == 0.5
    assert record["command"] == command_line()
    assert str(escape(command_line())) in (out / "report.html").read_text()


def test_count_prints_json_lines(tmp_path: Path, model: Path, images: Path) -> None:
    (images / "4.tif").write_text("not an image")
    done = elmgan("count", images, "-o", tmp_path / "out", "--model", model, "--json")
    assert done.exit_code == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["image"] for line in lines] == ["1.tif", "2.tif", "3.tif", "4.tif"]
    assert set(lines[0]) == set(Row.model_fields)
    assert (lines[0]["count"], lines[0]["low"], lines[0]["flags"]) == (1, None, [])
    assert set(lines[3]) == {"image", "error"}


def test_quiet_prints_errors_only(tmp_path: Path, model: Path, images: Path) -> None:
    command = ("count", images, "-o", tmp_path / "out", "--model", model, "--quiet")
    assert elmgan(*command).output == ""
    (images / "4.tif").write_text("not an image")
    done = elmgan(*command)
    assert (done.exit_code, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("4.tif: is not an image of a kind")


def test_a_long_table_is_cut(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(ROWS_SHOWN + 2):
        tifffile.imwrite(folder / f"[b]{number}.tif", np.zeros((8, 8), np.uint8))
    done = elmgan("count", folder, "-o", tmp_path / "out", "--model", model)
    assert f"[b]{ROWS_SHOWN - 1}.tif" in done.stdout  # not taken for markup
    assert f"[b]{ROWS_SHOWN}.tif" not in done.stdout
    assert "... and 2 more in counts.csv" in done.stdout


def assert_one_line_error(done: Result, code: int, told: str) -> None:
    assert done.exit_code == code
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage_is_told_before_anything_is_counted(tmp_path: Path, model: Path, images: Path) -> None:
    out, empty, file = tmp_path / "out", tmp_path / "empty", tmp_path / "notes.txt"
    empty.mkdir()
    file.write_text("notes")
    newer = json.loads((model / "model.json").read_text()) | {"format": 3}
    for paths, options, told in [
        ([tmp_path / "absent"], ["-o", out, "--model", model], "absent does not exist; check its name and folder"),
        ([empty], ["-o", out, "--model", model], "holds no image"),
        ([images], ["-o", out, "--model", "nuclie"], "there is no model 'nuclie'"),
        ([images], ["-o", out, "--model", file], "notes.txt is not a model"),
        ([images], ["-o", out, "--model", model, "--scale", "0"], "--scale is 0; expected auto, or 0.1 to 10"),
        ([images], ["-o", file, "--model", model], f"nothing was done: {file}"),
        ([images], ["-o", file / "out", "--model", model], "nothing was done: "),
    ]:
        assert_one_line_error(elmgan("count", *paths, *options), 2, told)
    (model / "model.json").write_text(json.dumps(newer))
    assert_one_line_error(elmgan("count", images, "-o", out, "--model", model), 2, "update elmgan")
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments",
    [["count"], ["count", "a.tif"], ["count", "a.tif", "-o", "out", "--channel", "0"], ["paint"]],
)
def test_a_command_that_cannot_be_parsed(arguments: list[str]) -> None:
    assert elmgan(*arguments).exit_code == 2


def test_an_unknown_kind_of_file_fails_alone(tmp_path: Path, model: Path, images: Path) -> None:
    (images / "notes.txt").write_text("notes")
    out = tmp_path / "out"
    done = elmgan("count", images / "1.tif", images / "notes.txt", images / "3.tif", "-o", out, "--model", model)
    assert done.exit_code == 1
    assert "notes.txt" in done.stderr
    assert "1 image could not be counted; failed.csv says why" in done.stdout
    assert counts(out) == {"1.tif": "1", "3.tif": "3"}


def test_a_missing_file_fails_alone(tmp_path: Path, model: Path, images: Path) -> None:
    done = elmgan("count", images, images / "absent.tif", "-o", tmp_path / "out", "--model", model, "--quiet")
    assert_one_line_error(done, 1, "absent.tif: does not exist; check its name and folder\n")
    assert counts(tmp_path / "out") == {"1.tif": "1", "2.tif": "2", "3.tif": "3"}


@pytest.mark.parametrize("options", [["--quiet"], [], ["--json"]])
def test_on_a_terminal_lines_stand_alone(tmp_path: Path, model: Path, images: Path, options: list[str]) -> None:
    (images / "4.tif").write_text("not an image")
    command = [sys.executable, "-m", "elmgan", "count", str(images), "-o", str(tmp_path / "out"), "--model", str(model)]
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm"}
    with subprocess.Popen([*command, *options], stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        shown = b""
        with suppress(OSError):  # Linux's word for the end
            while part := os.read(leader, 1024):
                shown += part
    os.close(leader)
    assert process.returncode == 1
    assert ("counting" in shown.decode()) == (options != ["--quiet"])
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()))
    assert f"4.tif: is not an image of a kind that is read, whatever its name says; {CONVERT}" in lines
    if options == ["--json"]:
        assert [json.loads(line)["image"] for line in lines if "{" in line] == [
            f"{number}.tif" for number in (1, 2, 3, 4)
        ]


def test_ctrl_c_is_heeded_where_a_shell_had_it_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {ending: signal.getsignal(ending) for ending in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr("elmgan.apps.cli.app", lambda: signal.raise_signal(signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt):
            main()
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)


def test_being_terminated_is_like_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("elmgan.apps.cli.app", lambda: signal.raise_signal(signal.SIGTERM))
    try:
        with pytest.raises(KeyboardInterrupt):
            main()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_debug_shows_where(tmp_path: Path, model: Path, images: Path) -> None:
    (images / "4.tif").write_text("not an image")
    done = elmgan("count", images, "-o", tmp_path / "out", "--model", model, "--debug")
    assert done.exit_code == 1
    assert "Traceback" in done.stderr
    assert "open_image" in done.stderr
    assert "Traceback" in elmgan("info", tmp_path / "absent", "--debug").stderr


def test_ctrl_c_and_resume(tmp_path: Path, model: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = Model.count

    def interrupted_at_the_third(self: Model, plane: Plane, **options: Any) -> object:
        result = count(self, plane, **options)
        if result.count == 3:
            raise KeyboardInterrupt
        return result

    command = ("count", images, "-o", tmp_path / "out", "--model", model)
    with monkeypatch.context() as patch:
        patch.setattr(Model, "count", interrupted_at_the_third)
        done = elmgan(*command)
    assert_one_line_error(done, 130, "the same command with --resume")
    assert counts(tmp_path / "out") == {"1.tif": "1", "2.tif": "2"}
    assert elmgan(*command, "--resume").exit_code == 0
    assert counts(tmp_path / "out") == {"1.tif": "1", "2.tif": "2", "3.tif": "3"}


def test_a_full_disk_is_told(tmp_path: Path, model: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def full_for_masks(self: Path, target: Path) -> Path:
        if target.parent.name == "masks":
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full_for_masks)
    done = elmgan("count", images, "-o", tmp_path / "out", "--model", model)
    assert_one_line_error(done, 1, "No space left on device")
    assert "--resume" in done.stderr
    assert {path.name for path in (tmp_path / "out").rglob("*")} == {"counts.csv", "run.json", "masks"}


def test_an_error_of_the_program_is_told(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trip(path: Path) -> None:
        raise ZeroDivisionError("over\nthe edge")

    monkeypatch.setattr("elmgan.apps.cli.read_bundle", trip)
    assert_one_line_error(elmgan("info", model), 1, "unexpected ZeroDivisionError: over the edge")


def test_info_tells_of_a_network_that_cannot_be_loaded(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(bundle: Bundle) -> None:
        raise ModelError("model.onnx maps image to elsewhere")

    for module in ("cli", "models"):
        monkeypatch.setattr(f"elmgan.apps.{module}.open_engine", refuse)
    for options in ((), ("--json",)):
        assert_one_line_error(elmgan("info", model, *options), 2, "maps image to elsewhere")


def test_info_tells_what_is_known_of_a_model(model: Path) -> None:
    card = read_bundle(model).card
    done = elmgan("info", model)
    assert done.exit_code == 0
    for told in ("tiny@", card.description, "CC0-1.0", "batch", "noise_span", "squares", "mae"):
        assert told in done.stdout
    told = json.loads(elmgan("info", model, "--json").stdout)
    assert told["version"] == read_bundle(model).version
    assert told["architecture"] == card.architecture.model_dump()
    assert elmgan("info", model, "--quiet").output == ""


def test_info_tells_how_large_the_cells_were(model: Path) -> None:
    card = json.loads((model / "model.json").read_text()) | {"training": {"diameter": [8.6, 12]}}
    (model / "model.json").write_text(json.dumps(card))
    assert "9 to 12 pixels across in the training images" in elmgan("info", model).stdout


def test_info_lists_the_shipped_models() -> None:
    done = elmgan("info")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in shipped())
    assert len(elmgan("info", "--json").stdout.splitlines()) == len(shipped())


@pytest.fixture
def data(tmp_path: Path, images: Path) -> Path:
    """The images as a data set, with masks and counts."""
    folder = tmp_path / "data"
    folder.mkdir()
    images.rename(folder / "images")
    for number in (1, 2, 3):
        write_mask(folder / "masks" / f"{number}.tif", squares(number) > 1000)
    (folder / "counts.csv").write_text("image,count,kind\n1,1,few\n2,2,few\n3,3,\n")
    return folder


def test_evaluate_writes_the_folder_and_says_so(tmp_path: Path, model: Path, data: Path) -> None:
    out = tmp_path / "out"
    done = elmgan("evaluate", data, "--model", model, "-o", out)
    assert done.exit_code == 0
    assert done.stderr == ""
    for told in ("tiny@", "on 3 images", "MAE", "Dice", "95 % interval", "few", "Otsu + watershed"):
        assert told in done.stdout
    assert "AP50" not in done.stdout  # there are no labels
    for name in ("metrics.json", "images.csv", "report.html"):
        assert f"wrote {out / name}" in done.stdout
    assert elmgan("evaluate", data, "--model", model, "-o", out, "--quiet").output == ""


def damage(image: Path) -> None:
    """Spoil an image's pixels: the header is whole, so that the data set seems to be."""
    tifffile.imwrite(image, tifffile.imread(image), compression="zlib")
    content = bytearray(image.read_bytes())
    with tifffile.TiffFile(image) as file:
        start = file.pages.first.dataoffsets[0]
    content[start + 20 : start + 60] = bytes(40)
    image.write_bytes(content)


def test_evaluate_prints_json_lines(tmp_path: Path, model: Path, data: Path) -> None:
    broken = data / "images" / "3.tif"
    damage(broken)
    done = elmgan("evaluate", data, "--model", model, "-o", tmp_path / "out", "--json", "--seed", 4)
    assert done.exit_code == 1
    assert done.stderr.startswith("3.tif: ")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert lines == [{"kind": kind} | summary for kind, summary in metrics["kinds"].items()]
    assert [(line["kind"], line["images"]) for line in lines] == [("all", 2), ("few", 2)]
    assert metrics["seed"] == 4
    told = elmgan("evaluate", data, "--model", model, "-o", tmp_path / "out")
    assert "1 image could not be scored; metrics.json says why" in told.stdout


def test_evaluate_tells_wrong_usage(tmp_path: Path, model: Path, images: Path, data: Path) -> None:
    only, out = tmp_path / "only.txt", tmp_path / "out"
    only.write_text("4.tif\n")
    for arguments, told in [
        ([tmp_path, "--model", model], "is not a data set"),
        ([data, "--model", "nuclie"], "there is no model 'nuclie'"),
        ([data, "--model", model, "--only", only], "only.txt names 1 that the data set does not have"),
    ]:
        assert_one_line_error(elmgan("evaluate", *arguments, "-o", out), 2, told)
    assert not out.exists()
    assert_one_line_error(elmgan("evaluate", data, "--model", model, "-o", only), 2, "nothing was done")


def test_calibrate_then_count(tmp_path: Path, model: Path, images: Path) -> None:
    mine, out, new = tmp_path / "mine", tmp_path / "out", tmp_path / "new"
    for k in range(20):
        (mine / "images").mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(mine / "images" / f"{k}.tif", squares(k))
    rows = [f"{k}.tif,{2 * k},field {k}" for k in range(20)]
    (mine / "counts.csv").write_text("\n".join(["image,count,group", *rows]))
    done = elmgan("calibrate", model, mine, "-o", new)
    assert (done.exit_code, done.stderr) == (0, "")
    for told in ("20 images", "tiny@", "MAE", "coverage", "counts are multiplied by 2.0", "the 90 % interval holds"):
        assert told in done.stdout
    assert f"wrote {new}" in done.stdout
    told = json.loads(elmgan("calibrate", model, mine, "-o", tmp_path / "newer", "--json").stdout)
    assert told["model"] == read_bundle(new).version != read_bundle(model).version
    assert told["after"]["mae"] < told["before"]["mae"]
    assert told["calibration"]["images"] == 20
    assert elmgan("calibrate", model, mine, "-o", tmp_path / "newest", "--quiet").output == ""

    counted = elmgan("count", images, "-o", out, "--model", new)
    assert counts(out) == {"1.tif": "2", "2.tif": "4", "3.tif": "6"}
    assert re.search(r"image +count +90 % +objects", counted.stdout)
    report = (out / "report.html").read_text(encoding="utf-8")
    assert report.count("the 90 % interval holds the true count of 90 % of images on average") == 1
    shown = re.findall(r"<b>(\d+)</b>\s*<small>(\d+) to (\d+)</small>", report)
    assert [count for count, low, high in shown if int(low) <= int(count) <= int(high)] == ["2", "4", "6"]
    line = json.loads(elmgan("count", images, "-o", out, "--model", new, "--json").stdout.splitlines()[2])
    assert 0 <= line["low"] <= line["estimate"] <= line["high"]
    assert "of the same kind as the 20 of mine" in elmgan("info", new).stdout
    assert "none: counts have no interval" in elmgan("info", model).stdout

    assert_one_line_error(elmgan("calibrate", model, mine, "-o", new), 2, "new is there already: name another with -o")
    broken = mine / "images" / "4.tif"
    damage(broken)
    done = elmgan("calibrate", model, mine, "-o", tmp_path / "fewer")
    assert done.exit_code == 1
    assert done.stderr.startswith("4.tif: ")
    assert "no interval: 19 images of different cells are too few, it takes 20" in done.stdout


def test_notes_on_a_data_set_are_told(tmp_path: Path, model: Path, data: Path) -> None:
    with (data / "counts.csv").open("a") as table:
        table.write("Total,6,\n")
    done = elmgan("evaluate", data, "--model", model, "-o", tmp_path / "out")
    assert done.exit_code == 0
    assert done.stderr == f"{data}/counts.csv, line 5: 'Total' is left out, as the sum or mean of the others\n"
    assert elmgan("evaluate", data, "--model", model, "-o", tmp_path / "out", "--quiet").output == ""


def test_calibrate_believes_odd_counts_only_when_told(tmp_path: Path, model: Path) -> None:
    (tmp_path / "mine" / "images").mkdir(parents=True)
    for k in range(20):
        tifffile.imwrite(tmp_path / "mine" / "images" / f"{k}.tif", squares(k))
    rows = [f"{k}.tif,{160 if k == 16 else k or ''},field {k}" for k in range(20)]
    (tmp_path / "mine" / "counts.csv").write_text("\n".join(["image,count,group", *rows]))
    command = ["calibrate", model, tmp_path / "mine", "-o", tmp_path / "new"]
    done = elmgan(*command)
    notes = [
        "19 of 20 images have a count; 1 without: 0.tif",
        "left out, with neither mask nor count: 0.tif",
    ]
    told = f"{tmp_path / 'mine'}: the counts of 1 of 19 images contradict the others: 16.tif (count 160, model 15.4)"
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [
        *notes,
        f"error: {told}; correct counts.csv, or, if it is right, add --believe",
    ]
    assert not (tmp_path / "new").exists()
    done = elmgan(*command, "--believe")
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [*notes, f"{told}; believed"]


def test_synth_writes_a_data_set(tmp_path: Path) -> None:
    done = elmgan("synth", tmp_path / "a", "--images", 2, "--seed", 7)
    assert done.exit_code == 0
    assert elmgan("synth", tmp_path / "b", "--images", 2, "--seed", 7, "--quiet").output == ""
    assert (tmp_path / "a" / "counts.csv").read_bytes() == (tmp_path / "b" / "counts.csv").read_bytes()
    assert len(list((tmp_path / "a" / "images").iterdir())) == 2
    assert_one_line_error(elmgan("synth", tmp_path / "a"), 2, "already holds something")
    assert_one_line_error(elmgan("synth", tmp_path / "a" / "counts.csv"), 2, "counts.csv")


def test_the_version_is_printed() -> None:
    assert elmgan("--version").stdout == f"elmgan {__version__}\n"


def test_the_help_shows_only_what_exists() -> None:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", elmgan("count", "--help").stdout)
    assert all(option in shown for option in ("--resume", "--measure", "--export", "--regions"))
    for absent in ("--format", "--set"):
        assert absent not in shown


def test_cells_are_measured_exported_and_counted_in_regions(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", (squares(3) // 20).astype(np.uint8))
    ring = [[0, 0], [120, 0], [120, 96], [0, 96], [0, 0]]
    (tmp_path / "all.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    asked = ["--measure", "--export", "qupath", "--export", "imagej", "--regions", tmp_path / "all.geojson"]
    done = elmgan("count", tmp_path / "a.png", "-o", tmp_path / "out", "--model", write_tiny(tmp_path), *asked)
    assert done.exit_code == 0, done.stderr
    for name in ("cells.csv", "regions.csv", "qupath", "imagej"):
        assert (tmp_path / "out" / name).exists()
        assert name in done.stdout
    bad = elmgan("count", tmp_path / "a.png", "-o", tmp_path / "bad", "--export", "fiji")
    assert bad.exit_code == 2
    assert bad.stderr == "error: --export is fiji; expected qupath, imagej or zarr\n"


def test_the_command_line_does_not_import_torch() -> None:
    code = "import sys, elmgan.apps.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
