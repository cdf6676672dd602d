"""RL^2's random Markov decision processes; posterior sampling, planning; exact optima."""

from . import algorithms as mdp_algorithms
from .env import MDP, TabularMDPEnv, TabularMDPVectorEnv
from .tasks import MDPReturns, MDPTask, MDPTasks, mdp_reference_returns

__all__ = [
    "MDPReturns",
    "MDPTask",
    "MDPTasks",
    "TabularMDPEnv",
    "TabularMDPVectorEnv",
    "mdp_algorithms",
    "mdp_reference_returns",
]

PROBLEMS = (MDP,)
"""The family as problems; `envs.problems` lists those of all families."""
