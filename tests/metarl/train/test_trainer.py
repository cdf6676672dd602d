"""The outer step: sides with their own learning rates, clipping, what is saved, what is refused."""

import math

import pytest
import torch

from metarl.core import OptimiserSettings, OuterSettings, sgd
from metarl.meta import MetaLearner, NonFiniteLossError
from metarl.runs.seeds import create_runs, find_runs
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.trainer import Trainer

SGD = OptimiserSettings("sgd", lr=0.1, beta1=0.0)


class Constant(MetaLearner):
    """Yields given gradients, one a step; the tasks are the metric."""

    def __init__(self, *gradients):
        params = {"w": torch.ones(2), "warp": torch.ones(2)}
        super().__init__(params, rule=sgd(0.5, learned="parameter"), num_steps=1, slow=("warp",))
        self.gradients = gradients

    def _gradients(self, tasks):
        for gradient in self.gradients:
            for name, value in gradient.items():
                self.params[name].grad = torch.full_like(self.params[name], value)
            yield {"loss": tasks}


def values(learner):
    return {name: p.detach().flatten().tolist() for name, p in learner.params.items()}


def test_each_side_steps_with_its_own_learning_rate_and_factor():
    learner = Constant({"fast.w": 1.0, "slow.warp": 1.0, "rule.0.log_lr.w": 1.0})
    trainer = Trainer(learner, OuterSettings(SGD, slow_lr=0.01, rule_lr=0.0))
    trainer.set_learning_rate_factor(0.5)
    metrics = trainer.step(torch.tensor([1.0, 5.0]))
    assert metrics["loss"].tolist() == [3.0]
    assert metrics["grad_norm"].tolist() == pytest.approx([math.sqrt(5)])
    after = values(learner)
    assert after["fast.w"] == pytest.approx([0.95, 0.95])
    assert after["slow.warp"] == pytest.approx([0.995, 0.995])
    assert after["rule.0.log_lr.w"] == pytest.approx([math.log(0.5)])


def test_one_step_for_every_gradient_and_none_where_no_gradient_is_due():
    learner = Constant({"fast.w": 1.0}, {"fast.w": 2.0}, {})
    trainer = Trainer(learner, OuterSettings(SGD))
    metrics = trainer.step(torch.tensor([1.0]))
    assert values(learner)["fast.w"] == pytest.approx([0.7, 0.7])
    assert values(learner)["slow.warp"] == [1.0, 1.0]
    assert metrics["grad_norm"].tolist() == pytest.approx([math.sqrt(2)])  # (√2 + √8 + 0) / 3
    assert all(p.grad is None for p in learner.params.values())


def test_the_gradient_is_clipped_over_all_sides_together():
    learner = Constant({"fast.w": 3.0, "slow.warp": 4.0})
    trainer = Trainer(learner, OuterSettings(SGD, max_grad_norm=math.sqrt(0.5)))
    metrics = trainer.step(torch.tensor([1.0]))
    assert metrics["grad_norm"].tolist() == pytest.approx([math.sqrt(50)])  # before clipping
    assert values(learner)["fast.w"] == pytest.approx([0.97, 0.97], rel=1e-5)
    assert values(learner)["slow.warp"] == pytest.approx([0.96, 0.96], rel=1e-5)


@pytest.mark.parametrize(("gradient", "loss"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan)])
def test_what_is_not_finite_is_skipped_and_nothing_moves(gradient, loss, caplog):
    learner = Constant({"fast.w": gradient}, {"fast.w": 1.0})
    trainer = Trainer(learner, OuterSettings(SGD, max_grad_norm=1.0))
    before = values(learner)
    metrics = trainer.step(torch.tensor([loss]))
    assert {name: value.tolist() for name, value in metrics.items()} == {"skipped": [1.0]}
    assert values(learner) == before  # nor was a step taken on what would have followed
    assert all(p.grad is None for p in learner.params.values())
    assert "loss or gradient is not finite (loss " in caplog.text


def test_what_came_before_stays_and_the_metrics_are_its():
    learner = Constant({"fast.w": 1.0}, {"fast.w": math.nan})
    trainer = Trainer(learner, OuterSettings(SGD))
    metrics = trainer.step(torch.tensor([3.0]))
    assert metrics["loss"].tolist() == [3.0]
    assert metrics["skipped"].tolist() == [1.0]
    assert values(learner)["fast.w"] == pytest.approx([0.9, 0.9])


def test_ten_in_a_row_are_too_many_and_a_good_one_begins_anew():
    trainer = Trainer(Constant({"fast.w": 1.0}), OuterSettings(SGD))
    good, bad = torch.tensor([1.0]), torch.tensor([math.nan])
    for _ in range(9):
        trainer.step(bad)
    assert trainer.step(good)["skipped"].tolist() == [0.0]
    for _ in range(9):
        trainer.step(bad)
    with pytest.raises(NonFiniteLossError, match=r"loss nan, grad_norm \S+\), 10 .* in a row"):
        trainer.step(bad)


def test_what_a_learner_survived_is_counted():
    class Stumbling(Constant):
        incidents = {"stumbles": 2}  # noqa: RUF012

    metrics = Trainer(Stumbling({}), OuterSettings(SGD)).step(torch.ones(1))
    assert metrics["stumbles"].tolist() == [2.0]
    assert metrics["skipped"].tolist() == [0.0]


class Noisy(Constant):
    """A gradient from a generator, so that a resume needs its state."""

    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def _gradients(self, tasks):
        for name in ("fast.w", "slow.warp"):
            noise = torch.randn(2, generator=self.generator)
            self.params[name].grad = noise
        yield {"loss": noise}


def training(path, iterations, *, new=True):
    (run,) = create_runs(path, (0,), {}) if new else find_runs(path)
    generator = torch.Generator().manual_seed(0)
    learner = Trainer(Noisy(generator), OuterSettings())
    count = iter(range(1000))

    def iterate():
        metrics = learner.step(None)
        return metrics | ({"validation": torch.ones(1)} if next(count) % 5 == 0 else {})

    loop = MetaTraining(
        learner,
        iterate,
        [run],
        [{"noise": generator}],
        25,
        LoopSettings(iterations, log_every=4, checkpoint_every=3),
        headline=("loss", "validation"),
        counter="tasks_seen",
    )
    return learner, loop


def test_a_resumed_run_equals_the_whole_one_bit_for_bit_and_counts_tasks(tmp_path):
    whole, loop = training(tmp_path / "whole", 12)
    loop.run()
    (run,) = find_runs(tmp_path / "whole")
    metrics = run.read_metrics()
    assert metrics["tasks_seen"].tolist() == [100, 200, 300]
    assert "env_steps" not in metrics
    assert metrics["validation"].tolist() == [1.0, 1.0, 1.0]  # given once a line, not averaged down
    training(tmp_path / "cut", 6)[1].run()
    resumed, loop = training(tmp_path / "cut", 12, new=False)
    loop.resume()
    assert loop.iteration == 6
    loop.run()
    assert values(resumed.learner) == values(whole.learner)
    state, other = resumed.agent_state(0), whole.agent_state(0)
    assert state["optimisers"].keys() == other["optimisers"].keys() == {"fast", "slow", "rule"}
    for moments in ("exp_avg", "exp_avg_sq"):
        one, two = (s["optimisers"]["fast"]["fast.w"][moments] for s in (state, other))
        assert torch.equal(one, two)


def test_the_state_of_another_learner_is_refused():
    trainer = Trainer(Constant(), OuterSettings(SGD))
    state = trainer.agent_state(0)
    state["params"] = {"fast.v": torch.ones(2)}
    with pytest.raises(RuntimeError, match="on one side only"):
        trainer.load_agent_states([state])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slow_lr": -1.0}, "slow_lr must be finite and at least 0, got -1.0"),
        ({"rule_lr": math.nan}, "rule_lr must be finite and at least 0, got nan"),
        ({"max_grad_norm": 0.0}, "max_grad_norm must be finite and above 0, or None, got 0.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        OuterSettings(**settings)
