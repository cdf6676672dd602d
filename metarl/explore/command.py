"""`explore`: the page is served until Ctrl-C, on this machine alone unless told otherwise."""

from __future__ import annotations

import socket
import sys
import threading
import time
import webbrowser
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import tyro

from metarl.errors import UserError
from metarl.explore.arena import Arena
from metarl.explore.loopback import is_loopback
from metarl.explore.page import Page
from metarl.explore.players import Players

USUAL_PORT = 8765
LARGEST_PORT = 65535

NEEDED = ("starlette", "uvicorn")


@dataclass(frozen=True)
class ExploreSettings:
    """Open a page where one draws mazes, and watches agents in them. Ctrl-C ends it."""

    agents: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="[AGENT ...]")]
    ] = ()
    """Agents of the package, or run directories. The first plays, the second beside it; all others
    of the package and under --runs can be chosen on the page."""
    port: int = USUAL_PORT
    """Port of the page; 0: any that is free."""
    host: str = "127.0.0.1"
    """Address to listen on. The usual one is this machine's own: nobody else can reach it."""
    browser: bool = True
    """Open the page in the browser."""
    runs: Path = Path("runs")
    """Where runs are looked for."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= LARGEST_PORT:
            raise UserError(f"--port must be from 0 to {LARGEST_PORT}, got {self.port}")


def explore(settings: ExploreSettings, arena: Arena) -> None:
    """Serve the page until it is interrupted.

    Args:
        settings: Where, and with which agents.
        arena: Knows mazes.

    Raises:
        UserError: The packages that it needs are missing, an agent is none, or the port is taken.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(
            f"the page needs {' and '.join(missing)}: pip install 'metarl-maze[explore]'"
        )
    import uvicorn

    from metarl.explore.server import Server

    players = Players(arena, settings.runs, settings.agents)
    server = Server(Page(arena, players), settings.host)
    with listening(settings.host, settings.port) as listener:
        address = address_of(listener, settings)
        config = uvicorn.Config(
            server.app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            http="h11",
            limit_concurrency=64,
            timeout_keep_alive=5,
        )
        running = uvicorn.Server(config)
        _tell(settings, address)
        if settings.browser:
            threading.Thread(target=_open, args=(running, address), daemon=True).start()
        try:
            running.run(sockets=[listener])
        except KeyboardInterrupt:  # the usual end
            print()
        finally:
            server.close()


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UserError: There is no such host, or the port is taken.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UserError(f"--host {host!r} is no address of this machine ({error})") from error
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise UserError(
            f"cannot listen on {host}, port {port} ({error}): take another --port, or --port 0 for "
            "any that is free"
        ) from error
    return listener


def address_of(listener: socket.socket, settings: ExploreSettings) -> str:
    """The address of the page in a browser on this machine."""
    host = listener.getsockname()[0] if settings.host in ("", "0.0.0.0", "::") else settings.host
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = f"[{host}]" if ":" in host else host
    names = zip(("agent", "beside"), settings.agents, strict=False)
    chosen = "&".join(f"{role}={quote(name, safe='')}" for role, name in names)
    return f"http://{shown}:{listener.getsockname()[1]}/{'#' * bool(chosen)}{chosen}"


def _tell(settings: ExploreSettings, address: str) -> None:
    if not is_loopback(settings.host):
        print(
            f"warning: --host {settings.host} lets everybody on the network see this page and the "
            "runs that it lists; there is no password",
            file=sys.stderr,
        )
    print(f"the page is at {address}\nCtrl-C ends it", flush=True)


def _open(running: object, address: str) -> None:
    """Open the page as soon as it is served."""
    while not getattr(running, "started", False):
        time.sleep(0.05)
    webbrowser.open(address)
