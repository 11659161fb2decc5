from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from elmgan.data import Record, split
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
