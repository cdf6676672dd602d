"""Supervised tasks of foreign functions: one module in several threads, reference examples."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state

import metarl
from metarl.core import Chain, Execution, StepSize, Transform, sgd
from metarl.meta import ANIL, DAML, MAML, Leap, OfflineWarpGrad, Reptile, TaskwiseLearner
from metarl.nn import ModuleNetwork
from metarl.supervised import SupervisedTasks
from metarl.supervised.tasks import (
    accuracy,
    cross_entropy,
    mean_absolute_error,
    mean_squared_error,
)

LEARNERS = {
    "maml": lambda p, e: MAML(p, rule=sgd(0.1), num_steps=2, execution=e),
    "first order": lambda p, e: MAML(p, rule=sgd(0.1), num_steps=2, execution=e, first_order=True),
    "anil": lambda p, e: ANIL(p, head=["3.*"], rule=sgd(0.1), num_steps=2, execution=e),
    "reptile": lambda p, e: Reptile(p, rule=sgd(0.1), num_steps=3, execution=e),
    "leap": lambda p, e: Leap(p, rule=sgd(0.1), num_steps=3, execution=e),
    "offline": lambda p, e: OfflineWarpGrad(
        p, rule=sgd(0.1), num_steps=2, slow=["1.*"], execution=e, iterates_per_step=None
    ),
}


class Yielding(nn.Module):
    """Lets another thread on, in the middle of a call."""

    def forward(self, x):
        torch.linalg.svd(torch.eye(30))  # without the lock of the interpreter
        return x


def few_shot(num_tasks=8):
    g = torch.Generator().manual_seed(0)
    images = torch.rand(100, 1, 4, 4, generator=g, dtype=torch.float64)
    labels = torch.arange(100) % 10
    return metarl.TaskDataset((images, labels), ways=5, shots=1, query_shots=2)[:num_tasks]


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 8), Yielding(), nn.Linear(8, 5), nn.Tanh()
    ).double()


def vmapped(net):
    def nets(params, x, num_reference=0):
        return torch.vmap(lambda p, x: functional_call(net, p, (x,)))(params, x)

    return nets


def in_turn(net):
    def nets(params, x):
        each = [
            functional_call(net, {n: p[i] for n, p in params.items()}, (x[i],))
            for i in range(len(x))
        ]
        return torch.stack(each)

    return nets


class Bound:
    """A policy or network of a user's own, which looks like one of ours."""

    slow, head = (), ("3.*",)

    def __init__(self, net):
        self.net = net

    def init(self, generator):
        return dict(self.net.named_parameters())

    def __call__(self, params, x, num_reference=0):
        return vmapped(self.net)(params, x)


def stateless(net):
    base = copy.deepcopy(net).to("meta")
    return lambda params, x: torch.vmap(lambda p, x: functional_call(base, p, (x,)))(params, x)


RECIPES = {
    "vmap": vmapped,
    "in turn": in_turn,
    "bound": Bound,
    "stateless": stateless,
    "network": ModuleNetwork,
    "module": lambda net: net,
}


def gradient(learner, tasks):
    list(learner.meta_gradients(tasks))
    return {n: p.grad for n, p in learner.params.items() if p.grad is not None}


def assert_whole(net):
    own = make_net()
    for name, p in own.named_parameters():
        assert type(net.get_parameter(name)) is nn.Parameter
        assert torch.equal(net.get_parameter(name), p)
        assert net.get_parameter(name).grad is None


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_module_that_threads_share_gives_the_serial_gradient_bit_for_bit(recipe, make):
    net = make_net()
    tasks = SupervisedTasks(recipe(net), few_shot(), cross_entropy)
    serial = gradient(make(net, Execution(2)), tasks)
    threads = gradient(make(net, Execution(2, num_threads=3)), tasks)
    assert serial.keys() == threads.keys()
    assert all(torch.equal(threads[n], g) for n, g in serial.items())
    assert_whole(net)


def test_states_that_were_stacked_beforehand():
    nets = [make_net() for _ in range(2)]
    params, _ = stack_module_state(nets)
    x = few_shot(2).support.inputs
    tasks = SupervisedTasks(nets[0], few_shot(2), cross_entropy)
    outputs = tasks.outputs({n: p.detach() for n, p in params.items()}, {}, x)
    torch.testing.assert_close(outputs[1], nets[1](x[1]))


class Penalty:
    """A loss that asks the module itself."""

    def __init__(self, net):
        self.net = net

    def __call__(self, outputs, targets):
        with torch.no_grad():
            state = {n: 2 * p for n, p in self.net.named_parameters()}
        doubled = functional_call(self.net, state, (torch.ones(1, 1, 4, 4, dtype=torch.float64),))
        return cross_entropy(outputs, targets) * doubled.detach().square().sum()


class Overridden(SupervisedTasks):
    def loss(self, fast, slow, batch):
        outputs = vmapped(self.network.module)({**fast, **slow}, batch.inputs)
        return cross_entropy(outputs, batch.targets)


class Learned(Transform):
    """A rule that is a module."""

    def __init__(self, net):
        self.net = net

    def update(self, grads, fast, state, params):
        state_of = {n: 2 * p for n, p in self.net.named_parameters()}
        x = torch.ones(1, 1, 4, 4, dtype=torch.float64)
        factor = functional_call(self.net, state_of, (x,)).detach().square().sum()
        return {n: g * factor for n, g in grads.items()}, {}


class Own(TaskwiseLearner):
    """A learner that calls the module past the tasks."""

    net = None

    def task_gradients(self, tasks):
        batch = tasks.sample({}, {}, "query")
        fast = {n: p.detach().expand(tasks.num_tasks, *p.shape) for n, p in self.fast.items()}
        fast = {n: p.clone().requires_grad_() for n, p in fast.items()}
        loss = cross_entropy(vmapped(self.net)(fast, batch.inputs), batch.targets)
        grads = torch.autograd.grad(loss.sum(), list(fast.values()))
        found = {f"fast.{n}": g.sum(0) for n, g in zip(fast, grads, strict=True)}
        return found, {"loss": loss.detach()}


def by_criterion(net, execution):
    tasks = SupervisedTasks(net, few_shot(), Penalty(net))
    return gradient(LEARNERS["maml"](net, execution), tasks)


def by_subclass(net, execution):
    tasks = Overridden(net, few_shot(), cross_entropy)
    return gradient(LEARNERS["maml"](net, execution), tasks)


def by_rule(net, execution):
    rule = Chain((Learned(net), StepSize(0.1)))
    tasks = SupervisedTasks(net, few_shot(), cross_entropy)
    return gradient(MAML(net, rule=rule, num_steps=2, execution=execution), tasks)


def by_learner(net, execution):
    learner = Own(net, rule=sgd(0.1), num_steps=1, execution=execution)
    learner.net = net
    return gradient(learner, SupervisedTasks(net, few_shot(), cross_entropy))


def by_objective(net, execution):
    class Showing(SupervisedTasks):
        thread_safe = True

        def features(self, fast, slow, batch):
            return self.outputs(fast, slow, batch.inputs)

    torch.manual_seed(1)
    judge = nn.Sequential(nn.Linear(5, 3), Yielding()).double()
    learner = DAML(
        net,
        objective=vmapped(judge),
        objective_params=judge,
        rule=sgd(0.1),
        num_steps=2,
        execution=execution,
    )
    found = gradient(learner, Showing(net, few_shot(), cross_entropy))
    assert type(judge[0].weight) is nn.Parameter
    return found


@pytest.mark.parametrize("way", [by_criterion, by_subclass, by_rule, by_learner, by_objective])
def test_other_ways_to_share_a_module(way):
    net = make_net()
    serial, threads = way(net, Execution(2)), way(net, Execution(2, num_threads=3))
    assert all(torch.equal(threads[n], g) for n, g in serial.items())
    assert any(bool(g.any()) for g in serial.values())
    assert_whole(net)


class Stops(nn.Module):
    def __init__(self, error, after):
        super().__init__()
        self.error, self.left = error, after

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return x


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ArithmeticError("no number")])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_module_is_whole_after_an_error(recipe, error):
    net = make_net()
    net.append(Stops(error, 1))  # every thread counts for itself
    tasks = SupervisedTasks(recipe(net), few_shot(), cross_entropy)
    with pytest.raises(type(error)):
        gradient(LEARNERS["maml"](net, Execution(2, num_threads=3)), tasks)
    assert_whole(net)


def test_what_was_learned_goes_back_into_the_module():
    net = make_net()
    net[1].weight.requires_grad_(False)
    frozen = net[1].weight.clone()
    tasks, learner = SupervisedTasks(net, few_shot(), cross_entropy), LEARNERS["anil"](net, None)
    outer = torch.optim.SGD(learner.params.values(), lr=1.0)
    for _ in learner.meta_gradients(tasks):
        outer.step()
    assert list(learner.model_params) == list(net.state_dict())
    assert_whole(net)
    net.load_state_dict(learner.model_params)
    assert torch.equal(net[1].weight, frozen)
    x = tasks.draw("query").inputs
    stacked = {n: p.expand(8, *p.shape) for n, p in learner.model_params.items()}
    for i, outputs in enumerate(tasks.outputs(stacked, {}, x)):
        torch.testing.assert_close(net(x[i]), outputs)
    assert not torch.equal(net[3].weight, make_net()[3].weight)


def normalised(params, x, num_reference=0):
    """Takes notice."""
    known = x[:, :num_reference] if num_reference else x
    return (x - known.mean(1, keepdim=True)) @ params["w"]


def heedless(params, x, num_reference=0):
    """Takes no notice."""
    return normalised(params, x)


def plain(params, x):
    return x @ params["w"]


def plain_and_joint(params, x):
    return normalised(params, x)


def keyword(params, x, *, num_reference=0):
    return normalised(params, x, num_reference)


def any_keyword(params, x, **options):
    return normalised(params, x, **options)


@pytest.mark.parametrize("network", [normalised, plain, keyword, any_keyword])
def test_reference_examples_are_taken_notice_of(network):
    params, x = {"w": torch.ones(2, 3, 2)}, torch.rand(2, 6, 3)
    tasks = SupervisedTasks(network, few_shot(2), cross_entropy)
    known = x - x[:, :2].mean(1, keepdim=True) if network is not plain else x
    torch.testing.assert_close(tasks.outputs(params, {}, x, 2), known @ params["w"])


@pytest.mark.parametrize("network", [heedless, plain_and_joint])
def test_a_network_that_takes_no_notice_of_reference_examples_is_refused(network):
    params, x = {"w": torch.ones(2, 3, 2)}, torch.rand(2, 6, 3)
    tasks = SupervisedTasks(network, few_shot(2), cross_entropy)
    assert tasks.outputs(params, {}, x).shape == (2, 6, 2)
    with pytest.raises(ValueError, match=rf"{network.__name__}.* its 2 reference examples other"):
        tasks.outputs(params, {}, x, 2)


@pytest.mark.parametrize("criterion", [mean_squared_error, mean_absolute_error])
@pytest.mark.parametrize("num_tasks", [1, 5])
def test_values_that_torch_would_broadcast_are_refused(criterion, num_tasks):
    outputs = torch.randn(num_tasks, 5, 1)
    assert criterion(outputs, outputs[..., 0].unsqueeze(-1)).eq(0).all()
    with pytest.raises(ValueError, match=r"targets of shape .*, 5\) do not fit outputs of shape"):
        criterion(outputs, outputs[..., 0])


def test_classes_with_an_axis_too_many_are_refused():
    with pytest.raises(ValueError, match="targets of shape"):
        accuracy(torch.randn(4, 4, 3), torch.zeros(4, 4, 1, dtype=torch.int64))
