"""The routes of the page, and how its answers go over HTTP.

    GET  /                 the page; /NAME: the files of `static`
    GET  /api/setup        what can be chosen
    POST /api/maze         a maze: drawn, linked or from a source
    POST /api/trial        a trial, step by step
    POST /api/anchors      what it is judged by

What is asked for wrongly is answered with ``{"error": ...}``, which says what to change.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import torch
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from metarl.errors import UserError, first_line, understood
from metarl.explore.guard import Guard, body_of, refused, too_long
from metarl.explore.page import Page
from metarl.invocation import typed

STATIC = Path(__file__).parent / "static"

KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""Kinds of files, whatever this machine's own table says."""

MOST_WAITING = 16
"""Questions that wait for their answers; further ones are sent away."""

Answer = Callable[[Any], dict[str, Any]]


class Server:
    """Application that serves the page.

    Args:
        page: Answers.
        host: The host that it listens on.

    Attributes:
        app: For a server of ASGI applications.
    """

    def __init__(self, page: Page, host: str = "127.0.0.1") -> None:
        self._waiting = 0
        # One at a time, in one thread, whose arithmetic is that of the command line.
        self._worker = ThreadPoolExecutor(1, initializer=_as_the_command_line)
        answers: dict[str, Answer] = {
            "maze": page.maze,
            "trial": page.trial,
            "anchors": page.anchors,
        }
        posts = [
            Route(f"/api/{name}", self._answering(answer), methods=["POST"])
            for name, answer in answers.items()
        ]
        setup = Route("/api/setup", self._answering(page.setup), methods=["GET"])
        files = [
            Route("/" if file.name == "index.html" else f"/{file.name}", _file(file))
            for file in sorted(STATIC.iterdir())
            if file.suffix in KINDS
        ]
        self.app = Starlette(
            routes=[setup, *posts, *files],
            middleware=[Middleware(Guard, host=host)],
            exception_handlers={HTTPException: _no_such, Exception: _our_fault},
        )

    def _answering(self, answer: Answer) -> Callable[[Request], Any]:
        """The endpoint of an answer."""

        async def endpoint(request: Request) -> Response:
            try:
                body = b"" if request.method in ("GET", "HEAD") else await body_of(request)
            except ClientDisconnect:  # nobody waits for an answer
                return Response(status_code=400)
            if body is None:
                return too_long()
            if self._waiting >= MOST_WAITING:
                return refused(503, "too many questions at once: wait a moment")
            self._waiting += 1
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._worker, _answered, answer, body)
            finally:
                self._waiting -= 1

        return endpoint

    def close(self) -> None:
        """Answer nothing any more."""
        self._worker.shutdown(wait=True, cancel_futures=True)


def _answered(answer: Answer, body: bytes) -> JSONResponse:
    """The answer to a body of JSON, or what is wrong with the question."""
    try:
        return JSONResponse(answer(_read(body) if body else None))
    except UserError as error:
        return refused(400, str(error))
    except ValueError as error:  # of the library: a generator that has no mazes of this size
        return refused(400, first_line(error).removeprefix("ValueError: "))


def _read(body: bytes) -> Any:
    """The JSON value of a body.

    Raises:
        UserError: It is none.
    """
    with understood("this request", "is not valid JSON", "send a JSON object"):
        return json.loads(body, parse_constant=_refuse)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _file(path: Path) -> Callable[[Request], Any]:
    """The endpoint of a file, which is read again each time: it may be one's own checkout."""

    async def endpoint(_: Request) -> Response:
        return Response(path.read_bytes(), media_type=KINDS[path.suffix])

    return endpoint


async def _no_such(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return refused(404, f"there is nothing at {request.url.path[:80]}")
    return refused(error.status_code, f"{request.method} {request.url.path[:80]}: {error.detail}")


async def _our_fault(_: Request, __: Exception) -> Response:
    """The answer where the page itself is wrong; the server prints the traceback."""
    command = typed("explore", "maze", of_run=True)
    return refused(500, f"something went wrong here: the terminal of `{command}` says what")


def _as_the_command_line() -> None:
    """Compute in a thread as `metarl.devices.small_networks` does in that of the command line."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
