import json
from itertools import count

import pytest

from elmgan.apps.terminal import Told, command_line


@pytest.mark.parametrize("program", ["/somewhere/bin/elmgan", "/somewhere/elmgan/__main__.py"])
def test_the_command_can_be_given_again(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [program, "count", "my images", "-o", "out"])
    assert command_line() == "elmgan count 'my images' -o out"


def test_programs_are_told_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = count(step=0.5)
    told = Told(clock=lambda: next(seconds), every=1)
    told.part(0.25)
    told.part(0.5)  # at 1.0
    for _ in range(3):
        told(5)  # at 1.5, 2.0 and 2.5
    out, err = capsys.readouterr()
    lines = [json.loads(line)["progress"] for line in err.splitlines()]
    assert not out
    assert lines == [
        {"done": 0.5, "of": 1, "per_second": 0.5, "seconds_left": 1.0},
        {"done": 2.0, "of": 5, "per_second": 1.0, "seconds_left": 3.0},
    ]
