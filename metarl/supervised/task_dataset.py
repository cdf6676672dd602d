"""N-way K-shot tasks from any data set of (input, class) pairs.

A task is `ways` classes drawn without replacement, and of each of them `shots` examples to adapt
with (support) and `query_shots` others to be judged by (query). Classes are renumbered
0 .. ways - 1 within the task, in a random order. The items of a data set are sorted by class once,
then only looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.errors import check_counts
from metarl.seeding import stream
from metarl.supervised.data_sets import (
    Array,
    MapDataset,
    class_numbers,
    inputs_of,
    labels_of,
    paired,
    tensors_of,
)
from metarl.supervised.examples import Examples, FewShotBatch


def draw_distinct(population: Tensor, num: int, generator: torch.Generator) -> Tensor:
    """Draw without replacement, many times at once, in an order that is uniform as well.

    Floyd's algorithm: for j = n - num .. n - 1, draw t from 0..j and keep it, or j if t is kept
    already. Its work does not grow with the population, and nothing waits for the device.

    Args:
        population: int64 ``[...]``, each at least ``num``: draw from ``0 .. population - 1``.
        num: Number of draws of each.
        generator: Generator on the population's device.

    Returns:
        int64 ``[..., num]``, distinct along the last axis.
    """
    shape, device = (*population.shape, num), population.device
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64, device=device)
    drawn = torch.empty(shape, dtype=torch.int64, device=device)
    for i in range(num):
        last = population - (num - i)
        value = (uniform[..., i] * (last + 1)).long()
        taken = (drawn[..., :i] == value.unsqueeze(-1)).any(-1)
        drawn[..., i] = torch.where(taken, last, value)
    order = torch.rand(shape, generator=generator, device=device).argsort(-1)
    return drawn.gather(-1, order)


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


BLOCK = 64
"""Tasks of a numbered sequence are drawn this many at a time; the tasks depend on it."""


class TaskDataset:
    """Few-shot classification tasks, numbered and drawn at random.

    Numbered: `tasks[i]` is always the same task, whatever was asked for before; `tasks[i:j]` is a
    meta-batch, iteration goes through all of them, and starts again from the first. Random:
    `sample` draws a meta-batch. With `num_tasks` there are that many tasks and `sample` draws
    among them; without, they never end and `sample` makes new ones.

    Example:
        >>> images, classes = torch.rand(100, 1, 28, 28), torch.arange(100) % 10
        >>> tasks = TaskDataset((images, classes), ways=5, shots=1, query_shots=3)
        >>> batch = tasks.sample(32, torch.Generator().manual_seed(0))
        >>> batch.support.inputs.shape, batch.query.targets.shape
        (torch.Size([32, 5, 1, 28, 28]), torch.Size([32, 15]))

    Args:
        dataset: Pairs ``(input, class)``, a `torch.utils.data.TensorDataset` of them, or two
            tensors or NumPy arrays: inputs ``[M, ...]`` and classes ``[M]``; two lists do too.
            Arrays are moved to `device` once, and a meta-batch is then one gather.
        ways: Classes in a task.
        shots: Support examples of a class.
        query_shots: Query examples of a class.
        classes: The classes that tasks are made of; all of them if None.
        num_tasks: Number of tasks; endless if None.
        seed: Seed of numbered tasks, at least 0; not used by `sample` where tasks are endless.
        device: Device of the tasks.
        labels: The class of every item, where it is known, or should be another than the items
            say: spares the pass over a map-style data set that finds them. ``dataset.targets``
            spares it too. Classes are those at the time the tasks are made: after a change of the
            data make them again.
        transform: Applied to the inputs of a meta-batch, ``[N, B, ...]`` to ``[N, B, ...]``, e.g.
            from bytes to floats.

    Raises:
        TypeError: The data set cannot be asked for its items by number, or they are no pairs.
        ValueError: A count is not positive, a class is no whole number, there are fewer classes
            than `ways`, or a class has fewer examples than `shots + query_shots`.
    """

    def __init__(
        self,
        dataset: MapDataset | tuple[Array, Array],
        ways: int,
        shots: int,
        query_shots: int,
        classes: Sequence[int] | None = None,
        num_tasks: int | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        *,
        labels: Sequence[int] | Tensor | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        check_counts(ways=ways, shots=shots, query_shots=query_shots, num_tasks=num_tasks)
        check_counts(least=0, seed=seed)
        self.ways, self.shots, self.query_shots = ways, shots, query_shots
        self.num_tasks, self.seed, self.device = num_tasks, seed, torch.device(device)
        self._transform = transform
        self._dataset = dataset = paired(dataset)
        tensors = tensors_of(dataset)
        self._inputs = None if tensors is None else tensors[0].to(self.device)
        self._said = labels is None  # by the items themselves
        if labels is not None:
            labels = class_numbers(labels, len(dataset if tensors is None else tensors[0])).clone()
        else:
            labels = labels_of(dataset) if tensors is None else tensors[1]
        self._labels = labels
        self._index = ClassIndex.of(labels, classes)
        self._index.check(ways, shots + query_shots)
        self.classes = self._index.classes
        self._blocks: dict[int, Tensor] = {}

    def __len__(self) -> int:
        if self.num_tasks is None:
            raise TypeError("endless tasks have no length: give num_tasks")
        return self.num_tasks

    def __iter__(self) -> Iterator[FewShotBatch]:
        """The tasks, one after the other, without the axis N."""
        number = 0
        while self.num_tasks is None or number < self.num_tasks:
            yield self[number]
            number += 1

    def __getitem__(self, number: int | slice) -> FewShotBatch:
        """Task `number` without the axis N, or a slice of the tasks as a meta-batch."""
        if isinstance(number, slice):
            if self.num_tasks is None and (number.stop is None or number.stop < 0):
                raise IndexError(f"{number} of endless tasks has no end: give one, or num_tasks")
            end = number.stop if self.num_tasks is None else self.num_tasks
            return self.batch(range(*number.indices(end)))
        if number < 0 and self.num_tasks is not None:
            number += self.num_tasks
        batch = self.batch([number])
        return FewShotBatch(*(Examples(part.inputs[0], part.targets[0]) for part in batch))

    def batch(self, numbers: Sequence[int]) -> FewShotBatch:
        """The meta-batch of the tasks with these numbers.

        Raises:
            IndexError: There is no such task.
        """
        for number in numbers:
            if number < 0 or (self.num_tasks is not None and number >= self.num_tasks):
                raise IndexError(f"there is no task {number}; {self._extent()}")
        if not len(numbers):
            raise IndexError("an empty meta-batch was asked for: name at least one task")
        return self._gather(torch.stack([self._numbered(number) for number in numbers]))

    def sample(self, num_tasks: int, generator: torch.Generator) -> FewShotBatch:
        """Draw a meta-batch.

        Args:
            num_tasks: N.
            generator: Generator on the CPU: the same seed gives the same tasks on every device.

        Returns:
            N tasks: support ``[N, ways * shots, ...]``, query ``[N, ways * query_shots, ...]``.

        Raises:
            ValueError: `num_tasks` is not positive.
        """
        check_counts(num_tasks=num_tasks)
        if self.num_tasks is None:
            return self._gather(self._draw(num_tasks, generator))
        return self.batch(torch.randint(self.num_tasks, (num_tasks,), generator=generator).tolist())

    def _extent(self) -> str:
        if self.num_tasks is None:
            return "endless tasks count from 0"
        return f"the {self.num_tasks} tasks count from 0"

    def _draw(self, num_tasks: int, generator: torch.Generator) -> Tensor:
        """Items of new tasks, int64 ``[N, ways, shots + query_shots]``."""
        population = torch.full((num_tasks,), len(self.classes))
        ways = draw_distinct(population, self.ways, generator)  # [N, ways]
        items = draw_distinct(self._index.sizes[ways], self.shots + self.query_shots, generator)
        return self._index.items[self._index.starts[ways].unsqueeze(-1) + items]

    def _numbered(self, number: int) -> Tensor:
        """Items of a numbered task, int64 ``[ways, shots + query_shots]``."""
        block, place = divmod(number, BLOCK)
        if block not in self._blocks:
            if self.num_tasks is None:
                self._blocks.clear()  # endless tasks keep the last block only
            self._blocks[block] = self._draw(BLOCK, stream(self.seed, block))
        return self._blocks[block][place]

    def _gather(self, items: Tensor) -> FewShotBatch:
        support, query = items[..., : self.shots], items[..., self.shots :]
        return FewShotBatch(self._examples(support), self._examples(query))

    def _examples(self, items: Tensor) -> Examples:
        num_tasks, ways, count = items.shape
        flat = items.flatten().to(self.device)
        if self._inputs is not None:
            inputs = self._inputs.index_select(0, flat)
        else:
            found = inputs_of(self._dataset, flat.tolist(), self._labels, check=self._said)
            inputs = found.to(self.device)
        inputs = inputs.view(num_tasks, ways * count, *inputs.shape[1:])
        if self._transform is not None:
            inputs = self._transform(inputs)
        targets = torch.arange(ways, device=self.device).repeat_interleave(count)
        return Examples(inputs, targets.repeat(num_tasks, 1))
