"""The page served in a thread, and Debian's Chromium without a window to look at it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from metarl.explore.command import listening
from metarl.explore.page import Page
from metarl.explore.server import Server

PATIENCE = 30.0
"""Seconds that something may take on a busy machine."""

FLAGS = (
    *("--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars"),
    "--window-size=1280,900",
)


def missing() -> str | None:
    """Why there is no browser here; None: there is one."""
    names = ("chromium", "chromedriver")
    gone = [name for name in names if shutil.which(name) is None]
    return f"needs Debian's chromium and chromium-driver: no {' and '.join(gone)}" if gone else None


@contextmanager
def served(page: Page) -> Iterator[str]:
    """The address of the page while it is served."""
    server = Server(page)
    with listening("127.0.0.1", 0) as listener:
        config = uvicorn.Config(server.app, log_level="warning", lifespan="off", ws="none")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            running.should_exit = True
            thread.join()
            server.close()


class Browser:
    """A browser with one window.

    Attributes:
        driver: Selenium's.
    """

    def __init__(self, folder: Path) -> None:
        """Start one with a data folder of its own."""
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        own = (f"--user-data-dir={folder}", *(["--no-sandbox"] if os.geteuid() == 0 else []))
        for flag in (*FLAGS, *own):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, Service(str(shutil.which("chromedriver"))))

    def open(self, address: str) -> None:
        """Open a page, from nothing, and wait until it is ready."""
        self.driver.get("about:blank")
        self.driver.get(address)
        self.wait(lambda: self.run("return document.documentElement.dataset.ready === 'true'"))

    def run(self, script: str, *arguments: object) -> Any:
        """The value of a script."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, happens: Callable[[], object]) -> None:
        """Wait until something is so.

        Raises:
            AssertionError: It takes too long.
        """
        end = time.monotonic() + PATIENCE
        while not happens():
            assert time.monotonic() < end, f"{happens} does not happen: {self.complaints()}"
            time.sleep(0.02)

    def screen(self, width: int, height: int, *, phone: bool = False, scale: float = 1) -> None:
        """Change the size of the screen."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        touch = {"enabled": phone}
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", touch)

    def prefer(self, **features: str) -> None:
        """Prefer something, such as ``color_scheme="dark"``."""
        named = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value}
            for name, value in features.items()
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": named})

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """Touch the screen: ``touchStart``, ``touchMove``, or ``touchEnd`` without points."""
        where = [{"x": x, "y": y} for x, y in points]
        event = {"type": kind, "touchPoints": where}
        self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", event)

    def complaints(self) -> list[str]:
        """What the console of the page says since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def close(self) -> None:
        """End it."""
        self.driver.quit()
