"""`Trial` for vector environments: tensor ones of this package, and anybody's.

`VectorTrial` is one of three classes, as `pathlib.Path` is one of two. Tensor environments whose
episodes all last for the horizon go through a trial in lock step (`TensorTrial`). Where episodes
end early, each environment goes through trials of its own, and the next episode follows at once:
as one program on tensors (`OwnTimeTrial`), or by a reset of this environment alone (`HostTrial`).
"""

from __future__ import annotations

import copy
from typing import Any, Self, cast

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from ..base.arrays import Seed, StepResult
from ..base.checks import check_seeds
from ..base.clock import episode_horizon
from .features import observation_box, observation_rows
from .trial import MAX_SEED, check_episodes, episode_options, passed_on, step_options, with_flag
from .vector_meta_observation import VectorMetaObservation
from .vector_wrapper import (
    TensorWrapper,
    check_partial_resets,
    info_where,
    reset_where,
    rows_where,
    takes_tensors,
)
from .wrapped import autoreset_mode, check_vector, has_tasks

__all__ = ["VectorTrial"]

Bools = NDArray[np.bool_]


class VectorTrial(VectorWrapper[Any, Any, Any, Any, Any]):
    """`Trial` for a vector environment.

    ``info`` has the same keys. In lock step its values hold for all environments; otherwise they
    are arrays (or tensors) with masks, as Gymnasium's. Within a trial it resets its episodes
    itself; after the trial the autoreset mode holds: DISABLED waits for a reset (of those that are
    over, by the option ``reset_mask``), and under NEXT_STEP the next step starts a trial.

    Args:
        env: A Gymnasium vector environment, with ``autoreset_mode`` DISABLED or NEXT_STEP: a tensor
            environment of this package; a sync or async one (``vectorization_mode="sync"``); or
            another in mode DISABLED, which understands ``reset_mask``.
        num_episodes: Episodes in a trial, at least 1.
        episode_flag: Append an input that is 1 in the first observation of each episode, else 0,
            to the observation, which is made a row of numbers for it.
        wait: Take a tensor environment whose episodes may end before their horizon in mode
            DISABLED. An episode that has ended pays nothing more and waits for the horizon, where
            all go on (those of a `Trial` go on at once).
        horizon: Steps of an episode, at most; it is cut there. None: as the environment says.
        same_seed: Begin every episode of a trial with one seed (given, or drawn), in environments
            without tasks of their own.

    Raises:
        ValueError: If `num_episodes` is below 1, `env` is in mode SAME_STEP or cannot be reset in
            part, its episodes may terminate and do not `wait`, nothing says how long they are, or
            `env` already holds a `VectorMetaObservation`.
        TypeError: If `env` is no vector environment.
    """

    num_episodes: int
    passes_rewards = True
    _episode_horizon: int

    def __new__(
        cls, env: VectorEnv[Any, Any, Any] | None = None, *args: Any, **kwargs: Any
    ) -> Self:
        """One for tensors or one for arrays; without `env`, as in a copy, the class itself."""
        if cls is not VectorTrial or env is None:
            return super().__new__(cls)
        check_vector(env, "Trial")
        kind: Any = HostTrial
        if takes_tensors(env):
            base: Any = env.unwrapped
            next_step = base.autoreset_mode is AutoresetMode.NEXT_STEP
            kind = OwnTimeTrial if base.out_of_step and next_step else TensorTrial
        return cast(Self, super().__new__(kind))

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        num_episodes: int,
        *,
        episode_flag: bool = False,
        wait: bool = False,
        horizon: int | None = None,
        same_seed: bool = True,
    ) -> None:
        super().__init__(env)
        self.num_episodes = check_episodes(env, num_episodes, VectorMetaObservation)
        self._autoreset = autoreset_mode(env)
        if self._autoreset is AutoresetMode.SAME_STEP:
            raise ValueError(
                f"a trial resets its episodes itself, got an environment with {self._autoreset}: "
                f"make it with AutoresetMode.DISABLED or NEXT_STEP"
            )
        self._flag = episode_flag
        self._set_up(wait, horizon, same_seed)
        if episode_flag:
            self.single_observation_space = with_flag(observation_box(env.single_observation_space))
            self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def _set_up(self, wait: bool, horizon: int | None, same_seed: bool) -> None:
        """Checks `env` and these settings, sets the episodes' horizon, and makes what is needed."""
        raise NotImplementedError

    @property
    def horizon(self) -> int:
        """Steps in a trial, at most."""
        return self.num_episodes * self._episode_horizon


class TensorTrial(TensorWrapper, VectorTrial):
    """`VectorTrial` of a tensor environment."""

    def _set_up(self, wait: bool, horizon: int | None, same_seed: bool) -> None:
        self._check_ends(wait)
        self._episode_horizon = self._one_horizon(horizon)
        device = self._device
        self._running = torch.zeros(self.num_envs, dtype=torch.bool, device=device)
        self._flags = (
            torch.zeros(self.num_envs, 1, device=device, dtype=torch.float32),
            torch.ones(self.num_envs, 1, device=device, dtype=torch.float32),
        )
        self._episode = self._elapsed = 0
        self._given: dict[str, Any] = {}

    def _check_ends(self, wait: bool) -> None:
        if self._base.may_terminate and not wait:
            raise ValueError(
                "the episodes of these trials could end at different times: make the environment "
                "so that none ends early (a point with goal_radius=0), let them wait for each "
                "other, with wait=True, or let each go on in its own time, with "
                "AutoresetMode.NEXT_STEP"
            )

    def reset_tensors(
        self, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Starts a trial everywhere; seed and options are the environment's."""
        given = step_options(options, self)
        inner = episode_options(options, given, 0, self)
        observation, info = self._inner_reset(seed, inner)
        self._given = given
        self._episode = self._elapsed = 0
        return self._with_flag(observation), info | {"trial_episode": 0}

    def step_tensors(self, actions: Any) -> StepResult:
        """Acts; truncated only at the end of the trial."""
        observation, rewards, terminated, truncated, info = self._inner_step(actions)
        if self._elapsed == self._episode_horizon:  # NEXT_STEP: this step has begun a trial instead
            self._given = {}
            self._episode = self._elapsed = 0
            info = info | {"trial_episode": 0, "episode_ended": False}
            return self._with_flag(observation), rewards, terminated, truncated, info
        self._elapsed += 1
        ended = self._elapsed == self._episode_horizon
        if self._base.may_terminate:  # an episode that has ended waits, and its trial goes on
            truncated = terminated | truncated if ended else self._running
            terminated = self._running
        if ended and self._episode + 1 < self.num_episodes:
            self._episode += 1
            self._elapsed = 0
            final = self._with_flag(observation, first=False)
            observation, fresh = self._inner_reset(None, self._inner_options({"same_task": True}))
            info = passed_on(info, fresh) | {"final_episode_obs": final}
            truncated = self._running
        info = info | {"trial_episode": self._episode, "episode_ended": ended}
        return self._with_flag(observation), rewards, terminated, truncated, info

    def _inner_options(self, options: dict[str, Any] | None) -> dict[str, Any] | None:
        return episode_options(options, self._given, self._episode, self)

    def _with_flag(
        self, observation: torch.Tensor, first: bool | torch.Tensor | None = None
    ) -> torch.Tensor:
        """The observation and whether it is an episode's first: of all, or bool [B]."""
        if not self._flag:
            return observation
        if isinstance(first, torch.Tensor):
            flags = first[:, None].to(torch.float32)
        else:
            flags = self._flags[self._elapsed == 0 if first is None else first]
        return torch.cat((observation.flatten(1).to(torch.float32), flags), dim=1)


class OwnTimeTrial(TensorTrial):
    """`VectorTrial` of a tensor environment in which each episode ends in its own time.

    Whatever a step does, it does everywhere, masked: nothing waits for the device.
    """

    def _check_ends(self, wait: bool) -> None:
        if wait:
            raise ValueError(
                f"with wait=True episodes wait for each other, which they do in mode DISABLED: got "
                f"{self._autoreset}, where each goes on in its own time"
            )
        if self.env is not self._base:
            raise ValueError(
                f"episodes that end in their own time are begun again below {self.env}: put it "
                f"around VectorTrial, not inside it"
            )
        self._episodes = torch.zeros(self.num_envs, dtype=torch.int64, device=self._device)
        self._over = torch.zeros(self.num_envs, dtype=torch.bool, device=self._device)

    def reset_tensors(
        self, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Starts a trial everywhere; seed and options are the environment's."""
        if given := step_options(options, self):
            raise ValueError(
                f"{sorted(given)} have an entry for each step, and these trials have no common "
                f"step: leave them out, or let episodes wait, with wait=True in mode DISABLED"
            )
        observation, info = self._inner_reset(seed, options)
        self._episodes = torch.zeros_like(self._episodes)
        self._over = torch.zeros_like(self._over)
        first = torch.ones_like(self._over)
        return self._with_flag(observation, first), info | {"trial_episode": self._episodes}

    def step_tensors(self, actions: Any) -> StepResult:
        """Acts; truncated only at the end of a trial."""
        observation, rewards, terminated, truncated, info = self._inner_step(actions)
        begun = self._over  # in the step before: this one has begun a trial there instead
        ended = terminated | truncated
        episodes = self._episodes.masked_fill(begun, 0)
        again = ended & (episodes + 1 < self.num_episodes)
        final = self._with_flag(observation, torch.zeros_like(again))
        observation = self._base.begin_again(again)
        self._episodes, self._over = episodes + again, ended & ~again
        facts = {
            "trial_episode": self._episodes,
            "episode_ended": ended,
            "_episode_ended": ~begun,
            "final_episode_obs": final,
            "_final_episode_obs": again,
            "_final_episode_info": again,
        }
        shown = self._with_flag(observation, begun | again)
        info = passed_on(info, self._base._info()) | facts
        return shown, rewards, torch.zeros_like(ended), self._over, info


class HostTrial(VectorTrial):
    """`VectorTrial` of any other vector environment: each goes through trials of its own."""

    def _set_up(self, wait: bool, horizon: int | None, same_seed: bool) -> None:
        check_partial_resets(self.env, self._autoreset, wait)
        self._episode_horizon = episode_horizon(self.env, horizon)
        self._has_tasks = has_tasks(self.env)
        self._repeats = same_seed and not self._has_tasks  # whether episodes repeat a seed
        self._streams = [np.random.default_rng() for _ in range(self.num_envs)]
        self._seeds: list[int | None] = [None] * self.num_envs
        self._options: list[dict[str, Any] | None] = [None] * self.num_envs
        self._given: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        self._episode = np.zeros(self.num_envs, dtype=np.int64)
        self._elapsed = np.zeros(self.num_envs, dtype=np.int64)  # steps of the episode
        self._over = np.zeros(self.num_envs, dtype=np.bool_)  # where a trial has ended
        self._cut = self._over  # and where an episode has, of which nobody else knows

    def reset(
        self, *, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts a trial everywhere, or where the option ``reset_mask`` is True.

        Seed and the other options are the environment's.
        """
        where = reset_where(options, self.num_envs)
        given = step_options(options, self)
        seeds: list[int | None] = [None] * self.num_envs
        if seed is not None:
            seeds = check_seeds(seed, self.num_envs)
        rest = {k: v for k, v in (options or {}).items() if k != "reset_mask"} or None
        self._begin_trials(where, seeds, rest, given)
        inner = episode_options(options, given, 0, self)
        first = [
            one if kept is None else kept for one, kept in zip(seeds, self._seeds, strict=True)
        ]
        observation, info = self._reset_below(first, copy.copy(inner))
        return self._with_flag(observation), info | self._facts(np.zeros_like(where), where)

    def step(self, actions: Any) -> Any:
        """Acts; truncated only at the end of a trial, and never terminated."""
        begun = self._over
        if begun.any() and self._autoreset is AutoresetMode.DISABLED:
            raise ResetNeeded(
                f"the trials of environments {np.flatnonzero(begun).tolist()} are over: call "
                f"reset(options={{'reset_mask': ...}})"
            )
        observation, rewards, terminated, truncated, info = self.env.step(actions)
        ended = (np.asarray(terminated) | np.asarray(truncated)) & ~begun
        self._elapsed += 1
        cut = (self._elapsed == self._episode_horizon) & ~begun & ~ended
        again = (ended | cut) & (self._episode + 1 < self.num_episodes)
        if begun.any():  # NEXT_STEP: this step begins trials there instead
            self._begin_trials(begun, [None] * self.num_envs, None, {})
            anew = begun & (self._cut | self._repeats)
            observation, info = self._reset_rows(anew, observation, info)
            rewards = np.where(begun, 0.0, rewards)
        if again.any():
            final = self._final(observation, info, again)
            self._episode[again] += 1
            self._elapsed[again] = 0
            observation, info = self._reset_rows(again, observation, info)
            info |= final
        info = {**info, **self._facts(~begun, ended | cut)}
        self._over, self._cut = (ended | cut) & ~again, cut
        return self._with_flag(observation), rewards, np.zeros_like(cut), self._over.copy(), info

    def _begin_trials(
        self,
        where: Bools,
        seeds: list[int | None],
        options: dict[str, Any] | None,
        given: dict[str, Any],
    ) -> None:
        """Remembers how trials begin, and draws the seeds that they repeat."""
        for number in np.flatnonzero(where):
            seed = seeds[number]
            if seed is not None:
                self._streams[number] = np.random.default_rng(seed)
            elif self._repeats:
                seed = int(self._streams[number].integers(MAX_SEED))
            self._seeds[number] = seed if self._repeats else None
            self._options[number], self._given[number] = options, given
        self._episode[where] = self._elapsed[where] = 0
        self._over = self._over & ~where

    def _reset_below(
        self, seeds: list[int | None], options: dict[str, Any] | None
    ) -> tuple[Any, dict[str, Any]]:
        given: Any = None if all(seed is None for seed in seeds) else list(seeds)
        try:
            return self.env.reset(seed=given, options=options)
        except ValueError as error:
            if "reset_mask" in (options or {}):
                error.add_note(
                    "the episodes of a trial are reset one by one: put vector wrappers that do not "
                    "take this around VectorTrial, not inside it"
                )
            raise

    def _reset_rows(self, where: Bools, observations: Any, info: dict[str, Any]) -> Any:
        """Starts the next episode of some trials.

        Returns:
            `observations` and `info` with the first ones of those.
        """
        left = where.copy()
        while left.any():  # those whose trials began by one reset, at once
            first = int(left.argmax())
            options, episode = self._options[first], int(self._episode[first])
            alike = left & [
                other is options and self._episode[number] == episode
                for number, other in enumerate(self._options)
            ]
            again = {"same_task": True} if self._has_tasks and episode else options
            inner = episode_options(again, self._given[first], episode, self)
            inner = {**(inner or {}), "reset_mask": alike.copy()}
            fresh, told = self._reset_below(self._seeds, inner)
            observations = rows_where(self.env, alike, fresh, observations)
            info = info_where(alike, told, info)
            left &= ~alike
        return observations, info

    def _facts(self, where: Bools, ended: Bools) -> dict[str, Any]:
        """Entries of ``info`` on trials, with masks as Gymnasium's; of steps `where` one was."""
        everywhere = np.ones(self.num_envs, dtype=np.bool_)
        facts = {"trial_episode": self._episode.copy(), "_trial_episode": everywhere}
        if where.any():
            facts |= {"episode_ended": ended.copy(), "_episode_ended": where.copy()}
        return facts

    def _final(self, observations: Any, info: dict[str, Any], where: Bools) -> dict[str, Any]:
        """Entries that ended episodes left behind, in the form in which Gymnasium gathers infos."""
        final = {"final_episode_info": info, "_final_episode_info": where.copy()}
        shown = self._with_flag(observations, first=np.zeros_like(where))
        for number, one in enumerate(iterate(self.observation_space, shown)):
            if where[number]:
                final = self._add_info(final, {"final_episode_obs": copy.deepcopy(one)}, number)
        return final

    def _with_flag(self, observations: Any, first: Bools | None = None) -> Any:
        if not self._flag:
            return observations
        space, batch = self.env.single_observation_space, self.env.observation_space
        flags = self._elapsed == 0 if first is None else first
        rows = observation_rows(space, batch, observations)
        return np.concatenate((rows, flags[:, None].astype(np.float32)), axis=1)
