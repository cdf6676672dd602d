"""Data sets that tasks are made from: (input, class) pairs, read by item or as arrays.

Nothing is remembered of a data set: it may say something else the next time. An item that is read
for a task says its class once more, and a class other than the task was made for is an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset


class MapDataset(Protocol):
    """A map-style data set, as `torch.utils.data` calls it, of pairs ``(input, class)``."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, index: int, /) -> Any:
        """Item `index`, from 0: an input and its class."""


Array: TypeAlias = Tensor | NDArray[Any]


def paired(dataset: Any) -> Any:
    """Two lists, or a list and an array, as a data set of their pairs; everything else as it is.

    Raises:
        ValueError: They differ in length.
    """
    if not isinstance(dataset, tuple | list) or len(dataset) != 2:
        return dataset
    kinds = [isinstance(part, Tensor | np.ndarray) for part in dataset]
    # Of two short lists each may be an item, and so may a tuple of two.
    if all(kinds) or not all(k or isinstance(p, list) for k, p in zip(kinds, dataset, strict=True)):
        return dataset
    inputs, labels = dataset
    if not any(kinds) and len(inputs) <= 2 and len(labels) <= 2:
        return dataset
    if len(inputs) != len(labels):
        raise ValueError(
            f"a list of {len(inputs)} inputs and one of {len(labels)} classes: give one class for "
            "each input"
        )
    return list(zip(inputs, labels, strict=True))


def tensors_of(dataset: MapDataset | tuple[Array, Array]) -> tuple[Tensor, Tensor] | None:
    """Inputs ``[M, ...]`` and classes ``[M]`` of a data set that is two arrays, else None.

    Raises:
        ValueError: The two do not fit together, or the classes are no whole numbers.
    """
    arrays: Any = dataset
    if isinstance(dataset, TensorDataset):
        # A data set that has its own way to its items, a transform say, is read by item.
        plain = type(dataset).__getitem__ is TensorDataset.__getitem__
        arrays = dataset.tensors if plain else None
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

    Read from ``dataset.targets`` (torchvision's data sets, and `Subset` and `ConcatDataset` of
    them) where no ``target_transform`` says otherwise, and the first item and the last agree; else
    by one pass over the data set.

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
    said, count = _targets_of(dataset), len(dataset)
    ends = {0, count - 1} if count else ()
    if said is not None and all(_class_of(dataset, i) == int(said[i]) for i in ends):
        return said
    return torch.tensor([_class_of(dataset, i) for i in range(count)], dtype=torch.int64)


def inputs_of(dataset: MapDataset, items: Sequence[int], classes: Tensor, *, check: bool) -> Tensor:
    """The inputs of some items ``[len(items), ...]``.

    Args:
        dataset: Data set of the items.
        items: Numbers of the items.
        classes: The class of every item, int64 ``[M]``.
        check: Whether the items must say the same.

    Raises:
        TypeError: One is something that cannot become a tensor, an image say.
        ValueError: They differ in shape, or one has another class than before, or is gone.
    """
    inputs = []
    for item, expected in zip(items, classes[list(items)].tolist(), strict=True):
        value, label = _pair(dataset, item)
        if check and _whole(label, item) != expected:
            raise ValueError(
                f"item {item} has the class {label!r}, and had {expected} when the tasks were "
                "made: make the TaskDataset again after a change of its data, or give labels"
            )
        inputs.append(_tensor(value, item))
    first = inputs[0].shape
    for item, value, label in zip(items, inputs, classes[list(items)].tolist(), strict=True):
        if value.shape != first:
            raise ValueError(
                f"item {item} (class {label}) is {tuple(value.shape)}, item {items[0]} "
                f"(class {int(classes[items[0]])}) is {tuple(first)}: give the data set a "
                "transform that makes all inputs one size"
            )
    return torch.stack(inputs)


def _targets_of(dataset: Any) -> Tensor | None:
    """Return the data set's own classes, unchecked; None where it has not one for each item."""
    if type(dataset) is Subset:
        whole = _targets_of(dataset.dataset)
        return None if whole is None else whole[torch.as_tensor(list(dataset.indices))]
    if type(dataset) is ConcatDataset:
        parts = [_targets_of(part) for part in dataset.datasets]
        found = [part for part in parts if part is not None]
        return torch.cat(found) if len(found) == len(parts) else None
    said, count = getattr(dataset, "targets", None), len(dataset)
    if getattr(dataset, "target_transform", None) is not None:
        return None
    if isinstance(said, Tensor | np.ndarray) and said.ndim != 1:
        return None
    if not isinstance(said, Tensor | np.ndarray | list | tuple) or len(said) != count or not count:
        return None
    try:
        return class_numbers(said, count)
    except ValueError:
        return None


def _pair(dataset: MapDataset, item: int) -> tuple[Any, Any]:
    """An input and its class.

    Raises:
        TypeError: The item is something else than a pair.
        ValueError: There is no such item any more.
    """
    try:
        found = dataset[item]
    except IndexError as error:
        raise ValueError(
            f"item {item} cannot be had ({error}), and the data set has {len(dataset)} now: make "
            "the TaskDataset again after a change of its data"
        ) from error
    if not isinstance(found, tuple | list) or len(found) < 2:
        keys = f" with the keys {list(found)[:4]}" if isinstance(found, Mapping) else ""
        raise TypeError(
            f"item {item} of the data set is a {type(found).__name__}{keys}, not a pair (input, "
            "class): give a data set of pairs, e.g. [(x['image'], x['label']) for x in dataset]"
        )
    return found[0], found[1]


def _class_of(dataset: MapDataset, item: int) -> int:
    return _whole(_pair(dataset, item)[1], item)


def _whole(label: Any, item: int) -> int:
    """Return a label as an int; raise ValueError if `int` would cut it off or read it from text."""
    if isinstance(label, Tensor | np.ndarray) and math.prod(label.shape) == 1:
        label = label.item()
    try:
        number = float("nan") if isinstance(label, str | bytes) else float(label)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        number = float("nan")
    if not number.is_integer() or not -(2**63) <= int(label) < 2**63:
        raise ValueError(
            f"item {item} has the class {label!r}, but classes are whole numbers: number them"
        )
    return int(label)


def _tensor(value: Any, item: int) -> Tensor:
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"item {item} of the data set is a {type(value).__name__}, not a tensor or an array: "
            f"give the data set a transform that makes tensors"
        ) from error
