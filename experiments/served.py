"""Compare the server with the command line, in images/s and in seconds of processor time.

    python experiments/served.py IMAGES OUT [ROUNDS]

The first 200 images of the folder IMAGES are counted by ``elmgan count``, and by 20 clients of ``elmgan serve`` that
send 10 each: one, two or ten with a request that waits for the answer, and as the page sends them, with labels and
overlays, asking every 0.4 s. They take turns, after one round that is not timed. The command line's time is that of its
record, without its start. Clients and server share the machine, so that the clients' processor time is told too. OUT
gets a JSON file: the medians over the rounds.
"""

import json
import os
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any

from elmgan.report.record import machine

IMAGES, CLIENTS = 200, 20
POLL = 0.4
ROUNDS = 3
BOUNDARY = "boundary-of-parts"

Image = tuple[str, bytes]
"""Name and content of a file."""


class Server:
    """``elmgan serve`` in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "elmgan", "serve", "--no-browser"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().split("//")[1].strip().rstrip("/")

    @property
    def processor_seconds(self) -> float:
        """Of all its threads so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def most_memory(self) -> int:
        """Bytes that were resident at once, at most."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))

    def end(self) -> None:
        """Stop it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


def ask(
    connection: HTTPConnection, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
) -> dict[str, Any]:
    """Ask the server for JSON."""
    connection.request(method, path, body, dict(headers))
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{method} {path}: {answer.status} {content[:300]!r}")
    told: dict[str, Any] = json.loads(content)
    return told


def upload(images: Sequence[Image], **fields: str) -> bytes:
    """Give the body of an upload."""
    parts = []
    for name, value in fields.items():
        parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for name, content in images:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="{name}"\r\n\r\n'
        parts += [head.encode(), content, b"\r\n"]
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def client(address: str, images: Sequence[Image], per_post: int, as_page: bool) -> int:
    """Send images, some at a time, and give the number of rows that came."""
    connection, rows = HTTPConnection(address, timeout=600), 0
    session = {"X-Elmgan-Session": secrets.token_hex(16)}
    for first in range(0, len(images), per_post):
        fields = {"labels": "true", "overlays": "true"} if as_page else {"wait": "true"}
        body = upload(images[first : first + per_post], **fields)
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        job = ask(connection, "POST", "/api/count", session | kind, body)
        rows += len(job["rows"])
        while job["state"] in ("waiting", "counting"):
            time.sleep(POLL)
            job = ask(connection, "GET", f"/api/jobs/{job['job']}?after={job['news']}", session)
            rows += len(job["rows"])
    connection.close()
    return rows


def by_clients(server: Server, images: Sequence[Image], per_post: int, as_page: bool = False) -> dict[str, float]:
    """Count the images by clients, all at once; give the times."""
    share = len(images) // CLIENTS
    begun, clients, served = time.perf_counter(), time.process_time(), server.processor_seconds
    with ThreadPoolExecutor(CLIENTS) as pool:
        rows = sum(
            pool.map(
                lambda k: client(server.address, images[k * share : (k + 1) * share], per_post, as_page), range(CLIENTS)
            )
        )
    if rows != len(images):
        raise SystemExit(f"{rows} rows came for {len(images)} images")
    return {
        "seconds": time.perf_counter() - begun,
        "processor": server.processor_seconds - served,
        "clients": time.process_time() - clients,
    }


def by_command(paths: Sequence[Path], out: Path, *options: str) -> dict[str, float]:
    """Count the images by the command line; give the times: of all of it, and without its start."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "elmgan", "count", *map(str, paths), "-o", str(out), "--quiet", *options]
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": json.loads((out / "run.json").read_text())["seconds"],
        "processor": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "whole": time.perf_counter() - begun,
    }


def main(folder: Path, out: Path, rounds: int) -> None:
    """Time all of it and write what came out."""
    paths = sorted(path for path in folder.iterdir() if path.is_file())[:IMAGES]
    images = [(path.name, path.read_bytes()) for path in paths]
    with tempfile.TemporaryDirectory() as scratch:
        counted = Path(scratch)
        server = Server()
        arms: dict[str, Callable[[], dict[str, float]]] = {
            "command line": lambda: by_command(paths, counted),
            "ten a request": lambda: by_clients(server, images, 10),
            "two a request": lambda: by_clients(server, images, 2),
            "one a request": lambda: by_clients(server, images, 1),
            "command line, --labels --overlays": lambda: by_command(paths, counted, "--labels", "--overlays"),
            "the page, ten a request": lambda: by_clients(server, images, 10, as_page=True),
        }
        times: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
        for k in range(rounds + 1):
            for name, arm in list(arms.items())[:: 1 if k % 2 else -1]:
                found = arm()
                times[name] += [found] if k else []
                print(k, name, {what: round(value, 2) for what, value in found.items()}, flush=True)
        memory = server.most_memory
        server.end()
    table = {
        name: {what: round(median(each[what] for each in of), 2) for what in of[0]}
        | {"images per second": round(len(images) / median(each["seconds"] for each in of), 2)}
        for name, of in times.items()
    }
    record = {"images": len(images), "clients": CLIENTS, "rounds": rounds, "machine": machine()}
    out.write_text(json.dumps({**record, "most memory of the server": memory, "times": table}, indent=1) + "\n")
    print(json.dumps(table, indent=1), f"most memory of the server: {memory / 1e9:.2f} GB")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else ROUNDS)
