"""Settings of version 0.1 of agents in mazes and their like, under the names of today.

The runs of `experiments.maze` and `experiments.maze_adapt` kept the settings of every kind of
method beside one another; today a run has an environment, an agent and a learner, which have the
settings that they read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ENVIRONMENT = (
    *("horizon", "size", "start", "goal", "salt", "arms"),
    *("reward", "wall_penalty", "goals"),
)
NETWORK = ("hidden", "activation", "initial_std", "episodes")
OPTIMISER = ("lr", "beta1", "beta2", "eps", "weight_decay")


def moved_agents(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]] | None:
    """Return the settings that a run's method reads, and where they are today.

    Args:
        config: The `config.json` of a run of version 0.1.

    Returns:
        The config, and today's place of each that has another, or of a group of them; None: it is
        the run of another recipe.
    """
    if "wall_penalty" in config:
        return _maze(dict(config))
    if "env" not in config:
        return None
    method = config.get("method")
    moved = {name: f"environment.{name}" for name in ENVIRONMENT}
    kept: tuple[str, ...]
    if method in ("rl2", "warp-rnn"):
        moved |= {"trial_episodes": "agent.trial_episodes", **two_timescales("recurrent.learner")}
        moved |= {"recurrent.schedule": "learner", "recurrent": "agent"}
        kept = ("trial_episodes", "recurrent")
    elif method == "ppo":
        moved |= {name: f"agent.{name}" for name in NETWORK}
        moved |= {"ppo.schedule": "learner", "ppo": "learner"}
        kept = (*NETWORK, "ppo")
    else:
        own = (*NETWORK, "core", "core_size", "loss")
        moved |= {name: f"agent.{name}" for name in own}
        kept = (*own, "learner", "of_policies")
    foreign = {"trial_episodes", "recurrent", "ppo", "learner", "of_policies", "loss", "core"}
    foreign |= {"core_size", *NETWORK}
    found = {n: v for n, v in config.items() if n in kept or n not in foreign}
    recurrent = found.get("recurrent")
    if isinstance(recurrent, Mapping):
        recurrent = {**recurrent, "learner": _sides(recurrent.get("learner"))}
        if method == "warp-rnn":  # it had a core of its own
            recurrent["core"] = "warp"
        found["recurrent"] = recurrent
    return found, moved


def _maze(found: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The same of `experiments.maze`, whose methods were called by their cores."""
    core, learner = found.get("method"), found.get("learner", {})
    moved = {name: f"environment.{name}" for name in ENVIRONMENT}
    moved |= {**two_timescales("learner"), "schedule": "learner"}
    # What returns fast weights to their start is a setting of the two timescales alone.
    resets = isinstance(learner, Mapping) and learner.get("reset_fast", "never") != "never"
    found["core"], found["learner"] = core, _sides(learner)
    found["method"] = "warp-rnn" if core == "warp" or resets else "rl2"
    return found, moved


def _sides(learner: Any) -> Any:
    """Return the settings of two timescales, of the slow one what is not the fast one's."""
    if not isinstance(learner, Mapping):
        return learner
    fast, slow = learner.get("fast"), learner.get("slow")
    if not (isinstance(fast, Mapping) and isinstance(slow, Mapping)):
        return learner
    if {**slow, "lr": fast.get("lr")} != fast:
        return learner
    own = {} if slow == fast else {"slow_lr": slow.get("lr")}
    return {**{n: v for n, v in learner.items() if n != "slow"}, **own}


def two_timescales(group: str) -> dict[str, str]:
    """Return where the settings of two timescales are today."""
    moved = {f"{group}.fast.{name}": f"learner.{name}" for name in OPTIMISER}
    moved |= {f"{group}.fast.name": "learner.optimiser", f"{group}.slow": "learner.slow"}
    return {**moved, group: "learner"}


FORMER_GROUPS = {
    **two_timescales("recurrent.learner"),
    "recurrent.learner.slow.lr": "learner.slow_lr",
    "learner.fast.name": "learner.optimiser",
    "learner.fast": "learner",
    "learner.slow.lr": "learner.slow_lr",
    "recurrent.schedule": "learner",
    "recurrent": "agent",
    "ppo.schedule": "learner",
    "ppo": "learner",
}
"""Where groups of settings are today, whatever the method."""
