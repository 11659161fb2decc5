import csv
import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import tifffile

from bundles import known, squares, tiny_bundle
from elmgan.counting import Failure, Model, Result, Row
from elmgan.counting.row import read_table
from elmgan.errors import OutputError, UsageError
from elmgan.images import Plane, View, open_image, write_png
from elmgan.trust import Calibration
from elmgan.work import count_images
from elmgan.work.earlier import read_earlier
from elmgan.work.journal import JOURNAL, read_journal

MODEL = Model(tiny_bundle())
COUNTS_ALONE = Model(tiny_bundle(learned=("count",)))


def folder_of(folder: Path, *numbers: int) -> Path:
    """A folder with one image per number: 3.tif shows 3 squares."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        tifffile.imwrite(folder / f"{number}.tif", squares(number))
    return folder


def table(out: Path) -> list[dict[str, str]]:
    with (out / "counts.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def untimed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row | {"seconds": ""} for row in rows]


def test_a_folder_is_counted(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 10, 2), tmp_path / "deep" / "out"
    folder_of(images / "more", 5)
    watched: list[tuple[int, Row | Failure]] = []
    counted = count_images([images], out, MODEL, labels=True, overlays=True, watch=lambda *seen: watched.append(seen))
    assert [(row["image"], row["count"], row["objects"]) for row in table(out)] == [
        ("2.tif", "2", "2"),
        ("10.tif", "10", "10"),
        ("more/5.tif", "5", "5"),
    ]
    assert watched == [(3, row) for row in counted.rows]
    stems = ("2", "10", "more/5")
    pictures = {
        f"{kind}/{stem}.{end}"
        for stem in stems
        for kind, end in [("masks", "tif"), ("labels", "tif"), ("overlays", "png")]
    }
    assert files(out) == pictures | {"counts.csv", "run.json", "report.html"}
    mask, labels = (tifffile.imread(out / kind / "more/5.tif") for kind in ("masks", "labels"))
    assert (str(mask.dtype), str(labels.dtype)) == ("uint8", "uint32")
    assert set(np.unique(mask)) == {0, 255}
    assert np.array_equal(mask > 0, known(MODEL.count(squares(5)).mask))
    assert np.array_equal(labels > 0, mask > 0)
    assert {path.name for path in counted.written} == {
        "counts.csv",
        "masks",
        "labels",
        "overlays",
        "run.json",
        "report.html",
    }


def test_a_model_of_masks_alone_separates_and_does_not_count(tmp_path: Path) -> None:
    out, model = tmp_path / "out", Model(tiny_bundle(learned=("mask",)))
    count_images([folder_of(tmp_path / "images", 3)], out, model, labels=True, overlays=True)
    row = table(out)[0]
    assert (row["count"], row["estimate"], row["low"], row["high"], row["objects"]) == ("", "", "", "", "3")
    assert files(out) == {
        *("counts.csv", "run.json", "report.html"),
        *("masks/3.tif", "labels/3.tif", "overlays/3.png"),
    }
    assert count_images([tmp_path / "images"], out, model, resume=True).rows[0].texts() == row


def test_a_model_of_counts_alone_writes_no_masks(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 3), tmp_path / "out"
    count_images([images], out, MODEL, labels=True)  # what it leaves must go
    counted = count_images([images], out, COUNTS_ALONE)
    row = table(out)[0]
    assert (row["count"], row["objects"], row["foreground"]) == ("3", "", "")
    assert (row["height"], row["width"]) == ("96", "120")
    assert files(out) == {path.name for path in counted.written} == {"counts.csv", "run.json", "report.html"}
    assert json.loads((out / "run.json").read_text())["model"]["learned"] == ["count"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"labels": True}, "--labels"),
        ({"overlays": True, "measure": True}, "--overlays and --measure"),
        ({"exports": ["qupath"]}, "--export"),
    ],
)
def test_what_cells_are_taken_for_and_cannot_be_had_is_refused(tmp_path: Path, given: Any, told: str) -> None:
    images, out = folder_of(tmp_path / "images", 3), tmp_path / "out"
    with pytest.raises(UsageError, match=rf"learned counts alone: .*; leave {told} out"):
        count_images([images], out, COUNTS_ALONE, **given)
    assert not out.exists()


def test_counts_alone_are_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2, 3), tmp_path / "out"
    with pytest.raises(Stop):
        count_images([images], out, COUNTS_ALONE, watch=interrupted_at(2))
    tifffile.imwrite(images / "1.tif", squares(5))
    later = (out / "run.json").stat().st_mtime_ns + 10**9
    os.utime(images / "1.tif", ns=(later, later))
    seen = counting(COUNTS_ALONE, monkeypatch)
    count_images([images], out, COUNTS_ALONE, resume=True)
    assert [(row["image"], row["count"]) for row in table(out)] == [("1.tif", "5"), ("2.tif", "2"), ("3.tif", "3")]
    assert len(seen) == 2  # 2.tif was done


def test_the_run_is_recorded(tmp_path: Path) -> None:
    count_images([folder_of(tmp_path / "images", 2)], tmp_path / "out", Model(tiny_bundle(), "onnxruntime"))
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["options"] == {
        "paths": [str(tmp_path / "images")],
        "match": None,
        "axes": None,
        "most_pixels": None,
        "labels": False,
        "overlays": False,
        "measure": False,
        "exports": [],
        "regions": None,
        "quick": False,
        "dask": None,
        "table": "csv",
    }
    assert record["view"] == View().model_dump()
    status = (tmp_path / "images" / "2.tif").stat()
    assert record["files"] == {"2.tif": [status.st_size, status.st_mtime_ns]}
    assert record["notes"] == []
    assert record["model"]["hashes"] == tiny_bundle().card.hashes
    assert record["model"]["normalisation"] == MODEL.card.normalisation.model_dump()
    assert (record["images"], record["failed"]) == (1, 0)
    assert record["seconds"] >= 0
    assert record["folders"] == [str(tmp_path / "images")]
    assert record["versions"].keys() == {"elmgan", "python", "numpy", "cv2", "tifffile", "PIL", "onnxruntime"}
    assert record["engine"] == {"name": "onnxruntime", "precision": "fp32", "device": "cpu"}


def test_images_of_one_name_keep_apart(tmp_path: Path) -> None:
    one, two = folder_of(tmp_path / "p1", 3), folder_of(tmp_path / "p2", 3)
    tifffile.imwrite(one / "3.tiff", squares(7))
    count_images([one, two], tmp_path / "out", MODEL)
    assert [(row["image"], row["count"]) for row in table(tmp_path / "out")] == [
        ("p1/3.tif", "3"),
        ("3.tiff", "7"),
        ("p2/3.tif", "3"),
    ]
    assert files(tmp_path / "out" / "masks") == {"p1/3.tif", "3.tif", "p2/3.tif"}


def spoil_with_nan(path: Path) -> None:
    tifffile.imwrite(path, np.full((8, 8), np.nan, dtype=np.float32))


def spoil_by_cutting(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3000])


BAD: dict[str, Callable[[Path], Any]] = {
    "truncated": spoil_by_cutting,
    "no image": lambda path: path.write_text("not an image"),
    "empty": lambda path: path.write_bytes(b""),
    "NaN": spoil_with_nan,
    "five channels": lambda path: tifffile.imwrite(path, np.zeros((5, 8, 8), np.uint8), metadata={"axes": "CYX"}),
}


@pytest.mark.parametrize("spoil", [*BAD])
def test_a_bad_image_does_not_stop_the_others(tmp_path: Path, spoil: str) -> None:
    images, out = folder_of(tmp_path / "images", 2, 3, 4), tmp_path / "out"
    count_images([images], out, MODEL, labels=True)  # what it leaves of the image must go
    BAD[spoil](images / "3.tif")
    counted = count_images([images], out, MODEL, labels=True)
    assert [row["image"] for row in table(out)] == ["2.tif", "4.tif"]
    assert [failure.image for failure in counted.failures] == ["3.tif"]
    assert "\n" not in counted.failures[0].error
    assert "3.tif" not in counted.failures[0].error  # its name stands beside it
    assert not (out / "masks" / "3.tif").exists()
    assert not (out / "labels" / "3.tif").exists()
    with (out / "failed.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [counted.failures[0].model_dump()]
    tifffile.imwrite(images / "3.tif", squares(3))
    count_images([images], out, MODEL)
    assert not (out / "failed.csv").exists()


def test_an_unexpected_error_fails_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trip(plane: Plane, **options: Any) -> Result:
        raise ZeroDivisionError("over\nthe edge")

    monkeypatch.setattr(MODEL, "count", trip)
    counted = count_images([folder_of(tmp_path / "images", 2)], tmp_path / "out", MODEL)
    assert counted.failures == [Failure(image="2.tif", error="unexpected ZeroDivisionError: over the edge")]
    assert table(tmp_path / "out") == []


class Stop(KeyboardInterrupt):
    """Ctrl-C."""


def counting(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[Plane]:
    """The planes that the model counts from now on."""
    seen: list[Plane] = []
    count = model.count

    def count_and_note(plane: Plane, **options: Any) -> Result:
        seen.append(plane)
        return count(plane, **options)

    monkeypatch.setattr(model, "count", count_and_note)
    return seen


def interrupted_at(number: int) -> Callable[[int, Row | Failure], None]:
    def watch(total: int, outcome: Row | Failure) -> None:
        if outcome.image == f"{number}.tif":
            raise Stop

    return watch


def test_an_interrupted_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = folder_of(tmp_path / "images", 1, 2, 3, 4)
    (images / "5.tif").write_text("not an image")
    count_images([images], tmp_path / "straight", MODEL, labels=True)

    out = tmp_path / "out"
    with pytest.raises(Stop):
        count_images([images], out, MODEL, labels=True, watch=interrupted_at(3))
    assert [row["image"] for row in table(out)] == ["1.tif", "2.tif", "3.tif"]
    assert json.loads((out / "run.json").read_text())["seconds"] is None
    before = table(out)

    (out / "labels" / "2.tif").unlink()  # a row without its file is not done
    seen = counting(MODEL, monkeypatch)
    watched: list[str] = []
    resumed = count_images(
        [images], out, MODEL, labels=True, resume=True, watch=lambda _, outcome: watched.append(outcome.image)
    )
    assert len(seen) == 2
    assert watched == ["1.tif", "2.tif", "3.tif", "4.tif", "5.tif"]
    assert untimed(table(out)) == untimed(table(tmp_path / "straight"))
    assert [table(out)[k] for k in (0, 2)] == [before[k] for k in (0, 2)]
    assert files(out) == files(tmp_path / "straight")
    assert [failure.image for failure in resumed.failures] == ["5.tif"]


def test_a_resumed_run_that_is_interrupted_keeps_all_rows(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2, 3), tmp_path / "out"
    count_images([images], out, MODEL)
    (out / "masks" / "2.tif").unlink()
    with pytest.raises(Stop):
        count_images([images], out, MODEL, resume=True, watch=interrupted_at(1))
    assert [row["image"] for row in table(out)] == ["1.tif", "3.tif"]


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in files(out)}


def test_resuming_knows_images_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2), tmp_path / "out"
    count_images([images], out, MODEL, overlays=True)
    seen = counting(MODEL, monkeypatch)
    assert len(count_images([images / "1.tif", images / "2.tif"], out, MODEL, resume=True).rows) == 2
    moved = images.rename(tmp_path / "moved")
    assert len(count_images([moved], out, MODEL, resume=True).rows) == 2
    assert not seen
    assert "overlays/1.png" in files(out)
    count_images([moved], out, MODEL, labels=True, resume=True)
    assert len(seen) == 2
    assert {"labels/1.tif", "labels/2.tif"} <= files(out)


def test_resuming_counts_a_changed_image_again_and_drops_one_that_is_gone(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2, 3), tmp_path / "out"
    count_images([images], out, MODEL, overlays=True)
    tifffile.imwrite(images / "1.tif", squares(5))
    later = (out / "overlays" / "1.png").stat().st_mtime_ns + 10**9
    os.utime(images / "1.tif", ns=(later, later))
    (images / "3.tif").unlink()
    count_images([images], out, MODEL, resume=True)
    assert [(row["image"], row["count"]) for row in table(out)] == [("1.tif", "5"), ("2.tif", "2")]
    assert {"masks/1.tif", "masks/2.tif", "overlays/2.png"} == {name for name in files(out) if "/" in name}


@pytest.mark.parametrize("setting", ["model", "engine", "channel", "scale", "t", "axes", "version of elmgan"])
def test_resuming_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    images, out = folder_of(tmp_path / "images", 1), tmp_path / "out"
    count_images([images], out, MODEL)
    before = contents(out)
    if setting == "version of elmgan":
        monkeypatch.setattr("elmgan.report.record.__version__", "99")
    model = Model(tiny_bundle("other")) if setting == "model" else MODEL
    model = Model(tiny_bundle(), "onnxruntime") if setting == "engine" else model
    view = View().changed(**{setting: 1.5 if setting == "scale" else 1} if setting in View.model_fields else {})
    axes = "TYX" if setting == "axes" else None
    with pytest.raises(UsageError, match=f"count in {out} used another {setting}.*: leave out --resume to count again"):
        count_images([images], out, model, view=view, axes=axes, resume=True)
    assert contents(out) == before


@pytest.mark.parametrize("given", ["plate2", "plate1/1.tif"])
def test_resuming_with_other_images_is_refused(tmp_path: Path, given: str) -> None:
    folder_of(tmp_path / "plate1", 1, 2)
    folder_of(tmp_path / "plate2", 1, 2)  # the same names
    out = tmp_path / "out"
    count_images([tmp_path / "plate1"], out, MODEL)
    before = contents(out)
    with pytest.raises(
        UsageError, match=r"plate1/[12]\.tif, which is not given now: give it too, or leave out --resume"
    ):
        count_images([tmp_path / given], out, MODEL, resume=True)
    assert contents(out) == before
    both = count_images([tmp_path / "plate1", tmp_path / "plate2"], out, MODEL, resume=True)
    assert [row.image for row in both.rows] == ["plate1/1.tif", "plate1/2.tif", "plate2/1.tif", "plate2/2.tif"]
    assert {name for name in files(out) if "/" in name} == {f"masks/{row.image}" for row in both.rows}


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [("run.json", "{}"), ("run.json", "[]"), ("run.json", "not JSON"), ("counts.csv", "image\n1\n")],
)
def test_what_is_not_known_to_be_a_count_is_not_replaced(tmp_path: Path, name: str, content: str, resume: bool) -> None:
    images, out = folder_of(tmp_path / "images", 1), tmp_path / "out"
    count_images([images], out, MODEL)
    (out / name).write_text(content)
    before = contents(out)
    with pytest.raises(UsageError, match="of something else than a count, or of one that was changed since"):
        count_images([images], out, MODEL, resume=resume)
    assert contents(out) == before


def test_a_new_count_leaves_no_picture_of_the_earlier_one(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2), tmp_path / "out"
    folder_of(images / "more", 3)
    count_images([images], out, MODEL, labels=True, overlays=True)
    (out / "masks" / "corrected by hand.tif").touch()
    (images / "more" / "3.tif").unlink()
    counted = count_images([images], out, MODEL, labels=True)
    pictures = {"masks/1.tif", "masks/2.tif", "masks/corrected by hand.tif", "labels/1.tif", "labels/2.tif"}
    assert files(out) == pictures | {"counts.csv", "run.json", "report.html"}
    assert {path.name for path in counted.written} == {path.name for path in out.iterdir()}
    assert not (out / "masks" / "more").exists()


def test_an_edited_table_removes_nothing_elsewhere(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1), tmp_path / "out"
    count_images([images], out, MODEL)
    edited = (out / "counts.csv").read_text().replace("1.tif", "../../images/1.tif")
    (out / "counts.csv").write_text(edited)
    assert [row.image for row in count_images([images], out, MODEL).rows] == ["1.tif"]
    assert (images / "1.tif").exists()


def test_without_resume_all_is_counted_again(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2, 3), tmp_path / "out"
    count_images([images], out, MODEL)
    with pytest.raises(Stop):
        count_images([images], out, MODEL, watch=interrupted_at(1))
    assert [row["image"] for row in table(out)] == ["1.tif"]
    assert not (out / "report.html").exists()  # it would show the other run


def test_the_journal_grows_with_the_run_and_is_gone_at_its_end(tmp_path: Path) -> None:
    out, lengths = tmp_path / "out", []
    count_images(
        [folder_of(tmp_path / "images", 1, 2, 3)],
        out,
        MODEL,
        watch=lambda *_: lengths.append(len(read_journal(out / JOURNAL))),
    )
    assert lengths == [1, 2, 3]
    assert not (out / JOURNAL).exists()
    assert len(table(out)) == 3


def test_a_line_of_the_journal_that_is_not_whole_is_none(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2, 3), tmp_path / "out"
    rows = count_images([images], out, MODEL).rows
    lines = [row.model_dump_json() for row in rows]
    (out / JOURNAL).write_text(f"{lines[0]}\n{lines[1][:40]}\n\0\0\0\0\n{lines[2]}\n")
    (out / "counts.csv").unlink()
    assert list(read_earlier(out).rows) == ["1.tif"]
    again = count_images([images], out, MODEL, resume=True)
    assert [row.image for row in again.rows] == ["1.tif", "2.tif", "3.tif"]
    assert again.rows[0] == rows[0]


@pytest.mark.parametrize("out", ["images/out", "images"])
def test_results_inside_the_input_folder_are_no_images(tmp_path: Path, out: str) -> None:
    images = folder_of(tmp_path / "images", 1, 2)
    for _ in range(2):
        counted = count_images([images], tmp_path / out, MODEL, overlays=True)
        assert [row.image for row in counted.rows] == ["1.tif", "2.tif"]


def test_results_of_another_count_are_no_images(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", 1, 2)
    folder_of(images / "masks", 3)  # not beside a run.json
    for out in ("out", "deep/out"):
        count_images([images / "1.tif"], images / out, MODEL, labels=True, overlays=True)
    counted = count_images([images], tmp_path / "out", MODEL)
    assert [row.image for row in counted.rows] == ["1.tif", "2.tif", "masks/3.tif"]
    with pytest.raises(UsageError, match="nothing to count: the paths hold only what an earlier count wrote"):
        count_images([images / "out" / "masks"], images / "out", MODEL)


def test_a_missing_file_does_not_stop_the_others(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1), tmp_path / "out"
    counted = count_images([images / "absent.tif", images / "1.tif"], out, MODEL)
    assert [row.image for row in counted.rows] == ["1.tif"]
    assert counted.failures == [Failure(image="absent.tif", error="does not exist; check its name and folder")]
    with pytest.raises(UsageError, match=r"absent\.tif does not exist"):
        count_images([images / "absent.tif"], out, MODEL)


@pytest.mark.parametrize("name", ["counts.csv", "masks", "report.html"])
def test_what_others_wrote_is_not_replaced(tmp_path: Path, name: str) -> None:
    images = folder_of(tmp_path / "images", 1)
    (tmp_path / name).write_text("years of work")
    with pytest.raises(UsageError, match=f"holds {name} of something else"):
        count_images([images], tmp_path, MODEL)
    assert (tmp_path / name).read_text() == "years of work"


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_counted(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", 1)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match=r"nothing was done: .*\(Not a directory\); make room or choose another out"):
        count_images([images], tmp_path / "file" / "out", MODEL, watch=interrupted_at(1))


def test_a_folder_that_is_read_only_now_keeps_its_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = folder_of(tmp_path / "images", 1), tmp_path / "out"
    count_images([images], out, MODEL)
    before = contents(out)
    opened = Path.open

    def read_only(
        self: Path, mode: str = "r", *arguments: Any, **options: Any
    ) -> Any:  # for root there is no such folder
        if self.parent == out and mode.startswith("w"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(self, mode, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", read_only)
        with pytest.raises(UsageError, match=r"nothing was done: .*\(Permission denied\)"):
            count_images([images], out, MODEL, watch=interrupted_at(1))
    assert contents(out) == before


def test_a_full_disk_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2, 3), tmp_path / "out"
    replace = Path.replace

    def full_at_the_second_mask(self: Path, target: Path) -> Path:
        if (out / "masks" / "1.tif").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full_at_the_second_mask)
        with pytest.raises(OutputError, match="No space left on device"):
            count_images([images], out, MODEL)
    assert files(out) == {"counts.csv", "counts.journal", "run.json", "masks/1.tif"}
    assert table(out) == []  # it could not be written, and the journal holds what is done
    assert list(read_earlier(out).rows) == ["1.tif"]
    assert len(count_images([images], out, MODEL, resume=True).rows) == 3


def test_a_folder_that_is_gone_stops_the_run_and_does_not_come_back(tmp_path: Path) -> None:
    images, out, done = folder_of(tmp_path / "images", *range(1, 9)), tmp_path / "out", 0

    def take_away(total: int, outcome: Row | Failure) -> None:
        nonlocal done
        done += 1
        if done == 3:
            out.rename(tmp_path / "elsewhere")

    with pytest.raises(OutputError, match="out was removed or replaced while it was written to: put it back"):
        count_images([images], out, MODEL, watch=take_away)
    assert done == 3
    assert not (out / "counts.csv").exists()
    assert not (out / "report.html").exists()


def test_one_file_that_cannot_be_written_fails_one_image(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2), tmp_path / "out"
    count_images([images], out, MODEL)
    (out / "masks" / "1.tif").unlink()
    (out / "masks" / "1.tif").mkdir()
    (out / "masks" / "1.tif" / "in the way").touch()
    counted = count_images([images], out, MODEL)
    assert [row.image for row in counted.rows] == ["2.tif"]
    assert [failure.image for failure in counted.failures] == ["1.tif"]


def test_colour_is_counted_and_a_channel_can_be_named(tmp_path: Path) -> None:
    grey = (squares(4) // 20).astype(np.uint8)
    write_png(tmp_path / "colour.png", np.stack([np.full_like(grey, 9), grey, np.full_like(grey, 9)], axis=2))
    one = count_images([tmp_path / "colour.png"], tmp_path / "out", MODEL, view=View(channel=2)).rows[0]
    assert (one.image, one.count, one.flags) == ("colour.png", 4, ())
    assert count_images([tmp_path / "colour.png"], tmp_path / "out1", MODEL, view=View(channel=1)).rows[0].count == 0


def stack_of(path: Path, numbers: list[list[int]], **described: Any) -> Path:
    """A hyperstack of time points (rows) and focal planes: each plane shows so many squares."""
    pages = np.array([[squares(number) for number in row] for row in numbers])
    tifffile.imwrite(path, pages, imagej=True, metadata={"axes": "TZYX", "unit": "um", "spacing": 3.0, **described})
    return path


def places(out: Path) -> list[tuple[str, ...]]:
    return [(row["scene"], row["t"], row["z"], row["count"]) for row in table(out)]


def test_a_stack_is_projected_and_its_times_are_counted(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    stack_of(images / "stack.tif", [[1, 3], [2, 2]])
    watched: list[int] = []
    counted = count_images([images], out, MODEL, overlays=True, watch=lambda total, _: watched.append(total))
    assert places(out) == [("1", "1", "max", "3"), ("1", "2", "max", "2")]
    assert watched[-1] == 2
    assert {"masks/stack.tif", "overlays/stack-t1.png", "overlays/stack-t2.png"} <= files(out)
    assert [row.place for row in counted.rows] == [(1, 1, "max"), (1, 2, "max")]
    assert "stack.tif, scene 1 t 2 z max" in (out / "report.html").read_text()


def test_masks_of_planes_are_the_hyperstack_that_they_belong_to(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    pages = np.array([[squares(number) for number in row] for row in ([1, 3], [2, 0], [4, 5])])
    described = {"axes": "TZYX", "unit": "um", "spacing": 3.0}
    tifffile.imwrite(path, pages, imagej=True, metadata=described, resolution=(4, 4))  # pixels per micrometre
    out = tmp_path / "out"
    count_images([path], out, MODEL, view=View(z="each"), labels=True)
    assert [place[1:] for place in places(out)] == [
        ("1", "1", "1"), ("1", "2", "3"), ("2", "1", "2"), ("2", "2", "0"), ("3", "1", "4"), ("3", "2", "5"),
    ]  # fmt: skip
    for kind, dtype in (("masks", np.uint8), ("labels", np.uint32)):
        with tifffile.TiffFile(out / kind / "stack.tif") as written:
            assert written.series[0].axes == "TZYX"
            assert written.asarray().shape == (3, 2, 96, 120)
            assert written.pages.first.dtype == dtype
            assert (written.imagej_metadata or {})["spacing"] == 3
        with open_image(out / kind / "stack.tif") as source:
            assert source.axes == "TZYX"
            assert source.pixel_size == pytest.approx({"x": 0.25, "y": 0.25, "z": 3})
    masks = tifffile.imread(out / "masks" / "stack.tif")
    assert np.array_equal(masks[2, 1] > 0, known(MODEL.count(squares(5)).mask))
    assert not masks[1, 1].any()


def test_a_plane_that_fails_is_named_and_its_page_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = MODEL.count

    def trip_at_two(plane: Plane, **options: Any) -> Result:
        result = count(plane, **options)
        if result.count == 2:
            raise ZeroDivisionError
        return result

    monkeypatch.setattr(MODEL, "count", trip_at_two)
    out = tmp_path / "out"
    counted = count_images([stack_of(tmp_path / "stack.tif", [[1], [2], [3]])], out, MODEL)
    assert [row.place for row in counted.rows] == [(1, 1, 1), (1, 3, 1)]
    assert [failure.image for failure in counted.failures] == ["stack.tif"]
    assert counted.failures[0].error.startswith("t 2: ")
    masks = tifffile.imread(out / "masks" / "stack.tif")
    assert [bool(page.any()) for page in masks] == [True, False, True]
    monkeypatch.undo()
    assert places(out) != places_after_resume(tmp_path, out)


def places_after_resume(folder: Path, out: Path) -> list[tuple[str, ...]]:
    count_images([folder / "stack.tif"], out, MODEL, resume=True)
    assert places(out) == [("1", "1", "1", "1"), ("1", "2", "1", "2"), ("1", "3", "1", "3")]
    assert not (out / "failed.csv").exists()
    return places(out)


def test_an_interrupted_stack_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    stack_of(images / "1.tif", [[1], [2], [3]])
    stack_of(images / "2.tif", [[4], [5], [6]])
    count_images([images], tmp_path / "straight", MODEL, labels=True)
    seen: list[Row | Failure] = []

    def watch(total: int, outcome: Row | Failure) -> None:
        seen.append(outcome)
        if len(seen) == 5:
            raise Stop

    with pytest.raises(Stop):
        count_images([images], out, MODEL, labels=True, watch=watch)
    assert len(table(out)) == 5
    assert {name for name in files(out) if "/" in name} == {"masks/1.tif", "labels/1.tif"}  # 2.tif is not whole
    counted = counting(MODEL, monkeypatch)
    count_images([images], out, MODEL, labels=True, resume=True)
    assert len(counted) == 3
    assert untimed(table(out)) == untimed(table(tmp_path / "straight"))
    assert files(out) == files(tmp_path / "straight")


def test_scenes_of_other_shapes_have_masks_of_their_own(tmp_path: Path) -> None:
    path, out = tmp_path / "two.ome.tif", tmp_path / "out"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(squares(2), metadata={"axes": "YX"})
        writer.write(squares(3, (50, 60)), metadata={"axes": "YX"})
    count_images([path], out, MODEL)
    assert places(out) == [("1", "1", "1", "2"), ("2", "1", "1", "3")]
    assert files(out / "masks") == {"two.ome-scene1.tif", "two.ome-scene2.tif"}
    assert tifffile.imread(out / "masks" / "two.ome-scene2.tif").shape == (50, 60)
    count_images([path], out, MODEL, view=View(scene=2))
    assert files(out / "masks") == {"two.ome.tif"}


def test_a_scene_that_cannot_be_counted_leaves_the_others_their_rows(tmp_path: Path) -> None:
    path, out = tmp_path / "two.ome.tif", tmp_path / "out"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(squares(2), metadata={"axes": "YX"})
        two = np.array([squares(3), squares(4)])
        writer.write(two, metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}, photometric="minisblack")
    for resume in (False, True):
        counted = count_images([path], out, MODEL, resume=resume)
        assert places(out) == [("1", "1", "1", "2")]
        assert [failure.image for failure in counted.failures] == ["two.ome.tif"]
        assert "scene 2: " in counted.failures[0].error
        assert "1 DAPI, 2 GFP; name one with --channel" in counted.failures[0].error
        assert files(out / "masks") == {"two.ome.tif"}  # the only plane that was counted


def test_the_planes_of_a_stack_do_not_overwrite_another_image(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    stack_of(images / "a.tif", [[1], [2]])
    tifffile.imwrite(images / "a-t1.tif", squares(5))
    count_images([images], out, MODEL, overlays=True)
    assert files(out / "overlays") == {"a-t1.png", "a.tif-t1.png", "a.tif-t2.png"}
    assert [row["count"] for row in table(out)] == ["5", "1", "2"]


def test_a_view_of_the_same_pixels_keeps_the_interval(tmp_path: Path) -> None:
    """Calibrated on a projection; a flat image has nothing to project, a stack counted plane by plane does."""
    calibration = Calibration(data="mine", images=20, groups=20, gain=2, quantile=0.5)
    model = Model(tiny_bundle().calibrated(calibration, "", View()))
    stack = stack_of(tmp_path / "stack.tif", [[1, 3]])
    tifffile.imwrite(tmp_path / "flat.tif", squares(3))
    counted = count_images([tmp_path / "flat.tif", stack], tmp_path / "out", model, view=View(z="each"))
    assert [(row.count, row.low is None) for row in counted.rows] == [(6, False), (1, True), (3, True)]
    (told,) = counted.notes
    assert told.startswith("no correction and no intervals: ")


def test_the_annotations_of_a_data_set_are_no_images(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "set" / "images", 2), tmp_path / "out"
    for kind in ("masks", "labels"):
        (tmp_path / "set" / kind).mkdir()
        tifffile.imwrite(tmp_path / "set" / kind / "2.tif", (squares(2) > 1000).astype(np.uint8))
    counted = count_images([images.parent], out, MODEL)
    assert [row.image for row in counted.rows] == ["images/2.tif"]
    assert "passed over: 2 masks, labels or dots of a data set" in counted.notes[0]
    assert [row.image for row in count_images([tmp_path / "set" / "masks"], out, MODEL).rows] == ["2.tif"]


def test_pages_that_say_nothing_are_counted_one_by_one_and_told(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(images / name, np.array([squares(1), squares(2)]), metadata=None, photometric="minisblack")
    counted = count_images([images], out, MODEL)
    assert [row.count for row in counted.rows] == [1, 2, 1, 2]
    (note,) = counted.notes
    assert note.startswith("2 images: ")
    assert "--axes ZYX" in note
    assert json.loads((out / "run.json").read_text())["notes"] == [note]
    projected = count_images([images], out, MODEL, axes="ZYX")
    assert [(row.z, row.count) for row in projected.rows] == [("max", 2)] * 2
    assert projected.notes == [f"{out} held a count of 2 images, which this one replaces"]


def test_a_file_that_an_older_one_replaced_is_counted_again(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2), tmp_path / "out"
    count_images([images], out, MODEL)
    tifffile.imwrite(images / "1.tif", squares(5))
    os.utime(images / "1.tif", ns=(10**18, 10**18))  # 2001
    count_images([images], out, MODEL, resume=True)
    assert [(row["image"], row["count"]) for row in table(out)] == [("1.tif", "5"), ("2.tif", "2")]


def test_under_another_view_than_the_calibrated_one_there_is_no_interval(tmp_path: Path) -> None:
    calibration = Calibration(data="mine", images=20, groups=20, gain=1, quantile=0.5)
    bundle = tiny_bundle().calibrated(calibration, "", View(channel=2))
    path, out = tmp_path / "two.tif", tmp_path / "out"
    tifffile.imwrite(path, np.array([squares(1), squares(4)]), imagej=True, metadata={"axes": "CYX"})
    model = Model(bundle)
    as_calibrated = count_images([path], out, model)
    assert as_calibrated.notes == []
    assert as_calibrated.rows[0].count == 4  # its own view names the channel
    assert as_calibrated.rows[0].low is not None
    out = tmp_path / "other"
    other = count_images([path], out, model, view=View(channel=1))
    assert (other.rows[0].count, other.rows[0].low, other.rows[0].high) == (1, None, None)
    assert other.notes == [
        f"no intervals: {bundle.version} was calibrated under channel 2, and counted under channel 1"
    ]
    assert other.notes[0] in (out / "report.html").read_text()


def test_what_is_passed_over_is_told_and_recorded(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1), tmp_path / "out"
    (images / "slide.vsi").touch()
    counted = count_images([images], out, MODEL)
    assert counted.notes[0].startswith("passed over: 1 file .vsi; elmgan reads")
    assert json.loads((out / "run.json").read_text())["notes"] == counted.notes
    with pytest.raises(UsageError, match=r"that --match \*b\* leaves out"):
        count_images([images], out, MODEL, match="*b*")


def test_a_plane_beyond_the_limit_fails_alone(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", 1)
    tifffile.imwrite(images / "large.tif", np.zeros((200, 200), np.uint8))
    counted = count_images([images], tmp_path / "out", MODEL, most_pixels=20000)
    assert [row.image for row in counted.rows] == ["1.tif"]
    assert "more than the 20000 that are allowed" in counted.failures[0].error


def test_resuming_counts_again_what_a_power_cut_left_empty(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2), tmp_path / "out"
    count_images([images], out, MODEL)
    (out / "masks" / "1.tif").write_bytes(b"")
    count_images([images], out, MODEL, resume=True)
    assert tifffile.imread(out / "masks" / "1.tif").any()


def test_resuming_keeps_images_of_any_name(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    names = ["=1+1.tif", "+a.tif", "-b.tif", "@c.tif", "'d.tif"]
    for name in names:
        folder_of(images, 1)
        (images / "1.tif").rename(images / name)
    first = count_images([images], out, MODEL)
    assert sorted(row["image"] for row in table(out)) == sorted(f"'{name}" for name in names)
    assert {row.image for row in first.rows} == set(names)
    assert count_images([images], out, MODEL, resume=True).rows == first.rows


def test_tables_for_a_continental_excel(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 2, 3), tmp_path / "out"
    (images / "4.tif").write_text("no image")
    counted = count_images([images], out, MODEL, view=View(scale=1.5), excel=True)
    content = (out / "counts.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfimage;scene;t;z;channel;count;estimate;")
    first = content.decode("utf-8-sig").splitlines()[1].split(";")
    assert re.fullmatch(r"\d,\d\d", first[6])
    assert first[13] == "1,5"
    assert (out / "failed.csv").read_bytes().startswith(b"\xef\xbb\xbfimage;error")
    assert read_table(out / "counts.csv") == counted.rows
    assert count_images([images], out, MODEL, view=View(scale=1.5), resume=True).rows == counted.rows
    assert (out / "counts.csv").read_text().startswith("image,scene")


def test_a_run_that_is_stopped_from_another_thread_keeps_what_is_done_and_is_resumed(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2, 3, 4), tmp_path / "out"
    stop = Event()

    def watch(total: int, outcome: Row | Failure) -> None:
        if outcome.image == "2.tif":
            stop.set()

    counted = count_images([images], out, MODEL, labels=True, stop=stop, watch=watch)
    assert counted.stopped
    assert [row["image"] for row in table(out)] == ["1.tif", "2.tif"]
    assert {"masks/2.tif", "labels/2.tif", "report.html"} <= files(out)
    assert not {"masks/3.tif", "counts.journal"} & files(out)
    rest = count_images([images], out, MODEL, labels=True, resume=True, stop=Event())
    assert not rest.stopped
    count_images([images], tmp_path / "straight", MODEL, labels=True)
    assert [row["count"] for row in table(out)] == [row["count"] for row in table(tmp_path / "straight")]


def test_stopping_at_the_last_plane_stops_nothing(tmp_path: Path) -> None:
    stop = Event()
    counted = count_images(
        [folder_of(tmp_path / "images", 1)], tmp_path / "out", MODEL, stop=stop, watch=lambda *_: stop.set()
    )
    assert (len(counted.rows), counted.stopped) == (1, False)
