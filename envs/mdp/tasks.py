"""Random Markov decision processes with few states, and what is to be earned in them.

The tasks of Duan et al. (2016), "RL^2", section 3.2 (after Osband et al. 2013): from every state
and action the next state is drawn with probabilities from a flat Dirichlet distribution; the mean
of the reward is drawn from N(1, 1) and the reward itself from N(mean, 1). 10 states, 5 actions,
episodes of 10 steps, several of them per trial. Over the whole family random actions earn exactly
1 per step, and an agent that knows the process about 21.8 per episode; for given tasks the random
policy and the optimal one are solved by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.checks import float32_array, whole_number
from ..base.tasks import Arrays, PlainTask, TaskFamily, TaskSet, Tensors

__all__ = ["MDPReturns", "MDPTask", "MDPTasks", "mdp_reference_returns", "next_state_thresholds"]

Rows = tuple[tuple[float, ...], ...]

MOST = 2**14
"""States, or actions: the table of transitions has states x actions x states numbers."""


@dataclass(frozen=True)
class MDPTask(PlainTask):
    """One Markov decision process with S states and A actions. Episodes start in state 0.

    Args:
        transitions: ``[S][A][S]``, probabilities of the next state, rounded to float32.
        reward_means: ``[S][A]``, means of the rewards, rounded to float32.

    Raises:
        ValueError: If the shapes do not fit, or something is no probability or not finite.
    """

    transitions: tuple[Rows, ...]
    reward_means: Rows

    def __post_init__(self) -> None:
        transitions = float32_array(self.transitions, "transitions")
        means = float32_array(self.reward_means, "reward_means")
        if means.ndim != 2 or not means.size or transitions.shape != (*means.shape, len(means)):
            raise ValueError(
                f"transitions must have shape (S, A, S) and reward_means (S, A), got "
                f"{transitions.shape} and {means.shape}"
            )
        sums = transitions.sum(axis=-1, dtype=np.float64)
        if not (transitions >= 0).all() or np.abs(sums - 1).max() > 1e-4:
            raise ValueError("transitions must be probabilities that sum to 1 over the next state")
        if not np.isfinite(means).all():
            raise ValueError("reward_means must be finite")
        object.__setattr__(self, "transitions", _tuples(transitions))
        object.__setattr__(self, "reward_means", _tuples(means))

    @property
    def num_states(self) -> int:
        """Number of states, S."""
        return len(self.reward_means)

    @property
    def num_actions(self) -> int:
        """Number of actions, A."""
        return len(self.reward_means[0])

    def arrays(self) -> Arrays:
        """Transitions, float32 [S, A, S], and reward means, float32 [S, A]."""
        return (
            np.array(self.transitions, dtype=np.float32),
            np.array(self.reward_means, dtype=np.float32),
        )

    @classmethod
    def from_arrays(cls, *arrays: NDArray[Any]) -> MDPTask:
        """The task with transitions, float32 [S, A, S], and reward means, float32 [S, A]."""
        transitions, means = arrays
        return cls(_tuples(transitions), _tuples(means))


@dataclass(frozen=True)
class MDPTasks(TaskFamily[MDPTask]):
    """Transitions from a flat Dirichlet distribution, reward means from N(1, 1).

    Two draws never coincide in practice. For a fixed set of test tasks draw it with a generator of
    its own, or split a `TaskSet` of drawn tasks.

    Args:
        num_states: S, at least 1.
        num_actions: A, at least 1.

    Raises:
        ValueError: If a number is below 1.
    """

    num_states: int = 10
    num_actions: int = 5

    def __post_init__(self) -> None:
        for name in ("num_states", "num_actions"):
            object.__setattr__(self, name, whole_number(getattr(self, name), name, most=MOST))

    @property
    def task_type(self) -> type[MDPTask]:
        """The class of the tasks."""
        return MDPTask

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """Transitions, float32 [n, S, A, S], and reward means, float32 [n, S, A].

        Exponential numbers over their sum are flat Dirichlet.
        """
        shape = (n, self.num_states, self.num_actions, self.num_states)
        numbers = torch.empty(shape, dtype=torch.float32, device=device)
        numbers.exponential_(generator=generator)
        means = torch.randn(shape[:3], generator=generator, device=device, dtype=torch.float32)
        return numbers / numbers.sum(dim=-1, keepdim=True), means + 1.0

    def draw_arrays(self, n: int, rng: np.random.Generator) -> Arrays:
        """The arrays of `n` processes drawn with NumPy."""
        shape = (n, self.num_states, self.num_actions)
        transitions = rng.dirichlet(np.ones(self.num_states), size=shape)
        return transitions.astype(np.float32), rng.normal(1.0, 1.0, shape).astype(np.float32)


class MDPReturns(NamedTuple):
    """Expected returns of an episode."""

    random: float
    oracle: float


def mdp_reference_returns(
    tasks: TaskSet[MDPTask] | Sequence[MDPTask], *, horizon: int = 10
) -> MDPReturns:
    """Returns of random actions and of the optimal policy in an episode, averaged over `tasks`.

    With V_k the expected return of k more steps: V_k(s) = mean_a or max_a of
    ``r(s, a) + sum_s' p(s' | s, a) V_{k-1}(s')``. The optimal policy knows the task.

    Raises:
        ValueError: If there are no tasks or `horizon` is below 1.
    """
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1 step, got {horizon}")
    if not len(tasks):
        raise ValueError("cannot average over no tasks: there are no processes")
    returns = np.array([_returns(task, horizon) for task in tasks])
    random, oracle = returns.mean(axis=0).tolist()
    return MDPReturns(random, oracle)


def next_state_thresholds(transitions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cumulative probabilities but the last: a uniform number leads to the state it counts.

    Args:
        transitions: float32 [..., S].

    Returns:
        float32 [..., S - 1]; the next state is the number of entries that are at most the draw.
    """
    return np.cumsum(transitions, axis=-1, dtype=np.float64)[..., :-1].astype(np.float32)


def _returns(task: MDPTask, horizon: int) -> tuple[float, float]:
    transitions, means = (array.astype(np.float64) for array in task.arrays())
    random, oracle = np.zeros((2, task.num_states))
    for _ in range(horizon):
        random = (means + transitions @ random).mean(axis=1)
        oracle = (means + transitions @ oracle).max(axis=1)
    return float(random[0]), float(oracle[0])


def _tuples(array: NDArray[Any]) -> Any:
    """The array as nested tuples."""
    return tuple(map(_tuples, array)) if array.ndim > 1 else tuple(array.tolist())
