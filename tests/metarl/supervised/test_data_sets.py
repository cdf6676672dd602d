"""Data sets as users have them: where classes are read from, and what is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from metarl.supervised import TaskDataset


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


def test_targets_of_parts_of_a_data_set_spare_the_pass_too() -> None:
    images = Images(TARGETS)
    part = Subset(images, [4, 1, 0, 3])
    both: ConcatDataset[Any] = ConcatDataset([part, Images(torch.tensor(TARGETS))])
    tasks = of(both)
    assert images.decoded == 1
    assert tasks._labels.tolist() == [1, 1, 0, 0, *TARGETS]
    assert of(ConcatDataset([part, Images()]))._labels.tolist() == [1, 1, 0, 0, *TARGETS]


class Relabelled(Images):
    """As torchvision's: `targets` are those before the transform."""

    target_transform = staticmethod(lambda c: min(c, 1))

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = super().__getitem__(index)
        return image, self.target_transform(label)


def test_a_target_transform_is_heeded_though_both_ends_agree() -> None:
    targets = [0, *TARGETS[1:-1], 1]
    assert of(Relabelled(TARGETS)).classes == of(Relabelled(targets)).classes == (0, 1)


@dataclass(unsafe_hash=True)
class Equal(Dataset[tuple[Tensor, int]]):
    """Equal to all others of its name."""

    name: str
    labels: list[int] = field(compare=False)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.full((2,), float(index)), self.labels[index]


def test_labels_are_those_at_the_time_tasks_are_made() -> None:
    data = Equal("train", [0, 1] * 3)
    assert of(data).classes == (0, 1)
    data.labels = [4, 5] * 3
    assert of(data).classes == (4, 5)
    data.labels[:] = [6, 7] * 3
    assert of(data).classes == (6, 7)
    data.labels += [8, 8]
    assert of(data).classes == (6, 7, 8)
    assert of(Equal("train", [2, 3] * 3)).classes == (2, 3)
    labels = torch.tensor([0, 1] * 3)
    for classes in ([0, 1], [3, 4]):
        labels[:] = torch.tensor(classes * 3)
        assert of((torch.zeros(6, 2), labels)).classes == tuple(classes)
        assert of((np.zeros((6, 2)), labels.numpy())).classes == tuple(classes)
        assert of(TensorDataset(torch.zeros(6, 2), labels)).classes == tuple(classes)


def test_a_change_after_tasks_were_made_is_named() -> None:
    data = Equal("train", [0, 1] * 3)
    tasks = of(data)
    data.labels.reverse()
    with pytest.raises(ValueError, match=r"has the class \d, and had \d .*make the TaskDataset"):
        tasks[0]
    tasks = of(data)
    del data.labels[:]
    with pytest.raises(ValueError, match=r"item \d cannot be had .*the data set has 0 now"):
        tasks[0]


def test_labels_that_are_given_may_differ_from_those_of_the_items() -> None:
    labels = [i // 4 + 5 for i in range(12)]
    tasks = of(Images(), labels=labels)
    assert tasks.classes == (5, 6, 7)
    inputs = tasks[0].support.inputs[:, 0, 0]
    assert len({int(x) // 4 for x in inputs}) == 2
    table = torch.tensor(labels)
    tasks = of(Images(), labels=table)
    table.zero_()
    assert torch.equal(tasks[0].support.inputs[:, 0, 0], inputs)


class Doubled(TensorDataset):
    def __getitem__(self, index: Any) -> Any:
        image, label = super().__getitem__(index)
        return 2 * image + 1, label


def test_a_tensor_data_set_with_a_transform_is_read_by_item() -> None:
    tasks = of(Doubled(torch.zeros(12, 2), torch.tensor(TARGETS)))
    assert bool((tasks[0].support.inputs == 1).all())


@pytest.mark.parametrize(
    "label",
    [int, float, np.int64, torch.tensor, np.array, lambda c: np.array([c]), lambda c: bool(c)],
)
def test_a_class_may_be_any_kind_of_whole_number(label: Any) -> None:
    items = [(torch.zeros(2), label(i % 2)) for i in range(8)]
    assert of(items).classes == (0, 1)
    assert of(items, labels=[y for _, y in items]).classes == (0, 1)


@pytest.mark.parametrize("kind", [list, np.array, lambda x: torch.tensor(x)])
def test_a_list_of_inputs_and_one_of_classes(kind: Any) -> None:
    inputs = [torch.full((2,), float(i)) for i in range(12)]
    expected = of((torch.stack(inputs), torch.tensor(TARGETS)))
    for data in ((inputs, kind(TARGETS)), [inputs, kind(TARGETS)]):
        assert torch.equal(of(data)[3].query.inputs, expected[3].query.inputs)
    items = [[torch.zeros(2), 0], [torch.ones(2), 0]]  # a data set of two items
    assert of(items, ways=1).classes == (0,)


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
        ([(INPUTS[0], 2**63)] * 4, {}, ValueError, "item 0 has the class 9223372036854775808"),
        ([(INPUTS[0], 1e300)] * 4, {}, ValueError, "item 0 has the class 1e[+]300"),
        ([(INPUTS[0], np.eye(3)[0])] * 4, {}, ValueError, "item 0 has the class array"),
        ([{"image": INPUTS[0], "label": 1}] * 4, {}, TypeError, r"dict with the keys .*'label'"),
        ([INPUTS[0]] * 4, {}, TypeError, r"a Tensor, not a pair \(input, class\)"),
        ([(INPUTS[0],)] * 4, {}, TypeError, "a tuple, not a pair"),
        (torch.zeros(12, 2), {}, TypeError, "a Tensor, not a pair"),
        (([INPUTS[0]] * 4, [1] * 5), {}, ValueError, "a list of 4 inputs and one of 5 classes"),
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


def test_items_that_are_no_pairs_are_named_when_labels_are_given_too() -> None:
    tasks = of([{"image": INPUTS[0]}] * 12, labels=TARGETS)
    with pytest.raises(TypeError, match=r"item \d+ of the data set is a dict with the keys"):
        tasks[0]


def test_inputs_of_different_sizes_are_named_by_item_and_class() -> None:
    items = [(torch.zeros(1 if i == 5 else 2, 3), i % 2 + 7) for i in range(6)]
    tasks = of(items, query_shots=2)
    said = r"item 5 \(class 8\) is \(1, 3\), item 0 \(class 7\) is \(2, 3\): give.*one size"
    with pytest.raises(ValueError, match=said):
        tasks._examples(torch.tensor([[[0, 2], [4, 5]]]))
    with pytest.raises(ValueError, match=r"item \d \(class 8\).*\(class 8\).*transform"):
        of(items, ways=1, query_shots=2, classes=[8])[0]
