"""Accuracy step by step: against the plain computation, both ways of normalising, in chunks."""

import numpy as np
import pytest
import torch

from metarl.core import sgd, share
from metarl.evaluate.supervised import adaptation_curve
from metarl.meta import MAML
from metarl.nn import ConvNet
from metarl.supervised import Examples, FewShotBatch
from metarl.supervised.tasks import SupervisedTasks, cross_entropy

NETWORK = ConvNet(3, filters=4, num_blocks=2, image_size=8)


def problem(num_tasks=4, slow=()):
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(num_tasks, 3, 1, 8, 8, generator=generator)

    def examples(count):
        noise = torch.randn(num_tasks, 3 * count, 1, 8, 8, generator=generator)
        targets = torch.arange(3).repeat_interleave(count).repeat(num_tasks, 1)
        return Examples(patterns.repeat_interleave(count, 1) + 0.7 * noise, targets)

    tasks = SupervisedTasks(NETWORK, FewShotBatch(examples(2), examples(5)), cross_entropy)
    return MAML(NETWORK.init(generator), rule=sgd(0.5), num_steps=1, slow=slow), tasks


def curve(learner, tasks, num_steps=4, **changes):
    return adaptation_curve(
        learner,
        tasks,
        num_steps,
        query=lambda some: some.source.draw("query"),
        reference=lambda some: some.source.draw("support"),
        **changes,
    )


@pytest.mark.parametrize("slow", [(), ("blocks.0.*",), ("blocks.*",)])
def test_it_is_the_accuracy_after_so_many_steps_both_ways(slow):
    learner, tasks = problem(slow=slow)
    before = learner.state_dict()["params"]
    found = curve(learner, tasks)
    assert found.steps == (0, 1, 2, 3, 4)
    query, support = tasks.source.query, tasks.source.support
    slow = share(learner.slow, 4)
    for k in found.steps:
        fast = learner.adapt(tasks, k)
        together = tasks.outputs(fast, slow, query.inputs).argmax(-1) == query.targets
        np.testing.assert_array_equal(found.transductive[:, k], together.double().mean(1))
        # A query alone has the same answer as among the others.
        for i in range(query.inputs.shape[1]):
            alone = torch.cat([support.inputs, query.inputs[:, i : i + 1]], 1)
            right = tasks.outputs(fast, slow, alone, 6)[:, -1].argmax(-1) == query.targets[:, i]
            together[:, i] = right
        np.testing.assert_array_equal(found.non_transductive[:, k], together.double().mean(1))
    assert found.transductive[:, -1].mean() > found.transductive[:, 0].mean()
    assert (found.transductive != found.non_transductive).any()
    assert found.support_loss.shape == (4, 4)
    assert (found.support_loss[:, -1] < found.support_loss[:, 0]).all()
    for name, value in learner.state_dict()["params"].items():
        assert torch.equal(value, before[name])


def test_chunks_and_chosen_steps_change_nothing():
    learner, tasks = problem()
    whole, part = curve(learner, tasks), curve(learner, tasks, at={4, 0}, chunk_size=3)
    assert part.steps == (0, 4)
    np.testing.assert_array_equal(part.transductive, whole.transductive[:, [0, 4]])
    np.testing.assert_array_equal(part.non_transductive, whole.non_transductive[:, [0, 4]])
    np.testing.assert_allclose(part.support_loss, whole.support_loss, rtol=1e-4)


def test_no_steps_at_all():
    learner, tasks = problem()
    found = curve(learner, tasks, 0)
    assert found.steps == (0,)
    assert found.support_loss.shape == (4, 0)


@pytest.mark.parametrize("at", [(5,), (-1, 2), ()])
def test_steps_that_are_not_taken_are_refused(at):
    learner, tasks = problem()
    with pytest.raises(ValueError, match="from 0 to 4"):
        curve(learner, tasks, at=at)
