"""Agents: networks with their settings, the experience that they learn from, and its loss.

The flags of an agent are the fields of its dataclass; how it learns is said by the method.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import tyro

from metarl.errors import UserError, check_choices, is_finite_number
from metarl.methods.rl2 import CoreName
from metarl.methods.spaces import view_layout
from metarl.nn import CORES, AssociativeMemory, RecurrentCore, ViewEncoder, WarpRNN, with_sizes
from metarl.rl import ActorCriticSettings, Gaussian, PolicyGradientSettings, distribution_for
from metarl.rl.problem import Problem

Encoder = Literal["none", "onehot", "conv"]
"""What is made of a view before the memory sees it."""


@dataclass(frozen=True)
class Agent:
    """Settings of an agent; each kind of method has agents of its own."""


@dataclass(frozen=True)
class PolicyNetwork(Agent):
    """A policy's perceptron, and what else any policy has.

    Attributes:
        hidden: Units of each hidden layer of a perceptron.
        activation: Between the layers.
        initial_std: Deviation of a Gaussian policy to begin with, for continuous actions.
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: Literal["relu", "tanh"] = "tanh"
    initial_std: float = 1.0

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.hidden or min(self.hidden) < 1:
            raise UserError(f"--hidden must be positive counts, at least one, got {self.hidden}")
        if not (is_finite_number(self.initial_std) and self.initial_std >= 1e-3):
            raise UserError(f"--initial-std must be at least 0.001, got {self.initial_std}")

    def distribution(self, problem: Problem) -> Any:
        """Distribution over the actions of a problem.

        Raises:
            UserError: There is none, or the deviation is for others.
        """
        try:
            found = distribution_for(problem.actions)
        except ValueError as error:
            raise UserError(f"{problem.name}: {error}") from error
        if isinstance(found, Gaussian):
            return Gaussian(found.num_means, initial_std=self.initial_std)
        if self.initial_std != type(self).initial_std:
            raise UserError(
                f"--initial-std is of Gaussian policies, and the actions of {problem.name} are "
                f"{problem.actions}"
            )
        return found


@dataclass(frozen=True)
class MixturePolicy(PolicyNetwork):
    """A policy, and the episodes that it learns from.

    Attributes:
        episodes: Episodes per task and step, and as many to be judged by.
    """

    episodes: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.episodes < 1:
            raise UserError(f"--episodes must be at least 1, got {self.episodes}")


@dataclass(frozen=True)
class AdaptingPolicy(MixturePolicy):
    """A policy whose weights adapt, the memory that it may have, and the loss of its episodes.

    Attributes:
        core: Recurrent network that remembers what it saw in the episode, whose weights adapt
            (those of warp's LSTM stand still where --method is warp); none: a perceptron.
        core_size: Hidden units of the core.
        loss: Of the episodes, in adaptation and after it. With lvc and normalised advantages (the
            usual ones) support_loss and query_loss are 0 but for rounding: the returns tell
            progress.
    """

    core: CoreName | Literal["none"] = "none"
    core_size: int = 64
    loss: PolicyGradientSettings = field(
        default_factory=lambda: PolicyGradientSettings(divide_by_horizon=True)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.core_size < 1:
            raise UserError(f"--core-size must be at least 1, got {self.core_size}")
        if self.core == "none" and self.core_size != type(self).core_size:
            cores = "|".join(CORES)
            raise UserError(f"--core-size is for --core {cores}; a perceptron has --hidden")
        for name in ("hidden", "activation"):
            if self.core != "none" and getattr(self, name) != getattr(type(self), name):
                raise UserError(
                    f"--{name} is for --core none, a perceptron; --core {self.core} has --core-size"
                )


def check_sizes(core: CoreName, sizes: tuple[str, ...]) -> None:
    """Check that a core has these sizes.

    Raises:
        UserError: It has not.
    """
    try:
        with_sizes(CORES[core](1, 1), sizes)
    except ValueError as error:
        raise UserError(f"--core-sizes: {error}") from error


@dataclass(frozen=True)
class TrialAgent(Agent):
    """An agent with a memory, and the loss of its trials.

    Attributes:
        core: The memory; warp, transformer and linear-attention have slow weights, which warp-rnn
            needs.
        hidden_size: Hidden units; of transformer and linear-attention the width of their blocks.
        core_sizes: Other sizes of the memory, such as layers=3 heads=8 of a transformer; an unknown
            one is told which there are.
        encoder: What is made of the view before the memory sees it: none; onehot: each of its whole
            numbers as one input per value; conv: a convolution of 3 x 3 cells after that.
        filters: Filters of the convolution.
        compress_read: Whether what is read of the associative memory goes through asinh, for
            trials of many steps in one state (a bandit), whose sum it is.
        published_split: Of the core warp: the published code's split into fast and slow.
        loss: The actor-critic, on whole trials.
    """

    core: CoreName = "gru"
    hidden_size: int = 64
    core_sizes: tuple[str, ...] = ()
    encoder: Encoder = "none"
    filters: int = 16
    compress_read: bool = False
    published_split: tyro.conf.Suppress[bool] = False
    loss: ActorCriticSettings = field(
        default_factory=lambda: ActorCriticSettings(
            algorithm="ppo", gamma=0.99, gae_lambda=0.95, normalise_advantages=True
        )
    )

    def __post_init__(self) -> None:
        check_choices(self)
        if self.hidden_size < 1:
            raise UserError(f"--hidden-size must be at least 1, got {self.hidden_size}")
        check_sizes(self.core, self.core_sizes)
        if self.filters < 1:
            raise UserError(f"--filters must be at least 1, got {self.filters}")
        if self.filters != type(self).filters and self.encoder != "conv":
            raise UserError(f"--filters is for --encoder conv, not {self.encoder}")
        if self.compress_read and self.core != "associative":
            raise UserError(
                f"--compress-read is for --core associative; {self.core} is not read so"
            )

    def make_encoder(self, problem: Problem, num_inputs: int) -> ViewEncoder | None:
        """Make what stands before the memory; None: nothing does.

        Args:
            problem: Whose observations are seen.
            num_inputs: Numbers of an input, of which the observation's are the first.

        Raises:
            UserError: There is no view that could be encoded so.
        """
        if self.encoder == "none":
            return None
        try:
            view = view_layout(problem)
            filters = self.filters if self.encoder == "conv" else 0
            return ViewEncoder(view, num_inputs - view.size, filters)
        except ValueError as error:
            raise UserError(f"--encoder {self.encoder}: {error}") from error

    def make_core(self, num_inputs: int) -> RecurrentCore:
        """Make the memory."""
        core = with_sizes(CORES[self.core](num_inputs, self.hidden_size), self.core_sizes)
        if isinstance(core, AssociativeMemory):
            return replace(core, compress_read=self.compress_read)
        if isinstance(core, WarpRNN):
            return replace(core, published_split=self.published_split)
        return core


@dataclass(frozen=True)
class Trials(Agent):
    """Trials of several episodes, which an agent with a memory plays.

    Attributes:
        trial_episodes: Episodes of a trial, over which memory and discounting run on.
        trial_steps: Steps of a trial in training, whatever episodes go into them. None: it is over
            with its last episode.
    """

    trial_episodes: int = 4
    trial_steps: int | None = None

    def __post_init__(self) -> None:
        if self.trial_episodes < 1:
            raise UserError(f"--trial-episodes must be at least 1, got {self.trial_episodes}")
        if self.trial_steps is not None and self.trial_steps < 1:
            raise UserError(f"--trial-steps must be at least 1, got {self.trial_steps}")


@dataclass(frozen=True)
class TrialsAgent(Trials, TrialAgent):
    """An agent with a memory, whose trials have several episodes."""

    def __post_init__(self) -> None:
        TrialAgent.__post_init__(self)
        Trials.__post_init__(self)


@dataclass(frozen=True)
class LSTMOfSB3(Trials):
    """The LSTM policy of sb3-contrib, with a second LSTM for the critic.

    Attributes:
        hidden_size: Hidden units of each LSTM.
        hidden: Units of each layer between LSTM and heads.
    """

    hidden_size: int = 64
    hidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_size < 1:
            raise UserError(f"--hidden-size must be at least 1, got {self.hidden_size}")
        if self.hidden and min(self.hidden) < 1:
            raise UserError(f"--hidden must be positive counts, got {self.hidden}")
