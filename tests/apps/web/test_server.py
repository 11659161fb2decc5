import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from bundles import squares, write_tiny
from elmgan.apps.cli import app
from elmgan.apps.web.server import PRIVATE, remove_left
from elmgan.holding import LOCK, held
from web_client import TINY, tiff

IMAGES = [("images", (f"{k}.tif", tiff(squares(k % 20)))) for k in range(200)]


@contextmanager
def running(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own whose temporary files lie in ``folder``/tmp; and its link."""
    (folder / "tmp").mkdir(exist_ok=True)
    model = write_tiny(folder)
    command = [sys.executable, "-m", "elmgan", "serve", "--no-browser", "--model", str(model), *options]
    environment = os.environ | {"TMPDIR": str(folder / "tmp"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        link = process.stdout.readline().split()[-1]
        for _ in range(200):
            try:
                httpx2.get(link)
                break
            except httpx2.TransportError:
                time.sleep(0.05)
        yield process, link
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_stopped_in_the_middle_leaves_no_files(tmp_path: Path, how: signal.Signals) -> None:
    with running(tmp_path) as (process, link):
        job = httpx2.post(f"{link}api/count", files=IMAGES, data={"model": TINY}).json()
        assert job["state"] in ("waiting", "counting")
        assert list((tmp_path / "tmp").glob("*/jobs/*/uploads/*"))
        process.send_signal(how)
        assert process.wait(20) == 0
        assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no such signal")
def test_what_a_killed_server_left_is_gone_once_the_next_one_runs(tmp_path: Path) -> None:
    with running(tmp_path) as (process, link):
        httpx2.post(f"{link}api/count", files=IMAGES, data={"model": TINY})
        process.kill()
        process.wait()
    (left,) = (tmp_path / "tmp").iterdir()
    assert list(left.glob("jobs/*/uploads/*"))
    os.utime(left / LOCK, (time.time() - 2, time.time() - 2))
    with running(tmp_path):
        assert [path.name for path in (tmp_path / "tmp").rglob("*") if left in (path, *path.parents)] == []


def test_huge_headers_are_refused_and_others_still_served(tmp_path: Path) -> None:
    with running(tmp_path) as (_, link):
        host, port = link.removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Huge: " + b"a" * 200_000)
            connection.settimeout(10)
            with suppress(ConnectionResetError):
                assert b" 4" in connection.recv(200).split(b"\r\n")[0]
        assert httpx2.get(f"{link}api/about").status_code == 200


def test_the_python_of_its_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "page.md").read_text(encoding="utf-8")
    block = page.partition("```python\n")[2].partition("```")[0]
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_bytes(tiff(squares(3)))
    monkeypatch.chdir(tmp_path)
    with running(tmp_path) as (_, link):
        exec(block.replace("http://127.0.0.1:8000", link.rstrip("/")), {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["a.tif", "b.tif"]


def test_what_a_killed_server_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("left", "held", "young"):
        (tmp_path / f"{PRIVATE}{name}" / "jobs" / "a").mkdir(parents=True)
    for name in ("left", "held"):
        os.utime(tmp_path / f"{PRIVATE}{name}", (0, 0))
    (tmp_path / "other").mkdir()
    (tmp_path / f"{PRIVATE}link").symlink_to(tmp_path / "other")
    with held(tmp_path / f"{PRIVATE}held"):
        os.utime(tmp_path / f"{PRIVATE}held", (0, 0))
        remove_left()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"{PRIVATE}held", f"{PRIVATE}young", f"{PRIVATE}link", "other"}


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(app, ["serve", "--port", port, "--no-browser"])
    assert done.exit_code == 2
    assert f"port {port} of 127.0.0.1 cannot be had" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "no.such.host.invalid"], "this machine has no such address"),
        (["--model", "missing"], "missing"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["serve", "--no-browser", *arguments])
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_is_missing_is_named() -> None:
    without = "import sys; sys.modules['uvicorn'] = None; from elmgan.apps.cli import app; app()"
    done = subprocess.run([sys.executable, "-c", without, "serve"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: the page needs uvicorn: pip install fastapi uvicorn python-multipart\n"
