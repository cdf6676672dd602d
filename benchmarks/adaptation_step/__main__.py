"""One MAML policy-gradient iteration beside learn2learn: ``python -m benchmarks.adaptation_step``.

CPU time, medians over rounds in which every implementation takes its turn in one process, and peak
memory, each in a process of its own. Before they are timed the meta-gradients are compared with
ours in float64, on the same draws. Where learn2learn is not installed there is ours alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.adaptation_step.iteration import (
    Iteration,
    Setting,
    learner_of,
    meta_batch,
    own,
    peak,
    seconds,
)
from benchmarks.adaptation_step.peer import (
    GymVector,
    OwnVector,
    TensorVector,
    Vector,
    learn2learn,
)
from metarl.devices import small_networks
from metarl.native import using

OURS, EAGER = "metarl", "metarl, without kernels"
PEERS: dict[str, Callable[[Setting], Vector]] = {
    "learn2learn, Gymnasium's SyncVectorEnv": GymVector,
    "learn2learn, our tensor environment": TensorVector,
    "learn2learn, its AsyncVectorEnv (all 21 processes)": OwnVector,
}


def make(name: str, setting: Setting) -> tuple[Iteration, list[int]]:
    """An implementation, and the processes that work for it."""
    if name == OURS:
        return own(setting), []
    if name == EAGER:
        return using("off")(own(setting)), []
    made = learn2learn(setting, PEERS[name])
    return made.iterate, made.env.pids if isinstance(made.env, OwnVector) else []


def difference(setting: Setting, make_env: Callable[[Setting], Vector]) -> float:
    """Between the meta-gradients in float64: the largest, as a part of the largest entry."""
    setting = replace(setting, estimator="logp")  # as the peer has it
    learner = learner_of(setting, torch.float64)
    list(learner.meta_gradients(meta_batch(setting, setting.generator())))
    peer = learn2learn(setting, make_env, torch.float64)
    peer.iterate()
    ours = [learner.params[n].grad for n in sorted(learner.params)]
    theirs = dict(peer.policy.named_parameters())
    names = ["mean.0", "mean.2", "mean.4"]  # sorted as ours: layers, bias before weight, log_std
    paired = [theirs[f"{n}.{kind}"].grad for n in names for kind in ("bias", "weight")]
    paired.append(theirs["log_std"].grad)
    errors = []
    for a, b in zip(ours, paired, strict=True):
        assert a is not None
        assert b is not None
        errors.append(float((a - b.T if b.dim() > 1 else a - b).abs().max() / a.abs().max()))
    return max(errors)


def growth(name: str, setting: Setting) -> float:
    """Of this process's peak by an iteration, MB, once everything has been loaded."""
    tiny = replace(setting, num_tasks=1, episodes=2, horizon=2, chunk_size=None)
    make(name, tiny)[0]()
    run, _ = make(name, setting)
    before = peak(setting.device)
    run()
    return peak(setting.device) - before


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu", help="cpu: CPU time; others: wall clock")
    parser.add_argument("--growth-of", metavar="NAME", help="print one figure of memory")
    options = parser.parse_args()
    setting = Setting(device=options.device)
    with small_networks():
        if options.growth_of:
            print(growth(options.growth_of, setting))
            return
        report(setting, options.rounds)


def report(setting: Setting, rounds: int) -> None:
    """Compare, time, measure memory and print."""
    cpu = torch.device(setting.device).type == "cpu"
    names = list(PEERS) if importlib.util.find_spec("learn2learn") else []
    if not cpu:
        names = [n for n in names if PEERS[n] is TensorVector]
    for name in names:
        if PEERS[name] is not OwnVector:
            for native in ("off", "auto"):
                with using(native):
                    error = difference(setting, PEERS[name])
                print(f"{name}: gradients differ by {error:.1e} (native {native})")
    made = {name: make(name, setting) for name in (OURS, EAGER, *names)}
    times: dict[str, list[float]] = {name: [] for name in made}
    for i in range(rounds + 1):
        for name, (run, pids) in made.items():
            taken = seconds(run, setting.device, pids)
            if i > 0:  # the first warms up
                times[name].append(taken)
    median = {name: statistics.median(values) for name, values in times.items()}
    ratio = {
        n: statistics.median(a / b for a, b in zip(values, times[OURS], strict=True))
        for n, values in times.items()
    }
    unit = "CPU ms" if cpu else "ms"
    print(f"\n| | {unit} | times ours | peak, MB |\n|---|---:|---:|---:|")
    for name, value in median.items():
        memory = "" if not cpu or name.endswith(")") else f"{in_a_process(name, setting):.0f}"
        print(f"| {name} | {1e3 * value:,.0f} | {ratio[name]:.1f} | {memory} |", flush=True)


def in_a_process(name: str, setting: Setting) -> float:
    """Run this module for one figure of memory."""
    arguments = ("--growth-of", name, "--device", setting.device)
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.adaptation_step", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
