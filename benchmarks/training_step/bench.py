"""CPU time of one training iteration, beside a plain autograd loop of the same mathematics.

    OMP_NUM_THREADS=1 python -m benchmarks.training_step.bench
    python -m benchmarks.training_step.bench --device cuda --cuda-graph

One iteration is B mazes x T steps, loss, back-propagation through all T steps, clipping, Adam. The
plain loop plays with a graph, draws from `torch.distributions.Categorical`, and leaves the rest to
autograd; it uses the same mazes, equations and optimiser. Both are timed in turn, in one process
and one thread; the table gives medians of CPU time, and the ratio of each pair. On another device
than the CPU the product is timed alone, by the clock.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from envs import GridMazeVectorEnv, VectorMetaObservation
from metarl.core import scope, stack
from metarl.core.cuda_graph import Captured
from metarl.meta import TwoTimescale, TwoTimescaleSettings
from metarl.nn import GRU, LSTM, RNN, WarpRNN
from metarl.rl import (
    ActorCriticSettings,
    Categorical,
    Collector,
    PolicyGradientTasks,
    actor_critic,
)
from metarl.train.trainer import Trainer

CORES = {"warp": WarpRNN, "rnn": RNN, "gru": GRU, "lstm": LSTM}
CPU = torch.device("cpu")


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


def main() -> None:
    """Time every method, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--methods", nargs="+", default=list(CORES), choices=list(CORES))
    parser.add_argument("--batch-size", type=int, default=30)
    parser.add_argument("--horizon", type=int, default=200)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--growth", action="store_true", help="vary B, T, H and the seeds instead")
    parser.add_argument("--device", type=torch.device, default=CPU)
    parser.add_argument("--cuda-graph", action="store_true", help="each iteration as one graph")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    sizes = (arguments.batch_size, arguments.horizon, arguments.hidden)
    if arguments.growth:
        growth(arguments.methods, sizes, arguments.rounds)
        return
    if arguments.device != CPU or arguments.cuda_graph:
        by_the_clock(arguments)
        return
    print(f"{sizes[0]} mazes x {sizes[1]} steps, hidden {sizes[2]}, one thread, CPU time\n")
    print("| method | this package, ms | plain autograd loop, ms | ratio |")
    print("|---|---:|---:|---:|")
    for method in arguments.methods:
        pair = ours(method, *sizes), plain(method, *sizes)
        for function in pair:
            function()
        times = [[cpu_milliseconds(f) for f in pair] for _ in range(arguments.rounds)]
        a, b = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(slow / fast for fast, slow in times)
        print(f"| {method} | {a:.1f} | {b:.1f} | {ratio:.1f} |", flush=True)


def by_the_clock(arguments: argparse.Namespace) -> None:
    """Mean time of an iteration, and maze steps a second, on any device."""
    batch, horizon, device = arguments.batch_size, arguments.horizon, arguments.device
    wait = partial(torch.cuda.synchronize, device) if device.type == "cuda" else int
    print(f"{batch} mazes x {horizon} steps, hidden {arguments.hidden}, on {device}\n")
    print("| method | ms | steps/s |\n|---|---:|---:|")
    for method in arguments.methods:
        sizes = batch, horizon, arguments.hidden
        function = ours(method, *sizes, device=device, cuda_graph=arguments.cuda_graph)
        function()
        wait()
        started = time.perf_counter()
        for _ in range(arguments.rounds):
            function()
        wait()
        seconds = (time.perf_counter() - started) / arguments.rounds
        print(f"| {method} | {1e3 * seconds:.2f} | {batch * horizon / seconds:,.0f} |", flush=True)


def growth(methods: list[str], sizes: tuple[int, int, int], rounds: int) -> None:
    """CPU time and peak memory as one size at a time grows, each row in a process of its own."""
    batch, horizon, hidden = sizes
    rows = [("base", sizes, 1)]
    rows += [(f"B = {b}", (b, horizon, hidden), 1) for b in (120, 480)]
    rows += [(f"T = {t}", (batch, t, hidden), 1) for t in (400, 800)]
    rows += [(f"H = {h}", (batch, horizon, h), 1) for h in (200, 400)]
    rows += [(f"{n} seeds", sizes, n) for n in (2, 4, 8)]
    print("| method | size | ms | ms a seed | process peak, MB |")
    print("|---|---|---:|---:|---:|")
    context = multiprocessing.get_context("spawn")
    for method in methods:
        for name, size, agents in rows:
            with context.Pool(1) as pool:
                ms, peak = pool.apply(measure, (method, size, agents, rounds))
            row = f"| {method} | {name} | {ms:.1f} | {ms / agents:.1f} | {peak:.0f} |"
            print(row, flush=True)


def measure(
    method: str, size: tuple[int, int, int], num_agents: int, rounds: int
) -> tuple[float, float]:
    """Milliseconds of CPU time an iteration, and the process's peak resident memory in MB."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    function = ours(method, *size, num_agents)
    function()
    ms = statistics.median(cpu_milliseconds(function) for _ in range(rounds))
    return ms, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
