import csv
from pathlib import Path

import numpy as np
import pytest

from elmgan.data import Example
from elmgan.errors import OutputError
from elmgan.images import read_image
from elmgan.training.curves import Curves, draw_samples, panel
from elmgan.training.validation import Sample


def table(run: Path) -> list[dict[str, str]]:
    with (run / "curves.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def epoch(number: int, **values: float) -> dict[str, float]:
    return {"epoch": number, **values}


def test_a_row_per_epoch_at_once_and_in_tensorboard(tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    curves.add(epoch(1, mask=0.5, count=1 / 3))
    assert table(tmp_path) == [{"epoch": "1", "mask": "0.5", "count": "0.333333"}]
    curves.add(epoch(2, mask=0.25, count=0.1))
    curves.close()
    assert [row["mask"] for row in table(tmp_path)] == ["0.5", "0.25"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.csv", "tensorboard"]
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert events.stat().st_size > 100


def test_the_table_is_continued_after_the_last_whole_epoch(tmp_path: Path) -> None:
    first = Curves(tmp_path)
    for number in (1, 2, 3):
        first.add(epoch(number, mask=number / 10))
    first.close()
    resumed = Curves(tmp_path, epochs=2)  # the third was not saved
    resumed.add(epoch(3, mask=0.9, adversarial=1e-7))  # and the discriminator joins
    resumed.close()
    assert table(tmp_path) == [
        {"epoch": "1", "mask": "0.1", "adversarial": ""},
        {"epoch": "2", "mask": "0.2", "adversarial": ""},
        {"epoch": "3", "mask": "0.9", "adversarial": "1e-07"},
    ]
    again = Curves(tmp_path, epochs=3)
    assert again.rows[0] == {"epoch": 1, "mask": 0.1}
    again.close()


def test_a_new_run_begins_a_new_table(tmp_path: Path) -> None:
    for value in (0.1, 0.2):
        curves = Curves(tmp_path)
        curves.add(epoch(1, mask=value))
        curves.close()
    assert [row["mask"] for row in table(tmp_path)] == ["0.2"]


def test_a_table_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    (tmp_path / "curves.csv").mkdir()
    with pytest.raises(OutputError, match=r"curves\.csv cannot be written"):
        curves.add(epoch(1, mask=0.5))
    curves.close()


def test_samples_are_a_row_of_four_pictures_and_a_caption_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = []
    for shape in ((300, 400), (64, 64), (700, 100)):
        regions = (rng.random(shape) < 0.3).astype(np.uint16)
        image = rng.standard_normal(shape, np.float32)
        count_map = rng.random((-(-shape[0] // 4), -(-shape[1] // 4)), np.float32)
        if shape == (64, 64):
            count_map = np.array([[-2.5]], np.float32)  # as the pooled head may give
        example = Example("näme/of an image", "", image, regions, None, 12)
        samples.append(Sample(example, rng.random(shape, np.float32), count_map))
    path = tmp_path / "samples" / "epoch_0001.png"
    draw_samples(path, samples, ("mask", "count"))
    picture = read_image(path)
    assert picture.shape == (22 + 3 * (256 + 22), 4 * 256 + 3 * 4)
    assert picture.dtype == np.uint8
    assert all(picture[:22, 260 * k : 260 * k + 256].max() > 200 for k in range(4))  # headings
    picture = picture[22:]
    mask = picture[:192, 260:516]  # of 300 x 400 pixels, and nothing below it
    assert 0.2 < mask.mean() / 255 < 0.4
    assert not picture[192:256, 260:516].any()
    captions = [picture[278 * k + 256 : 278 * (k + 1)] for k in range(3)]
    assert all(caption.max() > 200 for caption in captions)
    assert [path.name for path in path.parent.iterdir()] == ["epoch_0001.png"]


@pytest.mark.parametrize("shape", [(256, 256), (1, 1), (1000, 3), (3, 1000), (512, 300)])
def test_a_panel_keeps_proportions_and_grey_values(shape: tuple[int, int]) -> None:
    square = panel(np.full(shape, 0.5, np.float32))
    assert square.shape == (256, 256)
    rows, columns = (max(1, round(256 * side / max(shape))) for side in shape)
    assert (square[:rows, :columns] == 127).all()
    assert square.any(1).sum() == rows
    assert square.any(0).sum() == columns
