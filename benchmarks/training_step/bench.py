"""CPU time of one training iteration, beside other loops of the same mathematics.

    OMP_NUM_THREADS=1 python -m benchmarks.training_step.bench
    OMP_NUM_THREADS=1 python -m benchmarks.training_step.bench --jax path/to/jax/python
    python -m benchmarks.training_step.bench --device cuda --cuda-graph

One iteration is B mazes x T steps, loss, back-propagation through all T steps, clipping, Adam:
with native kernels, eagerly (the same under ``native off``), as a plain loop, and (``--jax``) in
JAX under one jit. The plain loop plays with a graph, draws from `torch.distributions`, and leaves
the rest to autograd; all use the same mazes, equations and optimiser. They are timed in turn, each
in one thread; a turn is two iterations, of which the second counts: the first finds the caches full
of what the others have left, which no training does. The table gives medians of CPU time, and of
the ratios of each round. On another device than the CPU the product is timed alone, by the clock.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.csv_file import replace_rows
from envs import GridMazeVectorEnv, VectorMetaObservation, pillar_maze
from envs.maze.dynamics import compile_layout
from metarl.core import scope, stack
from metarl.core.cuda_graph import Captured
from metarl.devices import keep_freed_memory
from metarl.errors import UserError
from metarl.meta import TwoTimescale, TwoTimescaleSettings
from metarl.native import Mode, recorded, using
from metarl.nn import CORES as ALL_CORES
from metarl.nn import GRU, LSTM, RNN, WarpRNN
from metarl.rl import (
    ActorCriticSettings,
    Categorical,
    Collector,
    PolicyGradientTasks,
    actor_critic,
)
from metarl.train.trainer import Trainer

PLAIN: dict[str, Any] = {"warp": WarpRNN, "rnn": RNN, "gru": GRU, "lstm": LSTM}
"""Cores that peers are written for."""

CORES = {**PLAIN, **{n: ALL_CORES[n] for n in ("plastic", "modulated", "associative")}}
CPU = torch.device("cpu")
GROWTH = Path(__file__).with_name("growth.csv")
GROWTH_COLUMNS = ("machine", "core", "size", "kernels", "cpu_ms", "cpu_ms_per_seed", "peak_mb")

ONE_THREAD = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    # Without these JAX takes fresh pages from the system in every iteration; ours keeps its own.
    **{"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "8000000000"},
    **{"MALLOC_TOP_PAD_": "268435456", "MALLOC_ARENA_MAX": "1"},
}
"""Environment in which JAX computes as we do."""


def seeded(num_agents: int, device: torch.device = CPU) -> list[torch.Generator]:
    """A generator an agent."""
    return [torch.Generator(device).manual_seed(n) for n in range(num_agents)]


def make_env(
    generators: list[torch.Generator], batch_size: int, horizon: int
) -> VectorMetaObservation:
    """The 13 x 13 mazes with the paper's 17 inputs, on the device of the generators."""
    return VectorMetaObservation(
        GridMazeVectorEnv(
            len(generators) * batch_size,
            horizon=horizon,
            device=generators[0].device,
            generator=generators,
            validate_actions=False,
        )
    )


def ours(
    method: str,
    batch_size: int,
    horizon: int,
    hidden: int,
    num_agents: int = 1,
    device: torch.device = CPU,
    cuda_graph: bool = False,
) -> Callable[[], object]:
    """One iteration of the product."""
    policy = actor_critic(CORES[method](17, hidden), Categorical(4))
    params = stack([policy.init(g) for g in seeded(num_agents)])
    params = {name: p.to(device) for name, p in params.items()}
    generators, of_env = seeded(num_agents, device), seeded(num_agents, device)
    env = make_env(of_env, batch_size, horizon)
    settings = TwoTimescaleSettings()
    arguments = params, policy.slow, settings
    if cuda_graph:
        learner = TwoTimescale(*arguments, partial(Captured, generators=generators + of_env))
    else:
        learner = TwoTimescale(*arguments)
    collector = Collector(env, policy, generators, horizon, record=True)
    trials = PolicyGradientTasks(collector, ActorCriticSettings())
    return partial(Trainer(learner, settings).step, trials)


def plain(method: str, batch_size: int, horizon: int, hidden: int) -> Callable[[], None]:
    """One iteration with a graph through the whole loop."""
    core = CORES[method](17, hidden)
    policy = actor_critic(core, Categorical(4))
    params = stack([policy.init(torch.Generator().manual_seed(0))])
    params = {name: p.requires_grad_() for name, p in params.items()}
    adam = torch.optim.Adam(params.values(), lr=1e-3)
    env = make_env(seeded(1), batch_size, horizon)

    def iteration() -> None:
        weights = core.fuse(scope(params, "core"))
        state = core.initial_state(weights, batch_size)
        observation, _ = env.reset()
        rewards, log_ps, values, penalties = [], [], [], []
        for _ in range(horizon):
            hidden, state = core.step(weights, observation[None], state)
            logits = hidden[0] @ params["actor.weight"][0] + params["actor.bias"][0]
            value = hidden[0] @ params["critic.weight"][0] + params["critic.bias"][0]
            choice = torch.distributions.Categorical(logits=logits)
            action = choice.sample()  # type: ignore[no-untyped-call]
            observation, reward, _, _, _ = env.step(action)
            rewards.append(reward)
            log_ps.append(choice.log_prob(action))  # type: ignore[no-untyped-call]
            values.append(value[:, 0])
            penalties.append(choice.probs.square().sum(-1))
        following, loss = torch.zeros(batch_size), torch.zeros(())
        for t in reversed(range(horizon)):
            following = rewards[t] + 0.9 * following
            advantage = following - values[t]
            loss = loss - (log_ps[t] * advantage.detach()).mean()
            loss = loss + 0.1 * advantage.square().mean() + 0.03 * penalties[t].mean()
        adam.zero_grad()
        (loss / horizon).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(params.values()), 4.0)
        adam.step()

    return iteration


def cpu_milliseconds(function: Callable[[], object]) -> float:
    """CPU time of one call."""
    started = time.process_time()
    function()
    return (time.process_time() - started) * 1e3


def timed_alike(
    method: str, sizes: tuple[int, int, int], python: str | None
) -> dict[str, Callable[[], float]]:
    """Every implementation that there is: one call is an iteration, and gives its milliseconds."""
    ways: dict[str, Callable[[], object]] = {
        "native": ours(method, *sizes),
        "eager": using("off")(ours(method, *sizes)),
    }
    if method in PLAIN:
        ways["plain autograd loop"] = plain(method, *sizes)
    timed: dict[str, Callable[[], float]] = {
        name: partial(cpu_milliseconds, way) for name, way in ways.items()
    }
    if python is not None and method in PLAIN:
        for variant in ("through", "hoisted"):
            timed[f"JAX, {variant}"] = peer(python, method, variant, sizes)
    return timed


def peer(
    python: str, method: str, variant: str, sizes: tuple[int, int, int]
) -> Callable[[], float]:
    """An iteration of `jax_loop` in a process of its own, which first compares gradients."""
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(file, **a_trial(method, *sizes))
        file.flush()
        script = Path(__file__).with_name("jax_loop.py")
        process = subprocess.Popen(
            [python, "-W", "ignore", script, method, variant, file.name],
            env={**os.environ, **ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        said = process.stdout.readline()
    if not said:
        raise UserError(f"{python} cannot run JAX: see above; it needs jax and optax")
    print(f"{method}, JAX, {variant}: gradients differ by {float(said):.1e}", file=sys.stderr)
    to, back = process.stdin, process.stdout

    def iteration() -> float:
        print(file=to, flush=True)
        return float(back.readline())

    return iteration


def a_trial(method: str, batch_size: int, horizon: int, hidden: int) -> dict[str, Any]:
    """One trial of ours, eagerly: weights, what chance decided, and the gradient of its loss."""
    policy = actor_critic(CORES[method](17, hidden), Categorical(4))
    params = stack([policy.init(g) for g in seeded(1)])
    params = {name: p.requires_grad_() for name, p in params.items()}
    env = make_env(seeded(1), batch_size, horizon)
    maze: Any = env.unwrapped
    blocks: list[torch.Tensor] = []
    draw = maze._next_targets

    def drawn() -> torch.Tensor:
        blocks.append(draw())
        return blocks[-1]

    maze._next_targets = drawn
    noise = torch.distributions.Gumbel(0.0, 1.0).sample((1, horizon, batch_size, 4))  # type: ignore[no-untyped-call]
    with using("off"):
        collector = Collector(env, policy, seeded(1), horizon, record=True)
        collector._noise = lambda: noise  # type: ignore[method-assign]
        trials = PolicyGradientTasks(collector, ActorCriticSettings())
        batch = trials.sample(params, {})
        loss = trials.loss(params, {}, batch).sum()
        grads = torch.autograd.grad(loss, list(params.values()))
    tables = compile_layout(pillar_maze(13))
    targets, goals = torch.cat(blocks)[:horizon], maze.goals
    return {
        "next_cell": tables.next_cell,
        "patch": tables.patch,
        "start": tables.places.index((6, 6)),
        "goals": goals.numpy(),
        "draws": (targets - (targets > goals).long()).numpy(),
        "noise": noise[0].numpy(),
        **{f"p.{n}": p.detach()[0].numpy() for n, p in params.items()},
        **{f"g.{n}": g[0].numpy() for n, g in zip(params, grads, strict=True)},
    }


def floor_milliseconds(method: str, batch_size: int, horizon: int, hidden: int) -> float:
    """The products of an iteration alone, at the rate of large ones: forward, and twice back."""
    policy = actor_critic(CORES[method](17, hidden), Categorical(4))
    params = policy.init(torch.Generator()).values()
    per_row = sum(p.numel() for p in params if p.dim() > 1)
    return 6.0 * per_row * batch_size * horizon / flops_per_millisecond()


@cache
def flops_per_millisecond() -> float:
    """The rate of this machine's best product, one thread."""
    size = 1024
    a = torch.rand(size, size)
    return 2.0 * size**3 / min(cpu_milliseconds(lambda: a @ a) for _ in range(20))


def main() -> None:
    """Time every method, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--methods", nargs="+", default=list(CORES), choices=list(CORES))
    parser.add_argument("--batch-size", type=int, default=30)
    parser.add_argument("--horizon", type=int, default=200)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--growth", action="store_true", help="vary B, T, H and the seeds instead")
    parser.add_argument("--native-only", action="store_true", help="growth with kernels alone")
    said = "growth into growth.csv too, under this name"
    parser.add_argument("--write", metavar="MACHINE", help=said)
    parser.add_argument("--jax", metavar="PYTHON", help="an interpreter that has jax and optax")
    parser.add_argument("--device", type=torch.device, default=CPU)
    parser.add_argument("--seeds", type=int, default=1, help="agents as one program, by the clock")
    parser.add_argument("--cuda-graph", action="store_true", help="each iteration as one graph")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    sizes = (arguments.batch_size, arguments.horizon, arguments.hidden)
    if arguments.device != CPU or arguments.cuda_graph or arguments.seeds > 1:
        by_the_clock(arguments)
        return
    if arguments.growth:
        eager, write = not arguments.native_only, arguments.write
        growth(arguments.methods, sizes, arguments.rounds, eager=eager, write=write)
        return
    print(f"{sizes[0]} mazes x {sizes[1]} steps, hidden {sizes[2]}, one thread, CPU time\n")
    print("| core | | ms | times native |\n|---|---|---:|---:|")
    with recorded() as ran:
        for method in arguments.methods:
            in_turn(method, sizes, arguments.jax, arguments.rounds)
    print(
        f"\nfloor: products at {flops_per_millisecond() / 1e6:.0f} GFLOP/s; native: {ran.kernels}"
    )


def in_turn(method: str, sizes: tuple[int, int, int], python: str | None, rounds: int) -> None:
    """Time one core's implementations in turn, and print a row for each."""
    ways = timed_alike(method, sizes, python)
    times = [[(way(), way())[1] for way in ways.values()] for _ in range(rounds + 1)][1:]
    for k, name in enumerate(ways):
        ms = statistics.median(row[k] for row in times)
        ratio = statistics.median(row[k] / row[0] for row in times)
        print(f"| {method} | {name} | {ms:.1f} | {ratio:.2f} |", flush=True)
    floor, native = floor_milliseconds(method, *sizes), statistics.median(r[0] for r in times)
    print(f"| {method} | floor | {floor:.1f} | {floor / native:.2f} |", flush=True)


def by_the_clock(arguments: argparse.Namespace) -> None:
    """Mean time of an iteration, and maze steps a second of all seeds, on any device."""
    sizes: tuple[int, int, int] = (arguments.batch_size, arguments.horizon, arguments.hidden)
    device = arguments.device
    wait = partial(torch.cuda.synchronize, device) if device.type == "cuda" else int
    rows = grown(sizes) if arguments.growth else [("asked for", sizes, arguments.seeds)]
    print(f"on {device}\n\n| method | | mazes, steps, hidden | seeds | ms | steps/s |")
    print("|---|---|---|---:|---:|---:|")
    for method in arguments.methods:
        for name, size, seeds in rows:
            function = ours(method, *size, seeds, device, arguments.cuda_graph)
            function()
            wait()
            started = time.perf_counter()
            for _ in range(arguments.rounds):
                function()
            wait()
            seconds = (time.perf_counter() - started) / arguments.rounds
            rate, place = seeds * size[0] * size[1] / seconds, ", ".join(map(str, size))
            row = f"| {method} | {name} | {place} | {seeds} | {1e3 * seconds:.2f} | {rate:,.0f} |"
            print(row, flush=True)


def grown(sizes: tuple[int, int, int]) -> list[tuple[str, tuple[int, int, int], int]]:
    """One size after the other made larger, and more seeds: its name, the sizes, the seeds."""
    batch, horizon, hidden = sizes
    return [
        ("base", sizes, 1),
        *((f"B = {b}", (b, horizon, hidden), 1) for b in (120, 480)),
        *((f"T = {t}", (batch, t, hidden), 1) for t in (400, 800)),
        *((f"H = {h}", (batch, horizon, h), 1) for h in (200, 400)),
        *((f"{n} seeds", sizes, n) for n in (2, 4, 8)),
    ]


def growth(
    methods: list[str], sizes: tuple[int, int, int], rounds: int, *, eager: bool, write: str | None
) -> None:
    """CPU time and peak memory as one size at a time grows, each row in a process of its own.

    They are printed and, if a machine is named (``write``), go into `growth.csv`.
    """
    rows = grown(sizes)
    print("| core | size | kernels | ms | ms per seed | process peak, MB |")
    print("|---|---|---|---:|---:|---:|")
    context = multiprocessing.get_context("spawn")
    for method in methods:
        for name, size, agents in rows:
            for mode in ("auto", "off") if eager else ("auto",):
                with context.Pool(1) as pool:
                    ms, peak = pool.apply(measure, (method, size, agents, rounds, mode))
                said = "native" if mode == "auto" else "eager"
                found = (method, name, said, f"{ms:.1f}", f"{ms / agents:.1f}", f"{peak:.0f}")
                print(f"| {' | '.join(found)} |", flush=True)
                if write is not None:
                    row = dict(zip(GROWTH_COLUMNS, (write, *found), strict=True))
                    replace_rows(GROWTH, [row], GROWTH_COLUMNS[:4])


def measure(
    method: str, size: tuple[int, int, int], num_agents: int, rounds: int, mode: Mode
) -> tuple[float, float]:
    """Milliseconds of CPU time an iteration, and the process's peak resident memory in MB."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    function = using(mode)(ours(method, *size, num_agents))
    function()
    ms = statistics.median(cpu_milliseconds(function) for _ in range(rounds))
    return ms, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
