"""A window that shows pictures, for ``render_mode="human"`` (pygame, loaded when it is needed)."""

from __future__ import annotations

import gymnasium
import numpy as np
from numpy.typing import NDArray

__all__ = ["Window"]


class Window:
    """Shows one picture after another; follows their size.

    Args:
        title: The window's title.
        fps: Pictures a second, at most: `show` waits.

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

    def show(self, picture: NDArray[np.uint8]) -> None:
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

    def close(self) -> None:
        """Closes the window."""
        self._pygame.display.quit()
        self._screen = None


def _no_display(error: Exception) -> gymnasium.error.Error:
    return gymnasium.error.Error(
        f"render_mode='human' needs a display, and there is none ({error}): take "
        f"render_mode='rgb_array' for pictures, or set SDL_VIDEODRIVER=dummy to show nothing"
    )
