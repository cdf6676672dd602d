"""Checks of every request before the page answers it: a host check and a limit of size.

A page of somebody else's, open in the same browser, can send requests to this machine. By a name
that it lets point here (DNS rebinding) it could read the answers too. So requests must name this
server as a browser does that was sent here: by a loopback address, by the host that the page was
told to listen on, or, where it listens on all addresses, by any number.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metarl.explore.loopback import is_loopback
from metarl.invocation import typed

MOST_BYTES = 64 * 1024
"""Bytes of a request's body: a maze of the largest side takes two thousand."""

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
"""Headers of every answer: nothing comes from elsewhere, and no other page shows this one."""

HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]*)(?::\d*)?", re.ASCII)


class Guard:
    """The application behind the checks (ASGI).

    Args:
        app: The application.
        host: The host that it listens on.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app, self._host = app, host.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = ((n.encode(), v.encode()) for n, v in HEADERS.items())
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        refusal = self._refusal(Request(scope))
        await (refusal or self._app)(scope, receive, with_headers)

    def allows(self, host: str) -> bool:
        """Whether a request may call this server so, with or without a port."""
        found = HOST.fullmatch(host.strip())
        if found is None:
            return False
        name = found[1].strip("[]").lower()
        if is_loopback(name) or (name and name == self._host):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return not is_loopback(self._host)

    def _refusal(self, request: Request) -> JSONResponse | None:
        host = request.headers.get("host", "")
        if not self.allows(host):
            return refused(
                403,
                f"this server is not called {host[:80]!r}: open the address that "
                f"`{typed('explore', 'maze', of_run=True)}` printed",
            )
        origin = request.headers.get("origin")
        if origin is not None and place_of(origin) != host:
            return refused(403, "this request comes from another page than this server's own")
        if request.method == "POST":
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                return refused(415, "send application/json")
            length = request.headers.get("content-length", "0")
            if not (length.isascii() and length.isdecimal()):
                return refused(400, "the length of the request is no number")
            if len(length) > 9 or int(length) > MOST_BYTES:
                return too_long()
        return None


def place_of(origin: str) -> str | None:
    """Host and port of an address; None: it is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


async def body_of(request: Request) -> bytes | None:
    """The body of a request; None: it is too long."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


def refused(status: int, why: str) -> JSONResponse:
    """An answer that says what is wrong."""
    return JSONResponse({"error": why}, status_code=status)


def too_long() -> JSONResponse:
    """The answer to a body that is too long."""
    return refused(413, f"a request has at most {MOST_BYTES} bytes: send a smaller maze")
