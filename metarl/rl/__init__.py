"""Policies, experience and losses: agents that remember, and agents that adapt by gradient.

One `Policy` plays, one `Collector` plays with N sets of weights at once, one `Trajectory` holds
what was played, and one `PolicyGradientTasks` scores it: trials of agents that remember (RL^2), and
episodes to adapt to by policy gradient, with weights of their own for every task.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from metarl.rl.advantages import LinearBaseline
from metarl.rl.agents import Agent, PolicyAgent, UniformAgent
from metarl.rl.collector import Collector, Environments, TensorVectorEnv
from metarl.rl.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Gaussian,
    MultiCategorical,
)
from metarl.rl.gymnasium_problem import GymnasiumProblem
from metarl.rl.heads import LinearHead
from metarl.rl.host_env import HostVectorEnv
from metarl.rl.losses import ActorCriticSettings, Estimator, PolicyGradientSettings
from metarl.rl.player import Player
from metarl.rl.policies import Policy, actor_critic, mlp_policy, recurrent_policy
from metarl.rl.problem import Anchors, Problem, TaskSource
from metarl.rl.spaces import TakesPlainActions, distribution_for
from metarl.rl.tasks import PolicyGradientTasks, start_entropy
from metarl.rl.trajectory import ScoredTrajectory, Trajectory

__all__ = [
    "ActorCriticSettings",
    "Agent",
    "Anchors",
    "Bernoulli",
    "Categorical",
    "Collector",
    "Distribution",
    "Environments",
    "Estimator",
    "Gaussian",
    "GymnasiumProblem",
    "HostVectorEnv",
    "LinearBaseline",
    "LinearHead",
    "MultiCategorical",
    "Player",
    "Policy",
    "PolicyAgent",
    "PolicyGradientSettings",
    "PolicyGradientTasks",
    "Problem",
    "ScoredTrajectory",
    "TakesPlainActions",
    "TaskSource",
    "TensorVectorEnv",
    "Trajectory",
    "UniformAgent",
    "actor_critic",
    "distribution_for",
    "mlp_policy",
    "recurrent_policy",
    "start_entropy",
]


def __getattr__(name: str) -> object:
    """Collector of episodes under its name in version 0.1, with a `DeprecationWarning`."""
    if name != "EpisodeCollector":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        "metarl.rl.EpisodeCollector is metarl.rl.Collector since version 0.2",
        DeprecationWarning,
        stacklevel=2,
    )
    return _episode_collector


def _episode_collector(
    env: TensorVectorEnv,
    policy: Policy,
    generators: Sequence[torch.Generator],
    num_tasks: int,
    num_steps: int,
    options: dict[str, Any] | None = None,
) -> Collector:
    return Collector(env, policy, generators, num_steps, num_tasks=num_tasks, options=options)
