"""Agents of Stable-Baselines3: playing as ours do, and ours as its policies."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import Space
from gymnasium.spaces import MultiBinary
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import PolicyPredictor
from torch import Tensor

from metarl.core import Params
from metarl.rl import Policy, PolicyAgent
from metarl.rl.spaces import PlainActions, check_actions
from metarl.sb3.global_generators import draw_seed, seeded


class SB3Agent:
    """Plays trials with a model's ``predict`` (`metarl.rl.Agent`).

    A recurrent model (sb3-contrib's RecurrentPPO) keeps its hidden state through a trial, across
    the ends of episodes in it: ``episode_start`` is only true where a trial begins. A model that is
    to forget at the end of an episode must be given trials of one episode.
    """

    def __init__(
        self,
        model: PolicyPredictor,
        generator: torch.Generator,
        *,
        deterministic: bool = False,
    ) -> None:
        """Play with this model.

        Args:
            model: An SB3 algorithm or policy, or anything else with its ``predict``.
            generator: Draws the seeds with which SB3 draws the actions.
            deterministic: Take the most probable action instead of drawing one.
        """
        self.model, self.generator, self.deterministic = model, generator, deterministic
        self._state: tuple[NDArray[Any], ...] | None = None
        self._start = np.zeros(0, dtype=np.bool_)

    def begin(self, num_trials: int) -> None:
        """Forget; B trials begin."""
        self._state, self._start = None, np.ones(num_trials, dtype=np.bool_)

    def act(self, observations: Tensor) -> Tensor:
        """Actions ``[B]`` or ``[B, A]`` for observations ``[B, ...]``."""
        array = observations.cpu().numpy()
        device = getattr(self.model, "device", "cpu")
        with seeded(draw_seed(self.generator), device):
            actions, self._state = self.model.predict(
                array, self._state, self._start, self.deterministic
            )
        if isinstance(getattr(self.model, "action_space", None), MultiBinary):
            actions = actions.astype(np.int64)  # SB3's bits are floats
        self._start = np.zeros_like(self._start)
        return torch.as_tensor(actions, device=observations.device)

    def observe(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Observe: there is nothing to do, since observations hold all a recurrent model needs."""


Arrays = NDArray[Any]
State = tuple[Arrays, ...] | None


class AdaptedPolicy:
    """SB3's ``predict`` with one set of weights per task.

    The observations of N * B environments are task-major: the first B are of task 0. One set of
    weights (N = 1) serves any number of environments, a single one included. What a policy
    remembers of an episode goes through ``state``, as in SB3's recurrent policies.
    """

    def __init__(
        self,
        policy: Policy,
        params: Params,
        action_space: Space[Any],
        generator: torch.Generator | None = None,
    ) -> None:
        """Play with these parameters.

        Args:
            policy: The architecture.
            params: Parameters stacked over tasks ``[N, ...]`` (`core.stack` makes one, N = 1).
            action_space: Actions of one environment; they are shifted to where it counts from, and
                clipped to a ``Box``, as SB3 does.
            generator: Draws actions that are not deterministic; on the parameters' device.
                Default: its own, seeded with 0.

        Raises:
            ValueError: The policy draws other actions than those of the space.
        """
        self.action_space = action_space
        self._taken_by_env = PlainActions(action_space)
        check_actions(policy.distribution, self._taken_by_env.plain)
        self._device = next(iter(params.values())).device
        if generator is None:
            generator = torch.Generator(self._device).manual_seed(0)
        self._greedy = PolicyAgent(policy, params, generator, greedy=True)
        self._random = PolicyAgent(policy, params, generator)

    def predict(
        self,
        observation: Arrays | dict[str, Arrays],
        state: State = None,
        episode_start: Arrays | None = None,
        deterministic: bool = False,
    ) -> tuple[Arrays, State]:
        """Choose actions.

        Args:
            observation: ``[N * B, I]``, or ``[I]`` where there is one set of weights.
            state: State that the step before returned; None: all episodes begin. A policy without
                memory gives it back as it is.
            episode_start: Episodes that begin, bool ``[N * B]``; what was remembered is forgotten
                there. None: none does.
            deterministic: Take the most probable action (the mean) instead of drawing one.

        Returns:
            Actions ``[N * B]`` or ``[N * B, A]`` (of one observation without the first axis), and
            the state, to be handed in at the next step; each part is ``[N, B, ...]``.

        Raises:
            ValueError: The observations cannot be shared evenly by the tasks, or are no array; the
                state is that of other episodes.
        """
        if isinstance(observation, dict):
            raise ValueError("observations must be one array, not a dict: flatten them")
        x = torch.as_tensor(np.asarray(observation), device=self._device)
        single = x.dim() == 1
        agent = self._greedy if deterministic else self._random
        agent.begin(1 if single else len(x))
        if agent.state and state is not None:
            agent.resume(tuple(torch.as_tensor(part, device=self._device) for part in state))
            if episode_start is not None:
                agent.forget(torch.as_tensor(np.atleast_1d(episode_start), device=self._device))
        actions: Arrays = agent.act(x.unsqueeze(0) if single else x).cpu().numpy()
        state = tuple(part.cpu().numpy() for part in agent.state) or state
        actions = self._taken_by_env.taken(actions)
        return (actions[0] if single else actions), state
