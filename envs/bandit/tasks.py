"""Bernoulli bandits, and what is to be earned with them.

The tasks of Duan et al. (2016), "RL^2", section 3.1: every arm pays 1 with its own probability, and
the probabilities are independent and uniform in [0, 1). They use 5, 10 and 50 arms and 10, 100 and
500 pulls per trial. Exact here:

    random    n / 2                        pulls blindly
    oracle    n K / (K + 1)                knows the best of K arms
    optimal   `bayes_optimal_return`       the best that learning can do, by dynamic programming;
                                           practical up to about 20 pulls

With 10 pulls the optimum is 6.660, 6.714 and 6.714 for 5, 10 and 50 arms (more arms than pulls are
of no use): no learner earns more in expectation. Reference algorithms to play against are in
`envs.bandit.algorithms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.checks import float32_tuple, whole_number
from ..base.tasks import Arrays, PlainTask, TaskFamily, TaskSet, Tensors

__all__ = [
    "BanditReturns",
    "BanditTask",
    "BanditTasks",
    "bandit_reference_returns",
    "bayes_optimal_return",
]

MAX_EXACT_PULLS = 24

Arm = tuple[int, int]
"""Successes and failures of an arm."""

MOST_ARMS = 2**24
"""Arms of a bandit, each of which is a number of a task and of the spaces."""


@dataclass(frozen=True)
class BanditTask(PlainTask):
    """One bandit.

    Args:
        probabilities: With which each arm pays, in [0, 1], rounded to float32.

    Raises:
        ValueError: If there are no arms or a probability is out of range.
    """

    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        probabilities = float32_tuple(self.probabilities, "probabilities")
        if not probabilities or not all(0 <= p <= 1 for p in probabilities):
            raise ValueError(
                f"a bandit has at least one arm and probabilities in [0, 1], "
                f"got {self.probabilities}"
            )
        object.__setattr__(self, "probabilities", probabilities)

    @property
    def num_arms(self) -> int:
        """Number of arms, K."""
        return len(self.probabilities)

    def arrays(self) -> Arrays:
        """The probabilities, float32 [K]."""
        return (np.array(self.probabilities, dtype=np.float32),)

    @classmethod
    def from_arrays(cls, *arrays: NDArray[Any]) -> BanditTask:
        """The task with the probabilities, float32 [K]."""
        return cls(tuple(arrays[0].tolist()))


@dataclass(frozen=True)
class BanditTasks(TaskFamily[BanditTask]):
    """Arms with independent probabilities, uniform in [0, 1).

    Two draws never coincide in practice. For a fixed set of test tasks draw it with a generator of
    its own, or split a `TaskSet` of drawn tasks.

    Args:
        num_arms: K, at least 1.

    Raises:
        ValueError: If `num_arms` is below 1.
    """

    num_arms: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "num_arms", whole_number(self.num_arms, "num_arms", most=MOST_ARMS)
        )

    @property
    def task_type(self) -> type[BanditTask]:
        """The class of the tasks."""
        return BanditTask

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """Probabilities of `n` bandits, float32 [n, K]."""
        shape = (n, self.num_arms)
        return (torch.rand(shape, generator=generator, device=device, dtype=torch.float32),)

    def draw_arrays(self, n: int, rng: np.random.Generator) -> Arrays:
        """Probabilities of `n` bandits, float32 [n, K]."""
        return (rng.random((n, self.num_arms), dtype=np.float32),)


class BanditReturns(NamedTuple):
    """Expected returns of a trial."""

    random: float
    oracle: float


def bandit_reference_returns(
    tasks: BanditTasks | TaskSet[BanditTask] | Sequence[BanditTask], *, horizon: int = 100
) -> BanditReturns:
    """Returns of random pulls and of the best arm in `horizon` pulls, averaged over `tasks`.

    Raises:
        ValueError: If there are no tasks or `horizon` is below 1.
    """
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1 pull, got {horizon}")
    if isinstance(tasks, BanditTasks):
        return BanditReturns(horizon / 2, horizon * tasks.num_arms / (tasks.num_arms + 1))
    if not len(tasks):
        raise ValueError("cannot average over no tasks: there are no bandits")
    arms = [task.probabilities for task in tasks]
    random = np.mean([np.mean(p) for p in arms])
    return BanditReturns(horizon * float(random), horizon * float(np.mean([max(p) for p in arms])))


def bayes_optimal_return(num_arms: int, horizon: int) -> float:
    """The most that can be earned in expectation over `BanditTasks(num_arms)`, exactly.

    After s successes and f failures an arm's probability is Beta(1 + s, 1 + f), so the state is
    how often each arm paid and did not, whatever their order:

        V_n(arms) = max_a  p_a (1 + V_{n-1}(arms, a paid)) + (1 - p_a) V_{n-1}(arms, a did not),
        p_a = (1 + s_a) / (2 + s_a + f_a)

    Args:
        num_arms: K, at least 1.
        horizon: Pulls, in 1 .. `MAX_EXACT_PULLS`. The number of states grows with the number of
            ways to share the pulls among the arms.

    Raises:
        ValueError: If a number is out of range.
    """
    num_arms = whole_number(num_arms, "num_arms", most=MOST_ARMS)
    if not 1 <= horizon <= MAX_EXACT_PULLS:
        raise ValueError(
            f"horizon must be in 1 .. {MAX_EXACT_PULLS} to be solved exactly, got {horizon}: "
            f"compare with the algorithms of envs.bandit_algorithms instead"
        )

    @cache
    def value(pulled: tuple[Arm, ...], left: int) -> float:
        """V_left where the arms other than the `pulled` ones, sorted, are untouched."""
        if not left:
            return 0.0
        best = 0.0
        untouched = [(0, 0)] if len(pulled) < num_arms else []
        for arm in {*pulled, *untouched}:
            others = list(pulled)
            if arm != (0, 0):
                others.remove(arm)
            paid, failed = ((arm[0] + 1, arm[1]), (arm[0], arm[1] + 1))
            chance = (1 + arm[0]) / (2 + sum(arm))
            after = [value(tuple(sorted([*others, new])), left - 1) for new in (paid, failed)]
            best = max(best, chance * (1 + after[0]) + (1 - chance) * after[1])
        return best

    return value((), horizon)
