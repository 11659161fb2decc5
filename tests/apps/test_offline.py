"""No command opens a connection, nor does any library or process that it starts."""

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from bundles import write_tiny
from elmgan.apps.cli import app
from elmgan.data.synthetic import write_data_set

# Number of the system call that makes a socket.
SOCKET = {"x86_64": 41, "aarch64": 198}.get(platform.machine())
pytestmark = pytest.mark.skipif(sys.platform != "linux" or SOCKET is None, reason="a filter of Linux's system calls")

# From here on the kernel stops each process that makes a socket to leave the machine, and Python prints where that was.
# The filter has instructions (code, where to go on if equal and if not, operand) as in linux/filter.h.
SEALED = f"""
import ctypes, faulthandler, json, signal, socket, struct, sys

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, FAMILY = 0, 16  # where in the record of a system call
TRAP, ALLOW = 0x30000, 0x7FFF0000
filter = [
    (LOAD, 0, 0, NUMBER),
    (EQUAL, 0, 3, {SOCKET}),
    (LOAD, 0, 0, FAMILY),
    (EQUAL, 2, 0, socket.AF_INET),
    (EQUAL, 1, 0, socket.AF_INET6),
    (RETURN, 0, 0, ALLOW),
    (RETURN, 0, 0, TRAP),
]
instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in filter))
program = ctypes.create_string_buffer(struct.pack("HP", len(filter), ctypes.addressof(instructions)))
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
assert prctl(SECCOMP, FILTER, program, 0, 0) == 0, ctypes.get_errno()
faulthandler.register(signal.SIGSYS, chain=True)
"""
COMMANDS = """
from elmgan.apps.cli import app

for command in json.loads(sys.argv[1]):
    app(command, standalone_mode=False)
"""


def run(home: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program that cannot leave the machine, as somebody who is new here and has not refused any telemetry."""
    refused = {"CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in refused} | {"HOME": str(home)}
    home.mkdir()
    command = [sys.executable, "-c", SEALED + source, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def names(command: Any) -> Iterator[tuple[str, ...]]:
    """Name every command that does something, with the groups that it is in."""
    for name, part in command.commands.items():
        if hasattr(part, "commands"):
            yield from ((name, *within) for within in names(part))
        else:
            yield (name,)


@pytest.mark.slow
def test_no_command_opens_a_connection(tmp_path: Path) -> None:
    data, images, model, run_folder = (str(tmp_path / name) for name in ("data", "data/images", "tiny-model", "run"))
    write_tiny(tmp_path)
    write_data_set(tmp_path / "data", 10, seed=1, size=(64, 64))
    speed = str(tmp_path / "speed")
    quick = ("-o", speed, "--side", "64", "--rounds", "1", "--block", "0")
    by_onnxruntime = (*quick, "--engine", "onnxruntime fp32")
    small = ("architecture.width=2", "discriminator.width=2", "optimisation.epochs=1", "optimisation.steps=1")
    commands = [
        ["info"],
        ["info", model, "--json"],
        ["info", data],
        ["synth", str(tmp_path / "synth"), "--images", "1"],
        ["count", images, "-o", str(tmp_path / "counted"), "--overlays"],
        ["count", images, "-o", str(tmp_path / "by-onnxruntime"), "--model", model, "--engine", "onnxruntime"],
        ["evaluate", data, "-o", str(tmp_path / "evaluated"), "--model", model],
        ["calibrate", model, data, "-o", str(tmp_path / "calibrated")],
        ["export", "nuclei-small", "-o", str(tmp_path / "small.zip"), "--format", "bioimageio"],
        ["train", data, "-o", run_folder, *(part for setting in small for part in ("--set", setting))],
        ["count", images, "-o", str(tmp_path / "by-torch"), "--model", f"{run_folder}/model", "--engine", "torch"],
        ["benchmark", "upsampling", *quick, "--width", "2", "--engine", "torch fp32"],
        ["benchmark", "model", *by_onnxruntime, "--network", "LFMMG small", "--batch", "1"],
        ["benchmark", "throughput", *by_onnxruntime, "--model", "nuclei-small", "--images", "2", "--large", "320"],
        ["benchmark", "accuracy", data, "-o", f"{speed}/runs", "--arms", "full", "--steps", "1", "--width", "2"],
        ["benchmark", "report", f"{speed}/model.json", "-o", f"{speed}/page.md"],
    ]
    every = set(names(get_command(app))) - {("serve",)}  # it listens; see below
    assert {name for name in every if any(command[: len(name)] == name for command in map(tuple, commands))} == every
    home = tmp_path / "home"
    done = run(home, COMMANDS, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    assert "most recent call first" not in done.stderr  # of a process that it started
    # Telemetry that has not come to send anything has left a name for this machine already.
    assert [path.name for path in home.rglob("*") if path.suffix != ".blob"] == [".cache", "elmgan"]
    for folder, engine in (("counted", "openvino"), ("by-onnxruntime", "onnxruntime"), ("by-torch", "torch")):
        assert json.loads((tmp_path / folder / "run.json").read_text())["engine"]["name"] == engine


SERVED = """
import asyncio
from pathlib import Path

from httpx2 import ASGITransport, AsyncClient

from elmgan.apps.web.jobs import Jobs
from elmgan.apps.web.models import Models
from elmgan.apps.web.refusal import Limits
from elmgan.apps.web.service import Site, create_app


async def main():
    jobs = Jobs(Path(sys.argv[1]), Models(), Limits())
    transport = ASGITransport(create_app(Site(jobs)))
    async with AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        image = Path(sys.argv[2]).read_bytes()
        answer = await client.post("/api/count", files={"images": ("a.tif", image)}, data={"wait": "true"})
        assert answer.json()["rows"], answer.text
    jobs.close()


asyncio.run(main())
"""


def test_the_server_opens_no_connection(tmp_path: Path) -> None:
    write_data_set(tmp_path / "data", 1, seed=1, size=(64, 64))
    (tmp_path / "private").mkdir()
    image = next((tmp_path / "data" / "images").iterdir())
    done = run(tmp_path / "home", SERVED, str(tmp_path / "private"), str(image))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_a_connection_is_found(tmp_path: Path, family: str) -> None:
    reach_out = f"(target=socket.socket, args=[socket.{family}]).start()"
    thread = run(tmp_path / "home", f"import threading; threading.Thread{reach_out}")
    assert thread.returncode == -signal.SIGSYS
    assert "most recent call first" in thread.stderr
    child = run(tmp_path / "another", f"import multiprocessing; multiprocessing.Process{reach_out}")
    assert "most recent call first" in child.stderr
    assert run(tmp_path / "third", "socket.socketpair()").returncode == 0
