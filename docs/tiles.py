"""Pictures side by side, each with its name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from envs.base.pictures import Frame, panel

__all__ = ["Frame", "tiled"]

GAP = 10
"""Pixels between tiles."""


def tiled(pictures: Mapping[str, Frame], *, columns: int, width: int) -> Frame:
    """A grid of pictures with captions below.

    Args:
        pictures: By caption; lines after the first are small.
        columns: Tiles in a row.
        width: Pixels of a tile; pictures are made to fit, and stay square.

    Returns:
        uint8 [height, width, 3].
    """
    tiles = [
        np.concatenate((_fitted(picture, width), panel(caption, width, 24)))
        for caption, picture in pictures.items()
    ]
    height = max(tile.shape[0] for tile in tiles)
    rows = -(-len(tiles) // columns)
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3)
    whole = np.full(shape, 255, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        top, left = (number // columns) * (height + GAP), (number % columns) * (width + GAP)
        whole[top : top + tile.shape[0], left : left + width] = tile
    return whole


def _fitted(picture: Frame, width: int) -> Frame:
    """A picture in a square of this width."""
    image = Image.fromarray(picture)
    image.thumbnail((width, width), Image.Resampling.LANCZOS)
    square = np.full((width, width, 3), 255, dtype=np.uint8)
    top, left = (width - image.height) // 2, (width - image.width) // 2
    square[top : top + image.height, left : left + image.width] = np.asarray(image)
    return square
