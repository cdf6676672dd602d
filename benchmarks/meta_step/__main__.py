"""Time one meta-gradient beside the peers: ``python -m benchmarks.meta_step``.

CPU time of one thread, medians over rounds in which every implementation takes its turn. Before a
case is timed the peers' gradients are compared with ours (a compiled one is by the tests). A peer
that is not installed is left out. TORCHINDUCTOR_COMPILE_THREADS=1 makes the compilers' time count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.meta_step.cases import Case, images, sine
from benchmarks.meta_step.peers import PEERS, installed, module_of
from metarl.core import sgd
from metarl.meta import MAML

COMPILED = "metarl, compiled"
EAGER = "metarl, eager"


def cases(which: str) -> list[Case]:
    mlp = [sine(k) for k in (1, 5, 10)]
    conv = [images(reduction, k) for reduction in ("stride", "pool") for k in (1, 5)]
    more = [
        images("stride", 1, filters=32),
        images("stride", 5, filters=32),
        images("stride", 1, ways=20, num_tasks=16),
        images("stride", 1, shots=5),
    ]
    return {"mlp": mlp, "conv": conv, "more": more, "all": mlp + conv + more}[which]


def own_step(
    case: Case, first_order: bool, compiled: bool = False
) -> tuple[Callable[[], None], MAML]:
    learner = MAML(
        case.params,
        rule=sgd(case.lr),
        num_steps=case.num_steps,
        execution=replace(case.execution, compile=compiled),
        first_order=first_order,
    )

    def step() -> None:
        for _ in learner.meta_gradients(case):
            pass

    return step, learner


def measure(
    case: Case, first_order: bool, rounds: int, names: list[str], compiled: bool, eager: bool
) -> dict[str, float]:
    """Median CPU milliseconds of a meta-gradient, by implementation."""
    compare(case.double(), first_order, names)
    step, learner = own_step(case, first_order)
    steps = {"metarl": step}
    clear: dict[str, Callable[[], None]] = {"metarl": lambda: _clear(learner.params.values())}
    if compiled:
        started = _all_cpu_seconds()
        own, compiled_learner = own_step(case, first_order, compiled=True)
        own()
        print(f"{case.name}: compiled in {_all_cpu_seconds() - started:.0f} CPU s", file=sys.stderr)
        steps[COMPILED] = own
        clear[COMPILED] = lambda: _clear(compiled_learner.params.values())
    if eager:
        steps[EAGER], eager_learner = own_step(case.eagerly(), first_order)
        clear[EAGER] = lambda: _clear(eager_learner.params.values())
    for name in names:
        model = module_of(case)
        steps[name] = PEERS[name](case, model, first_order)
        clear[name] = lambda model=model: _clear(model.parameters())  # type: ignore[misc]
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, run in steps.items():
            clear[name]()
            started, count = time.process_time(), 0
            while count == 0 or (time.process_time() - started < 0.1):
                run()
                count += 1
            times[name].append(1e3 * (time.process_time() - started) / count)
    return {name: statistics.median(values) for name, values in times.items()}


def compare(case: Case, first_order: bool, names: list[str]) -> None:
    """Say which gradients are not ours, in float64."""
    step, learner = own_step(case, first_order)
    step()
    ours = torch.cat([learner.params[f"fast.{n}"].grad.flatten() for n in _ends(case)])  # type: ignore[union-attr]
    for name in names:
        model = module_of(case)
        PEERS[name](case, model, first_order)()
        parameters = dict(zip(case.params, model.parameters(), strict=True))
        theirs = torch.cat([parameters[n].grad.flatten() for n in _ends(case)])  # type: ignore[union-attr]
        error = float((ours - theirs).abs().max() / ours.abs().max())
        if error > 1e-9:
            what = f"{name}: its gradient differs from ours by {error:.1e} of the largest entry"
            print(what, file=sys.stderr)


def _all_cpu_seconds() -> float:
    """Of this process and of the compilers that it ran."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _ends(case: Case) -> list[str]:
    """Vectors, which lie alike here and in a module."""
    return [n for n, p in case.params.items() if p.dim() == 1 and "conv.bias" not in n]


def _clear(parameters) -> None:  # type: ignore[no-untyped-def]
    for p in parameters:
        p.grad = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", choices=("mlp", "conv", "more", "all"), default="all")
    parser.add_argument("--named", default="", help="of these, those whose names have this in them")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--first-order", action="store_true")
    parser.add_argument("--compiled", action="store_true", help="metarl also compiled")
    parser.add_argument("--eager", action="store_true", help="metarl also without kernels")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = installed()
    if options.first_order:  # which one does not offer, and the other leaves without a gradient
        found = [n for n in found if n not in ("torchopt", "higher")]
    ours = ["metarl", *[COMPILED] * options.compiled]
    extra = [EAGER] * options.eager
    columns = [*ours, *extra, *found]
    ratios = [f"{peer} / {own}" for own in ours for peer in ("learn2learn", "best peer")]
    ratios += [f"{EAGER} / metarl"] * options.eager
    print("| case | " + " | ".join([*columns, *ratios]) + " |")
    print("|---|" + "---:|" * (len(columns) + len(ratios)))
    for case in (c for c in cases(options.cases) if options.named in c.name):
        ms = measure(
            case, options.first_order, options.rounds, found, options.compiled, options.eager
        )
        theirs = [ms.get("learn2learn", float("nan")), min(ms[n] for n in found)]
        cells = [f"{ms[n]:.3g}" for n in columns]
        cells += [f"{peer / ms[own]:.2f}" for own in ours for peer in theirs]
        cells += [f"{ms[name] / ms['metarl']:.2f}" for name in extra]
        print(f"| {case.name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
