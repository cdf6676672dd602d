"""Adaptation looked at on the way: figures of N tasks after 0, 1, ... K steps.

`stages` is the one loop of evaluation; `measure` brings together what is seen at some of them.
Errors of fits, accuracies and returns are three ways to look.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core import Execution, TaskBatch
from metarl.meta import MetaLearner

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """N tasks after k steps of adaptation.

    Attributes:
        index: k.
        fast: Adapted parameters, stacked ``[N, ...]``, without a graph.
        batch: The experience that the next step learns from; None after the last step.
        loss: Loss on it ``[N]``; None after the last step.
    """

    index: int
    fast: dict[str, Tensor]
    batch: Any = None
    loss: Tensor | None = None


Look: TypeAlias = Callable[[Any], Callable[[Stage], Mapping[str, Tensor]]]
"""Prepares to look at n tasks, and returns what looks at a stage of them: figures ``[n, ...]``."""


@dataclass(frozen=True, eq=False)
class Adaptation:
    """Figures of N tasks at S stages of K steps of adaptation.

    Attributes:
        steps: Numbers of steps of the stages ``[S]``, rising.
        figures: Figures by name, ``[N, S, ...]``.
        losses: Loss on the batch that each of the K steps learned from, ``[N, K]``.
    """

    steps: tuple[int, ...]
    figures: Mapping[str, Array]
    losses: Array


def stages(learner: MetaLearner, tasks: TaskBatch[Any], num_steps: int) -> Iterator[Stage]:
    """Adapt to tasks, step by step; leaves the learner untouched.

    Args:
        learner: Whose initialisation and update rule.
        tasks: N tasks.
        num_steps: K, at least 0.

    Yields:
        The K + 1 stages, from before the first step to after the last.
    """
    if num_steps < 0:
        raise ValueError(f"num_steps must be at least 0, got {num_steps}")
    fast: dict[str, Tensor] | None = None
    for step in learner.adaptation(tasks, num_steps):
        yield Stage(step.index, step.fast, step.batch, step.loss)
        fast = step.next_fast
    if fast is None:  # no step at all
        with torch.no_grad():
            fast = learner.initial_fast(tasks)
    yield Stage(num_steps, fast)


def measure(
    learner: MetaLearner,
    tasks: TaskBatch[Any],
    num_steps: int,
    look: Look,
    *,
    at: Collection[int] | None = None,
    chunk_size: int | None = None,
) -> Adaptation:
    """Adapt to tasks, and look at them on the way; leaves the learner untouched.

    Args:
        learner: Whose initialisation and update rule.
        tasks: N tasks; divisible where N exceeds ``chunk_size``.
        num_steps: K, at least 0.
        look: Prepares to look; called once per chunk, before its first step, without a graph.
        at: After which numbers of steps to look, out of 0 to K; all if None.
        chunk_size: Tasks that are stacked; all if None.

    Raises:
        ValueError: There is no such stage.
    """
    chosen = tuple(sorted(range(num_steps + 1) if at is None else set(at)))
    if num_steps >= 0 and (not chosen or chosen[0] < 0 or chosen[-1] > num_steps):
        raise ValueError(f"at must be numbers of steps from 0 to {num_steps}, got {chosen}")

    def work(part: TaskBatch[Any]) -> tuple[dict[str, Tensor], Tensor]:
        with torch.no_grad():
            figures_at = look(part)
        seen: list[Mapping[str, Tensor]] = []
        losses: list[Tensor] = []
        for stage in stages(learner, part, num_steps):
            if stage.index in chosen:
                with torch.no_grad():
                    seen.append(figures_at(stage))
            if stage.loss is not None:
                losses.append(stage.loss)
        figures = {name: torch.stack([one[name] for one in seen], 1) for name in seen[0]}
        return figures, torch.stack(losses, 1) if losses else torch.empty(part.num_tasks, 0)

    chunks = [found for _, found in Execution(chunk_size).map(work, tasks)]
    names = chunks[0][0]
    return Adaptation(
        chosen,
        {name: _together([figures[name] for figures, _ in chunks]) for name in names},
        _together([losses for _, losses in chunks]),
    )


def _together(chunks: list[Tensor]) -> Array:
    """Values of all tasks ``[N, ...]``, float64."""
    together: Array = torch.cat(chunks).cpu().to(torch.float64).numpy()
    return together
