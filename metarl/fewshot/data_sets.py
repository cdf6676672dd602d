"""What tasks are made from: any data set of (input, class) pairs, read by item or as arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class MapDataset(Protocol):
    """What `torch.utils.data` calls a map-style data set, of pairs ``(input, class)``."""

    def __len__(self) -> int:
        """How many items there are."""

    def __getitem__(self, index: int, /) -> Any:
        """Item `index`, from 0: an input and its class."""


Array: TypeAlias = Tensor | NDArray[Any]

_PASSES: WeakKeyDictionary[Any, Tensor] = WeakKeyDictionary()  # of data sets that still live


def tensors_of(dataset: MapDataset | tuple[Array, Array]) -> tuple[Tensor, Tensor] | None:
    """Inputs ``[M, ...]`` and classes ``[M]`` of a data set that is two arrays, else None.

    Raises:
        ValueError: The two do not fit together, or the classes are no whole numbers.
    """
    arrays = dataset if isinstance(dataset, tuple | list) else getattr(dataset, "tensors", None)
    if not isinstance(arrays, tuple | list) or len(arrays) != 2:
        return None
    inputs, labels = arrays
    if not (isinstance(inputs, Tensor | np.ndarray) and isinstance(labels, Tensor | np.ndarray)):
        return None
    if tuple(labels.shape) != tuple(inputs.shape[:1]):
        raise ValueError(
            f"inputs are {tuple(inputs.shape)} and classes {tuple(labels.shape)}: give inputs "
            f"[M, ...] and one class for each, [M]"
        )
    return torch.as_tensor(inputs), class_numbers(labels, len(inputs))


def class_numbers(labels: Sequence[Any] | Array, num_items: int) -> Tensor:
    """The class of every item, int64 ``[M]`` on the CPU.

    Args:
        labels: One for each item: whole numbers.
        num_items: M.

    Raises:
        ValueError: They are not M, or not whole numbers.
    """
    if len(labels) != num_items:
        raise ValueError(f"{len(labels)} labels for {num_items} items: give one for each")
    if isinstance(labels, Tensor) or (isinstance(labels, np.ndarray) and labels.dtype.kind in "iu"):
        table = torch.as_tensor(labels).to("cpu")
        if table.dim() == 1 and not (table.is_floating_point() or table.is_complex()):
            return table.to(torch.int64)
    return torch.tensor([_whole(label, i) for i, label in enumerate(labels)], dtype=torch.int64)


def labels_of(dataset: MapDataset) -> Tensor:
    """The class of every item, int64 ``[M]``.

    Read from ``dataset.targets`` (torchvision's data sets) where that says what the first item and
    the last say; else by one pass over the data set, which is kept for as long as it lives.

    Raises:
        TypeError: It is no map-style data set.
        ValueError: A class is no whole number.
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")) or isinstance(
        dataset, torch.utils.data.IterableDataset
    ):
        raise TypeError(
            f"{type(dataset).__name__} cannot be asked for its items by number: give a map-style "
            "data set, or list(dataset)"
        )
    said = _targets_of(dataset)
    if said is not None:
        return said
    try:
        kept = _PASSES.get(dataset)
    except TypeError:  # a list, say: nothing that can be kept
        return _pass_over(dataset)
    if kept is None or len(kept) != len(dataset):
        kept = _PASSES[dataset] = _pass_over(dataset)
    return kept


def inputs_of(
    dataset: MapDataset, items: Sequence[int], class_of: Callable[[int], object]
) -> Tensor:
    """The inputs of some items ``[len(items), ...]``.

    Args:
        dataset: Where they are.
        items: Their numbers.
        class_of: The class of an item, for the message.

    Raises:
        TypeError: One is something that cannot become a tensor, an image say.
        ValueError: They differ in shape.
    """
    inputs = [_input_of(dataset, item) for item in items]
    first = inputs[0].shape
    for item, value in zip(items, inputs, strict=True):
        if value.shape != first:
            raise ValueError(
                f"item {item} (class {class_of(item)}) is {tuple(value.shape)}, item {items[0]} "
                f"(class {class_of(items[0])}) is {tuple(first)}: give the data set a transform "
                "that makes all inputs one size"
            )
    return torch.stack(inputs)


def _targets_of(dataset: MapDataset) -> Tensor | None:
    """What the data set says itself; None where that is not the class of every item."""
    said, count = getattr(dataset, "targets", None), len(dataset)
    if isinstance(said, Tensor | np.ndarray) and said.ndim != 1:
        return None
    if not isinstance(said, Tensor | np.ndarray | list | tuple) or len(said) != count or not count:
        return None
    try:
        table = class_numbers(said, count)
    except ValueError:
        return None
    ends = all(_whole(dataset[i][1], i) == int(table[i]) for i in (0, count - 1))
    return table if ends else None  # a transform of targets says otherwise


def _pass_over(dataset: MapDataset) -> Tensor:
    found = [_whole(dataset[i][1], i) for i in range(len(dataset))]
    return torch.tensor(found, dtype=torch.int64)


def _whole(label: Any, item: int) -> int:
    """Refuse what `int` would cut off or read from text."""
    try:
        number = float("nan") if isinstance(label, str | bytes) else float(label)
    except (TypeError, ValueError, RuntimeError):
        number = float("nan")
    if not number.is_integer():
        raise ValueError(
            f"item {item} has the class {label!r}, but classes are whole numbers: number them"
        )
    return int(label)


def _input_of(dataset: MapDataset, index: int) -> Tensor:
    value = dataset[index][0]
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"item {index} of the data set is a {type(value).__name__}, not a tensor or an array: "
            f"give the data set a transform that makes tensors"
        ) from error
