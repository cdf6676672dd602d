"""Every learner's meta-gradient beside its exact value: ``python -m benchmarks.adaptation.exact``.

Three decision processes of 3 states, 2 actions and 2 steps, whose expected returns dynamic
programming gives, and whose 12 trajectories can be listed. In float64, each learner is given all
trajectories, weighted by their probability, and beside it sampled ones. The true meta-gradient is
that of the expected return after the learner's own adaptation, by central differences. Printed is
the table of exact.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from metarl.core import Params, sgd
from metarl.meta import (
    ANIL,
    EMAML,
    MAML,
    TRPO,
    ImplicitMAML,
    MetaLearner,
    MetaSGD,
    OnlineWarpGrad,
    ProMP,
    Recorded,
    Reptile,
)
from metarl.meta.policy.trpo import TrustRegion
from metarl.rl import Collector, Policy, PolicyGradientTasks
from tests.metarl.rl import test_emaml as single
from tests.metarl.rl.enumerable import (
    PLAIN,
    EnumeratedTasks,
    ExactTasks,
    SurrogateTasks,
    TinyEnv,
    draw,
    generators,
    tiny_mdp,
    tiny_policy,
)
from tests.metarl.rl.sampled import sampled
from tests.metarl.rl.test_exact_meta_gradients import WARPED

MDP, RULE = tiny_mdp(3), sgd(0.3)
REPEATS, EPISODES = 40, 1500
Make = Callable[[Policy, Params], MetaLearner]


@dataclass(frozen=True)
class Row:
    """One learner.

    Attributes:
        name: Of the learner.
        make: Makes it.
        estimator: The surrogate of its losses.
        reference: The learner that defines its expected gradient; None: itself.
        side: Which meta-parameters are compared with the true meta-gradient.
    """

    name: str
    make: Make
    estimator: str = "dice"
    reference: Make | None = None
    side: str = ""
    policy: Policy = tiny_policy()  # noqa: RUF009  # frozen


def maml(num_steps: int, **options: Any) -> Make:
    return lambda policy, p: MAML(p, rule=RULE, num_steps=num_steps, **options)


def warp(objective: Any) -> Make:
    return lambda policy, p: OnlineWarpGrad(
        p, rule=RULE, num_steps=2, slow=policy.slow, objective=objective
    )


def imaml(num_steps: int) -> Make:
    return lambda policy, p: ImplicitMAML(p, rule=RULE, num_steps=num_steps, strength=2.0)


def promp(policy: Policy, p: Params) -> MetaLearner:
    return ProMP(p, rule=RULE, num_epochs=1)


def trpo(policy: Policy, p: Params) -> MetaLearner:
    return TRPO(p, rule=RULE)


ROWS = (
    Row("MAML, 1 step", maml(1)),
    Row("MAML, 3 steps", maml(3)),
    Row("ANIL, 2 steps", lambda policy, p: ANIL(p, head=policy.head, rule=RULE, num_steps=2)),
    Row("Meta-SGD, 2 steps", lambda policy, p: MetaSGD(p, lr=0.3, num_steps=2)),
    Row("ProMP, first epoch", promp, reference=maml(1)),
    Row("TRPO, its gradient", trpo, reference=maml(1)),
    Row("MAML, 1 step", maml(1), "lvc"),
    Row("ProMP, first epoch", promp, "lvc", reference=maml(1)),
    Row("TRPO, its gradient", trpo, "lvc", reference=maml(1)),
    Row("MAML, 1 step", maml(1), "logp"),
    Row("first-order MAML, 2 steps", maml(2, first_order=True)),
    Row("Reptile, 3 steps", lambda policy, p: Reptile(p, rule=RULE, num_steps=3)),
    Row("implicit MAML, 3 steps", imaml(3)),
    Row("implicit MAML, 100 steps", imaml(100)),
    Row("WarpGrad, 2 steps", warp("exact"), side="slow", policy=WARPED),
    Row("WarpGrad, first-order objective", warp("first_order"), side="slow", policy=WARPED),
)


def gradient(learner: MetaLearner, tasks: Any) -> dict[str, Tensor]:
    """What it leaves in ``.grad``; of TRPO what its step is made of."""
    if isinstance(learner, TRPO):
        region = TrustRegion(learner, Recorded(tasks))
        return region.unflat(region.gradient)
    list(learner.meta_gradients(tasks))
    return {n: p.grad for n, p in learner.params.items() if p.grad is not None}


def flat(gradients: Params) -> Tensor:
    return torch.cat([gradients[n].flatten() for n in sorted(gradients)])


def true_gradient(learner: MetaLearner, tasks: Any, names: list[str], h: float = 1e-5) -> Tensor:
    """Of minus the expected return after adaptation by expected gradients."""

    def loss() -> float:
        fast = learner.adapt(tasks, learner.num_steps)
        slow = {n: p.expand(tasks.num_tasks, *p.shape) for n, p in learner.slow.items()}
        return float(tasks.loss(fast, slow, None).detach().mean())

    found = []
    for name in sorted(names):
        values = learner.params[name].data.view(-1)
        for i in range(len(values)):
            start = float(values[i])
            values[i] = start + h
            above = loss()
            values[i] = start - h
            found.append((above - loss()) / (2 * h))
            values[i] = start
    return torch.tensor(found, dtype=torch.float64)


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def cells(errors: tuple[float, float, float], found: Tensor, true: Tensor) -> str:
    """Bias, deviation and error of the sampled mean, distance from the true meta-gradient."""
    bias, deviation, error = errors
    cosine = float(torch.nn.functional.cosine_similarity(found, true, 0))
    distance = relative(found, true)
    return f"{bias:.0e} | {deviation:+.1f} | {error:.3f} | {distance:.2g} | {cosine:.4f}"


def against(samples: list[Tensor], exact: Tensor) -> tuple[float, float]:
    """Along the exact gradient: how far the mean is off in standard errors; that error."""
    along = torch.stack([s @ exact for s in samples]) / exact.square().sum()
    error = float(along.std()) / len(samples) ** 0.5
    return (float(along.mean()) - 1) / error, error


def line(row: Row) -> str:
    policy = row.policy
    settings = replace(PLAIN, estimator=row.estimator)  # type: ignore[arg-type]

    def one(tasks: Any, make: Make = row.make) -> dict[str, Tensor]:
        return gradient(make(policy, draw(policy)), tasks)

    defines: Any = ExactTasks(MDP, policy)
    if row.estimator != "dice":
        defines = SurrogateTasks(MDP, policy, row.estimator)  # type: ignore[arg-type]
    exact = one(defines, row.reference or row.make)
    bias = relative(flat(one(EnumeratedTasks(MDP, policy, settings))), flat(exact))
    sources = generators(2 * MDP.num_tasks, seed=7)
    env = TinyEnv(MDP, EPISODES, sources[MDP.num_tasks :])
    collector = Collector(env, policy, sources[: MDP.num_tasks], 2)
    tasks = PolicyGradientTasks(collector, settings)
    samples = [flat(one(tasks)) for _ in range(REPEATS)]
    deviation, error = against(samples, flat(exact))
    learned = {n: g for n, g in exact.items() if n.startswith(row.side)}
    learner = row.make(policy, draw(policy))
    true = true_gradient(learner, ExactTasks(MDP, policy), list(learned))
    return cells((bias, deviation, error), flat(learned), true)


def single_episode_lines() -> list[str]:
    """Adaptation by one episode, where experience before adaptation earns a credit of its own."""
    policy, num = single.POLICY, single.NUM
    true = single.exact_gradient()
    kinds: dict[str, Callable[[], MetaLearner]] = {
        "E-MAML, 1 step by 1 episode": lambda: EMAML(draw(policy), rule=sgd(single.LR)),
        "MAML, 1 step by 1 episode": lambda: MAML(draw(policy), rule=sgd(single.LR)),
    }
    lines = []
    for name, make in kinds.items():
        listed = make()
        if isinstance(listed, EMAML):
            listed.centred = False  # the other trajectories are no other tasks here
        tasks = single.OneTrajectoryEach(single.repeated(num), policy, PLAIN)
        found = flat(gradient(listed, tasks))
        samples = []
        for r in range(REPEATS):
            drawn = sampled(policy, single.repeated(600), batch_size=1, seed=2 * r, settings=PLAIN)
            samples.append(flat(gradient(make(), drawn)))
        own = flat(true) if isinstance(listed, EMAML) else found
        deviation, error = against(samples, own)
        bias = relative(found, flat(true)) if isinstance(listed, EMAML) else float("nan")
        row = cells((bias, deviation, error), own, flat(true)).replace("nan", "its definition")
        lines.append(f"| {name} | {PLAIN.estimator} | {row} |")
    return lines


def main() -> None:
    """The table."""
    torch.set_num_threads(1)
    heads = ["learner", "surrogate", "bias, all trajectories", "sampled mean, in standard errors"]
    heads += ["standard error", "distance from the true meta-gradient", "cosine with it"]
    print("| " + " | ".join(heads) + " |\n|---|---|" + "---:|" * 5)
    for row in ROWS:
        print(f"| {row.name} | {row.estimator} | {line(row)} |", flush=True)
    print("\n".join(single_episode_lines()))


if __name__ == "__main__":
    main()
