"""What is wrong with a task batch, in words: the shapes that learners count on."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metarl.core import FeatureTasks, Params, TaskBatch, nested_tensors, run_once


def check_metrics(tasks: TaskBatch[Any], metrics: Mapping[str, Tensor]) -> None:
    """Refuse metrics that are not one number a task.

    Raises:
        ValueError: One of them is not ``[N]``.
    """
    for name, value in metrics.items():
        if tuple(value.shape) != (tasks.num_tasks,):
            raise ValueError(
                f"the metric {name} has shape {tuple(value.shape)} where it must be "
                f"({tasks.num_tasks},): one number a task"
            )


def explain(error: Exception, tasks: TaskBatch[Any], fast: Params, slow: Params) -> None:
    """Say what an error in the middle of a learner has to do with the tasks, if it has.

    Args:
        error: What was raised; it gets a note if it came out of the loss.
        tasks: The N tasks of it.
        fast: Fast parameters, stacked ``[N, ...]``.
        slow: Slow parameters, stacked ``[N, ...]``.

    Raises:
        ValueError: The tasks draw experience without a leading axis of tasks.
    """
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
    error.add_note(
        f"This came out of `{name}.loss`. Parameters reach it stacked over the tasks, "
        f"[{count}, ...], those that all tasks share too, and so does experience."
    )
