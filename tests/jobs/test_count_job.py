import csv
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from bundles import squares, tiny_bundle
from elmgan.errors import OutputError, UsageError
from elmgan.imaging import write_png
from elmgan.inference import Model, Result
from elmgan.jobs import Failure, Row, count_images

MODEL = Model(tiny_bundle())


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
    assert np.array_equal(mask > 0, MODEL.count(squares(5)).mask)
    assert np.array_equal(labels > 0, mask > 0)
    assert {path.name for path in counted.written} == {
        "counts.csv",
        "masks",
        "labels",
        "overlays",
        "run.json",
        "report.html",
    }


def test_the_run_is_recorded(tmp_path: Path) -> None:
    count_images([folder_of(tmp_path / "images", 2)], tmp_path / "out", MODEL, channel=None)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["options"] == {
        "paths": [str(tmp_path / "images")],
        "channel": None,
        "labels": False,
        "overlays": False,
    }
    assert record["model"]["hashes"] == tiny_bundle().card.hashes
    assert record["model"]["normalisation"] == MODEL.card.normalisation.model_dump()
    assert (record["images"], record["failed"]) == (1, 0)
    assert record["seconds"] >= 0
    assert {"elmgan", "python", "numpy", "onnxruntime"} <= record["versions"].keys()


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
    "a stack": lambda path: tifffile.imwrite(path, np.zeros((5, 8, 8), np.uint8), metadata={"axes": "ZYX"}),
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
    assert not (out / "masks" / "3.tif").exists()
    assert not (out / "labels" / "3.tif").exists()
    with (out / "failed.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [counted.failures[0].model_dump()]
    tifffile.imwrite(images / "3.tif", squares(3))
    count_images([images], out, MODEL)
    assert not (out / "failed.csv").exists()


def test_an_unexpected_error_fails_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trip(image: NDArray) -> Result:
        raise ZeroDivisionError("over\nthe edge")

    monkeypatch.setattr(MODEL, "count", trip)
    counted = count_images([folder_of(tmp_path / "images", 2)], tmp_path / "out", MODEL)
    assert counted.failures == [Failure(image="2.tif", error="unexpected ZeroDivisionError: over the edge")]
    assert table(tmp_path / "out") == []


class Stop(KeyboardInterrupt):
    """Ctrl-C."""


def counting(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[NDArray]:
    """The images that the model counts from now on."""
    seen: list[NDArray] = []
    count = model.count

    def count_and_note(image: NDArray) -> Result:
        seen.append(image)
        return count(image)

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


@pytest.mark.parametrize("change", ["model", "channel", "paths", "no record", "spoilt table", "spoilt record"])
def test_what_was_counted_otherwise_is_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2), tmp_path / "out"
    count_images([images], out, MODEL)
    model, channel, paths = MODEL, None, [images]
    if change == "model":
        model = Model(tiny_bundle("other"))
    elif change == "channel":
        channel = 1
    elif change == "paths":
        paths = [images / "1.tif", images / "2.tif"]
    elif change == "spoilt table":
        (out / "counts.csv").write_text("image\n1.tif\n")
    elif change == "spoilt record":
        (out / "run.json").write_text("[]")
    else:
        (out / "run.json").write_text("{}")
    seen = counting(model, monkeypatch)
    counted = count_images(paths, out, model, channel=channel, resume=True)
    assert len(seen) == len(counted.rows) == 2


def test_without_resume_all_is_counted_again(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2, 3), tmp_path / "out"
    count_images([images], out, MODEL)
    with pytest.raises(Stop):
        count_images([images], out, MODEL, watch=interrupted_at(1))
    assert [row["image"] for row in table(out)] == ["1.tif"]
    assert not (out / "report.html").exists()  # it would show the other run


def test_the_table_grows_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elmgan.jobs.count.SAVE_EVERY", -1)
    out, lengths = tmp_path / "out", []
    count_images(
        [folder_of(tmp_path / "images", 1, 2, 3)], out, MODEL, watch=lambda *_: lengths.append(len(table(out)))
    )
    assert lengths == [0, 1, 2]


@pytest.mark.parametrize("out", ["images/out", "images"])
def test_results_inside_the_input_folder_are_no_images(tmp_path: Path, out: str) -> None:
    images = folder_of(tmp_path / "images", 1, 2)
    for _ in range(2):
        counted = count_images([images], tmp_path / out, MODEL, overlays=True)
        assert [row.image for row in counted.rows] == ["1.tif", "2.tif"]


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
    with pytest.raises(UsageError, match="nothing can be written to") as error:
        count_images([images], tmp_path / "file" / "out", MODEL, watch=interrupted_at(1))
    assert "\n" not in str(error.value)


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
    assert files(out) == {"counts.csv", "run.json", "masks/1.tif"}
    assert table(out) == []
    assert len(count_images([images], out, MODEL, resume=True).rows) == 3


def test_one_file_that_cannot_be_written_fails_one_image(tmp_path: Path) -> None:
    images, out = folder_of(tmp_path / "images", 1, 2), tmp_path / "out"
    count_images([images], out, MODEL)
    (out / "masks" / "1.tif").unlink()
    (out / "masks" / "1.tif" / "in the way").mkdir(parents=True)
    counted = count_images([images], out, MODEL)
    assert [row.image for row in counted.rows] == ["2.tif"]
    assert [failure.image for failure in counted.failures] == ["1.tif"]


def test_colour_is_counted_and_a_channel_can_be_named(tmp_path: Path) -> None:
    grey = (squares(4) // 20).astype(np.uint8)
    write_png(tmp_path / "colour.png", np.stack([np.full_like(grey, 9), grey, np.full_like(grey, 9)], axis=2))
    one = count_images([tmp_path / "colour.png"], tmp_path / "out", MODEL, channel=2).rows[0]
    assert (one.image, one.count, one.flags) == ("colour.png", 4, ())
    assert count_images([tmp_path / "colour.png"], tmp_path / "out1", MODEL, channel=1).rows[0].count == 0
