"""Policies, rollouts, returns and losses: recurrent agents on trials, adaptation on episodes.

Agents that remember (`ActorCritic`, `Collector`, `Trials`) play trials; agents that adapt by policy
gradient (`FeedForwardPolicy`, `RecurrentPolicy`, `EpisodeCollector`, `PolicyGradientTasks`) play
episodes with weights of their own for every task.
"""

from metarl.rl.adaptable_policy import AdaptablePolicy, Player
from metarl.rl.adapted_agent import AdaptedAgent
from metarl.rl.agent import Agent, RecurrentAgent, UniformAgent
from metarl.rl.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Gaussian,
    MultiCategorical,
)
from metarl.rl.episode_rollout import EpisodeCollector
from metarl.rl.episodes import Episodes
from metarl.rl.exploration import start_entropy
from metarl.rl.host_env import HostVectorEnv
from metarl.rl.linear_baseline import LinearBaseline
from metarl.rl.mlp_policy import FeedForwardPolicy, mlp_policy
from metarl.rl.policy import ActorCritic
from metarl.rl.policy_gradient_settings import PolicyGradientSettings
from metarl.rl.policy_gradient_tasks import (
    Drawn,
    PolicyGradientTasks,
    ScoredEpisodes,
    fraction_unrewarded,
    rollout_metrics,
)
from metarl.rl.recurrent_policy import RecurrentPolicy, recurrent_policy
from metarl.rl.rollout import Collector, Rollout, TensorVectorEnv
from metarl.rl.spaces import distribution_for
from metarl.rl.surrogates import Estimator
from metarl.rl.trials import ActorCriticSettings, ScoredTrials, Trials

__all__ = [
    "ActorCritic",
    "ActorCriticSettings",
    "AdaptablePolicy",
    "AdaptedAgent",
    "Agent",
    "Bernoulli",
    "Categorical",
    "Collector",
    "Distribution",
    "Drawn",
    "EpisodeCollector",
    "Episodes",
    "Estimator",
    "FeedForwardPolicy",
    "Gaussian",
    "HostVectorEnv",
    "LinearBaseline",
    "MultiCategorical",
    "Player",
    "PolicyGradientSettings",
    "PolicyGradientTasks",
    "RecurrentAgent",
    "RecurrentPolicy",
    "Rollout",
    "ScoredEpisodes",
    "ScoredTrials",
    "TensorVectorEnv",
    "Trials",
    "UniformAgent",
    "distribution_for",
    "fraction_unrewarded",
    "mlp_policy",
    "recurrent_policy",
    "rollout_metrics",
    "start_entropy",
]
