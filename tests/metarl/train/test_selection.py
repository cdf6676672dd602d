"""The learner at its best: when it is validated, what is kept, and after a resume."""

from copy import deepcopy

import torch

from metarl.core import OptimiserSettings, OuterSettings, sgd
from metarl.meta import MAML
from metarl.nn import MLP
from metarl.supervised import Sine
from metarl.supervised.tasks import SupervisedTasks, mean_squared_error
from metarl.train.selection import VALIDATION, SelectedLearner
from metarl.train.trainer import Trainer

SCORES = (0.3, 0.7, 0.5, 0.7)


def selected(every=2):
    network = MLP((1, 4, 1))
    learner = MAML(network.init(torch.Generator().manual_seed(0)), rule=sgd(0.01))
    trainer = Trainer(learner, OuterSettings(OptimiserSettings("sgd", lr=0.1)))
    calls = []

    def validate():
        calls.append(0)
        return SCORES[len(calls) - 1]

    batch = Sine().sample_tasks(3, 4, 4, torch.Generator().manual_seed(1))
    tasks = SupervisedTasks(network, batch, mean_squared_error)
    return SelectedLearner(trainer, validate, every), tasks, calls


def params(learner):
    return {name: p.detach().clone() for name, p in learner.trainer.learner.params.items()}


def test_the_first_of_the_best_is_kept_and_the_last_iteration_is_validated():
    learner, tasks, _ = selected()
    found, seen = {}, {}
    for iteration in range(1, 8):
        metrics = learner.step(tasks)
        seen[iteration] = params(learner)
        if VALIDATION in metrics:
            found[iteration] = float(metrics[VALIDATION])
    found[7] = float(learner.validate_at_the_end()[VALIDATION])
    assert list(found) == [2, 4, 6, 7]
    assert learner.best["iteration"] == 4
    assert learner.best["score"] == 0.7
    for name, value in learner.best["learner"]["params"].items():
        assert torch.equal(value, seen[4][name])
        assert not torch.equal(value, seen[7][name])


def test_it_goes_on_from_its_state_as_if_nothing_had_happened():
    whole, tasks, _ = selected()
    for _ in range(5):
        whole.step(tasks)
    state = deepcopy(whole.agent_state(0))  # as through a file
    other, _, calls = selected()
    assert other.best is None
    calls.extend([0, 0])  # two validations are over
    other.load_agent_states([state])
    for _ in range(2):
        one, two = whole.step(tasks), other.step(tasks)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert whole.best["iteration"] == other.best["iteration"] == 4


def test_a_last_iteration_whose_turn_it_was_is_not_validated_twice():
    learner, tasks, calls = selected()
    for _ in range(4):
        learner.step(tasks)
    assert learner.validate_at_the_end() == {}
    assert len(calls) == 2


def test_what_was_best_at_an_end_that_was_none_counts_no_more():
    learner, tasks, _ = selected()
    for _ in range(3):
        learner.step(tasks)
    assert learner.best["iteration"] == 2
    learner.validate_at_the_end()
    assert learner.best["iteration"] == 3
    other, _, calls = selected()
    calls.extend([0, 0])
    other.load_agent_states([deepcopy(learner.agent_state(0))])
    assert other.best["iteration"] == 3
    other.step(tasks)
    assert other.best["iteration"] == 4  # 0.5, above the 0.3 of iteration 2 alone
