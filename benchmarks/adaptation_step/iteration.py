"""What is timed: an iteration of MAML by policy gradient on 2D navigation, as `maze_adapt` has it.

Draw tasks, play, adapt, play with the adapted policies, go back through the adaptation, step.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from envs import PointTask
from envs.problems import Point
from metarl.core import Execution, OptimiserSettings, OuterSettings, sgd
from metarl.meta import MAML
from metarl.methods.agents import AdaptingPolicy
from metarl.methods.gradient import Episodes
from metarl.rl import (
    Gaussian,
    Policy,
    PolicyGradientSettings,
    PolicyGradientTasks,
    mlp_policy,
)
from metarl.train.trainer import Trainer

Iteration = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """One meta-iteration; the defaults are MAML's experiment.

    Attributes:
        num_tasks: N.
        episodes: B, of each task and gradient step, and as many afterwards.
        horizon: T.
        num_steps: K.
        first_order: Take the Jacobian of adaptation for the identity.
        chunk_size: Tasks at a time; None: all.
        estimator: The surrogate.
        device: Where everything lives.
    """

    num_tasks: int = 20
    episodes: int = 20
    horizon: int = 100
    num_steps: int = 1
    first_order: bool = False
    chunk_size: int | None = None
    estimator: Literal["lvc", "logp"] = "lvc"
    device: str = "cpu"

    hidden = (64, 64)
    inner_lr = 0.5
    outer_lr = 3e-3

    @property
    def world(self) -> Point:
        """2D navigation, made once as a training makes it: its tasks are parted then."""
        return world_of(self.horizon)

    @property
    def policy(self) -> Policy:
        """A perceptron with tanh."""
        return mlp_policy(2, Gaussian(2, initial_std=1.0), hidden=self.hidden)

    def params(self, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Before the first iteration."""
        drawn = self.policy.init(torch.Generator().manual_seed(0))
        return {n: p.to(self.device, dtype) for n, p in drawn.items()}

    def generator(self) -> torch.Generator:
        """Of tasks and noise."""
        return torch.Generator(self.device).manual_seed(1)

    def tasks(self, generator: torch.Generator) -> tuple[PointTask, ...]:
        """A meta-batch of goals."""
        return tuple(self.world.train.sample(self.num_tasks, generator))


@cache
def world_of(horizon: int) -> Point:
    """2D navigation."""
    return Point(horizon=horizon)


def learner_of(setting: Setting, dtype: torch.dtype = torch.float32) -> MAML:
    """Our learner."""
    return MAML(
        setting.params(dtype),
        rule=sgd(setting.inner_lr),
        num_steps=setting.num_steps,
        execution=Execution(setting.chunk_size),
        first_order=setting.first_order,
    )


def meta_batch(setting: Setting, generator: torch.Generator) -> PolicyGradientTasks:
    """Tasks with episodes to adapt by."""
    loss = PolicyGradientSettings(divide_by_horizon=True, estimator=setting.estimator)
    agent = AdaptingPolicy(episodes=setting.episodes, loss=loss)
    place = torch.device(setting.device)
    episodes = Episodes(setting.world, setting.policy, agent, place)
    return episodes.of(setting.tasks(generator), generator)


def own(setting: Setting) -> Iteration:
    """Ours."""
    outer = OuterSettings(OptimiserSettings(lr=setting.outer_lr))
    trainer, generator = Trainer(learner_of(setting), outer), setting.generator()
    return lambda: trainer.step(meta_batch(setting, generator))


def seconds(run: Iteration, device: str, pids: Sequence[int] = ()) -> float:
    """Of one call: CPU time of this process and of others, or on an accelerator the clock's."""
    if torch.device(device).type == "cpu":
        started, others = time.process_time(), cpu_time(pids)
        run()
        return time.process_time() - started + cpu_time(pids) - others
    torch.accelerator.synchronize()
    started = time.perf_counter()
    run()
    torch.accelerator.synchronize()
    return time.perf_counter() - started


def cpu_time(pids: Sequence[int]) -> float:
    """Seconds that processes have had of a CPU (Linux)."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(s[11]) + int(s[12]) for s in stats) / os.sysconf("SC_CLK_TCK")


def peak(device: str) -> float:
    """Largest memory so far, MB: resident (Linux), or on an accelerator allocated there."""
    if torch.device(device).type == "cpu":  # not getrusage's, which begins at the parent's
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return torch.accelerator.max_memory_allocated() / 2**20
