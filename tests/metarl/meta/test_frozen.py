"""Parameters with ``requires_grad=False``: read by the network, neither adapted nor learned."""

import copy

import pytest
import torch
from torch import nn

import metarl
from metarl.core import Execution, adam, meta_curvature, sgd
from metarl.meta import (
    ANIL,
    DAML,
    EMAML,
    MAML,
    TRPO,
    ContinualWarpGrad,
    FineTuning,
    ImplicitMAML,
    Leap,
    LeapObjective,
    MAMLObjective,
    MetaSGD,
    OfflineWarpGrad,
    OnlineWarpGrad,
    ProMP,
    Reptile,
    ReptileObjective,
)
from metarl.supervised import SupervisedTasks
from metarl.supervised.tasks import cross_entropy
from tests.metarl.rl.enumerable import draw, tiny_mdp, tiny_policy
from tests.metarl.rl.sampled import sampled

RULE = sgd(0.1)
WARP = {"rule": RULE, "num_steps": 2, "slow": ["2.*"]}
LEARNERS = {
    "maml": lambda p: MAML(p, rule=RULE, num_steps=2),
    "fomaml": lambda p: MAML(p, rule=RULE, num_steps=2, first_order=True),
    "rewound": lambda p: MAML(p, rule=RULE, num_steps=2, checkpoint=True),
    "truncated": lambda p: MAML(p, rule=RULE, num_steps=2, truncate=1),
    "chunks": lambda p: MAML(p, rule=RULE, num_steps=2, execution=Execution(2, num_threads=2)),
    "anil": lambda p: ANIL(p, head=["4.*"], rule=RULE, num_steps=2),
    "anil with a frozen head": lambda p: ANIL(p, head=["[14].*"], rule=RULE, num_steps=2),
    "metasgd": lambda p: MetaSGD(p, lr=0.1, num_steps=2),
    "adam": lambda p: MAML(p, rule=adam(0.1, learned="element"), num_steps=2),
    "curvature": lambda p: MAML(p, rule=meta_curvature(0.1), num_steps=2),
    "reptile": lambda p: Reptile(p, rule=RULE, num_steps=2),
    "leap": lambda p: Leap(p, rule=RULE, num_steps=2),
    "imaml": lambda p: ImplicitMAML(p, rule=RULE, num_steps=2, strength=1.0),
    "imaml with slow": lambda p: ImplicitMAML(p, slow=["[12].*"], rule=RULE, num_steps=2),
    "fine-tuning": lambda p: FineTuning(p, head=["4.*"], num_heads=4, rule=RULE, num_steps=2),
    "daml": lambda p: DAML(
        p, objective=linear, objective_params=LOSS, rule=RULE, num_steps=2, slow=["2.*"]
    ),
    "warp": lambda p: OnlineWarpGrad(p, **WARP),
    "warp first order": lambda p: OnlineWarpGrad(p, objective="first_order", **WARP),
    "warp-leap": lambda p: OnlineWarpGrad(p, initialisation=LeapObjective(), **WARP),
    "warp-maml": lambda p: OnlineWarpGrad(p, initialisation=MAMLObjective(), **WARP),
    "warp-reptile": lambda p: OnlineWarpGrad(
        p, initialisation=ReptileObjective(), objective="replay", **WARP
    ),
    "offline": lambda p: OfflineWarpGrad(p, **WARP),
    "continual": lambda p: ContinualWarpGrad(p, **WARP),
}
LOSS = {"w": torch.eye(5, dtype=torch.float64)}


def linear(params, features):
    return features @ params["w"]


class Tasks(SupervisedTasks):
    """With what some learners ask for besides."""

    thread_safe = True

    @property
    def indices(self):
        return torch.arange(self.num_tasks)

    def features(self, fast, slow, batch):
        return self.outputs(fast, slow, batch.inputs)


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
    return Tasks(net, tasks[:4], cross_entropy)


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
def test_what_is_frozen_stands_still(make):
    net = make_net()
    tasks, learner = few_shot(net), make(dict(net.named_parameters()))
    before = {name: p.detach().clone() for name, p in learner.params.items()}
    assert all(p.requires_grad for p in learner.params.values())
    assert not [name for name in learner.params if name.endswith((".1.weight", ".1.bias"))]
    optimiser = torch.optim.SGD(learner.params.values(), lr=1.0)
    for _ in learner.meta_gradients(tasks):
        optimiser.step()
        optimiser.zero_grad()
    assert any(not torch.equal(p, before[name]) for name, p in learner.params.items())
    adapted = learner.adapt(tasks, num_steps=2)
    for name in ("1.weight", "1.bias"):
        own = net.get_parameter(name)
        assert torch.equal(learner.fast[name], own)
        assert torch.equal(learner.model_params[name], own)
        assert learner.frozen[name].grad is None
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
    with pytest.raises(ValueError, match=r"on one side only: .*frozen.1.bias, frozen.1.weight"):
        LEARNERS["maml"](make_net().requires_grad_(True)).load_state_dict(learner.state_dict())


@pytest.mark.parametrize("kind", [OnlineWarpGrad, OfflineWarpGrad])
def test_warp_layers_that_are_all_frozen_are_refused(kind):
    with pytest.raises(ValueError, match="nothing is learned"):
        kind(make_net(), rule=RULE, num_steps=1, slow=["1.*"])


def test_no_work_is_done_for_what_is_frozen():
    """Not even its gradient: a product of whole layers."""
    net = make_net()
    asked = []
    net[1].register_forward_hook(lambda module, x, y: asked.append(y.requires_grad))
    list(LEARNERS["maml"](net).meta_gradients(few_shot(net)))
    assert asked
    assert not any(asked)


POLICY_LEARNERS = {
    "maml": lambda p: MAML(p, rule=RULE, num_steps=2),
    "promp": lambda p: ProMP(p, rule=RULE, num_steps=2, num_epochs=2),
    "trpo": lambda p: TRPO(p, rule=RULE, num_steps=2),
    "emaml": lambda p: EMAML(p, rule=RULE, num_steps=2),
}


@pytest.mark.parametrize("make", POLICY_LEARNERS.values(), ids=POLICY_LEARNERS)
@pytest.mark.parametrize("which", ["actor.layers.0", "actor.layers.1"])
def test_a_part_of_a_policy_that_is_frozen_stands_still(make, which):
    policy = tiny_policy()
    params = {
        name: nn.Parameter(p, requires_grad=not name.startswith(which))
        for name, p in draw(policy).items()
    }
    learner = make(params)
    tasks = sampled(policy, tiny_mdp(3, num_steps=3))
    before = {name: p.detach().clone() for name, p in learner.params.items()}
    optimiser = torch.optim.SGD(learner.params.values(), lr=1.0)
    for _ in learner.meta_gradients(tasks):
        optimiser.step()
        optimiser.zero_grad()
    assert all(not torch.equal(p, before[name]) for name, p in learner.params.items())
    for name, p in params.items():
        assert torch.equal(learner.model_params[name], p) == (not p.requires_grad)


def test_frozen_parameters_may_be_of_any_type():
    params = {"w": torch.ones(2), "scale": nn.Parameter(torch.tensor(2), requires_grad=False)}
    assert torch.equal(LEARNERS["maml"](params).frozen["scale"], params["scale"])


def test_a_compiled_meta_gradient_is_that_with_frozen_parameters(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda graph, **options: graph)
    net = make_net()
    params = dict(net.named_parameters())
    eager, compiled = (
        MAML(params, rule=RULE, num_steps=2, execution=Execution(compile=c)) for c in (False, True)
    )
    network = few_shot(net)
    for learner in (eager, compiled):
        list(learner.meta_gradients(network))
    for name, p in eager.params.items():
        torch.testing.assert_close(compiled.params[name].grad, p.grad)
