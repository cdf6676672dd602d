"""Encoders of views: what an agent sees of cells around it, before its memory.

A view is a small picture of whole numbers: wall or none, or kind, colour and state of each cell as
in Minigrid. Their sizes mean nothing, so that each becomes as many inputs as it has values, one of
which is 1 (one-hot); of two values one input is enough. Then, or in its place, a convolution of
3 x 3 cells with ReLU looks for the same things everywhere in the view (JaxUED's agents: 16
filters). What else there is among the inputs (the last action and reward, the time, a place) passes
by as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from metarl.core import Params

KERNEL = 3
"""Rows and columns of a filter."""


@dataclass(frozen=True)
class ViewLayout:
    """The numbers of a view, the first ones of an observation.

    Attributes:
        rows: Rows of cells.
        columns: Columns of cells.
        channels: Numbers of a cell, which lie side by side.
        values: Values of each of these numbers; None: they are no whole numbers.
        low: Their least value.
    """

    rows: int
    columns: int
    channels: int = 1
    values: tuple[int, ...] | None = None
    low: int = 0

    def __post_init__(self) -> None:
        """Check sizes.

        Raises:
            ValueError: One is not positive, or there are not as many values as channels.
        """
        if min(self.rows, self.columns, self.channels) < 1:
            raise ValueError(f"a view has rows, columns and channels, got {self}")
        if self.values is not None and (len(self.values) != self.channels or min(self.values) < 1):
            raise ValueError(
                f"a view of {self.channels} channels has a positive number of values for each, "
                f"got {self.values}"
            )

    @property
    def size(self) -> int:
        """Numbers of a view."""
        return self.rows * self.columns * self.channels

    @property
    def depth(self) -> int:
        """Inputs of a cell: its values, one-hot, or its numbers where they are not whole."""
        if self.values is None:
            return self.channels
        return sum(1 if count == 2 else count for count in self.values)


@dataclass(frozen=True)
class ViewEncoder:
    """A network in front of a memory: the view encoded, all other inputs as they are.

    Attributes:
        view: The view, the first numbers of the inputs.
        num_rest: Numbers behind it.
        filters: Filters of a convolution; 0: none.
    """

    view: ViewLayout
    num_rest: int
    filters: int = 0

    def __post_init__(self) -> None:
        """Check that the convolution has room, and that there is something to encode.

        Raises:
            ValueError: It has not.
        """
        view = self.view
        if self.filters and min(view.rows, view.columns) < KERNEL:
            raise ValueError(
                f"a convolution needs a view of {KERNEL} x {KERNEL} cells at least, got "
                f"{view.rows} x {view.columns}"
            )
        if not self.filters and view.values is None:
            raise ValueError("a view is one-hot where it has whole numbers: say how many values")

    @property
    def num_inputs(self) -> int:
        """Numbers of an input, I."""
        return self.view.size + self.num_rest

    @property
    def num_outputs(self) -> int:
        """Numbers of an output."""
        view = self.view
        if not self.filters:
            return view.rows * view.columns * view.depth + self.num_rest
        places = (view.rows - KERNEL + 1) * (view.columns - KERNEL + 1)
        return places * self.filters + self.num_rest

    @property
    def slow(self) -> tuple[str, ...]:
        """All parameters are fast."""
        return ()

    @property
    def head(self) -> tuple[str, ...]:
        """Names of a head's parameters: there are none."""
        return ()

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Uniform in +-1/sqrt(fan-in), PyTorch's default; nothing without a convolution."""
        if not self.filters:
            return {}
        shape = (self.filters, self.view.depth, KERNEL, KERNEL)
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        return {
            "weight": torch.empty(shape).uniform_(-bound, bound, generator=generator),
            "bias": torch.empty(self.filters).uniform_(-bound, bound, generator=generator),
        }

    def __call__(self, params: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """Outputs ``[N, B, O]`` of inputs ``[N, B, I]``."""
        seen, rest = inputs.tensor_split([self.view.size], -1)
        encoded = self._cells(seen)  # [N, B, rows, columns, depth]
        if self.filters:
            encoded = self._filtered(params, encoded)
        return torch.cat((encoded.flatten(2), rest), -1)  # [N, B, filters ...] and what is no view

    def _cells(self, seen: Tensor) -> Tensor:
        """Inputs of every cell, ``[N, B, rows, columns, depth]``."""
        view = self.view
        # [N, B, rows * columns * channels] to [N, B, rows, columns, channels]
        cells = seen.reshape(*seen.shape[:2], view.rows, view.columns, view.channels)
        if view.values is None:
            return cells
        which = torch.arange(max(view.values), device=seen.device).to(seen.dtype) + view.low
        parts = [  # of each channel [N, B, rows, columns, 1], or one input per value
            cells[..., c, None] - view.low
            if count == 2
            else (cells[..., c, None] == which[:count]).to(seen.dtype)
            for c, count in enumerate(view.values)
        ]
        return torch.cat(parts, -1)

    def _filtered(self, params: Params, cells: Tensor) -> Tensor:
        """Filters at every place, ``[N, B, filters, rows - 2, columns - 2]``: N groups of them."""
        num_tasks, batch_size = cells.shape[:2]
        # [N, B, rows, columns, D] to [B, N D, rows, columns]
        h = cells.permute(1, 0, 4, 2, 3).flatten(1, 2)
        weight, bias = params["weight"].flatten(0, 1), params["bias"].flatten()
        h = torch.relu(F.conv2d(h, weight, bias, groups=num_tasks))  # [B, N F, ...]
        # [B, N, F, ...] first
        return h.view(batch_size, num_tasks, self.filters, *h.shape[2:]).transpose(0, 1)
