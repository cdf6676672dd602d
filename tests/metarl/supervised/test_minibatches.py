"""Support sets in batches: passes, labels that stay with their inputs, chunks."""

import pytest
import torch

from metarl.supervised import Examples, FewShotBatch
from metarl.supervised.examples import in_minibatches


def few(num_tasks=2, size=7):
    numbers = torch.arange(num_tasks * size).view(num_tasks, size)
    inputs = numbers.view(num_tasks, size, 1, 1, 1).expand(-1, -1, 1, 2, 2).float()
    return FewShotBatch(Examples(inputs, numbers), Examples(inputs[:, :2], numbers[:, :2]))


def test_every_pass_has_distinct_examples_with_their_own_labels():
    source = in_minibatches(few(), 3, 5, torch.Generator().manual_seed(0))
    drawn = [source.draw("support") for _ in range(6)]
    for batch in drawn:
        assert batch.inputs.shape == (2, 3, 1, 2, 2)
        assert torch.equal(batch.inputs[..., 0, 0, 0].long(), batch.targets)
        assert batch.targets[0].max() < 7 <= batch.targets[1].min()
    for one, two in ((0, 1), (2, 3), (4, 5)):  # a pass: two batches of three of the seven
        both = torch.cat([drawn[one].targets, drawn[two].targets], 1)
        assert all(len(row.unique()) == 6 for row in both)
    orders = {tuple(batch.targets[0].tolist()) for batch in drawn}
    assert len(orders) > 3
    assert torch.equal(source.draw("support").targets, drawn[0].targets)
    assert torch.equal(source.draw("query").targets, few().query.targets)


def test_a_task_draws_the_same_wherever_it_is_worked_on():
    source = in_minibatches(few(3), 2, 4, torch.Generator().manual_seed(0))
    alone = source.select(slice(1, 2))
    for _ in range(4):
        assert torch.equal(source.draw("support").targets[1:2], alone.draw("support").targets)
    assert alone.num_tasks == 1


@pytest.mark.parametrize("size", [0, 8])
def test_batches_that_cannot_be_filled_are_refused(size):
    with pytest.raises(ValueError, match="between 1 and 7"):
        in_minibatches(few(), size, 2, torch.Generator())
