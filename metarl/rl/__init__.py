"""Recurrent actor-critics: policies, rollouts, returns, losses, and trials as tasks."""

from metarl.rl.agent import Agent, RecurrentAgent, UniformAgent
from metarl.rl.policy import ActorCritic
from metarl.rl.rollout import Collector, Rollout, TensorVectorEnv
from metarl.rl.trials import ActorCriticSettings, ScoredTrials, Trials

__all__ = [
    "ActorCritic",
    "ActorCriticSettings",
    "Agent",
    "Collector",
    "RecurrentAgent",
    "Rollout",
    "ScoredTrials",
    "TensorVectorEnv",
    "Trials",
    "UniformAgent",
]
