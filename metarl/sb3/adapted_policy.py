"""Adapted weights as what SB3's ``evaluate_policy`` evaluates (its conventions of version 2.9).

fast = learner.adapt(tasks, num_steps)
policy = AdaptedPolicy(architecture, {**fast, **slow}, env.action_space)
mean, std = evaluate_policy(policy, env, n_eval_episodes=100)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import Space
from numpy.typing import NDArray

from metarl.core import Params
from metarl.rl import Policy, PolicyAgent
from metarl.rl.spaces import PlainActions, check_actions

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
