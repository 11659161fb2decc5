"""Who may ask: the Host and the Origin of each request, the token where the address is not this machine's own."""

import hmac
import ipaddress
import json
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from elmgan.apps.web.refusal import RefusedError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""What a page of this server may load: its own files, and pictures that it made; no script or style within a page."""

SAFETY_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

TOKEN = "x-elmgan-token"
"""Header of the token; ``Authorization: Bearer`` does as well."""

TICKETS = "/api/downloads/"
"""Path of downloads, whose own names cannot be guessed: a link of a browser sends no header."""

MOST_BODY = 4 << 20
"""Bytes of a request that uploads no images."""

UPLOADS = re.compile(r"/api/(count|jobs/[^/]+/regions)")
"""Paths of uploads, which have bounds of their own."""


class Guard:
    """Stands before an application and lets through who may ask.

    Args:
        app: The application.
        host: Address that the server listens on.
        token: What each request to the API must bring, unless the address is this machine's own.
    """

    def __init__(self, app: Asgi, *, host: str, token: str | None) -> None:
        self._app = app
        self._token = token
        self._names = {host.lower(), *LOOPBACK}
        self._local = host.lower() in LOOPBACK
        if not self._local:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [
                    pair
                    for pair in message.get("headers", [])
                    if pair[0].decode("latin-1").lower() not in SAFETY_HEADERS
                ]
                added = [(name.encode(), value.encode()) for name, value in SAFETY_HEADERS.items()]
                if scope["path"].startswith("/api/"):
                    added.append((b"cache-control", b"no-store"))
                message["headers"] = [*kept, *added]
            await send(message)

        try:
            self._check(scope)
        except RefusedError as error:
            await _answer(error, send_safely)
            return
        await self._app(scope, receive if UPLOADS.fullmatch(scope["path"]) else _bounded(receive), send_safely)

    def _check(self, scope: Scope) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise RefusedError(421, f"this server is not {host!r:.100}: open it by the address that it printed")
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host.lower():
            raise RefusedError(403, "the request comes from a page of another site, which may not ask here")
        api = scope["path"].startswith("/api/")
        if api and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise RefusedError(403, "the request comes from a page of another site, which may not ask here")
        length = headers.get("content-length", "0")
        if not UPLOADS.fullmatch(scope["path"]) and (not length.isdecimal() or int(length) > MOST_BODY):
            raise RefusedError(413, f"the request is larger than {MOST_BODY} bytes")
        if self._token is not None and api and not scope["path"].startswith(TICKETS):
            given = headers.get(TOKEN) or headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                raise RefusedError(401, "a token is needed: open the link that the server printed when it started")

    def _is_ours(self, host: str) -> bool:
        """Whether a Host is this server's name. An address by numbers cannot be a name that was turned to us."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in self._names:
            return True
        if self._local:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _bounded(receive: Receive) -> Receive:
    """Give what receives a request's body, up to MOST_BODY."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MOST_BODY:
            raise HTTPException(413, f"the request is larger than {MOST_BODY} bytes")  # the framework passes it on
        return message

    return bounded


async def _answer(error: RefusedError, send: Send) -> None:
    body = json.dumps({"error": error.sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
