"""Models calibrated on counted images: the squares of the tiny model."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bundles import known, squares, tiny_bundle
from elmgan.counting import Model
from elmgan.errors import DataError, UsageError
from elmgan.files import write_table
from elmgan.models import Bundle, read_bundle
from elmgan.trust import Calibration
from elmgan.work import calibrate_model, evaluate_model
from elmgan.work.calibrate import contradicting

HALF = Calibration(data="earlier", images=20, groups=20, gain=0.5, quantile=1)


def counted(folder: Path, images: int = 22, cells: int = 2) -> Path:
    """Images of up to as many squares, each annotated as so many cells; the model finds 4 % fewer squares."""
    rows = []
    (folder / "images").mkdir(parents=True)
    for k in range(images):
        image = squares(k, (96, 120)) + np.random.default_rng(k).integers(0, 9, (96, 120)).astype(np.uint16)
        tifffile.imwrite(folder / "images" / f"{k:02}.tif", image)
        rows.append({"image": f"{k:02}.tif", "count": str(cells * k), "group": f"{k}"})
    write_table(folder / "counts.csv", ("image", "count", "group"), rows)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return counted(tmp_path_factory.mktemp("calibrate") / "mine")


def test_a_calibrated_model_counts_as_its_user_does(tmp_path: Path, data: Path) -> None:
    bundle, out = tiny_bundle(), tmp_path / "deep" / "model.zip"
    done = calibrate_model(bundle, data, out)
    written = read_bundle(out)
    assert written.card.calibration == done.calibration
    assert (done.calibration.data, done.calibration.images, done.calibration.groups) == ("mine", 22, 22)
    assert done.calibration.gain == pytest.approx(2 / 0.964, rel=0.005)
    assert done.before.bias == pytest.approx(-10.5 * (2 - 0.964), abs=0.1)
    assert abs(done.after.bias) < 0.2
    assert (done.before.coverage, done.failures) == (None, [])
    assert written.onnx == bundle.onnx
    assert written.version != bundle.version
    assert written.readme.startswith(bundle.readme)
    for told in (
        "Calibrated on 22 images of mine: counts are multiplied by 2.0",
        "| bias | -10.8",
        "from before this",
    ):
        assert told in written.readme

    image = squares(9)
    before, after = Model(bundle).count(image), Model(written).count(image)
    assert after.count == 18
    assert after.estimate == pytest.approx(known(after.count_map).sum(), abs=0.006)
    np.testing.assert_allclose(known(after.count_map), known(before.count_map) * done.calibration.gain, rtol=1e-5)
    assert after.interval == done.calibration.interval(known(after.estimate))
    assert after.labels().max() == 9
    checked = evaluate_model(data, tmp_path / "out", Model(written), seed=0).metrics.kinds["all"].model
    assert checked["coverage"].value >= 0.9


def test_counts_still_add_up_over_tiles(data: Path, tmp_path: Path) -> None:
    calibrate_model(tiny_bundle(), data, tmp_path / "model")
    bundle, image = read_bundle(tmp_path / "model"), squares(60, (203, 330))
    whole, tiled = Model(bundle).count(image), Model(bundle, tile=64).count(image)
    assert tiled.estimate == pytest.approx(whole.estimate, rel=5e-3)


def test_an_earlier_calibration_is_replaced(tmp_path: Path, data: Path) -> None:
    plain, earlier = tiny_bundle(), tiny_bundle().calibrated(HALF, "of old")
    assert Model(earlier).count(squares(10)).count == 5
    done = calibrate_model(earlier, data, tmp_path / "again")
    assert calibrate_model(plain, data, tmp_path / "first").calibration == done.calibration
    again, first = (read_bundle(tmp_path / name) for name in ("again", "first"))
    assert done.before.bias == pytest.approx(-10.5 * (2 - 0.482), abs=0.1)
    assert done.before.coverage is not None
    assert again.version == first.version
    assert again.readme.count("## Calibration") == 1
    assert "of old" not in again.readme


def test_a_run_says_which_images_to_take(tmp_path: Path, data: Path) -> None:
    sides = ["train"] * 6 + ["calibration"] * 12 + ["validation"] * 2 + ["test"] * 2
    split = tmp_path / "split.csv"
    rows = ({"image": f"{k:02}", "side": side} for k, side in enumerate(sides))
    write_table(split, ("image", "side"), rows)
    done = calibrate_model(tiny_bundle(), data, tmp_path / "model", only=split)
    assert done.calibration.images == 12
    assert done.calibration.quantile is None
    written = read_bundle(tmp_path / "model")
    assert "No interval: 12 images of different cells are too few, it takes 20" in written.readme
    assert Model(written).count(squares(9)).interval is None
    split.write_text("image,side\n" + "".join(f"{k:02},train\n" for k in range(22)))
    with pytest.raises(UsageError, match="names no image"):
        calibrate_model(tiny_bundle(), data, tmp_path / "other", only=split)


def test_images_that_show_the_same_count_as_one(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    for k in range(20):
        image = squares(3 if k else 9) + np.random.default_rng(k).integers(0, 9, (96, 120)).astype(np.uint16)
        tifffile.imwrite(folder / "images" / f"{k}.tif", image)
    rows = ({"image": f"{k}.tif", "count": "3" if k else "9"} for k in range(20))
    write_table(folder / "counts.csv", ("image", "count"), rows)
    with pytest.raises(DataError, match="data has 2 images of different cells with a count"):
        calibrate_model(tiny_bundle(), folder, tmp_path / "model")


def test_what_cannot_be_calibrated_is_refused(tmp_path: Path, data: Path) -> None:
    few = counted(tmp_path / "few", images=9)
    there = tmp_path / "there"
    there.mkdir()
    cases: list[tuple[Bundle, Path, Path, str]] = [
        (
            tiny_bundle(),
            few,
            tmp_path / "out",
            "few has 9 images of different cells with a count: calibration takes 10",
        ),
        (tiny_bundle(), data, there, "there is there already: name another with -o"),
        (tiny_bundle(learned=("mask",)), data, tmp_path / "out", "learned masks alone, and has no counts to calibrate"),
    ]
    for bundle, folder, out, told in cases:
        with pytest.raises((DataError, UsageError), match=told):
            calibrate_model(bundle, folder, out)
    assert not (tmp_path / "out").exists()


def rewritten(folder: Path, data: Path, change: Callable[[list[str]], None]) -> Path:
    """The data set with other counts: ``change`` works on the rows of its table."""
    shutil.copytree(data, folder)
    head, *rows = (folder / "counts.csv").read_text().splitlines()
    counts = [row.split(",")[1] for row in rows]
    change(counts)
    lines = [f"{k:02}.tif,{count},{k}" for k, count in enumerate(counts)]
    (folder / "counts.csv").write_text("\n".join([head, *lines]) + "\n")
    return folder


def tenfold(counts: list[str]) -> None:
    counts[11] += "0"


def swapped(counts: list[str]) -> None:
    counts[3], counts[20] = counts[20], counts[3]


def shifted(counts: list[str]) -> None:
    shuffled = [13, 2, 19, 7, 0, 16, 4, 10, 21, 1, 15, 8, 18, 5, 12, 20, 3, 9, 17, 6, 14, 11]
    counts[:] = [counts[k] for k in shuffled]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (tenfold, r"the counts of 1 of 22 images contradict the others: 11\.tif \(count 220, model 10\.\d\); correct"),
        (swapped, r"the counts of 2 of 22 images contradict the others: 20\.tif \(count 6, model 19\.3\), 03\.tif"),
        (shifted, r"the counts do not follow what the model finds, with a rank correlation of -?0\.\d\d; correct"),
    ],
)
def test_counts_that_contradict_the_others_are_named_before_they_are_believed(
    tmp_path: Path, data: Path, change: Callable[[list[str]], None], told: str
) -> None:
    wrong = rewritten(tmp_path / "data", data, change)
    with pytest.raises(DataError, match=told):
        calibrate_model(tiny_bundle(), wrong, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    notes: list[str] = []
    done = calibrate_model(tiny_bundle(), wrong, tmp_path / "model", believe=True, tell=notes.append)
    assert len(done.doubts) == 1
    assert notes == [f"{wrong}: {done.doubts[0]}; believed"]
    assert (tmp_path / "model").exists()


@pytest.mark.parametrize("names", ["{}.tif", "{:02}.tif"])
def test_counts_one_row_off_are_told_whatever_sorted_them(names: str) -> None:
    cells = [13, 2, 190, 7, 40, 160, 4, 10, 21, 1, 150, 8, 18, 55, 12, 200, 3, 90, 17, 60, 14, 110]
    images = [names.format(k) for k in range(len(cells))]
    estimates = [1.1 * number + 0.2 for number in cells]
    assert contradicting(images, estimates, cells) == []
    (told,) = contradicting(images, estimates, [*cells[:9], *cells[10:], 5])
    assert told.startswith(f"the counts of the images from {images[9]} on fit the images 1 row below far better: ")
    (told,) = contradicting(images, estimates, [5, *cells[:-1]])
    assert told.startswith("the counts of all images fit the images 1 row above far better: ")
    by_text = sorted(range(len(cells)), key=lambda k: images[k])
    (told,) = contradicting(
        [images[k] for k in by_text], [estimates[k] for k in by_text], [5, *(cells[k] for k in by_text[:-1])]
    )
    assert "fit the images 1 row above far better" in told


def test_images_not_counted_yet_are_left_out(tmp_path: Path, data: Path) -> None:
    def forget(counts: list[str]) -> None:
        counts[4] = ""

    notes: list[str] = []
    fewer = rewritten(tmp_path / "data", data, forget)
    done = calibrate_model(tiny_bundle(), fewer, tmp_path / "model", tell=notes.append)
    assert done.calibration.images == 21
    assert notes[0] == "21 of 22 images have a count; 1 without: 04.tif"


def test_flagged_images_are_told(tmp_path: Path, data: Path) -> None:
    dim = tmp_path / "dim"
    shutil.copytree(data, dim)
    for path in sorted((dim / "images").iterdir())[-6:]:  # too bright for any edge
        tifffile.imwrite(path, np.minimum(tifffile.imread(path), 255).astype(np.uint8))
    notes: list[str] = []
    with pytest.raises(DataError, match="contradict the others"):  # the flags say why before that
        calibrate_model(tiny_bundle(), dim, tmp_path / "model", tell=notes.append)
    done = calibrate_model(tiny_bundle(), dim, tmp_path / "model", believe=True)
    told = (
        "7 of 22 images are flagged, so that their counts are not to be trusted: empty (7); MAE 31.1, of the others 8.3"
    )
    assert done.flagged == told
    assert notes == [f"{dim}: {told}"]
    notes.clear()
    evaluate_model(dim, tmp_path / "out", Model(tiny_bundle()), seed=0, tell=notes.append)
    assert notes == [f"{dim}: {told}"]
    assert calibrate_model(tiny_bundle(), data, tmp_path / "other").flagged == ""


@pytest.mark.parametrize("out", ["nuclei", "models/nuclei"])
def test_a_new_model_cannot_have_the_name_of_a_shipped_one(
    tmp_path: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"nuclei is the name of a shipped model.*name another with -o"):
        calibrate_model(tiny_bundle(), tmp_path, Path(out))
    assert list(tmp_path.iterdir()) == []
