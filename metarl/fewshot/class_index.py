"""Which items of a data set belong to which class: built once, then only looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class MapDataset(Protocol):
    """What `torch.utils.data` calls a map-style data set, of pairs ``(input, class)``."""

    def __len__(self) -> int:
        """How many items there are."""

    def __getitem__(self, index: int, /) -> Any:
        """Item `index`, from 0: an input and its class."""


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
            ValueError: A class is named twice, or no item has it.
        """
        table = torch.as_tensor(labels).to("cpu", torch.int64).flatten()
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
        """Refuse tasks of more classes, or more examples of a class, than there are.

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


def tensors_of(dataset: MapDataset | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor] | None:
    """Inputs ``[M, ...]`` and classes ``[M]`` of a data set that is two tensors, else None.

    Raises:
        ValueError: The two do not fit together.
    """
    tensors = dataset if isinstance(dataset, tuple) else getattr(dataset, "tensors", None)
    if not isinstance(tensors, tuple) or len(tensors) != 2:
        return None
    inputs, labels = tensors
    if not (isinstance(inputs, Tensor) and isinstance(labels, Tensor)):
        return None
    if labels.shape != inputs.shape[:1]:
        raise ValueError(
            f"inputs are {tuple(inputs.shape)} and classes {tuple(labels.shape)}: give inputs "
            f"[M, ...] and one class for each, [M]"
        )
    return inputs, labels


def labels_of(dataset: MapDataset) -> list[int]:
    """The class of every item: one pass over the data set."""
    return [int(dataset[i][1]) for i in range(len(dataset))]


def input_of(dataset: MapDataset, index: int) -> Tensor:
    """The input of an item, as a tensor.

    Raises:
        TypeError: It is something that cannot become one, an image say.
    """
    value = dataset[index][0]
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"item {index} of the data set is a {type(value).__name__}, not a tensor or an array: "
            f"give the data set a transform that makes tensors"
        ) from error
