"""Parts of all layouts there are, told apart by a hash: for training, for choosing, for reporting.

The hash of a layout (`envs.maze.identity`) is a place in [0, 1), the same on every machine. A part
holds the layouts whose place lies in an interval. So a layout belongs to a part whoever draws it,
by whatever seed, and what is kept for the test is never drawn in training.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch

from ..base.checks import whole_number
from ..base.splits import Splits, check_fractions
from ..base.tasks import TaskSet
from .identity import layout_hash
from .tasks import MazeTask

__all__ = ["Part", "cut", "holds", "share", "split_by_layout"]

PLACE_BITS = 48
END = 2**PLACE_BITS


@dataclass(frozen=True)
class Part:
    """The layouts whose place lies in [low, high).

    Attributes:
        salt: Another string gives all layouts other places.
        low: First place, in units of 2^-48.
        high: First place past the end.
        up_to_symmetry: Whether a layout's 8 turns and reflections have one place.
    """

    salt: str = ""
    low: int = 0
    high: int = END
    up_to_symmetry: bool = False

    def __post_init__(self) -> None:
        for name, kind in (("salt", str), ("up_to_symmetry", bool)):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} of a part must be a {kind.__name__}, got {self}")
        whole_number(self.high, "high", least=0, most=END)
        whole_number(self.low, "low", least=0, most=self.high)

    @classmethod
    def of_fields(cls, fields: Any) -> Part:
        """The part of the fields of a JSON object.

        Raises:
            ValueError: If they are something else.
        """
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"not a part of a family of mazes: {error}") from error


def holds(parts: tuple[Part, ...], rows: torch.Tensor) -> torch.Tensor:
    """Whether layouts lie in all of the parts: bool [n].

    Args:
        parts: Any number of parts.
        rows: int64 [n, H], packed walls.
    """
    inside = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    for part in parts:
        hashes = layout_hash(rows, salt=part.salt, up_to_symmetry=part.up_to_symmetry)
        inside &= _between(part, hashes)
    return inside


def _between(part: Part, hashes: torch.Tensor) -> torch.Tensor:
    places = (hashes >> (64 - PLACE_BITS)) & (END - 1)
    inside: torch.Tensor = (places >= part.low) & (places < part.high)
    return inside


def share(parts: tuple[Part, ...]) -> float:
    """The share of all layouts that lies in all of the parts, if there are many."""
    product = 1.0
    for part in parts:
        product *= (part.high - part.low) / END
    return product


def cut(
    parts: tuple[Part, ...],
    fractions: tuple[float, float, float],
    salt: str,
    *,
    up_to_symmetry: bool,
) -> list[tuple[Part, ...]]:
    """Three parts of what lies in `parts`.

    An interval that was cut by the same hash is cut again; otherwise each layout falls into one of
    the three whatever part it came from.

    Raises:
        ValueError: If a fraction is negative or they do not sum to 1.
    """
    check_fractions(*fractions)
    whole = Part(salt, up_to_symmetry=up_to_symmetry)
    others = list(parts)
    for part in parts:
        if (part.salt, part.up_to_symmetry) == (salt, up_to_symmetry):
            whole = part
            others.remove(part)
    train, validation, _ = fractions
    width = whole.high - whole.low
    ends = [round(width * end) for end in (0.0, train, min(train + validation, 1.0))] + [width]
    return [
        (*others, replace(whole, low=whole.low + low, high=whole.low + high))
        for low, high in pairwise(ends)
    ]


def split_by_layout(
    tasks: Iterable[MazeTask],
    *,
    train: float = 0.8,
    validation: float = 0.0,
    test: float = 0.2,
    salt: str = "",
    up_to_symmetry: bool = False,
) -> Splits[TaskSet[MazeTask]]:
    """Parts tasks by the hash of their layouts: all goals of a maze fall into one part.

    A layout falls into the same part as with `envs.MazeFamily.split`. (`TaskSet.split` goes by the
    hash of the whole task: a maze may then be trained on with other goals.)

    Args:
        tasks: Tasks of any layouts, at most 62 cells wide.
        train: Fraction of the layouts to train on, at least 0.
        validation: Fraction to choose settings by, at least 0.
        test: Fraction to report on, at least 0; the three sum to 1.
        salt: Another string gives another split.
        up_to_symmetry: Whether a layout's 8 turns and reflections stay together.

    Raises:
        ValueError: If a fraction is negative, they do not sum to 1, or a layout is too wide.
    """
    parts = cut((), (train, validation, test), salt, up_to_symmetry=up_to_symmetry)
    several = tuple(tasks)
    hashes = {
        layout: torch.tensor(layout_hash(layout, salt=salt, up_to_symmetry=up_to_symmetry))
        for layout in {task.layout for task in several}
    }
    return Splits(
        *(
            TaskSet(tuple(task for task in several if _between(part, hashes[task.layout])))
            for (part,) in parts
        )
    )
