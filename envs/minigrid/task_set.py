"""Sets of Minigrid tasks: read from seeds or enumerated, counted, split, kept in files.

>>> tasks = minigrid_tasks("MiniGrid-FourRooms-v0", seeds=range(2000))
>>> print(tasks.summary())
MiniGrid-FourRooms-v0: 2,000 seeds gave 2,000 tasks with 1,585 layouts of walls
>>> train, _, test = tasks.split(by="walls")  # the walls of the test are new, too
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from ..base.checks import check_seed, json_object, whole_number
from ..base.tasks import Splits, TaskSet, deal_out
from .enumeration import enumerated
from .reading import make_minigrid, read_task, reset_minigrid
from .tasks import MinigridTask

__all__ = ["MinigridTasks", "as_minigrid_tasks", "minigrid_tasks"]

FEW = 5
"""Parts of a split with fewer tasks than this are warned of."""

USUAL_SEEDS = range(1000)
"""Seeds that are read where an id alone says the tasks."""

By = Literal["task", "walls"]


@dataclass(frozen=True)
class MinigridTasks(TaskSet[MinigridTask]):
    """Finitely many Minigrid tasks, uniform, each once.

    Args:
        tasks: The tasks.
        num_seeds: Number of seeds that were read for them; None if they were not read from seeds.
    """

    num_seeds: int | None = field(default=None, compare=False)

    @cached_property
    def num_walls(self) -> int:
        """Number of layouts of walls among them: tasks may differ in the rest alone."""
        return len({task.walls_id() for task in self})

    def summary(self) -> str:
        """One line: how many tasks there are, from how many seeds, with how many layouts."""
        ids = sorted({task.env_id for task in self})
        if self.num_seeds is None:
            source = f"{len(self):,} tasks"
        else:
            source = f"{self.num_seeds:,} seeds gave {len(self):,} tasks"
        return f"{', '.join(ids)}: {source} with {self.num_walls:,} layouts of walls"

    def filter(self, predicate: Callable[[MinigridTask], bool]) -> MinigridTasks:
        """The tasks for which `predicate` holds, possibly none."""
        return MinigridTasks(tuple(task for task in self if predicate(task)))

    def split(
        self,
        *,
        train: float = 0.8,
        validation: float = 0.0,
        test: float = 0.2,
        salt: str = "",
        by: By = "task",
    ) -> Splits[TaskSet[MinigridTask]]:
        """Parts the tasks by a hash, as `TaskSet.split` does.

        Args:
            train: Fraction of the tasks to train on, at least 0.
            validation: Fraction to choose settings by, at least 0.
            test: Fraction to report on, at least 0; the three sum to 1.
            salt: Another string gives another split.
            by: Hash of the whole task; or of its walls, so that all tasks with the same walls fall
                into one part and a test is of walls that were not trained on.

        Warns:
            UserWarning: If a part that was asked for has few tasks or layouts, or none.

        Raises:
            ValueError: If a fraction is negative, they do not sum to 1, or `by` is unknown.
        """
        if by not in ("task", "walls"):
            raise ValueError(f"by must be 'task' or 'walls', got {by!r}")
        fractions = {"train": train, "validation": validation, "test": test}
        named = ((task.task_id if by == "task" else task.walls_id(), task) for task in self)
        parts = deal_out(named, (train, validation, test), salt)
        sets = [MinigridTasks(part) for part in parts]
        for (name, fraction), part in zip(fractions.items(), sets, strict=True):
            count = len(part) if by == "task" else part.num_walls
            if fraction and count < FEW:
                warnings.warn(
                    f"the {name} part has {count} {'tasks' if by == 'task' else 'layouts'} of "
                    f"{len(self) if by == 'task' else self.num_walls}: too few to say much; read "
                    "more seeds, or take a larger family",
                    stacklevel=2,
                )
        return Splits(*sets)


def minigrid_tasks(
    env_id: str,
    *,
    seeds: Iterable[int] | None = USUAL_SEEDS,
    patience: int = 1000,
    cache: str | os.PathLike[str] | None = None,
) -> MinigridTasks:
    """The tasks of a Minigrid environment: what its seeds give, each once.

    Args:
        env_id: Any id of Minigrid or BabyAI, or of a Minigrid environment that is registered.
        seeds: The seeds to read, in this order. None: every task there is, of the families that
            can be enumerated (`envs.minigrid.enumeration`).
        patience: Seeds in a row that may give nothing new; then no more are read.
        cache: A folder to keep what was read in, and to read it from the next time. The name of
            the file says the id, the seeds, the patience and the version of Minigrid.

    Returns:
        The tasks in the order in which they came, with the number of seeds read.

    Raises:
        ValueError: If there is no such id, a family cannot be enumerated or makes no grid here,
            there are no seeds, or `patience` is below 1.
        TypeError: If a seed is no whole number, or the id no text.
    """
    if not isinstance(env_id, str):
        raise TypeError(
            "env_id must be the name of an environment, such as MiniGrid-FourRooms-v0, got "
            f"{env_id!r}"
        )
    patience = whole_number(patience, "patience")
    numbers = None if seeds is None else _check_seeds(seeds)
    if cache is None:
        return _read(env_id, numbers, patience)
    path = Path(cache) / _file_name(env_id, numbers, patience)
    if path.exists():
        return _load(path)
    tasks = _read(env_id, numbers, patience)
    _save(tasks, path)
    return tasks


def as_minigrid_tasks(tasks: Any) -> Any:
    """The tasks of an id, where the name of one is given; otherwise what is given."""
    return minigrid_tasks(tasks) if isinstance(tasks, str) else tasks


def _check_seeds(seeds: Iterable[int]) -> Sequence[int]:
    """The seeds, as a sequence that can be hashed.

    Raises:
        ValueError: If there are none, or one is negative.
        TypeError: If one is no whole number.
    """
    if isinstance(seeds, int | str | bytes):
        raise TypeError(f"seeds must be a sequence of seeds such as range(1000), got {seeds!r}")
    numbers: Sequence[int] = seeds if isinstance(seeds, range) else tuple(seeds)
    if not len(numbers):
        raise ValueError("there are no seeds to read: give some, such as seeds=range(1000)")
    if isinstance(numbers, range):
        check_seed(min(numbers[0], numbers[-1]))
        return numbers
    return tuple(check_seed(seed) for seed in numbers)


@lru_cache(maxsize=8)
def _read(env_id: str, seeds: Sequence[int] | None, patience: int) -> MinigridTasks:
    """The tasks, from Minigrid."""
    env = make_minigrid(env_id)
    if seeds is None:
        reset_minigrid(env, env_id, 0)
        return MinigridTasks(tuple(enumerated(env, read_task(env, env_id))))
    found: dict[MinigridTask, None] = {}
    num_seeds = last = 0
    for seed in seeds:
        reset_minigrid(env, env_id, seed)
        task = read_task(env, env_id, seed)
        num_seeds += 1
        if task not in found:
            found[task], last = None, num_seeds
        elif num_seeds - last >= patience:
            break
    return MinigridTasks(tuple(found), num_seeds)


def _file_name(env_id: str, seeds: Sequence[int] | None, patience: int) -> str:
    """Name of the file of these tasks."""
    if seeds is None:
        said = "all"
    elif isinstance(seeds, range):
        said = f"{seeds.start}-{seeds.stop}-{seeds.step}"
    else:
        said = f"{len(seeds)}-{abs(hash(seeds)):x}"  # integers hash alike in every process
    number = version("minigrid")
    return f"{env_id.replace('/', '-')}_seeds-{said}_patience-{patience}_minigrid-{number}.json"


def _load(path: Path) -> MinigridTasks:
    """Tasks that `_save` wrote.

    Raises:
        ValueError: If the file holds something else.
    """
    try:
        fields = json_object(path.read_text(), "file of Minigrid tasks")
        tasks = TaskSet.from_json(json.dumps(fields["set"]), MinigridTask)
        return MinigridTasks(tasks.tasks, fields["num_seeds"])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is no file of Minigrid tasks ({error}): remove it") from error


def _save(tasks: MinigridTasks, path: Path) -> None:
    """Writes the tasks to a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps({"num_seeds": tasks.num_seeds, "set": json.loads(tasks.to_json())}))
    part.replace(path)
