"""CPU time of one iteration in minibatches of whole trials, beside a plain loop of torch's LSTM.

    OMP_NUM_THREADS=1 python -m benchmarks.mazes.learning_step --core lstm --agents 1 3

One iteration is 256 trials of 100 steps for each agent, each in a fresh maze of 9 x 9, then two
passes of PPO over them in minibatches of 16 trials: 32 steps of Adam. The plain loop plays in the
same mazes with `torch.nn.LSTM` and leaves all the rest to autograd and `torch.distributions`, for
one agent. The product runs with native kernels and eagerly. All are timed in turn, in one process
and one thread; what is printed are the best and the median of CPU seconds, and thousands of
environment steps per CPU second, of all agents together.
"""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from benchmarks.interleaved import cpu_seconds
from experiments.maze_settings import defaults
from metarl.methods.agents import TrialAgent
from metarl.methods.recurrent import RecurrentLearning
from metarl.methods.rl2 import RL2Settings, WarpRNNSettings
from metarl.native import using
from metarl.train.loop import LoopSettings

SETTINGS = defaults(mazes="mst", size="9")
"""Those of the script; the bonus for new cells, which is for the training's beginning, left out."""

MAZES = replace(SETTINGS.environment, exploration_bonus=0.0)
TRIALS, MINIBATCH, EPOCHS, HIDDEN = 256, 16, 2, 128
LOSS = replace(SETTINGS.loss, entropy_decay="constant")
CPU = torch.device("cpu")


def learning(core: str) -> RecurrentLearning:
    """The product's training."""
    method = WarpRNNSettings if core == "warp" else RL2Settings
    return RecurrentLearning(
        MAZES,
        method(lr=2e-3, max_grad_norm=0.5, num_epochs=EPOCHS, minibatch_trials=MINIBATCH),
        TrialAgent(core=core, hidden_size=HIDDEN, loss=LOSS),
    )


def product(core: str, num_agents: int) -> Callable[[], object]:
    """An iteration of N agents."""
    runs = cast(Any, [SimpleNamespace(seed=n) for n in range(num_agents)])
    return learning(core).build(runs, LoopSettings(1000), TRIALS, "cpu").iterate


class Plain(nn.Module):
    """An LSTM with two heads."""

    def __init__(self, num_inputs: int, num_actions: int) -> None:
        super().__init__()
        self.core = nn.LSTM(num_inputs, HIDDEN)
        self.actor, self.critic = nn.Linear(HIDDEN, num_actions), nn.Linear(HIDDEN, 1)

    def forward(self, inputs: Tensor, state: Any = None) -> tuple[Categorical, Tensor, Any]:
        """Distributions and values ``[T, B]`` of inputs ``[T, B, I]``, and the state."""
        seen, state = self.core(inputs, state)
        return Categorical(logits=self.actor(seen)), self.critic(seen).squeeze(-1), state


def plain() -> Callable[[], object]:
    """An iteration of one agent as anybody would write it."""
    what = learning("lstm")
    env = what.trials(TRIALS, [torch.Generator().manual_seed(0)], CPU)
    net = Plain(what.num_inputs, 4)
    adam = torch.optim.Adam(net.parameters(), 2e-3, fused=True)

    def play() -> list[Tensor]:
        observation, _ = env.reset(options={"tasks": None})
        state, steps = None, []
        with torch.no_grad():
            for _ in range(MAZES.horizon):
                policy, value, state = net(observation[None], state)
                action = policy.sample()
                seen = observation
                observation, reward, *_ = env.step(action[0])
                steps.append((seen, action[0], policy.log_prob(action)[0], value[0], reward))
        return [torch.stack(part) for part in zip(*steps, strict=True)]

    def iterate() -> None:
        seen, actions, log_p, values, rewards = play()
        advantages, following = torch.zeros_like(rewards), torch.zeros(TRIALS)
        for t in reversed(range(MAZES.horizon)):
            after = values[t + 1] if t + 1 < MAZES.horizon else 0.0
            delta = rewards[t] * LOSS.reward_scale + LOSS.gamma * after - values[t]
            advantages[t] = following = delta + LOSS.gamma * LOSS.gae_lambda * following
        targets = advantages + values
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        for _ in range(EPOCHS):
            for part in torch.randperm(TRIALS).view(-1, MINIBATCH):
                policy, value, _ = net(seen[:, part])
                ratio = (policy.log_prob(actions[:, part]) - log_p[:, part]).exp()
                bounded = ratio.clamp(1 - LOSS.ppo_clip, 1 + LOSS.ppo_clip)
                credit = advantages[:, part]
                loss = -torch.minimum(ratio * credit, bounded * credit).mean()
                loss = loss + LOSS.value_coef * (targets[:, part] - value).square().mean()
                loss = loss - LOSS.entropy_coef * policy.entropy().mean()
                adam.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 0.5)
                adam.step()

    return iterate


def processor() -> str:
    """Name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core", default="lstm")
    parser.add_argument("--agents", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    programs: dict[str, tuple[int, Callable[[], object]]] = {"plain loop": (1, plain())}
    for count in options.agents:
        for mode, name in (("auto", "native"), ("off", "eager")):
            way = using(mode)(product(options.core, count))  # type: ignore[arg-type]
            programs[f"{options.core}, {count} agents, {name}"] = count, way
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _, run in programs.values():
        run()
    for _ in range(options.repeats):
        for name, (_, run) in programs.items():
            seconds[name].append(cpu_seconds(run))
    print(f"{processor()}, torch {torch.__version__}, 1 thread")
    for name, found in seconds.items():
        count, best = programs[name][0], min(found)
        rate = count * TRIALS * MAZES.horizon / best / 1e3
        print(
            f"{name:22} {best:.3f} s best, {statistics.median(found):.3f} s median: "
            f"{rate:.1f} thousand steps/s"
        )


if __name__ == "__main__":
    main()
