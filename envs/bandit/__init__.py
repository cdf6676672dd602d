"""RL^2's Bernoulli bandits; Thompson sampling, UCB1, Gittins indices; exact optima."""

from . import algorithms as bandit_algorithms
from .env import Bandit, BanditEnv, BanditVectorEnv
from .tasks import (
    BanditReturns,
    BanditTask,
    BanditTasks,
    bandit_reference_returns,
    bayes_optimal_return,
)

__all__ = [
    "BanditEnv",
    "BanditReturns",
    "BanditTask",
    "BanditTasks",
    "BanditVectorEnv",
    "bandit_algorithms",
    "bandit_reference_returns",
    "bayes_optimal_return",
]

PROBLEMS = (Bandit,)
"""The family as problems; `envs.problems` lists those of all families."""
