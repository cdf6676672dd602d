"""Episodes of N tasks in N * B environments with weights of their own, without a graph.

The environment is a tensor program (or `host_env.HostVectorEnv` in front of one that is not) and
nothing here waits for the device: all noise is drawn beforehand, one generator a task, and ends of
episodes are looked for after the last step. Whatever an environment does after an episode's end,
be it nothing (DISABLED), the next episode (SAME_STEP) or a phantom step first (NEXT_STEP), is
masked out: only the first episode counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from metarl.core import Params, along
from metarl.rl.adaptable_policy import AdaptablePolicy
from metarl.rl.distributions import wide
from metarl.rl.episodes import Episodes
from metarl.rl.rollout import TensorVectorEnv, in_tensors
from metarl.rl.spaces import check_spaces


@dataclass(frozen=True)
class EpisodeCollector:
    """Plays one episode in every environment.

    Attributes:
        env: N * B environments, task-major: the first B are of task 0.
        policy: Whose parameters come with each call.
        generators: The noise of the N tasks: one generator each, so that a task's noise does not
            depend on its company, or fewer, each of which serves N / G tasks in a row.
        num_tasks: N.
        num_steps: T, the longest episode: no more than the environment's horizon.
        options: For every ``reset``: which tasks are played.
        divide: Makes the environment of some of the tasks, with their B environments each, and its
            reset options; None: the tasks cannot be divided.
    """

    env: TensorVectorEnv
    policy: AdaptablePolicy
    generators: Sequence[torch.Generator]
    num_tasks: int
    num_steps: int
    options: dict[str, Any] | None = None
    divide: Callable[[slice], tuple[TensorVectorEnv, dict[str, Any] | None]] | None = None

    def __post_init__(self) -> None:
        """Refuse counts that do not go together, and a policy of other spaces."""
        if self.num_steps < 1 or self.num_tasks < 1:
            raise ValueError(
                "num_tasks and num_steps must be at least 1, got "
                f"{self.num_tasks} and {self.num_steps}"
            )
        if self.env.num_envs % self.num_tasks:
            raise ValueError(
                f"{self.env.num_envs} environments cannot be shared evenly by {self.num_tasks} "
                "tasks: make num_tasks * episodes of them"
            )
        if not self.generators or self.num_tasks % len(self.generators):
            raise ValueError(
                f"{len(self.generators)} generators cannot serve {self.num_tasks} tasks evenly"
            )
        check_spaces(self.env, self.policy.distribution, self.policy.num_inputs)

    @torch.no_grad()
    def collect(self, params: Params) -> Episodes:
        """Play.

        Args:
            params: Stacked parameters ``[N, ...]``.

        Returns:
            The episodes, on the parameters' device; what the policy sees and says in the
            parameters' dtype, what is counted or summed in single precision at least.
        """
        like = next(iter(params.values()))
        exact = wide(like.dtype)
        perturbations = self.policy.distribution.perturbation(params, self._noise().to(exact))
        player = self.policy.begin(params, perturbations.shape[2])
        reset, step = in_tensors(self.env)
        # The environment takes options out of the dict.
        observation, _ = reset(options=dict(self.options) if self.options else None)
        observations, actions, after, steps = [], [], [], []
        for perturbation in perturbations.unbind(1):
            x = observation.reshape(self.num_tasks, perturbation.shape[1], -1).to(like.dtype)
            # [N, B, A]
            action = self.policy.distribution.choose(player.means(x) + perturbation)
            observation, *result, info = step(action.flatten(0, 1))
            observations.append(x)
            actions.append(action)
            after.append(final_observation(observation, info).reshape(x.shape))
            steps.append(result)
        rewards, terminated, truncated = (
            torch.stack(part).view(self.num_steps, self.num_tasks, -1).transpose(0, 1)
            for part in zip(*steps, strict=True)
        )
        return self._assemble(
            params,
            torch.stack(observations, 1),
            torch.stack(actions, 1),
            rewards.to(exact),
            terminated,
            truncated,
            torch.stack(after, 1).to(like.dtype),
        )

    def select(self, tasks: slice) -> EpisodeCollector:
        """These tasks alone, in an environment of their own, with the generators they have.

        Raises:
            ValueError: The tasks cannot be divided.
        """
        if self.divide is None or len(self.generators) != self.num_tasks:
            raise ValueError(
                "these tasks cannot be divided: give the collector `divide` and one generator for "
                "each task, or take all tasks at once (chunk_size=None)"
            )
        start, stop, _ = tasks.indices(self.num_tasks)
        whole, tasks = self.divide, slice(start, stop)

        def divide(part: slice) -> tuple[TensorVectorEnv, dict[str, Any] | None]:
            return whole(slice(start + part.start, start + part.stop))

        env, options = whole(tasks)
        return replace(
            self,
            env=env,
            generators=self.generators[tasks],
            num_tasks=stop - start,
            options=options,
            divide=divide,
        )

    def _noise(self) -> Tensor:
        """``[N, T, B, A]``."""
        share = self.num_tasks // len(self.generators)
        size = (share, self.num_steps, self.env.num_envs // self.num_tasks)
        return torch.cat([self.policy.distribution.noise(size, g) for g in self.generators])

    def _assemble(
        self,
        params: Params,
        observations: Tensor,
        actions: Tensor,
        rewards: Tensor,
        terminated: Tensor,
        truncated: Tensor,
        after: Tensor,
    ) -> Episodes:
        """Find the ends, mask what lies behind them, and give every action its probability."""
        ends = (terminated | truncated).to(torch.int64)
        going = ends.cumsum(1) - ends == 0  # no end before this step
        lengths = going.sum(1)  # [N, B], at least 1
        last = (lengths - 1)[:, None, :, None].expand(-1, 1, -1, after.shape[-1])
        # One pass for all steps, the same that a loss takes: its ratios begin at exactly 1.
        outputs = self.policy.outputs(params, observations)
        log_p = self.policy.distribution.log_prob(outputs, actions)
        return Episodes(
            observations=observations,
            actions=actions,
            rewards=torch.where(going, rewards, 0.0),
            outputs=outputs,
            log_p=log_p,
            terminated=terminated & going,
            truncated=truncated & ~terminated & going,
            mask=going.to(rewards.dtype),
            last_observations=after.gather(1, last).squeeze(1),
        )


def final_observation(observation: Tensor, info: dict[str, Any]) -> Tensor:
    """What the step led to, also where the environment has gone on to the next episode."""
    final = info.get("final_obs")
    if final is None:
        return observation
    return torch.where(along(info["_final_obs"], observation), final, observation)
