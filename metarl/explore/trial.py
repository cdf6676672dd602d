"""A trial, step by step, with what the agent saw, wanted, expected and remembered.

It is played as every trial is (`metarl.methods.trials`), by an agent or by keys. What an agent
thought is computed afterwards from what it saw: the same weights say the same again.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core import own_precision, scope
from metarl.errors import UserError
from metarl.explore.arena import Facts
from metarl.methods.recurrent import RecurrentAdapter, RecurrentLearning
from metarl.rl import PolicyAgent
from metarl.rl.agents import Agent
from metarl.run.trials import STREAMS
from metarl.seeding import spawn_generators

UNSEEN = "?"
"""Mark of a cell of a view that walls hide."""

DIGITS = 4
"""Decimals of probabilities and values."""


@dataclass(frozen=True, eq=False)
class Trial:
    """Record of T steps.

    Attributes:
        cells: Where the agent was before the first step and after each, int ``[T + 1, 2]``.
        facing: The way it looked, int ``[T + 1]``; None: it does not turn.
        actions: ``[T]``.
        rewards: ``[T]``; ``rewards[t]`` is the consequence of ``actions[t]``.
        observations: What it saw before each step and after the last, ``[T + 1, I]``.
        begins: Steps before which an episode began.
        num_steps: Steps of a whole trial.
    """

    cells: NDArray[np.int64]
    facing: NDArray[np.int64] | None
    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]
    observations: Tensor
    begins: tuple[int, ...]
    num_steps: int

    @property
    def finds(self) -> list[int]:
        """The steps, from 1, that found the goal."""
        found: list[int] = ((self.rewards > 0).nonzero()[0] + 1).tolist()
        return found

    def to_json(self, facts: Facts) -> dict[str, Any]:
        """Return it as the page reads it; views are one string per step.

        Args:
            facts: Of the environment it was played in.
        """
        seen = self.observations[:, : facts.view**2].round().to(torch.int64).tolist()
        return {
            "cells": self.cells.tolist(),
            "facing": None if self.facing is None else self.facing.tolist(),
            "actions": self.actions.tolist(),
            "rewards": [round(float(reward), DIGITS) for reward in self.rewards],
            "finds": self.finds,
            "views": ["".join(UNSEEN if v < 0 else "#" if v else "." for v in row) for row in seen],
            "view": facts.view,
            "begins": self.begins,
            "num_steps": self.num_steps,
            "rule": facts.rule,
            "reward": facts.reward,
        }


class Keys:
    """Moves of somebody who plays by keys, as an agent (`metarl.rl.Agent`)."""

    def __init__(self, moves: Sequence[int]) -> None:
        """Make these moves."""
        self._moves = moves

    def begin(self, num_trials: int) -> None:
        """Begin with the first."""
        self._next = iter(self._moves)

    def act(self, observations: Tensor) -> Tensor:
        """Make the next, without looking."""
        return torch.tensor([next(self._next)])

    def observe(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Observe nothing: who plays looks at the page."""


def play(
    learning: RecurrentLearning,
    player: RecurrentAdapter | Sequence[int],
    task: Any,
    seed: int,
    facts: Facts,
    *,
    greedy: bool = False,
) -> tuple[Trial, PolicyAgent | None]:
    """Play a trial. The seed says what the environment draws and the noise of the actions.

    Args:
        learning: Makes the environments, on a problem that can play the task.
        player: An agent, or the moves that somebody has made so far.
        task: A maze.
        seed: The same gives the same trial.
        facts: Of the environments.
        greedy: Take the most probable action instead of drawing one.

    Returns:
        The trial, of as many steps as there are moves; and the agent, None for keys.

    Raises:
        UserError: There are more moves than steps.
    """
    streams = spawn_generators(seed, STREAMS)
    env: Any = learning.trials(
        1, [streams["environment"]], torch.device("cpu"), num_episodes=learning.trial_episodes
    )
    if isinstance(player, RecurrentAdapter):
        agent: PolicyAgent | None = player.agent(streams["policy"], greedy=greedy)
        who: Agent = agent  # type: ignore[assignment]
        num_steps = env.horizon
    else:
        agent, who, num_steps = None, Keys(player), len(player)
        if num_steps > env.horizon:
            raise UserError(f"the trial is over after {env.horizon} steps: begin another one")
    return _recorded(env, who, task, num_steps, facts.turning), agent


def _recorded(env: Any, who: Agent, task: Any, num_steps: int, turning: bool) -> Trial:
    """The first steps of a trial.

    Args:
        env: The trial (`metarl.rl.trial_env.TrialEnv`), around one maze.
        who: Plays.
        task: The maze.
        num_steps: T.
        turning: Whether agents look somewhere.
    """
    mazes = env.env.unwrapped
    who.begin(1)
    observation, _ = env.reset(options={"tasks": [task]})
    seen, cells = [observation], [mazes.agent_positions]
    facing = [mazes.agent_directions] if turning else []
    actions, rewards, begins = [], [], [0]
    for step in range(1, num_steps + 1):
        action = who.act(observation)
        episode = int(env.episodes)
        observation, reward, *_ = env.step(action)
        if int(env.episodes) > episode:
            begins.append(step)
        actions.append(action)
        rewards.append(reward)
        seen.append(observation)
        cells.append(mazes.agent_positions)
        if turning:
            facing.append(mazes.agent_directions)
    none = torch.zeros(0)
    return Trial(
        torch.cat(cells).numpy(),  # [T + 1, 2]
        torch.cat(facing).numpy() if turning else None,  # [T + 1]
        (torch.cat(actions) if actions else none).to(torch.int64).numpy(),  # [T]
        (torch.cat(rewards) if rewards else none).to(torch.float64).numpy(),  # [T]
        torch.cat(seen),  # [T + 1, I]
        tuple(begins),
        env.horizon,
    )


@torch.no_grad()
def thoughts(agent: PolicyAgent, trial: Trial, scale: float) -> dict[str, Any]:
    """Wants, expectations and memory of an agent, as the page reads them.

    ``probabilities`` ``[T, A]`` of the actions; ``values`` ``[T]``, the critic's estimates of the
    discounted return to come; ``hidden``: the outputs of the memory ``[T, H]`` as bytes, 128 being
    0, and units that go together side by side; ``change`` ``[T]``: how far they moved in a step, as
    a mean over the units.

    Args:
        agent: Who has played.
        trial: What it played.
        scale: What rewards were multiplied by in its loss.
    """
    policy, params = agent.policy, agent.params
    inputs = trial.observations[None, :-1, None]  # [1, T, 1, I]
    inputs = inputs.to(next(iter(params.values())).dtype)
    outputs, values = policy.outputs_and_values(params, inputs)  # [1, T, 1, A] and [1, T, 1]
    found: dict[str, Any] = {
        "probabilities": _rounded(outputs[0, :, 0].exp()),
        "values": None if values is None else _rounded(values[0, :, 0] / scale),
    }
    if policy.core is not None:
        x = inputs
        if policy.trunk is not None:
            seen = policy.trunk(scope(params, "trunk"), x.flatten(1, 2))  # [1, T, H]
            x = seen.view(*x.shape[:3], -1)
        with own_precision(x):
            hidden = policy.core.unrolled(scope(params, "core"), x)[0, :, 0]  # [T, H]
        found |= strip(hidden)
    return found


def strip(hidden: Tensor) -> dict[str, Any]:
    """A memory over time as bytes; see `thoughts`.

    Args:
        hidden: ``[T, H]``.
    """
    array = hidden.to(torch.float64).numpy()
    before = np.concatenate((np.zeros_like(array[:1]), array[:-1]))
    change = np.abs(array - before).mean(1)  # [T]
    largest = max(float(np.abs(array).max()), 1e-9)
    ordered = array[:, _together(array)]
    pixels = np.round(128 + 127 * ordered / largest).astype(np.uint8)  # [T, H]
    return {
        "hidden": {
            "units": array.shape[1],
            "largest": round(largest, DIGITS),
            "pixels": base64.b64encode(pixels.tobytes()).decode(),
        },
        "change": [round(float(value), DIGITS) for value in change],
    }


def _together(array: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order of the columns that lays side by side what moves together: by principal direction."""
    centred = array - array.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    angles = np.arctan2(directions[1], directions[0]) if len(directions) > 1 else directions[0]
    return np.argsort(angles, kind="stable")


def _rounded(values: Tensor) -> list[Any]:
    rounded: list[Any] = values.to(torch.float64).round(decimals=DIGITS).tolist()
    return rounded
