"""Faults of task batches, in words: what learners count on, and errors of torch in them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from metarl.core import FeatureTasks, Params, TaskBatch, nested_tensors, run_once
from metarl.core.second_order import twice_differentiable

BASIC = ("num_tasks", "sample", "loss")
"""Attributes that every task batch has."""

FOREIGN = {
    ("vmap", "Batching rule", "batched tensor"): (
        "torch.vmap cannot vectorise this network over tasks: give the module itself, "
        "SupervisedTasks(net, ...) or metarl.nn.ModuleNetwork(net), which is called task by task "
        "where it must be and draws for each task"
    ),
    ("modified inplace", "inplace operation"): (
        "the loss writes in place into what gradients need: leave it, such as max_norm of "
        "nn.Embedding"
    ),
    ("sparse",): (
        "gradients must be dense: take sparse=False in nn.Embedding, nn.EmbeddingBag and their "
        "functions"
    ),
}
"""Meanings and remedies of torch's messages, by words in them."""


def check_offers(tasks: object, learner: object, *names: str) -> Any:
    """Check that tasks have what a learner asks of them.

    Returns:
        The tasks, as what was asked for.

    Raises:
        TypeError: They lack some of it.
    """
    missing = [name for name in (*BASIC, *names) if not hasattr(tasks, name)]
    if missing:
        raise TypeError(
            f"{type(learner).__name__} needs tasks with {', '.join(f'`{n}`' for n in missing)}, "
            f"which {type(tasks).__name__} does not have: write what is missing"
            + (
                ", or take SupervisedTasks(network, examples, criterion)"
                if missing[-1] == "loss"
                else ""
            )
        )
    return tasks


@contextmanager
def explained(tasks: TaskBatch[Any], at: Callable[[], tuple[Params, Params]]) -> Iterator[None]:
    """Say in words what an error that is raised inside has to do with the tasks.

    Args:
        tasks: N tasks.
        at: Gives fast and slow parameters, stacked ``[N, ...]``, to look at the tasks with.

    Raises:
        NotImplementedError: A second derivative is asked for that torch does not have.
        RuntimeError: torch cannot do what the tasks ask for; the remedy is named.
        ValueError: The tasks draw experience without a leading axis of tasks.
    """
    try:
        with twice_differentiable():
            yield
    except (RuntimeError, IndexError, ValueError) as error:
        if error.__cause__ is None:  # else it has been explained
            with torch.no_grad():
                explain(error, tasks, *at())
        raise


def check_metrics(tasks: TaskBatch[Any], metrics: Mapping[str, Tensor]) -> None:
    """Check that metrics are one number per task.

    Raises:
        ValueError: One of them is not ``[N]``.
    """
    for name, value in metrics.items():
        if tuple(value.shape) != (tasks.num_tasks,):
            raise ValueError(
                f"the metric {name} has shape {tuple(value.shape)} where it must be "
                f"({tasks.num_tasks},): one number per task"
            )


def explain(error: Exception, tasks: TaskBatch[Any], fast: Params, slow: Params) -> None:
    """Say what an error in the middle of a learner has to do with the tasks, if it has.

    Args:
        error: The error raised; it gets a note if it came out of the loss.
        tasks: The N tasks of it.
        fast: Fast parameters, stacked ``[N, ...]``.
        slow: Slow parameters, stacked ``[N, ...]``.

    Raises:
        RuntimeError: torch cannot do what the tasks ask for; the remedy is named.
        ValueError: The tasks draw experience without a leading axis of tasks.
    """
    if type(error) is RuntimeError:
        for words, remedy in FOREIGN.items():
            if any(word in str(error) for word in words):
                raise RuntimeError(f"{remedy} ({str(error).splitlines()[0]})") from error
    frames = {frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)}
    of_tasks = {type(tasks).loss.__code__, run_once.__code__, FeatureTasks.loss.__code__}
    if not of_tasks & frames or isinstance(error, torch.OutOfMemoryError):
        return
    count, name = tasks.num_tasks, type(tasks).__name__
    for value in nested_tensors(tasks.sample(fast, slow, "support")):
        if value.dim() == 0 or len(value) != count:
            raise ValueError(
                f"`{name}.sample` gave a tensor of shape {tuple(value.shape)}: experience of "
                f"{count} tasks is stacked, [{count}, ...]"
            ) from error
    if hasattr(error, "__notes__"):
        return
    error.add_note(
        f"This came out of `{name}.loss`. Parameters reach it stacked over the tasks, "
        f"[{count}, ...], those that all tasks share too, and so does experience."
    )
