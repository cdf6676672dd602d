"""Peak memory of one meta-gradient: ``python -m benchmarks.meta_step.memory``.

Each figure is the growth of a fresh process's resident memory (its peak) over what it held when
everything was built and nothing had run. First the implementations side by side on the convolution
net, then our learners as the number of inner steps grows.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

import torch

from benchmarks.meta_step.__main__ import own_step
from benchmarks.meta_step.cases import Case, images, sine
from benchmarks.meta_step.peers import PEERS, installed, module_of
from metarl.core import Execution, sgd
from metarl.meta import MAML, ImplicitMAML, Leap, OnlineWarpGrad, Reptile
from metarl.nn import MLP, WarpMLP

STEPS = (1, 10, 100)
LEARNERS = ("maml", "maml, checkpoint", "fomaml", "reptile", "leap", "imaml", "warp")


def peak() -> float:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def growth_of_step(name: str, num_steps: int, chunk_size: int | None) -> float:
    """Of one meta-gradient on the strided net with 64 filters, 32 tasks 5-way 1-shot."""
    case = images("stride", num_steps, execution=Execution(chunk_size=chunk_size))
    if name == "metarl":
        run, _ = own_step(case, first_order=False)
    else:
        run = PEERS[name](case, module_of(case), False)
    before = peak()
    run()
    return peak() - before


def growth_of_learner(name: str, num_steps: int) -> float:
    """Of one meta-gradient on the regression net, 200 tasks of 100 points, in one chunk."""
    case = wide(num_steps)
    rule = sgd(case.lr)
    common = {"rule": rule, "num_steps": num_steps}
    match name:
        case "maml" | "maml, checkpoint" | "fomaml":
            first_order, checkpoint = name == "fomaml", name == "maml, checkpoint"
            learner = MAML(case.params, first_order=first_order, checkpoint=checkpoint, **common)  # type: ignore[arg-type]
        case "reptile":
            learner = Reptile(case.params, **common)  # type: ignore[arg-type,assignment]
        case "leap":
            learner = Leap(case.params, **common)  # type: ignore[arg-type,assignment]
        case "imaml":
            learner = ImplicitMAML(case.params, **common)  # type: ignore[arg-type,assignment]
        case "warp":
            slow = case.network.slow
            learner = OnlineWarpGrad(case.params, slow=slow, **common)  # type: ignore[arg-type,assignment]
    before = peak()
    for _ in learner.meta_gradients(case):
        pass
    return peak() - before


def wide(num_steps: int) -> Case:
    """A case large enough to be seen beside the interpreter; with warp layers, for all learners."""
    base = sine(num_steps)
    g = torch.Generator().manual_seed(0)
    network = WarpMLP(MLP((1, 40, 40, 1)))
    data = [torch.randn(200, 100, 1, generator=g) for _ in range(4)]
    stacked = ((data[0], data[1]), (data[2], data[3]))
    return Case(
        base.name, "regression", network, network.init(g), stacked, num_steps, 0.01, Execution()
    )


def in_a_process(*arguments: str) -> float:
    """Run this module for one figure."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.meta_step.memory", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """One figure, or all of them as tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--of", nargs=3, metavar=("WHAT", "NAME", "STEPS"))
    parser.add_argument("--chunk-size", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.of:
        what, name, steps = options.of
        if what == "step":
            print(growth_of_step(name, int(steps), options.chunk_size))
        else:
            print(growth_of_learner(name, int(steps)))
        return
    print("| strided net, 64 filters, 32 tasks | 1 step, MB | 5 steps, MB |\n|---|---:|---:|")
    for size in (32, 8, 1):
        cells = [in_a_process("--of", "step", "metarl", k, "--chunk-size", str(size)) for k in "15"]
        print(f"| metarl, {size} at a time | {cells[0]:.0f} | {cells[1]:.0f} |", flush=True)
    for name in installed():
        cells = [in_a_process("--of", "step", name, k) for k in "15"]
        print(f"| {name} | {cells[0]:.0f} | {cells[1]:.0f} |", flush=True)
    print(
        "\n| learner | " + " | ".join(f"{k} steps, MB" for k in STEPS) + " |\n|---|---:|---:|---:|"
    )
    for name in LEARNERS:
        cells = [in_a_process("--of", "learner", name, str(k)) for k in STEPS]
        print(f"| {name} | " + " | ".join(f"{c:.1f}" for c in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
