"""Index of the items of a data set by class: built once, then only looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.supervised.data_sets import class_numbers


@dataclass(frozen=True, eq=False)
class ClassIndex:
    """The items of every class, one class after the other.

    Attributes:
        classes: The C classes, ascending or as they were asked for.
        items: int64 ``[M]``, numbers of items in the data set.
        starts: int64 ``[C]``, where each class begins in `items`.
        sizes: int64 ``[C]``, how many items each class has.
    """

    classes: tuple[int, ...]
    items: Tensor
    starts: Tensor
    sizes: Tensor

    @classmethod
    def of(cls, labels: Sequence[int] | Tensor, classes: Sequence[int] | None = None) -> ClassIndex:
        """Index items by their class.

        Args:
            labels: The class of every item, in the data set's order.
            classes: The classes to keep; all of them if None.

        Raises:
            ValueError: A class is named twice, no item has it, or a label is no whole number.
        """
        table = class_numbers(labels, len(labels))
        found, counts = torch.unique(table, return_counts=True)  # ascending
        order = table.argsort(stable=True)
        starts = counts.cumsum(0) - counts
        place = {c: i for i, c in enumerate(found.tolist())}
        kept = tuple(place) if classes is None else tuple(int(c) for c in classes)
        if len(set(kept)) < len(kept):
            raise ValueError("a class is named twice in classes: name each once")
        missing = [c for c in kept if c not in place]
        if missing:
            raise ValueError(
                f"no item has the classes {missing[:5]}: choose from the {len(place)} classes of "
                f"the data set, e.g. {list(place)[:5]}"
            )
        rows = torch.tensor([place[c] for c in kept], dtype=torch.int64)
        return cls(kept, order, starts[rows], counts[rows])

    def check(self, ways: int, examples: int) -> None:
        """Check that there are enough classes, and enough examples of each.

        Raises:
            ValueError: There are too few.
        """
        if len(self.classes) < ways:
            raise ValueError(
                f"{ways} ways asked for, but there are only {len(self.classes)} classes: choose "
                f"fewer ways or more classes"
            )
        size, place = self.sizes.min(0)
        if size < examples:
            raise ValueError(
                f"class {self.classes[int(place)]} has {int(size)} examples, but a task takes "
                f"{examples} of a class (shots + query_shots): take fewer, or leave the class out "
                f"through classes"
            )
