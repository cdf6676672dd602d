"""N-way K-shot tasks: what every task is, which tasks there are, and what is refused."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from metarl.supervised import Examples, FewShotBatch, TaskDataset
from metarl.supervised.task_dataset import BLOCK


def labelled(num_classes: int = 12, per_class: int = 6) -> tuple[Tensor, Tensor]:
    """Inputs that tell their class and their number: ``[M, 2]``; classes 10, 11, ... mixed up."""
    classes = torch.arange(num_classes).repeat(per_class) + 10
    inputs = torch.stack([classes, torch.arange(len(classes))], dim=1)
    return inputs, classes


class Pairs:
    """A map-style data set of NumPy arrays that counts how often it is asked."""

    def __init__(self, inputs: Tensor, classes: Tensor) -> None:
        self.inputs, self.classes, self.asked = inputs, classes, 0

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        self.asked += 1
        return self.inputs[index].numpy(), int(self.classes[index])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def equal(a: FewShotBatch, b: FewShotBatch) -> bool:
    return all(
        torch.equal(x, y)
        for part, other in zip(a, b, strict=True)
        for x, y in zip(part, other, strict=True)
    )


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.booleans())
def test_what_a_task_is(ways: int, shots: int, query: int, num_tasks: int, tensors: bool) -> None:
    data = labelled()
    tasks = TaskDataset(data if tensors else Pairs(*data), ways, shots, query)
    batch = tasks.sample(num_tasks, generator(ways))
    assert batch.support.inputs.shape == (num_tasks, ways * shots, 2)
    assert batch.query.inputs.shape == (num_tasks, ways * query, 2)
    for n in range(num_tasks):
        support, query_set = (Examples(p.inputs[n], p.targets[n]) for p in batch)
        items = [x.inputs[:, 1].tolist() for x in (support, query_set)]
        assert len(set(items[0] + items[1])) == ways * (shots + query)  # disjoint, none twice
        assert support.targets.bincount().tolist() == [shots] * ways
        assert query_set.targets.bincount().tolist() == [query] * ways
        original = dict(zip(support.targets.tolist(), support.inputs[:, 0].tolist(), strict=True))
        assert len(set(original.values())) == ways  # one class of the data set for each number
        for part in (support, query_set):
            assert [original[t] for t in part.targets.tolist()] == part.inputs[:, 0].tolist()


ARRAYS = [
    lambda x, y: [x, y],
    lambda x, y: (x.numpy(), y.numpy()),
    lambda x, y: (x, y.numpy().astype(np.float64)),
]


@pytest.mark.parametrize("wrap", [TensorDataset, lambda *t: t, Pairs, *ARRAYS])
def test_every_kind_of_data_set_gives_the_same_tasks(wrap) -> None:
    data = labelled()
    tasks = TaskDataset(wrap(*data), 5, 1, 2)
    expected = TaskDataset(data, 5, 1, 2)
    assert equal(tasks.sample(4, generator()), expected.sample(4, generator()))
    assert equal(tasks[3], expected[3])


def test_labels_that_are_known_spare_the_pass_over_the_data_set() -> None:
    pairs = Pairs(*labelled())
    TaskDataset(pairs, 5, 1, 2, labels=pairs.classes)
    assert pairs.asked == 0
    tasks = TaskDataset(pairs, 5, 1, 2)
    assert pairs.asked == len(pairs)
    tasks.sample(2, generator())
    assert pairs.asked == len(pairs) + 2 * 5 * 3  # the index is built once


def test_all_classes_get_their_turn_as_every_number() -> None:
    batch = TaskDataset(labelled(), 3, 1, 1).sample(2000, generator())
    counts = torch.zeros(12, 3)
    counts.index_put_(
        (batch.support.inputs[..., 0].flatten() - 10, batch.support.targets.flatten()),
        torch.ones(()),
        accumulate=True,
    )
    assert counts.sum() == 6000
    statistic = (counts - 6000 / 36).square().sum() / (6000 / 36)
    assert statistic < 66.6  # 35 degrees of freedom, p = 0.001


def test_a_numbered_task_is_the_same_whatever_was_asked_before() -> None:
    tasks = TaskDataset(labelled(), 3, 1, 1, num_tasks=3 * BLOCK, seed=5)
    endless = TaskDataset(labelled(), 3, 1, 1, seed=5)
    backwards = {i: endless[i] for i in reversed(range(0, 3 * BLOCK, 7))}
    assert all(equal(tasks[i], task) for i, task in backwards.items())
    assert not equal(tasks[0], tasks[1])
    assert not equal(tasks[0], tasks[BLOCK])
    other = TaskDataset(labelled(), 3, 1, 1, num_tasks=8, seed=6)
    assert not equal(tasks[0:8], other[0:8])


def test_finite_tasks_have_a_length_and_start_again() -> None:
    tasks = TaskDataset(labelled(), 3, 1, 1, num_tasks=5)
    assert len(tasks) == 5
    first, second = list(tasks), list(tasks)
    assert len(first) == len(second) == 5
    assert all(equal(a, b) for a, b in zip(first, second, strict=True))
    assert equal(tasks[-1], first[4])
    with pytest.raises(IndexError, match="no task 5; the 5 tasks"):
        tasks[5]


def test_endless_tasks_do_not_end() -> None:
    tasks = TaskDataset(labelled(), 3, 1, 1)
    walked = list(islice(tasks, BLOCK + 2))
    assert equal(walked[-1], tasks[BLOCK + 1])
    with pytest.raises(TypeError, match="give num_tasks"):
        len(tasks)
    with pytest.raises(IndexError, match="has no end"):
        tasks[3:]


def test_a_slice_is_a_meta_batch() -> None:
    tasks = TaskDataset(labelled(), 3, 2, 1, num_tasks=5)
    batch = tasks[1:4]
    assert batch.num_tasks == 3
    assert torch.equal(batch.support.inputs[1], tasks[2].support.inputs)
    assert equal(batch.select(slice(1, 3)), tasks[2:4])


def test_finite_tasks_are_what_sample_draws_among() -> None:
    tasks = TaskDataset(labelled(), 3, 1, 1, num_tasks=2)
    known = {tuple(task.support.inputs[:, 1].tolist()) for task in tasks}
    batch = tasks.sample(30, generator())
    assert {tuple(row) for row in batch.support.inputs[..., 1].tolist()} == known


def test_the_same_generator_gives_the_same_tasks() -> None:
    tasks = TaskDataset(labelled(), 3, 1, 1)
    assert equal(tasks.sample(4, generator(1)), tasks.sample(4, generator(1)))
    assert not equal(tasks.sample(4, generator(1)), tasks.sample(4, generator(2)))


def test_chosen_classes_alone_are_used() -> None:
    batch = TaskDataset(labelled(), 2, 1, 1, classes=[13, 17, 20]).sample(40, generator())
    assert set(batch.query.inputs[..., 0].flatten().tolist()) == {13, 17, 20}


def test_classes_of_different_sizes_are_used_up_to_their_last_example() -> None:
    classes = torch.tensor([7] * 2 + [8] * 9 + [9] * 4)
    inputs = torch.stack([classes, torch.arange(15)], dim=1)
    batch = TaskDataset((inputs, classes), 3, 1, 1).sample(300, generator())
    found = torch.cat([part.inputs.flatten(0, 1) for part in batch])
    assert set(found[:, 1].tolist()) == set(range(15))
    for part in batch:
        assert (part.inputs[..., 0].sort(1).values == torch.tensor([7, 8, 9])).all()


def test_inputs_are_transformed_after_the_gather() -> None:
    images = torch.full((30, 1, 4, 4), 255, dtype=torch.uint8)
    tasks = TaskDataset((images, torch.arange(30) % 5), 5, 1, 1, transform=lambda x: x / 255)
    inputs = tasks.sample(2, generator()).support.inputs
    assert inputs.shape == (2, 5, 1, 4, 4)
    assert inputs.dtype == torch.float32
    assert bool((inputs == 1).all())


def test_a_data_loader_makes_meta_batches_of_them() -> None:
    tasks = TaskDataset(labelled(), 3, 1, 2, num_tasks=6)
    batches = list(DataLoader(tasks, batch_size=3))
    assert len(batches) == 2
    assert equal(batches[1], tasks[3:6])


def test_drawing_and_moving_keep_the_parts_apart() -> None:
    batch = TaskDataset(labelled(), 3, 1, 2).sample(2, generator())
    assert batch.draw("support") is batch.support
    assert batch.draw("query") is batch.query
    assert equal(batch.to("cpu"), batch)


@pytest.mark.gpu
def test_a_gpu_gets_the_same_tasks() -> None:
    here, there = (TaskDataset(labelled(), 5, 1, 2, device=d) for d in ("cpu", "cuda"))
    batch = there.sample(4, generator())
    assert batch.query.targets.device.type == "cuda"
    assert equal(batch.to("cpu"), here.sample(4, generator()))


def test_too_few_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"13 ways asked for, but there are only 12 classes"):
        TaskDataset(labelled(), 13, 1, 1)


def test_too_few_examples_are_refused_by_class() -> None:
    inputs, classes = labelled()
    keep = (classes != 14) | (torch.arange(len(classes)) < 24)
    with pytest.raises(ValueError, match=r"class 14 has 2 examples, but a task takes 3"):
        TaskDataset((inputs[keep], classes[keep]), 5, 1, 2)
    others = [c for c in range(10, 22) if c != 14]
    TaskDataset((inputs[keep], classes[keep]), 5, 1, 2, classes=others)


@pytest.mark.parametrize("name", ["ways", "shots", "query_shots", "num_tasks"])
def test_counts_that_are_not_positive_are_refused(name: str) -> None:
    counts = {"ways": 5, "shots": 1, "query_shots": 1, "num_tasks": 3, name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        TaskDataset(labelled(), **counts)


def test_a_meta_batch_has_tasks() -> None:
    tasks = TaskDataset(labelled(), 3, 1, 1, num_tasks=5)
    with pytest.raises(ValueError, match="num_tasks must be at least 1"):
        tasks.sample(0, generator())
    with pytest.raises(IndexError, match="empty meta-batch"):
        tasks[2:2]


def test_classes_that_are_not_there_or_named_twice_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no item has the classes \[99\]"):
        TaskDataset(labelled(), 2, 1, 1, classes=[10, 11, 99])
    with pytest.raises(ValueError, match="named twice"):
        TaskDataset(labelled(), 2, 1, 1, classes=[10, 11, 11])


def test_inputs_without_a_class_each_are_refused() -> None:
    with pytest.raises(ValueError, match=r"inputs are \(72, 2\) and classes \(71,\)"):
        TaskDataset((labelled()[0], labelled()[1][1:]), 2, 1, 1)


def test_items_that_are_no_tensors_are_refused() -> None:
    pairs = [({"an": "image"}, i % 3) for i in range(12)]
    tasks = TaskDataset(pairs, 2, 1, 1)
    with pytest.raises(TypeError, match=r"is a dict, not a tensor.*transform"):
        tasks.sample(1, generator())
