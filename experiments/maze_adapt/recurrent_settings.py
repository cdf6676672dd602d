"""Settings of recurrent learners, and their defaults by environment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from experiments.maze_adapt.methods import Method
from experiments.maze_adapt.worlds import EnvName
from metarl.core import OptimiserSettings, Schedule
from metarl.meta import TwoTimescaleSettings
from metarl.rl import ActorCriticSettings


@dataclass(frozen=True)
class RecurrentSettings:
    """Of learners whose memory of a task is a hidden state (rl2, warp-rnn).

    The unit of their experience is the trial: several episodes on one task. The hidden state is
    emptied between trials alone, and the return that is discounted and maximised is the trial's:
    the end of an episode within it is no boundary.

    Attributes:
        core: What rl2 remembers with: gru, as published; or associative, a memory that is read
            with the state (`metarl.nn.AssociativeMemory`). warp-rnn has its own.
        compress_read: Whether what is read of the associative memory goes through asinh, for
            trials of many steps in one state (a bandit), whose sum it is.
        hidden_size: Hidden units.
        loss: The actor-critic, on whole trials.
        learner: The optimiser; and the two timescales of warp-rnn (rl2 has the fast one alone).
        schedule: Of the learning rates.
    """

    core: Literal["gru", "associative"] = "gru"
    compress_read: bool = False
    hidden_size: int = 64
    loss: ActorCriticSettings = field(
        default_factory=lambda: ActorCriticSettings(
            algorithm="ppo", gamma=0.99, gae_lambda=0.95, normalise_advantages=True
        )
    )
    learner: TwoTimescaleSettings = field(
        default_factory=lambda: TwoTimescaleSettings(
            fast=OptimiserSettings(lr=1e-2),
            slow=OptimiserSettings(lr=1e-2),
            warp_period=3,
            max_grad_norm=1.0,
            num_epochs=3,
        )
    )
    schedule: Schedule = field(default_factory=lambda: Schedule("linear"))

    def __post_init__(self) -> None:
        """Refuse a count that means nothing."""
        if self.hidden_size < 1:
            raise ValueError(f"hidden_size must be at least 1, got {self.hidden_size}")


def recurrent_defaults(env: EnvName, method: Method) -> dict[str, Any]:
    """What suits recurrent learners, as changes to the settings of training.

    A trial on a bandit is 100 pulls, on a decision process ten episodes, as in RL^2; on mazes and
    GridNavi it is the four episodes of VariBAD. What a pull pays says much about that arm and
    little about the pulls before it, hence the short discount. Learning rate and discount were
    chosen by short trials on bandits, GridNavi, mazes and decision processes.
    """
    if env not in ("bandit", "mdp"):
        return {"meta_batch": 64}
    if env == "mdp" and method == "rl2":
        return {"trial_episodes": 10, "meta_batch": 128, "recurrent": of_decision_processes()}
    usual = RecurrentSettings()
    short = replace(usual, loss=replace(usual.loss, gamma=0.9))
    return {"trial_episodes": 10, "meta_batch": 128, "recurrent": short}


def of_decision_processes() -> RecurrentSettings:
    """Of rl2: credit for the next few steps, and a memory that is read with the state.

    Where next states are as random as here, an action matters for its own reward and hardly for
    later ones: a longer discount adds their noise. And a GRU takes long to learn to tell apart what
    it was paid in each state.
    """
    usual = RecurrentSettings()
    loss = replace(
        usual.loss,
        gamma=0.5,
        gae_lambda=0.8,
        value_coef=0.5,
        entropy="shannon",
        entropy_coef=0.02,
    )
    learner = replace(usual.learner, fast=replace(usual.learner.fast, lr=5e-3), num_epochs=4)
    return replace(usual, core="associative", hidden_size=128, loss=loss, learner=learner)
