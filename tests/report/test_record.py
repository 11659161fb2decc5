import pytest

from bundles import tiny_bundle
from elmgan.counting import Model
from elmgan.report import run_record
from elmgan.report.page import parameters_of
from elmgan.report.record import machine


def test_the_machine_is_described() -> None:
    described = machine()
    assert described["platform"]
    assert described["processor"]
    assert isinstance(described["cores"], int)


@pytest.mark.parametrize("command", [None, "elmgan count 'my images' -o out"])
def test_the_command_is_the_one_that_was_handed_in(command: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/jupyter", "lab"])
    record = run_record(Model(tiny_bundle()), {}, command) | {"seconds": 1.0}
    assert record["command"] == command
    parameters = parameters_of(record)
    assert not any("jupyter" in value for value in parameters.values())
    assert parameters.get("command") == command
