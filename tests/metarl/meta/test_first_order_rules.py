"""What a rule has learned is learned at first order too, alike in both kinds of MAML."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

import metarl
from metarl.meta import ANIL, MAML
from metarl.supervised import SupervisedTasks
from metarl.supervised.tasks import cross_entropy

RULES = {
    "metasgd": lambda: metarl.sgd(0.1, learned="element"),
    "parameter": lambda: metarl.sgd(0.1, momentum=0.9, learned="parameter"),
    "by-step": lambda: metarl.sgd([0.1, 0.2], learned="parameter"),
    "curvature": lambda: metarl.meta_curvature(0.1),
    "adam": lambda: metarl.adam(0.1, learned="parameter"),
}


def make():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x = torch.randn(60, 6, dtype=torch.float64)
    data = metarl.TaskDataset((x, torch.arange(60) % 6), ways=3, shots=2, query_shots=2)

    def nets(params, x):
        return torch.vmap(lambda p, x: functional_call(net, p, (x,)))(params, x)

    return net, SupervisedTasks(nets, data[:3], cross_entropy)


@pytest.mark.parametrize("make_rule", RULES.values(), ids=RULES)
def test_both_learn_the_rule_alike(make_rule):
    net, tasks = make()
    params = dict(net.named_parameters())
    learner = MAML(params, rule=make_rule(), num_steps=2, first_order=True)
    list(learner.meta_gradients(tasks))
    maml = metarl.MAML(net, rule=make_rule(), first_order=True)
    for i in range(3):
        (x, y), (qx, qy) = (tasks.select(slice(i, i + 1)).draw(s) for s in ("support", "query"))
        clone = maml.clone()
        for _ in range(2):
            clone.adapt(nn.functional.cross_entropy(clone(x[0]), y[0]))
        (nn.functional.cross_entropy(clone(qx[0]), qy[0]) / 3).backward()
    for name, p in net.named_parameters():
        torch.testing.assert_close(learner.params[f"fast.{name}"].grad, p.grad)
    for name, p in maml.learned.params().items():
        own = learner.params[f"rule.{name}"].grad
        assert own.abs().max() > 0
        torch.testing.assert_close(own, p.grad)


def test_the_head_alone_learns_its_step_sizes_too():
    net, tasks = make()
    rule = metarl.sgd(0.1, learned="element")
    params = dict(net.named_parameters())
    learner = ANIL(params, head=["2.*"], rule=rule, num_steps=2, first_order=True)
    list(learner.meta_gradients(tasks))
    assert all(p.grad.abs().max() > 0 for name, p in learner.params.items() if "rule" in name)
