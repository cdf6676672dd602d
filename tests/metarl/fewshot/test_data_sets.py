"""Data sets as users have them: where classes are read from, and what is refused by name."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset

from metarl.fewshot import TaskDataset


class Images(Dataset[tuple[Tensor, int]]):
    """Twelve items of three classes; counts how often one is decoded."""

    def __init__(self, targets: Any = None, shift: int = 0) -> None:
        self.decoded, self.shift = 0, shift
        if targets is not None:
            self.targets = targets

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.decoded += 1
        return torch.full((2, 2), float(index)), index % 3 + self.shift


def of(dataset: Any, **options: Any) -> TaskDataset:
    return TaskDataset(dataset, **{"ways": 2, "shots": 1, "query_shots": 1, **options})


TARGETS = [i % 3 for i in range(12)]


@pytest.mark.parametrize("kind", [list, torch.tensor, np.array])
def test_targets_of_the_data_set_spare_the_pass(kind: Any) -> None:
    """All but the first item and the last, which are compared."""
    images = Images(kind(TARGETS))
    assert of(images).classes == (0, 1, 2)
    assert images.decoded == 2


@pytest.mark.parametrize(
    "targets", [TARGETS[:-1], [f"{t}" for t in TARGETS], np.zeros((12, 4)), torch.tensor(1)]
)
def test_targets_that_are_no_classes_are_passed_over(targets: Any) -> None:
    images = Images(targets)
    assert of(images).classes == (0, 1, 2)
    assert images.decoded >= 12


def test_transformed_targets_are_those_of_the_items() -> None:
    assert of(Images(TARGETS, shift=7)).classes == (7, 8, 9)


def test_a_pass_over_the_data_set_is_made_once_while_it_lives() -> None:
    images = Images()
    for _ in range(3):
        assert of(images).classes == (0, 1, 2)
    assert images.decoded == 12
    part = Subset(images, [0, 1, 3, 4])
    assert of(part).classes == of(part).classes == (0, 1)
    assert images.decoded == 16
    del images, part
    gc.collect()
    assert of(Images(shift=1)).classes == (1, 2, 3)


def test_a_pass_over_a_list_is_made_anew_and_so_is_that_over_a_set_that_has_grown() -> None:
    items: list[Any] = [(torch.zeros(2), i % 3) for i in range(12)]
    assert of(items).classes == (0, 1, 2)
    items += [(torch.zeros(2), 5)] * 2
    assert of(items).classes == (0, 1, 2, 5)

    class Growing(Images):
        def __len__(self) -> int:
            return 6 if self.decoded < 6 else 12

    growing = Growing()
    assert of(growing)._index.sizes.tolist() == [2, 2, 2]
    assert of(growing)._index.sizes.tolist() == [4, 4, 4]


class Stream(IterableDataset[tuple[Tensor, int]]):
    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        yield torch.zeros(2), 0


INPUTS = torch.zeros(12, 2)


@pytest.mark.parametrize(
    ("dataset", "options", "error", "message"),
    [
        (Images(), {"labels": TARGETS[:-1]}, ValueError, "11 labels for 12 items"),
        ((INPUTS, torch.tensor(TARGETS)), {"labels": TARGETS * 2}, ValueError, "24 labels for 12"),
        ((INPUTS, torch.tensor(TARGETS) + 0.5), {}, ValueError, "item 0 has the class .*0.5"),
        ((INPUTS.numpy(), np.array(list("abcabcabcabc"))), {}, ValueError, "the class .*'a'"),
        ([(INPUTS[0], "3")] * 4, {}, ValueError, "item 0 has the class '3'.*number them"),
        ([(INPUTS[0], 0.7)] * 4, {}, ValueError, "item 0 has the class 0.7"),
        ([(INPUTS[0], torch.ones(3))] * 4, {}, ValueError, "item 0 has the class tensor"),
        (Images(), {"labels": [None] * 12}, ValueError, "item 0 has the class None"),
        (Stream(), {}, TypeError, r"Stream cannot be asked.*list\(dataset\)"),
        (iter([(INPUTS[0], 0)]), {}, TypeError, "list_iterator cannot be asked"),
        (Images(), {"ways": 2.0}, ValueError, "ways must be a whole number, got 2.0"),
        (Images(), {"num_tasks": 1.5}, ValueError, "num_tasks must be a whole number, got 1.5"),
        (Images(), {"seed": -3}, ValueError, "seed must be at least 0, got -3"),
    ],
)
def test_what_is_refused(dataset: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        of(dataset, **options)


def test_inputs_of_different_sizes_are_named_by_item_and_class() -> None:
    items = [(torch.zeros(1 if i == 5 else 2, 3), i % 2 + 7) for i in range(6)]
    tasks = of(items, query_shots=2)
    said = r"item 5 \(class 8\) is \(1, 3\), item 0 \(class 7\) is \(2, 3\): give.*one size"
    with pytest.raises(ValueError, match=said):
        tasks._examples(torch.tensor([[[0, 2], [4, 5]]]))
    with pytest.raises(ValueError, match=r"item \d \(class 8\).*\(class 8\).*transform"):
        of(items, ways=1, query_shots=2, classes=[8])[0]
