import pytest

from elmgan.apps.terminal import command_line


@pytest.mark.parametrize("program", ["/somewhere/bin/elmgan", "/somewhere/elmgan/__main__.py"])
def test_the_command_can_be_given_again(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [program, "count", "my images", "-o", "out"])
    assert command_line() == "elmgan count 'my images' -o out"
