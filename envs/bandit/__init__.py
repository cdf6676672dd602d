"""RL^2's Bernoulli bandits; Thompson sampling, UCB1, Gittins indices; exact optima."""

from . import algorithms as bandit_algorithms
from .env import BanditEnv, BanditVectorEnv
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
