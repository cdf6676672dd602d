"""Methods as values: what each reads, and that its learner is built from it."""

from dataclasses import fields

import pytest
import torch

from metarl.core.settings import TASKS, Compiled, LearnedSteps
from metarl.errors import UserError
from metarl.meta.method import LearnedLoss, Untrained
from metarl.methods import GRADIENT, METHODS, gradient_methods_for, method_named, methods_for
from metarl.nn import MLP, WarpMLP


def built(method):
    net = MLP((1, 4, 1), "tanh")
    net = WarpMLP(net, start="identity") if method.warped else net
    params = net.init(torch.Generator().manual_seed(0))
    loss = MLP((2, 3, 1), "tanh")
    learned = LearnedLoss(loss, loss.init(torch.Generator().manual_seed(1)))
    return method.build(Untrained(params, net, learned, num_tasks=3))


@pytest.mark.parametrize("name", GRADIENT)
def test_every_method_builds_its_learner_and_says_what_it_suits(name):
    method = METHODS[name]
    assert method.name == name
    assert method.suits
    assert method.suits <= TASKS.keys()
    assert method.family
    learner = built(method())
    assert learner.num_steps == method().inner_steps
    assert learner.compilable == issubclass(method, Compiled)


@pytest.mark.parametrize("name", GRADIENT)
def test_what_a_method_does_not_learn_has_no_learning_rate(name):
    method = METHODS[name]
    learner = built(method())
    sides = {parameter.partition(".")[0] for parameter in learner.params}
    read = {one.name for one in fields(method)}
    if "slow" in sides and "lr" in read:
        assert "slow_lr" in read
    if issubclass(method, LearnedSteps):
        learned = built(method(inner_learned="parameter"))
        assert any(parameter.startswith("rule.") for parameter in learned.params)
        assert "rule_lr" in read or "lr" not in read


def test_methods_that_follow_the_path_of_adaptation_take_several_steps():
    many = {"reptile", "leap", "warp", "warp-leap", "warp-reptile", "warp-maml"}
    steps = {name: method().inner_steps for name, method in GRADIENT.items()}
    assert steps == {name: 5 if name in many else 16 if name == "imaml" else 1 for name in GRADIENT}


class Counted:
    """Tasks that count how often each of them is drawn."""

    def __init__(self, num_tasks, drawn):
        self.num_tasks, self.drawn = num_tasks, drawn
        self.indices = torch.arange(num_tasks)

    def sample(self, fast, slow, split):
        self.drawn.append(self.num_tasks)
        return torch.ones(self.num_tasks, 3, 1)

    def loss(self, fast, slow, batch):
        return (
            WarpMLP(MLP((1, 4, 1), "tanh"), start="identity")({**fast, **slow}, batch)
            .square()
            .mean((1, 2))
        )

    def select(self, tasks):
        return Counted(len(range(self.num_tasks)[tasks]), self.drawn)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"warp_objective": "replay"},
        {"warp_algorithm": "offline"},
        {"warp_algorithm": "offline", "warp_epochs": 3, "warp_stride": 2},
        {"warp_algorithm": "offline", "warp_objective": "replay", "warp_draws": None},
    ],
    ids=str,
)
def test_warp_says_how_often_it_draws_from_a_task(settings):
    method, drawn = METHODS["warp"](inner_steps=5, **settings), []
    learner = built(method)
    for _ in learner.meta_gradients(Counted(3, drawn)):
        for p in learner.params.values():
            p.grad = None
    assert sum(drawn) == 3 * method.draws()


def test_a_foreign_setting_cannot_be_written_down():
    with pytest.raises(TypeError, match="order"):
        METHODS["maml"](order="serial")
    assert METHODS["maml"]().having(order="serial", inner_lr=0.5).inner_lr == 0.5


@pytest.mark.parametrize(
    ("name", "settings", "value"),
    [
        ("maml", {"inner_lr": -1.0}, "-1.0"),
        ("maml", {"inner_later": 0.0}, "0.0"),
        ("maml", {"inner_steps": 0}, "0"),
        ("maml", {"inner_momentum": 1.0}, "1.0"),
        ("maml", {"inner_beta1": 1.0}, "1.0"),
        ("maml", {"inner_weight_decay": -1.0}, "-1.0"),
        ("maml", {"inner_clip_norm": 0.0}, "0.0"),
        ("maml", {"inner_per_step": True}, "inner_learned"),
        ("maml", {"lr": -1.0}, "-1.0"),
        ("maml", {"rule_lr": -2.0}, "-2.0"),
        ("maml", {"max_grad_norm": 0.0}, "0.0"),
        ("maml", {"final": 2.0}, "2.0"),
        ("maml", {"warmup": -1}, "-1"),
        ("maml", {"truncate": -1}, "-1"),
        ("maml", {"chunk_size": 0}, "0"),
        ("maml", {"compile": True, "checkpoint": True}, "checkpoint"),
        ("warp", {"slow_lr": -1.0}, "-1.0"),
        ("warp", {"warp_draws": 0}, "0"),
        ("warp", {"compile": True, "warp_algorithm": "offline"}, "offline"),
        ("leap", {"leap_final": False, "inner_steps": 1}, "leap_final"),
        ("leap", {"leap_eps": -1.0}, "-1.0"),
        ("imaml", {"strength": 0.0}, "0.0"),
        ("imaml", {"solver_iterations": 0}, "0"),
    ],
)
def test_values_out_of_range_are_named(name, settings, value):
    with pytest.raises(ValueError, match=value):
        METHODS[name](**settings)


def test_a_method_that_does_not_suit_the_tasks_says_which_tasks_it_needs():
    data = gradient_methods_for("data")
    assert "maml" in data
    assert "promp" in methods_for("policy")
    assert "promp" not in data
    for name, words in (
        ("ft", "training tasks that are met again"),
        ("promp", "a policy acts in"),
        ("sgd", "'sgd' is not one of maml"),
    ):
        with pytest.raises(UserError, match=words):
            method_named(name, data)
