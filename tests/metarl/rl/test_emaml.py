"""E-MAML's gradient is that of the expected return after adaptation by *random* experience."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metarl.core import Params, Split, sgd, share
from metarl.meta import EMAML, MAML
from metarl.meta.policy.emaml import mean_of_others
from metarl.rl import PolicyGradientTasks, ScoredTrajectory
from tests.metarl.meta.problems import relative_error
from tests.metarl.rl.enumerable import PLAIN, EnumeratedTasks, TinyMDP, draw, tiny_mdp, tiny_policy
from tests.metarl.rl.sampled import sampled

POLICY, LR = tiny_policy(), 0.3
ONE = tiny_mdp(1, seed=4)
NUM = 12  # trajectories


def repeated(num: int) -> TinyMDP:
    return TinyMDP(ONE.transitions.repeat(num, 1, 1, 1), ONE.rewards.repeat(num, 1, 1))


class OneTrajectoryEach(EnumeratedTasks):
    """Task i adapts by trajectory i alone, is judged by all, and counts by i's probability."""

    weights: Tensor

    def sample(self, fast: Params, slow: Params, split: Split = "support") -> ScoredTrajectory:
        with torch.no_grad():
            everything = self.collector.collect({**fast, **slow})
            if split == "query":
                scored = self.score({**fast, **slow}, everything)
                weight = NUM * self.weights.view(-1, 1, 1)
                return scored._replace(advantages=scored.advantages * weight)
            parts: dict[str, Any] = {
                n: torch.stack([part[i, :, i : i + 1] for i in range(NUM)])
                for n, part in everything._asdict().items()
                if n != "last_observations" and part is not None
            }
            own = everything._replace(**parts)
            chances = self.collector.mdp.trajectories()[-1][0]  # type: ignore[attr-defined]
            self.weights = chances * own.log_p.sum((1, 2)).exp()
            return PolicyGradientTasks.score(self, {**fast, **slow}, own)

    def performance(self, batch: ScoredTrajectory) -> Tensor:
        # The weights of the query's advantages hold the probability of trajectory i.
        return batch.advantages[:, 0].mean(1)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def exact_gradient() -> dict[str, Tensor]:
    """d/dtheta sum_i p_theta(i) J(theta - lr grad l_i(theta)), trajectory by trajectory."""
    theta = {n: p.requires_grad_() for n, p in draw(POLICY).items()}
    tasks = EnumeratedTasks(ONE, POLICY, PLAIN)
    states, actions, rewards, chances = ONE.trajectories()
    to_go = rewards.flip(1).cumsum(1).flip(1)[0]  # [T, B]
    observations = torch.nn.functional.one_hot(states, 3).double()[None]
    total = torch.zeros((), dtype=torch.float64)
    for i in range(NUM):
        log_p = POLICY.outputs(share(theta, 1), observations)[0, :, i].log_softmax(-1)
        taken = log_p.gather(1, actions[:, i : i + 1])[:, 0]
        ratio = (taken - taken.detach()).exp()
        inner = -(ratio * to_go[:, i]).sum()
        grads = torch.autograd.grad(inner, list(theta.values()), create_graph=True)
        phi = {n: p - LR * g for (n, p), g in zip(theta.items(), grads, strict=True)}
        after = ONE.expected_return(POLICY, share(phi, 1))[0]
        total = total + chances[0, i] * taken.sum().exp() * after
    assert tasks.num_tasks == 1
    grads = torch.autograd.grad(-total, list(theta.values()))
    return {f"fast.{n}": g for n, g in zip(theta, grads, strict=True)}


def found_by(learner: MAML | EMAML, tasks: PolicyGradientTasks) -> dict[str, Tensor]:
    list(learner.meta_gradients(tasks))
    return {n: p.grad for n, p in learner.params.items() if p.grad is not None}


def test_no_bias_with_all_trajectories() -> None:
    tasks = OneTrajectoryEach(repeated(NUM), POLICY, PLAIN)
    found = found_by(EMAML(draw(POLICY), rule=sgd(LR), centred=False), tasks)
    assert relative_error(found, exact_gradient()) < 1e-9


def test_maml_leaves_the_credit_of_exploration_out() -> None:
    tasks = OneTrajectoryEach(repeated(NUM), POLICY, PLAIN)
    assert (
        relative_error(found_by(MAML(draw(POLICY), rule=sgd(LR)), tasks), exact_gradient()) > 0.01
    )


def along(gradient: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    norm = torch.stack([g.square().sum() for g in exact.values()]).sum()
    return float(torch.stack([(gradient[n] * exact[n]).sum() for n in exact]).sum() / norm)


def test_sampled_and_centred_it_agrees_within_its_error() -> None:
    exact, repeats = exact_gradient(), 30
    samples: dict[bool, list[float]] = {True: [], False: []}
    for centred, seen in samples.items():
        for r in range(repeats):
            tasks = sampled(POLICY, repeated(150), batch_size=1, seed=2 * r, settings=PLAIN)
            learner = EMAML(draw(POLICY), rule=sgd(LR), centred=centred)
            seen.append(along(found_by(learner, tasks), exact))
    values, raw = torch.tensor(samples[True]), torch.tensor(samples[False])
    error = values.std() / repeats**0.5
    assert error < 0.2
    assert (values.mean() - 1).abs() < 3 * error
    assert (raw.mean() - 1).abs() < 3 * raw.std() / repeats**0.5


def test_without_the_term_it_is_maml() -> None:
    mdp = tiny_mdp(3, num_steps=3)
    emaml = EMAML(draw(POLICY), rule=sgd(LR), num_steps=2, exploration_coef=0.0)
    maml = MAML(draw(POLICY), rule=sgd(LR), num_steps=2)
    a, b = found_by(emaml, sampled(POLICY, mdp)), found_by(maml, sampled(POLICY, mdp))
    assert relative_error(a, b) < 1e-12


def test_every_inner_step_is_credited() -> None:
    """With three steps the score of all three batches enters, each at its own phi_k."""
    mdp = tiny_mdp(3, num_steps=3)
    learner = EMAML(draw(POLICY), rule=sgd(LR), num_steps=3)
    tasks = sampled(POLICY, mdp)
    calls: list[int] = []

    class Counting(PolicyGradientTasks):
        def log_likelihood(self, fast: Params, slow: Params, batch: ScoredTrajectory) -> Tensor:
            value = super().log_likelihood(fast, slow, batch)
            assert torch.allclose(value, batch.trajectory.log_p.sum((1, 2)))
            calls.append(len(calls))
            return value

    found_by(learner, Counting(tasks.collector, tasks.settings))
    assert calls == [0, 1, 2]


def test_the_mean_of_the_others() -> None:
    found = mean_of_others(torch.tensor([1.0, 2.0, 6.0]))
    assert found.tolist() == [4.0, 3.5, 1.5]
    assert mean_of_others(torch.tensor([5.0])).tolist() == [0.0]
