"""Experience of N tasks in N * B environments with weights of their own, without a graph.

The environment is a tensor program (or `host_env.HostVectorEnv` in front of one that is not) and
nothing here waits for the device: all noise is drawn beforehand, one generator per task, and ends
are looked for after the last step. Whatever an environment does after an end, be it nothing
(DISABLED), the next episode (SAME_STEP) or a phantom step first (NEXT_STEP), is masked out: only
the first stretch counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from metarl.core import Params, along, own_precision
from metarl.nn import Trace
from metarl.nn.native_core import NativeTrace
from metarl.rl.distributions import wide
from metarl.rl.player import ByTables, NativePlayer, RowPlayer, StepPlayer
from metarl.rl.policies import Policy
from metarl.rl.spaces import check_spaces
from metarl.rl.trajectory import Experience, Trajectory


class TensorVectorEnv(Protocol):
    """The environment of a rollout: Gymnasium's vector interface, on tensors."""

    @property
    def num_envs(self) -> int:
        """Number of environments, N * B."""

    def reset(self, *, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Start an episode everywhere; observations ``[N * B, I]``."""

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Take actions ``[N * B]``; observations, rewards, terminated, truncated, info.

        ``info["bonus"]`` ``[N * B]``, given at every step or at none, is what of the rewards is
        paid to who learns and counts for nothing else (exploration).
        """


def in_tensors(env: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The ``reset`` and ``step`` of an environment, with tensors even where it speaks NumPy.

    The tensor environments that `gymnasium.make_vec` makes speak NumPy to everybody else, and have
    ``reset_tensors`` and ``step_tensors`` beside.
    """
    return getattr(env, "reset_tensors", env.reset), getattr(env, "step_tensors", env.step)


class Environments:
    """Environments of one kind, built once for each number of them that is asked for.

    A chunk of tasks is played in fewer of them than all tasks; chunks that are played at the same
    time have each their own.
    """

    def __init__(
        self,
        make: Callable[[int, Sequence[torch.Generator] | None], TensorVectorEnv],
        prepare: Callable[[Any], object] = lambda env: None,
    ) -> None:
        """Lend what ``make(num_envs, generators)`` makes.

        Args:
            make: Called with a number of environments and the generators that drive them, in rows.
                An environment that can change them (``use_generators(generators)``) is kept.
            prepare: Called with environments whenever they are lent.
        """
        self._make, self._prepare = make, prepare
        self._idle: dict[int, list[TensorVectorEnv]] = defaultdict(list)

    @contextmanager
    def lend(
        self, num_envs: int, generators: Sequence[torch.Generator] | None
    ) -> Iterator[TensorVectorEnv]:
        """Lend ``num_envs`` environments, driven by these generators, for the time of a rollout."""
        env: Any
        if self._idle[num_envs]:
            env = self._idle[num_envs].pop()
            if generators is not None:
                env.use_generators(generators)
        else:
            env = self._make(num_envs, generators)
        self._prepare(env)
        yield env
        if generators is None or hasattr(env, "use_generators"):
            self._idle[num_envs].append(env)


class Collector:
    """Plays one stretch of experience in every environment."""

    def __init__(
        self,
        env: TensorVectorEnv | Environments,
        policy: Policy,
        generators: Sequence[torch.Generator],
        num_steps: int,
        *,
        num_tasks: int | None = None,
        num_episodes: int | None = None,
        tasks: Tensor | Sequence[Any] | None = None,
        dynamics: Sequence[torch.Generator] | None = None,
        options: dict[str, Any] | None = None,
        record: bool | Literal["values"] = False,
        share: tuple[int, slice] | None = None,
    ) -> None:
        """Play in N * B environments, task-major: the first B are of task 0.

        Args:
            env: These environments, or where they are lent: the tasks can then be divided.
            policy: Whose parameters come with each call.
            generators: The noise of the N tasks: one generator each, so that the noise of a task
                does not depend on its company, or fewer, each of which serves N / G tasks in a row.
            num_steps: T, the longest stretch: no more than the environment's horizon.
            num_tasks: N; None: one per generator.
            num_episodes: B; None: as many as the environments given allow.
            tasks: For every ``reset``: N tasks, or their numbers ``[N, D]``; None: the
                environment's own, or ``options``.
            dynamics: Generators of environments that are lent, as ``generators``; None: their own.
            options: For every ``reset``, beside the tasks.
            record: Keep the core's activations and the critic's values, for a loss that is
                differentiated once; the next rollout writes over them. ``"values"``: no
                activations, for a loss that computes its own.
            share: How many episodes each task has in all processes, and which of them are here:
                the noise of all is drawn, and theirs taken. None: they are all here.

        Raises:
            ValueError: Counts do not go together, or the policy is of other spaces.
        """
        self.env, self.policy, self.generators = env, policy, generators
        self.num_tasks = len(generators) if num_tasks is None else num_tasks
        self.num_steps, self.tasks, self.dynamics = num_steps, tasks, dynamics
        self.options, self.record, self.share = options, record, share
        if self.num_steps < 1 or self.num_tasks < 1:
            raise ValueError(
                "num_tasks and num_steps must be at least 1, got "
                f"{self.num_tasks} and {self.num_steps}"
            )
        if not generators or self.num_tasks % len(generators):
            raise ValueError(
                f"{len(generators)} generators cannot serve {self.num_tasks} tasks evenly"
            )
        self.num_episodes = self._episodes_in(env, num_episodes)
        if not isinstance(env, Environments):
            self._check(env)
        self._trace: Trace | None = None

    def collect(self, params: Params) -> Trajectory:
        """Play a batch of episodes.

        Args:
            params: Stacked parameters ``[N, ...]``.

        Returns:
            The experience, on the parameters' device; what the policy sees and says in the
            parameters' dtype, what is counted or summed in single precision at least. It is played
            in the parameters' precision, whatever autocast says.
        """
        like = next(iter(params.values()))
        with torch.no_grad():
            with own_precision(like), self._at_hand() as env:
                trace = self._buffers(like) if self.record else None
                played = self._play(env, params, trace)
            trajectory = self._assemble(params, played, trace)
        return trajectory if self.record is True else trajectory._replace(trace=None)

    def select(self, tasks: slice) -> Collector:
        """Return a collector of these tasks alone, with environments and generators of their own.

        Raises:
            ValueError: The tasks cannot be divided.
        """
        if not isinstance(self.env, Environments) or len(self.generators) != self.num_tasks:
            raise ValueError(
                "these tasks cannot be divided: give the collector `Environments` and one "
                "generator for each task, or take all tasks at once (chunk_size=None)"
            )
        return Collector(
            self.env,
            self.policy,
            self.generators[tasks],
            self.num_steps,
            num_episodes=self.num_episodes,
            tasks=None if self.tasks is None else self.tasks[tasks],
            dynamics=None if self.dynamics is None else self.dynamics[tasks],
            options=self.options,
            record=self.record,
        )

    @property
    def plays_natively(self) -> bool:
        """Whether kernels have played last, which round otherwise than eager code."""
        return isinstance(self._trace, NativeTrace)

    @contextmanager
    def _at_hand(self) -> Iterator[TensorVectorEnv]:
        """The environments given, or lent ones."""
        if not isinstance(self.env, Environments):
            yield self.env
            return
        with self.env.lend(self.num_tasks * self.num_episodes, self.dynamics) as env:
            self._check(env)
            yield env

    def _episodes_in(self, env: TensorVectorEnv | Environments, num_episodes: int | None) -> int:
        """Episodes per task, B: as many as are asked for, or as the environments given allow."""
        if isinstance(env, Environments):
            if num_episodes is None:
                raise ValueError("num_episodes says how many environments to lend: give it")
            return num_episodes
        if env.num_envs % self.num_tasks:
            raise ValueError(
                f"{env.num_envs} environments cannot be shared evenly by {self.num_tasks} "
                "tasks: make num_tasks * episodes of them"
            )
        return env.num_envs // self.num_tasks

    def _check(self, env: TensorVectorEnv) -> None:
        check_spaces(env, self.policy.distribution, self.policy.num_inputs)

    def _reset_options(self, env: Any) -> dict[str, Any] | None:
        """Return options for a reset, which takes entries out of the dict: every task B times."""
        chosen = dict(self.options or {})
        if not (self.tasks is None or isinstance(self.tasks, Tensor)) and hasattr(
            env, "task_tensor"
        ):
            self.tasks = env.task_tensor(self.tasks)  # [N, D], once for all resets
        if isinstance(self.tasks, Tensor):
            chosen["tasks"] = self.tasks.repeat_interleave(self.num_episodes, 0)  # [N * B, D]
        elif self.tasks is not None:
            chosen["tasks"] = [task for task in self.tasks for _ in range(self.num_episodes)]
        return chosen or None

    def _buffers(self, like: Tensor) -> Trace | None:
        """Return the buffers where the core's activations are written."""
        shape = self.num_tasks, self.num_steps, self.num_episodes
        if self._trace is None or not self._trace.usable():
            outputs_only = self.record == "values"
            self._trace = self.policy.new_trace(shape, like, outputs_only=outputs_only)
        return self._trace

    def _noise(self) -> Tensor:
        """``[N, T, B, A]``, one stream per generator."""
        tasks = self.num_tasks // len(self.generators)
        whole, here = self.share or (self.num_episodes, slice(None))
        size = (tasks, self.num_steps, whole)
        parts = [self.policy.distribution.noise(size, g) for g in self.generators]
        noise = parts[0] if len(parts) == 1 else torch.cat(parts)
        return noise[:, :, here].contiguous()

    def _play(self, env: TensorVectorEnv, params: Params, trace: Trace | None) -> Experience:
        """All steps of all environments."""
        like, distribution = next(iter(params.values())), self.policy.distribution
        shape, exact = (self.num_tasks, self.num_episodes), wide(like.dtype)
        noise = self._noise().to(exact)  # before the environment draws: they may share a generator
        perturbations = distribution.perturbation(params, noise)  # [N, T, B, A]
        act = self._player(params, perturbations, trace)
        observation, _ = in_tensors(env)[0](options=self._reset_options(env))
        _, step = in_tensors(env)  # a reset may choose another way of stepping
        if isinstance(act, ByTables) and act.takes_tables(env):
            played = act.play(env, step, observation, final_observation)
            rewards, bonus = played.rewards.to(exact), played.bonus
            return played._replace(
                rewards=rewards, bonus=None if bonus is None else bonus.to(exact)
            )
        at_once = act.play_at_once(env) if isinstance(act, RowPlayer) else None
        if at_once is not None:
            return at_once._replace(rewards=at_once.rewards.to(exact))
        observations, actions, after, results, bonuses = [], [], [], [], []
        for t in range(self.num_steps):
            x = observation.reshape(*shape, -1)  # [N, B, I]
            if x.dtype != like.dtype:
                x = x.to(like.dtype)
            action = act(t, x)  # [N, B, (A)]
            observation, *result, info = step(action.flatten(0, 1))  # [N * B, (A)]
            observations.append(x)
            actions.append(action)
            after.append(final_observation(observation, info))
            results.append(result)
            if "bonus" in info:
                bonuses.append(info["bonus"])
        rewards, terminated, truncated = (
            # [T, N * B] to [N, T, B]
            torch.stack(part).view(self.num_steps, *shape).transpose(0, 1)
            for part in zip(*results, strict=True)
        )
        bonus = torch.stack(bonuses) if bonuses else None  # [T, N * B]
        if bonus is not None:
            bonus = bonus.view(self.num_steps, *shape).transpose(0, 1)  # [N, T, B]
            rewards, bonus = (rewards - bonus).to(exact), bonus.to(exact)
        led_to = torch.stack(after).view(self.num_steps, *shape, -1).transpose(0, 1)  # [N, T, B, I]
        return Experience(
            torch.stack(observations, 1),
            torch.stack(actions, 1),
            rewards.to(exact),
            terminated,
            truncated,
            led_to.to(like.dtype),
            bonus,
            act.said if isinstance(act, RowPlayer) else None,
        )

    def _player(
        self, params: Params, perturbations: Tensor, trace: Trace | None
    ) -> RowPlayer | NativePlayer | StepPlayer:
        """Return what acts at every step: on rows, by a kernel, or step by step."""
        if trace is None and self.policy.acts_on_rows(params):
            return RowPlayer(self.policy, params, perturbations)
        if isinstance(trace, NativeTrace) and self.policy.reads(trace):
            return NativePlayer(self.policy, params, perturbations, trace)
        return StepPlayer(self.policy, params, perturbations, trace)

    def _assemble(
        self,
        params: Params,
        played: Experience,
        trace: Trace | None,
    ) -> Trajectory:
        """Find the ends, mask what lies behind them, and give every action its probability."""
        observations, actions, rewards, terminated, truncated, after, bonus, means = played
        ends = (terminated | truncated).to(torch.int64)
        going = ends.cumsum(1) - ends == 0  # no end before this step
        lengths = going.sum(1)  # [N, B], at least 1
        last = (lengths - 1)[:, None, :, None].expand(-1, 1, -1, after.shape[-1])  # [N, 1, B, I]
        # One pass for all steps, the same that a loss takes: its ratios begin at exactly 1.
        outputs, values = self.policy.outputs_and_values(
            params, observations, trace=trace, critic=bool(self.record), said=means
        )
        return Trajectory(
            observations=observations,
            actions=actions,
            rewards=torch.where(going, rewards, 0.0),
            outputs=outputs,
            log_p=self.policy.distribution.log_prob(outputs, actions),
            terminated=terminated & going,
            truncated=truncated & ~terminated & going,
            mask=going.to(rewards.dtype),
            last_observations=after.gather(1, last).squeeze(1),  # [N, B, I]
            values=values if self.record else None,
            trace=trace,
            bonus=None if bonus is None else torch.where(going, bonus, 0.0),
            means=means,
        )


def final_observation(observation: Tensor, info: dict[str, Any]) -> Tensor:
    """Return the observation a step led to, also where the next episode has begun."""
    final = info.get("final_obs")
    if final is None:
        return observation
    return torch.where(along(info["_final_obs"], observation), final, observation)
