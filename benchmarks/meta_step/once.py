"""Time ANIL with its body run once, and in every step: ``python -m benchmarks.meta_step.once``.

CPU time of one thread, medians over rounds in which both take their turn in the same process. Each
works on as many tasks at a time as suits it (`metarl.nn.conv_settings.stacked`). Before a case is
timed, the gradients are compared in float64.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.meta_step.cases import CPU, images
from metarl.core import Execution, Params, sgd
from metarl.meta import ANIL
from metarl.nn.conv_settings import ReducedConvNetSettings, stacked
from metarl.supervised import Examples, FewShotBatch
from metarl.supervised.tasks import SupervisedTasks, cross_entropy


class EveryStep(SupervisedTasks):
    """Tasks with a loss of their own, whose halves nobody knows: all is run in every step."""

    def loss(self, fast: Params, slow: Params, batch: Examples) -> Tensor:
        """The criterion ``[N]``."""
        return super().loss(fast, slow, batch)


@dataclass(frozen=True)
class HeadCase:
    """Tasks of Omniglot's size, as many query images as support images."""

    ways: int
    num_tasks: int
    filters: int
    num_steps: int

    @property
    def name(self) -> str:
        steps = f"{self.num_steps} step{'s' * (self.num_steps > 1)}"
        size = f"{self.filters} filters, {self.num_tasks} tasks"
        return f"ANIL, {self.ways}-way 1-shot, {size}, {steps}"

    def make(self, *, once: bool, dtype: torch.dtype = torch.float32) -> tuple[ANIL, Step]:
        """The learner and its meta-gradient."""
        case = images(
            "stride",
            self.num_steps,
            ways=self.ways,
            num_tasks=self.num_tasks,
            filters=self.filters,
        )
        sets = (Examples(x.to(dtype), y) for x, y in case.stacked)
        kind = SupervisedTasks if once else EveryStep
        tasks = kind(case.network, FewShotBatch(*sets), cross_entropy)
        learner = ANIL(
            {name: p.to(dtype) for name, p in case.params.items()},
            head=case.network.head,
            rule=sgd(0.1),
            num_steps=self.num_steps,
            execution=stacked(
                Execution("auto"), CPU, self.ways, ReducedConvNetSettings(self.filters), shared=once
            ),
        )

        def step() -> None:
            for p in learner.params.values():
                p.grad = None
            for _ in learner.meta_gradients(tasks):
                pass

        return learner, step


Step = Callable[[], None]

CASES = (
    HeadCase(ways=20, num_tasks=16, filters=64, num_steps=5),
    HeadCase(ways=5, num_tasks=32, filters=64, num_steps=5),
    HeadCase(ways=5, num_tasks=32, filters=64, num_steps=1),
    HeadCase(ways=5, num_tasks=32, filters=32, num_steps=1),
)


def measure(case: HeadCase, rounds: int) -> list[tuple[float, float]]:
    """CPU milliseconds in every step and once, of each round."""
    steps = [case.make(once=once)[1] for once in (False, True)]
    for step in steps:
        step()
    return [(_milliseconds(steps[0]), _milliseconds(steps[1])) for _ in range(rounds)]


def difference(case: HeadCase) -> float:
    """Between the gradients in float64, relative to the largest entry."""
    sides = []
    for once in (False, True):
        learner, step = case.make(once=once, dtype=torch.float64)
        step()
        grads = [p.grad.flatten() for p in learner.params.values() if p.grad is not None]
        sides.append(torch.cat(grads))
    return float((sides[0] - sides[1]).abs().max() / sides[0].abs().max())


def _milliseconds(step: Step) -> float:
    started = time.process_time()
    step()
    return 1e3 * (time.process_time() - started)


def main() -> None:
    """Print a row a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print("| case | in every step | once | every step / once | gradients differ by |")
    print("|---|---:|---:|---:|---:|")
    for case in CASES:
        times = measure(case, rounds)
        every, once = (statistics.median(side) for side in zip(*times, strict=True))
        ratio = statistics.median(a / b for a, b in times)
        cells = (f"{every:.0f}", f"{once:.0f}", f"{ratio:.2f}", f"{difference(case):.0e}")
        print(f"| {case.name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
