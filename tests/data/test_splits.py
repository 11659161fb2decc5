from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from elmgan.data import Record, Sides, divide, split
from elmgan.errors import DataError


def records(members: list[tuple[str, str]]) -> list[Record]:
    """Records of these groups and kinds."""
    return [
        Record(f"{number}", Path(f"{number}.tif"), None, None, 1, group, kind)
        for number, (group, kind) in enumerate(members)
    ]


@given(
    groups=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["", "a", "a/b"])), min_size=2, max_size=40),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_whole_groups_of_every_kind_are_held_out(groups: list[tuple[int, str]], fraction: float, seed: int) -> None:
    members = records([(f"{number} of {kind}", kind) for number, kind in groups])
    try:
        train, validation = split(members, fraction, rng=default_rng(seed))
    except DataError as error:
        assert f"{len(members)} images" in str(error)  # noqa: PT017 - some draws cannot be split
        return
    assert sorted(train + validation, key=members.index) == members
    assert train == [record for record in members if record in train]
    assert not {record.group for record in train} & {record.group for record in validation}
    sizes: dict[str, Counter[str]] = defaultdict(Counter)
    for record in members:
        sizes[record.kind][record.group] += 1
    for kind, group_sizes in sizes.items():
        wanted = round(fraction * group_sizes.total())
        held_out = sum(record.kind == kind for record in validation)
        assert wanted <= held_out < wanted + max(group_sizes.values())
        assert wanted > 0 or held_out == 0
    assert split(members, fraction, rng=default_rng(seed)) == (train, validation)


def test_every_group_can_be_drawn() -> None:
    members = records([(str(number), "") for number in range(5)])
    held_out = {split(members, 0.2, rng=default_rng(seed))[1][0].group for seed in range(50)}
    assert held_out == set("01234")


def test_other_random_numbers_give_another_split() -> None:
    members = records([(str(number), "") for number in range(99)])
    first, second = (split(members, 0.5, rng=np.random.default_rng(seed)) for seed in (1, 2))
    assert first != second


@pytest.mark.parametrize(("groups", "fraction"), [("aaaa", 0.5), ("abcd", 0.1), ("abcd", 0.9)])
def test_what_would_leave_a_side_empty_is_refused(groups: str, fraction: float) -> None:
    with pytest.raises(DataError, match=rf"4 images in .* cannot be split .* {fraction}: give more images"):
        split(records([(group, "") for group in groups]), fraction, rng=default_rng(0))


def marked(sides: str, groups: str = "") -> list[Record]:
    """A record for each letter: t trains, v validates, c calibrates, e is for testing, . is not marked."""
    words = {"t": "train", "v": "validation", "c": "calibration", "e": "test", ".": ""}
    made = records([(group, "") for group in groups or map(str, range(len(sides)))])
    return [replace(record, split=words[side]) for record, side in zip(made, sides, strict=True)]


def test_what_the_data_set_says_is_obeyed() -> None:
    members = marked("tvtetvec")
    sides = divide(members, 0.5, calibration=0.5, rng=default_rng(0))
    assert sides == Sides(
        [members[0], members[2], members[4]], [members[1], members[5]], [members[7]], [members[3], members[6]]
    )


@given(seed=st.integers(0, 2**32))
def test_where_none_validates_they_are_drawn_from_those_that_train(seed: int) -> None:
    members = marked("tetteettet")
    sides = divide(members, 0.3, rng=default_rng(seed))
    to_train = [record for record in members if record.split == "train"]
    assert (sides.train, sides.validation) == split(to_train, 0.3, rng=default_rng(seed))
    assert sides.test == [record for record in members if record.split == "test"]


@given(groups=st.lists(st.integers(0, 9), min_size=8, max_size=20), seed=st.integers(0, 2**32))
def test_without_marks_all_are_drawn(groups: list[int], seed: int) -> None:
    members = records([(str(group), "") for group in [*groups, *range(10, 20)]])
    drawn = divide(members, 0.3, rng=default_rng(seed))
    assert (drawn.train, drawn.validation) == split(members, 0.3, rng=default_rng(seed))
    assert drawn.calibration == drawn.test == []


@given(seed=st.integers(0, 2**32), marks=st.booleans())
def test_images_to_calibrate_on_are_drawn_from_those_that_train(seed: int, marks: bool) -> None:
    members = marked("tttv" * 100) if marks else records([(str(k // 2), "") for k in range(400)])
    without = divide(members, 0.2, rng=default_rng(seed))
    sides = divide(members, 0.2, calibration=0.2, rng=default_rng(seed))
    assert sides.validation == without.validation
    assert sorted(sides.train + sides.calibration, key=members.index) == without.train
    assert len(sides.calibration) == round(0.2 * len(without.train))
    assert not {record.group for record in sides.train} & {record.group for record in sides.calibration}


@pytest.mark.parametrize(
    ("images", "share", "counted", "drawn"),
    [(97, 0.2, 97, 0), (100, 0.2, 100, 20), (200, 0.1, 0, 0), (300, 0.2, 100, 20)],
)
def test_too_few_to_calibrate_on_train(images: int, share: float, counted: int, drawn: int) -> None:
    """It takes 20 with a count; the others, and all where an interval cannot be had, are not kept from training."""
    members = [replace(record, count=1 if k < counted else None) for k, record in enumerate(marked("t" * images + "v"))]
    sides = divide(members, 0.2, calibration=share, rng=default_rng(0))
    assert (len(sides.train), len(sides.calibration)) == (images - drawn, drawn)
    assert all(record.count is not None for record in sides.calibration)


def test_the_draw_stays() -> None:
    """Models are trained on these sides; another draw would let what they are scored on train them."""
    members = records([(str(k // 2), "ab"[k % 5 == 0]) for k in range(40)])
    _, validation = split(members, 0.2, rng=default_rng(7))
    assert [record.name for record in validation] == ["8", "9", "16", "17", "26", "27", "30", "31"]


@pytest.mark.parametrize(
    ("sides", "groups", "message"),
    [
        ("tv", "aa", r"group a: 0 \(train\) and 1 \(validation\) show the same cells; mark them for one side"),
        ("tvtee", "abccb", r"group b: 1 \(validation\) and 4 \(test\) .*\n.*group c: 2 \(train\) and 3 \(test\)"),
        ("t.ev", "abcd", r"1\.tif: has no split, others have; write train, validation, calibration or test"),
        ("vve", "abc", "no image is marked to train on"),
        ("eee", "abc", "no image is marked to train on"),
        ("tee", "abc", "1 images in 1 groups cannot be split"),
    ],
)
def test_marks_that_make_no_split_are_refused(sides: str, groups: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        divide(marked(sides, groups), 0.5, rng=default_rng(0))
