"""Policies, experience and losses: agents that remember, and agents that adapt by gradient.

One `Policy` plays, one `Collector` plays with N sets of weights at once, one `Trajectory` holds
what was played, and one `PolicyGradientTasks` scores it: trials of agents that remember (RL^2), and
episodes to adapt to by policy gradient, with weights of their own for every task.
"""

from metarl.rl.agents import Agent, PolicyAgent, UniformAgent
from metarl.rl.baseline import LinearBaseline
from metarl.rl.collector import Collector, Environments, TensorVectorEnv
from metarl.rl.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Gaussian,
    MultiCategorical,
)
from metarl.rl.host_env import HostVectorEnv
from metarl.rl.losses import ActorCriticSettings, Estimator, PolicyGradientSettings
from metarl.rl.policies import (
    LinearHead,
    Player,
    Policy,
    actor_critic,
    mlp_policy,
    recurrent_policy,
)
from metarl.rl.spaces import distribution_for
from metarl.rl.tasks import PolicyGradientTasks, ScoredTrajectory, start_entropy
from metarl.rl.trajectory import Trajectory

__all__ = [
    "ActorCriticSettings",
    "Agent",
    "Bernoulli",
    "Categorical",
    "Collector",
    "Distribution",
    "Environments",
    "Estimator",
    "Gaussian",
    "HostVectorEnv",
    "LinearBaseline",
    "LinearHead",
    "MultiCategorical",
    "Player",
    "Policy",
    "PolicyAgent",
    "PolicyGradientSettings",
    "PolicyGradientTasks",
    "ScoredTrajectory",
    "TensorVectorEnv",
    "Trajectory",
    "UniformAgent",
    "actor_critic",
    "distribution_for",
    "mlp_policy",
    "recurrent_policy",
    "start_entropy",
]
