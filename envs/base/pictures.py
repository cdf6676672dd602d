"""Pictures of text, what is pictured of an episode, and the window that shows pictures."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["PICTURE_WIDTH", "Colour", "Frame", "Scene", "Window", "draw_lines", "panel"]

PICTURE_WIDTH = 416
"""Pixels a picture of text has, and a small maze is made to fill: room for a caption."""

Frame = NDArray[np.uint8]
"""A picture, ``[height, width, 3]``."""

Colour = tuple[int, int, int]
PANEL: Colour = (255, 255, 255)
TITLE: Colour = (38, 46, 62)
TEXT: Colour = (92, 101, 120)


class Scene(Protocol):
    """One episode of T steps, as it is told to who draws it (as `metarl.evaluate.film.Scene`)."""

    @property
    def title(self) -> str:
        """Name of the agent."""

    @property
    def task(self) -> Any:
        """The task played on."""

    @property
    def seen(self) -> NDArray[Any]:
        """Notes of ``watch`` before the first step and after each, ``[T + 1, ...]``."""

    @property
    def actions(self) -> NDArray[Any]:
        """Actions ``[T, ...]``."""

    def earned(self, t: int) -> float:
        """Rewards of the first t steps together."""

    def found(self, t: int) -> bool:
        """Whether step t (from 1) paid."""


def draw_lines(text: str) -> Frame:
    """A picture of lines of text in letters of one width.

    Returns:
        uint8 [height, `PICTURE_WIDTH`, 3], as high as there are lines; long ones get small letters.
    """
    return panel(text.rstrip("\n"), PICTURE_WIDTH, 32, mono=True)


def panel(caption: str, width: int, cell_size: int, *, mono: bool = False) -> Frame:
    """uint8 [height, width, 3] with the caption; a line too long gets smaller letters."""
    size = max(10, min(round(0.62 * cell_size), width // 20))
    line_height = round(1.45 * size)
    lines = caption.split("\n")
    height = line_height * len(lines) + size
    image = Image.new("RGB", (width, height + height % 2), PANEL)
    pen = ImageDraw.Draw(image)
    for index, line in enumerate(lines):
        colour = TEXT if index and not mono else TITLE
        margin, bold = size // 2, index == 0 and not mono
        length = _font(size, bold=bold, mono=mono).getlength(line)
        room = width - 2 * margin
        fitting = size if length <= room else max(6, int(size * room / length))
        at = (margin, margin + line_height * index)
        pen.text(at, line, fill=colour, font=_font(fitting, bold=bold, mono=mono))
    return np.asarray(image)


class Window:
    """Shows one picture after another; follows their size.

    Args:
        title: The window's title.
        fps: Pictures per second, at most: `show` waits.

    Raises:
        gymnasium.error.Error: If there is no display to show them on.
    """

    def __init__(self, title: str, fps: int) -> None:
        import pygame

        try:
            pygame.display.init()
        except pygame.error as error:
            raise _no_display(error) from error

        self._pygame = pygame
        self._fps = fps
        self._screen: pygame.Surface | None = None
        self._clock = pygame.time.Clock()
        pygame.display.set_caption(title)

    def show(self, picture: Frame) -> None:
        """Shows `picture`, uint8 [height, width, 3]."""
        pygame = self._pygame
        size = (picture.shape[1], picture.shape[0])
        if self._screen is None or self._screen.get_size() != size:
            try:
                self._screen = pygame.display.set_mode(size)
            except pygame.error as error:
                raise _no_display(error) from error
        pygame.event.pump()
        # pygame counts x first.
        self._screen.blit(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
        pygame.display.flip()
        self._clock.tick(self._fps)

    def pressed(self) -> list[str]:
        """Names of the keys that were pressed since the last call, such as ``"up"`` or ``"w"``.

        ``"escape"`` also where the window was closed.
        """
        pygame = self._pygame
        names = []
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                names.append("escape")
            elif event.type == pygame.KEYDOWN:
                names.append(pygame.key.name(event.key))
        return names

    def close(self) -> None:
        """Closes the window."""
        self._pygame.display.quit()
        self._screen = None


def _no_display(error: Exception) -> gymnasium.error.Error:
    return gymnasium.error.Error(
        f"render_mode='human' needs a display, and there is none ({error}): take "
        f"render_mode='rgb_array' for pictures, or set SDL_VIDEODRIVER=dummy to show nothing"
    )


@lru_cache(maxsize=32)
def _font(size: int, *, bold: bool, mono: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans, which has arrows and figures of one width, out of Matplotlib's files.

    Without Matplotlib, Pillow's own font.
    """
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return ImageFont.load_default(size)
    name = f"DejaVuSans{'Mono' * mono}{'-Bold' * bold}.ttf"
    path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size)
