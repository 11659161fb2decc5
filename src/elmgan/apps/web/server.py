"""The server: a private folder for what is sent, the address, the browser, and an end that leaves nothing."""

import os
import secrets
import shutil
import socket
import stat
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread, Timer

import uvicorn

from elmgan.apps.web.guard import LOOPBACK
from elmgan.apps.web.jobs import Jobs
from elmgan.apps.web.models import Models
from elmgan.apps.web.refusal import Limits
from elmgan.apps.web.service import Site, create_app
from elmgan.errors import ElmganError, UsageError
from elmgan.holding import LOCK, held

PRIVATE = "elmgan-serve-"
"""How the names of private folders begin."""

USUAL_PORT = 8000

YOUNG, LOCKING = 60, 1
"""Seconds for which a folder may not be held yet by who made it, and for which its lock file may not be locked yet."""

GRACE = 3
"""Seconds for which open connections are waited for at the end."""


def run_server(
    models: Models,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    open_browser: bool = True,
    limits: Limits | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve the page until the process is interrupted or terminated.

    Args:
        models: What counts.
        host: Address to listen on. One that others can reach asks each request for a token, which is in the link.
        port: Port; by default 8000, or a free one where that is taken.
        open_browser: Whether to open the page, if it is on this machine.
        limits: Bounds.
        tell: Called with what people should know: the link.

    Raises:
        UsageError: The address or the port cannot be had.
    """
    token = None if host in LOOPBACK else secrets.token_urlsafe(24)
    remove_left()
    with ExitStack() as stack:
        listening = stack.enter_context(_listening(host, port))
        folder = stack.enter_context(own_folder())
        jobs = Jobs(folder / "jobs", models, limits or Limits())
        link = _link(host, listening.getsockname()[1], token)
        app = create_app(Site(jobs, host, token))
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE, server_header=False
        )
        Thread(target=_warm_up, args=(models,), daemon=True).start()
        tell(f"the page is at {link}")
        if token is None:
            tell("it can be opened on this machine alone; images stay on it. Ctrl-C ends the server")
        else:
            tell("who has this link can use the page; images come here unencrypted. Ctrl-C ends the server")
        if open_browser and token is None:
            opening = Timer(0.5, webbrowser.open, [link])
            opening.daemon = True
            opening.start()
        with suppress(KeyboardInterrupt):  # uvicorn raises again what ended it
            uvicorn.Server(config).run(sockets=[listening])
        if not jobs.close():  # an image is still being counted: no thread may write once the folder is gone
            shutil.rmtree(folder, ignore_errors=True)
            sys.stdout.flush()
            os._exit(0)


@contextmanager
def own_folder() -> Iterator[Path]:
    """Give a folder that is this process's alone, for all temporary files, and remove it with all that is in it."""
    folder = Path(tempfile.mkdtemp(prefix=PRIVATE))
    before = tempfile.tempdir
    try:
        with held(folder):
            (folder / "jobs").mkdir()
            tempfile.tempdir = str(folder)  # what libraries put aside is removed too
            yield folder
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


def remove_left() -> None:
    """Remove what servers of this user left that were killed: private folders that no process holds."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PRIVATE}*"):
        with suppress(OSError, ElmganError):
            found = folder.lstat()
            ours = not hasattr(os, "getuid") or found.st_uid == os.getuid()
            if stat.S_ISDIR(found.st_mode) and ours and _was_held(folder, found):
                with held(folder):
                    shutil.rmtree(folder / "jobs", ignore_errors=True)
                shutil.rmtree(folder, ignore_errors=True)


def _was_held(folder: Path, found: os.stat_result) -> bool:
    """Whether who made a folder has had the time to hold it: it has a lock by now, or never will."""
    lock = folder / LOCK
    return found.st_mtime < time.time() - YOUNG or (lock.exists() and lock.stat().st_mtime < time.time() - LOCKING)


@contextmanager
def _listening(host: str, port: int | None) -> Iterator[socket.socket]:
    try:
        family, kind, protocol, _, _ = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(f"--host is {host}: this machine has no such address ({error.strerror})") from error
    with socket.socket(family, kind, protocol) as listening:
        if os.name != "nt":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ports = [USUAL_PORT, 0] if port is None else [port]
        for number in ports:
            try:
                listening.bind((host, number))
                break
            except OSError as error:
                if number == ports[-1]:
                    raise UsageError(
                        f"port {number} of {host} cannot be had ({error.strerror}): name another with --port"
                    ) from error
        yield listening


def _link(host: str, port: int, token: str | None) -> str:
    """The address of the page for people; the token is in a part that browsers do not send."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"#token={token}" if token else "")


def _warm_up(models: Models) -> None:
    """Load the first model, so that the first images do not wait for it."""
    with suppress(ElmganError):  # it will be told when somebody counts with it
        models.get(models.first, "")
