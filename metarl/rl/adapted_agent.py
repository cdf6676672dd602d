"""An agent whose knowledge of its task is in its weights: adapted policies, played.

After ``fast = learner.adapt(tasks, num_steps)`` it is made with ``{**fast, **slow}``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metarl.core import Params
from metarl.nn.recurrent import State
from metarl.rl.adaptable_policy import AdaptablePolicy
from metarl.rl.distributions import wide


class AdaptedAgent:
    """Plays trials with one set of weights a task (`metarl.rl.agent.Agent`).

    ``num_trials`` trials are shared evenly by the N tasks, task-major: the first ones are played
    with the weights of task 0. One set of weights (N = 1) plays any number of trials. What a policy
    remembers of an episode is forgotten at its end.
    """

    def __init__(
        self,
        policy: AdaptablePolicy,
        params: Params,
        generator: torch.Generator,
        *,
        greedy: bool = False,
    ) -> None:
        """Play with these parameters.

        Args:
            policy: The architecture.
            params: Parameters stacked over tasks ``[N, ...]`` (`core.stack` makes one, N = 1).
            generator: Draws the actions; on the parameters' device.
            greedy: Take the most probable action (the mean) instead of drawing one.
        """
        self.policy, self.params = policy, params
        self.generator, self.greedy = generator, greedy
        self.num_tasks = len(next(iter(params.values())))
        self.begin(self.num_tasks)

    @torch.no_grad()
    def begin(self, num_trials: int) -> None:
        """Forget the trials before; the number must suit the tasks."""
        if num_trials % self.num_tasks:
            raise ValueError(
                f"{num_trials} trials cannot be shared evenly by the weights of {self.num_tasks} "
                "tasks"
            )
        self._player = self.policy.begin(self.params, num_trials // self.num_tasks)

    @torch.no_grad()
    def act(self, observations: Tensor) -> Tensor:
        """Actions ``[B]`` or ``[B, A]`` for observations ``[B, I]``, B the trials of all tasks."""
        like = next(iter(self.params.values()))
        x = observations.reshape(self.num_tasks, len(observations) // self.num_tasks, -1)
        means = self._player.means(x.to(like.dtype))  # [N, B / N, A]
        distribution = self.policy.distribution
        if not self.greedy:
            noise = distribution.noise(tuple(means.shape[:2]), self.generator)
            noise = noise.to(wide(like.dtype))
            means = means + distribution.perturbation(self.params, noise)
        return distribution.choose(means).flatten(0, 1)

    def observe(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Nothing to learn, the weights have been adapted; what is over is forgotten."""
        self.forget(terminated | truncated)

    def forget(self, over: Tensor) -> None:
        """Begin anew where an episode is over, bool ``[B]``."""
        self._player.forget(over.view(self.num_tasks, -1))

    @property
    def state(self) -> State:
        """What the policy remembers of the episodes, each ``[N, B / N, ...]``."""
        return self._player.state

    def resume(self, state: State) -> None:
        """Go on from a state, after `begin`."""
        self._player.resume(state)
