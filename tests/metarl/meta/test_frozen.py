"""Parameters with ``requires_grad=False``: read by the network, neither adapted nor learned."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

import metarl
from metarl.core import sgd
from metarl.fewshot import SupervisedTasks
from metarl.fewshot.criteria import cross_entropy
from metarl.meta import ANIL, MAML, ImplicitMAML, Leap, OfflineWarpGrad, OnlineWarpGrad, Reptile

RULE = sgd(0.1)
LEARNERS = {
    "maml": lambda p: MAML(p, rule=RULE, num_steps=2),
    "fomaml": lambda p: MAML(p, rule=RULE, num_steps=2, first_order=True),
    "rewound": lambda p: MAML(p, rule=RULE, num_steps=2, checkpoint=True),
    "anil": lambda p: ANIL(p, head=["4.*"], rule=RULE, num_steps=2),
    "metasgd": lambda p: MAML(p, rule=sgd(0.1, learned="element"), num_steps=2),
    "reptile": lambda p: Reptile(p, rule=RULE, num_steps=2),
    "leap": lambda p: Leap(p, rule=RULE, num_steps=2),
    "imaml": lambda p: ImplicitMAML(p, rule=RULE, num_steps=2, strength=1.0),
    "warp": lambda p: OnlineWarpGrad(p, rule=RULE, num_steps=2, slow=["2.*"]),
    "offline": lambda p: OfflineWarpGrad(p, rule=RULE, num_steps=2, slow=["2.*"]),
}


def make_net():
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 5)
    net = nn.Sequential(*layers).double()
    net[1].requires_grad_(False)
    return net


def few_shot(net):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(100, 1, 4, 4, generator=generator, dtype=torch.float64)
    tasks = metarl.TaskDataset((images, torch.arange(100) % 10), ways=5, shots=1, query_shots=2)

    def nets(params, x):
        return torch.vmap(lambda p, x: functional_call(net, p, (x,)))(params, x)

    return SupervisedTasks(nets, tasks[:4], cross_entropy)


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
def test_what_is_frozen_stands_still(make):
    net = make_net()
    tasks, learner = few_shot(net), make(dict(net.named_parameters()))
    before = {name: p.detach().clone() for name, p in learner.params.items()}
    optimiser = torch.optim.SGD(learner.params.values(), lr=1.0)
    for _ in learner.meta_gradients(tasks):
        optimiser.step()
        optimiser.zero_grad()
    assert any(not torch.equal(p, before[name]) for name, p in learner.params.items())
    adapted = learner.adapt(tasks, num_steps=2)
    for name in ("1.weight", "1.bias"):
        own = net.get_parameter(name)
        assert torch.equal(learner.fast[name], own)
        assert torch.equal(adapted[name], own.expand(4, *own.shape))
    assert not torch.equal(adapted["4.bias"][0], adapted["4.bias"][1])


def test_a_frozen_encoder_is_that_of_a_clone():
    """The meta-gradient is that of `metarl.MAML`, which honours requires_grad too."""
    net = make_net()
    tasks, learner = few_shot(net), LEARNERS["maml"](dict(net.named_parameters()))
    list(learner.meta_gradients(tasks))
    twin = copy.deepcopy(net)
    maml = metarl.MAML(twin, lr=0.1)
    for i in range(4):
        (x, y), (qx, qy) = (tasks.select(slice(i, i + 1)).draw(s) for s in ("support", "query"))
        clone = maml.clone()
        for _ in range(2):
            clone.adapt(nn.functional.cross_entropy(clone(x[0]), y[0]))
        (nn.functional.cross_entropy(clone(qx[0]), qy[0]) / 4).backward()
    for name, p in twin.named_parameters():
        if p.requires_grad:
            torch.testing.assert_close(learner.params[f"fast.{name}"].grad, p.grad)


def test_a_net_that_is_frozen_as_a_whole_is_refused():
    net = make_net().requires_grad_(False)
    with pytest.raises(ValueError, match="6 are frozen"):
        LEARNERS["maml"](dict(net.named_parameters()))


def test_plain_tensors_are_not_frozen():
    params = {name: p.detach() for name, p in make_net().named_parameters()}
    assert not LEARNERS["maml"](params).frozen


def test_what_is_frozen_is_saved_and_loaded():
    net, other = make_net(), make_net()
    with torch.no_grad():
        other[1].weight.add_(1.0)
    learner, twin = (LEARNERS["maml"](dict(n.named_parameters())) for n in (net, other))
    twin.load_state_dict(learner.state_dict())
    assert torch.equal(twin.fast["1.weight"], net[1].weight)
