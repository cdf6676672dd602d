"""Draws the picture of the page in the documentation: ``python -m tests.metarl.explore.picture``.

It needs Debian's packages chromium and chromium-driver.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from experiments.explore import Mazes
from metarl.explore.page import Page
from metarl.explore.players import Players
from tests.metarl.explore import chromium

PICTURE = Path(__file__).parents[3] / "docs" / "explore.png"
SHOWN = {"agent": "mazes13", "beside": "mazes9"}
STEP = 118
WIDE, HIGH = 1200, 1440


def draw(place: Path) -> None:
    """Write the picture: two agents side by side in a maze, in the middle of a trial."""
    arena = Mazes()
    with tempfile.TemporaryDirectory() as folder:
        page = Page(arena, Players(arena, Path(folder) / "runs"))
        browser = chromium.Browser(Path(folder) / "chromium")
        try:
            with chromium.served(page) as address:
                browser.screen(WIDE, HIGH, scale=1.25)
                browser.open(f"{address}#{'&'.join(f'{k}={v}' for k, v in SHOWN.items())}")
                drawn = "return document.querySelectorAll('.lane tbody tr').length"
                browser.wait(lambda: browser.run(drawn) == 8)
                browser.run(
                    "const time = document.getElementById('time'); time.value = arguments[0];"
                    "time.dispatchEvent(new Event('input'))",
                    STEP,
                )
                browser.wait(lambda: browser.run("return window.scrollY === 0"))
                picture = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png()))
        finally:
            browser.close()
    picture.convert("RGB").quantize(256).save(place, optimize=True)
    print(f"drawn: {place}")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
