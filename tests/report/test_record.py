import sys

import pytest

from bundles import tiny_bundle
from elmgan.counting import Model
from elmgan.report import run_record
from elmgan.report.record import machine


def test_the_machine_is_described() -> None:
    described = machine()
    assert described["platform"]
    assert described["processor"]
    assert isinstance(described["cores"], int)


@pytest.mark.parametrize("program", ["/somewhere/bin/elmgan", "/somewhere/elmgan/__main__.py"])
def test_the_command_can_be_given_again(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [program, "count", "my images", "-o", "out"])
    assert run_record(Model(tiny_bundle()), {})["command"] == "elmgan count 'my images' -o out"
