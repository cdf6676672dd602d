"""Random affine distortion of images, a whole batch at once and on its device.

Each image is turned by an angle, moved by a part of its side and made larger or smaller, about its
centre. Every pixel takes the value of the nearest pixel of the original; where the original has
none, it takes a fill value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from metarl.errors import check_choices
from metarl.supervised.regression import Range, check_range, uniform


@dataclass(frozen=True)
class Distortion:
    """Bounds of the distortion of images; all draws are uniform.

    Attributes:
        degrees: Range of the angle.
        translate: Largest move in each direction, as a part of the side.
        scale: Range of the size.
        fill: Colour from outside the image: ``paper``, or ``black``, the ink, as in the
            published code.
    """

    degrees: Range = (0.0, 360.0)
    translate: float = 0.2
    scale: Range = (0.8, 1.2)
    fill: Literal["paper", "black"] = "paper"

    def __post_init__(self) -> None:
        """Check the ranges of the distortion."""
        check_choices(self)
        check_range("degrees", self.degrees)
        check_range("scale", self.scale)
        if self.scale[0] <= 0:
            raise ValueError(f"scale must be above 0, got {self.scale}")
        if not 0 <= self.translate <= 1:
            raise ValueError(f"translate must be a part of the side, 0 to 1, got {self.translate}")

    def sample(self, num_images: int, generator: torch.Generator) -> Tensor:
        """Draw ``[M, 4]``: radians, moves right and down (parts of the side), size."""
        shift = (-self.translate, self.translate)
        draws = [
            uniform((num_images, 1), self.degrees, generator) * (math.pi / 180),
            uniform((num_images, 2), shift, generator),
            uniform((num_images, 1), self.scale, generator),
        ]
        return torch.cat(draws, dim=1)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Distort images of bytes.

        Args:
            images: ``[M, 1, S, S]``, 0 is ink and 255 paper.
            draws: ``[M, 4]`` from `sample`, on the images' device.

        Returns:
            float32 ``[M, 1, S, S]``, 0 to 255.
        """
        return distort(images.to(torch.float32), draws, 255.0 if self.fill == "paper" else 0.0)


def distort(images: Tensor, draws: Tensor, fill: float) -> Tensor:
    """Turn anticlockwise, resize and move images.

    With A the turn and the resizing, a pixel at p (the centre is 0) takes the value of the
    original at A^-1 (p - move).

    Args:
        images: float ``[M, 1, S, S]``.
        draws: ``[M, 4]``: radians, moves right and down (parts of the side), size.
        fill: The value outside the images.

    Returns:
        ``[M, 1, S, S]``, values of the originals and the fill.
    """
    angle, right, down, size = draws.unbind(1)
    cos, sin = angle.cos() / size, angle.sin() / size
    # Rows and columns count from the top left and run from -1 to 1, so that a side is 2 long.
    inverse = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
    move = torch.stack([right, down], dim=1).mul(2).unsqueeze(2)  # [M, 2, 1]
    theta = torch.cat([inverse, -inverse @ move], dim=2)  # [M, 2, 3]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    # Outside counts as 0: shifted by the fill, exact for whole numbers.
    moved = F.grid_sample(images - fill, grid, mode="nearest", align_corners=False)
    return moved.add_(fill)
