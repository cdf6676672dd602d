"""The one loop of evaluation: its stages are those of adaptation, and no more is run than that."""

import numpy as np
import pytest
import torch

from metarl.core import sgd, share
from metarl.evaluate.adaptation import measure, stages
from metarl.meta import MAML
from metarl.nn import MLP
from metarl.supervised import Examples, FewShotBatch
from metarl.supervised.tasks import SupervisedTasks, mean_squared_error


class Counted(SupervisedTasks):
    """Tasks that note how often, and on how many tasks, a network is run."""

    calls: list[int] = []  # noqa: RUF012

    def outputs(self, fast, slow, inputs, num_reference=0):
        self.calls.append(self.num_tasks)
        return super().outputs(fast, slow, inputs, num_reference)


@pytest.fixture
def problem():
    Counted.calls.clear()
    generator = torch.Generator().manual_seed(0)
    network = MLP((1, 5, 1))

    def examples(count):
        inputs, targets = torch.randn(2, 4, count, 1, generator=generator)
        return Examples(inputs, targets)

    tasks = Counted(network, FewShotBatch(examples(3), examples(6)), mean_squared_error)
    return MAML(network.init(generator), rule=sgd(0.1), num_steps=1), tasks


def errors(learner):
    def look(part):
        query, slow = part.source.draw("query"), share(learner.slow, part.num_tasks)
        return lambda stage: {
            "error": mean_squared_error(
                part.outputs(stage.fast, slow, query.inputs), query.targets
            ),
            "fit": part.outputs(stage.fast, slow, query.inputs)[..., 0],
        }

    return look


def test_stages_are_those_of_adaptation(problem):
    learner, tasks = problem
    before = learner.state_dict()["params"]
    found = list(stages(learner, tasks, 3))
    assert [stage.index for stage in found] == [0, 1, 2, 3]
    for stage in found:
        for name, p in learner.adapt(tasks, stage.index).items():
            assert torch.equal(stage.fast[name], p)
            assert not stage.fast[name].requires_grad
    assert [stage.loss is None for stage in found] == [False] * 3 + [True]
    assert [stage.batch is None for stage in found] == [False] * 3 + [True]
    for name, value in learner.state_dict()["params"].items():
        assert torch.equal(value, before[name])


def test_figures_are_of_chosen_stages_and_losses_of_every_step(problem):
    learner, tasks = problem
    found = measure(learner, tasks, 3, errors(learner))
    assert found.steps == (0, 1, 2, 3)
    assert found.figures["error"].shape == (4, 4)
    assert found.figures["fit"].shape == (4, 4, 6)
    support, query = tasks.source.support, tasks.source.query
    for k in found.steps:
        fast, slow = learner.adapt(tasks, k), share(learner.slow, 4)
        at_query = mean_squared_error(tasks.outputs(fast, slow, query.inputs), query.targets)
        np.testing.assert_array_equal(found.figures["error"][:, k], at_query.double().numpy())
        if k < 3:
            at_support = tasks.loss(fast, slow, support)
            np.testing.assert_allclose(found.losses[:, k], at_support.double(), rtol=1e-6)
    few = measure(learner, tasks, 3, errors(learner), at={3, 0}, chunk_size=3)
    assert few.steps == (0, 3)
    np.testing.assert_allclose(few.figures["fit"], found.figures["fit"][:, [0, 3]], rtol=1e-5)
    np.testing.assert_allclose(few.losses, found.losses, rtol=1e-5)


def test_no_more_is_run_than_the_steps_and_the_looks(problem):
    learner, tasks = problem

    def once(part):
        slow = share(learner.slow, part.num_tasks)
        inputs = part.source.draw("query").inputs
        return lambda stage: {"fit": part.outputs(stage.fast, slow, inputs)}

    measure(learner, tasks, 5, once, at=(2, 5), chunk_size=3)
    assert Counted.calls == [3] * 7 + [1] * 7  # five losses and two looks, of 3 tasks and of 1


def test_no_step_at_all(problem):
    learner, tasks = problem
    found = measure(learner, tasks, 0, errors(learner))
    assert found.steps == (0,)
    assert found.losses.shape == (4, 0)
    assert found.figures["error"].shape == (4, 1)


@pytest.mark.parametrize(
    ("num_steps", "at", "message"),
    [
        (-1, None, "num_steps must be at least 0, got -1"),
        (2, (), "from 0 to 2"),
        (2, (3,), "from 0 to 2"),
        (2, (-1, 0), "from 0 to 2"),
    ],
)
def test_stages_that_are_not_there_are_refused(problem, num_steps, at, message):
    learner, tasks = problem
    with pytest.raises(ValueError, match=message):
        measure(learner, tasks, num_steps, errors(learner), at=at)
