"""Learners by name: what each is made of, and which settings are refused."""

import math
from dataclasses import dataclass, field, replace
from typing import get_args

import pytest
import torch

import metarl
from experiments.learners import (
    WARP_METHODS,
    ImplicitSettings,
    InnerSettings,
    LearnedLoss,
    LearnerSettings,
    Method,
    WarpSettings,
    adjusted,
    check_applies,
    make_learner,
    own_of_learner,
)
from metarl.core import Execution, chain, clip_by_norm, sgd
from metarl.errors import UserError
from metarl.meta import (
    ANIL,
    DAML,
    MAML,
    FineTuning,
    ImplicitMAML,
    Leap,
    LeapMetric,
    NoMetaTraining,
    OfflineWarpGrad,
    OnlineWarpGrad,
    Reptile,
)
from metarl.meta.linear_solvers import NeumannSeries
from metarl.nn import MLP
from metarl.nn.warp_mlp import WarpMLP
from metarl.supervised import Sine
from metarl.supervised.criteria import mean_squared_error
from metarl.supervised.tasks import SupervisedTasks

METHODS = get_args(Method)
PLAIN = MLP((1, 5, 1), "tanh")
BASE = LearnerSettings(inner=InnerSettings(lr=0.05, num_steps=2))


LOSS = MLP((1, 3, 2), "tanh")


@dataclass(frozen=True)
class Tasks(SupervisedTasks):
    """With a number for life (ft), and predictions to show (daml)."""

    numbers: torch.Tensor = field(default_factory=lambda: torch.arange(3))

    @property
    def indices(self):
        return self.numbers

    def features(self, fast, slow, batch):
        return self.outputs(fast, slow, batch.inputs)

    def select(self, tasks):
        return replace(self, source=self.source.select(tasks), numbers=self.numbers[tasks])


def network_of(method):
    return WarpMLP(PLAIN) if method in WARP_METHODS else PLAIN


def made(method, settings=None):
    network = network_of(method)
    params = network.init(torch.Generator().manual_seed(0))
    loss = LearnedLoss(LOSS, LOSS.init(torch.Generator().manual_seed(1)))
    settings = settings or adjusted(method, BASE)
    return make_learner(method, network, params, settings, num_tasks=3, learned_loss=loss)


def meta_batch(method):
    batch = Sine().sample_tasks(3, 4, 4, torch.Generator().manual_seed(1))
    return Tasks(network_of(method), batch, mean_squared_error)


def gradient(learner, tasks):
    for _ in learner.meta_gradients(tasks):
        pass
    return {name: p.grad for name, p in learner.params.items() if p.grad is not None}


def test_the_names_say_which_learner():
    kinds = {
        "maml": MAML,
        "fomaml": MAML,
        "anil": ANIL,
        "metasgd": MAML,
        "reptile": Reptile,
        "leap": Leap,
        "warp-leap": OnlineWarpGrad,
        "daml": DAML,
        "ft": FineTuning,
        "imaml": ImplicitMAML,
        "none": NoMetaTraining,
    }
    for method, kind in kinds.items():
        assert type(made(method)) is kind, method
    assert made("fomaml").first_order
    assert not made("maml").first_order
    assert made("anil").fast.keys() == {"layers.1.weight", "layers.1.bias"}
    assert "0.axis1.layers.0.weight" in made("meta-curvature").rule_params
    offline = WarpSettings("offline", objective="replay", draws=None, epochs=2)
    learner = made("warp-maml", replace(BASE, warp=offline))
    assert type(learner) is OfflineWarpGrad
    assert (learner.objective, learner.iterates_per_step, learner.num_epochs) == ("replay", None, 2)
    neumann = ImplicitSettings(strength=3.0, solver="neumann", num_iterations=7)
    implicit = made("imaml", replace(BASE, implicit=neumann))
    assert (implicit.strength, implicit.solver) == (3.0, NeumannSeries(7))
    assert made("warp").slow.keys() == {"warp.0.weight", "warp.0.bias"}


@pytest.mark.parametrize("method", METHODS)
def test_every_learner_learns_something_and_chunks_do_not_matter(method):
    settings = adjusted(method, BASE)
    one = gradient(made(method, settings), meta_batch(method))
    assert any(g.abs().max() > 0 for g in one.values()) is (method != "none")
    in_chunks = replace(settings, execution=Execution(chunk_size=2))
    two = gradient(made(method, in_chunks), meta_batch(method))
    assert one.keys() == two.keys()
    for name, g in one.items():
        torch.testing.assert_close(g, two[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_adaptation_leaves_the_learner_untouched(method):
    learner = made(method)
    before = learner.state_dict()["params"]
    learner.adapt(meta_batch(method), 3)
    after = learner.state_dict()["params"]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_inner_settings_become_the_rule():
    assert InnerSettings(lr=0.3).build() == sgd(0.3)
    assert InnerSettings("momentum", lr=0.3, momentum=0.5).build() == sgd(0.3, 0.5)
    assert InnerSettings("nesterov").build() == sgd(0.01, 0.9, nesterov=True)
    adam = InnerSettings("adam", beta1=0.0, learned="parameter").build()
    assert adam.links[0].beta1 == 0.0
    assert adam.links[1].learned == "parameter"


@pytest.mark.parametrize("method", ["leap", "warp-leap"])
def test_without_its_final_point_a_path_is_that_of_a_step_less(method):
    """The published code's K - 1 segments are the path of K - 1 steps."""
    inner = replace(BASE.inner, num_steps=4)
    settings = replace(BASE, inner=inner)
    with_it = gradient(made(method, settings), meta_batch(method))
    without = gradient(made(method, replace(settings, leap_final=False)), meta_batch(method))
    less = replace(settings, inner=replace(inner, num_steps=3))
    shorter = gradient(made(method, less), meta_batch(method))
    fast = [name for name in with_it if name.startswith("fast.")]
    for name in fast:
        torch.testing.assert_close(without[name], shorter[name], rtol=1e-5, atol=1e-7)
    assert any((without[n] - with_it[n]).abs().max() > 1e-3 for n in fast)


def test_what_a_method_needs_otherwise():
    assert adjusted("maml", BASE) == BASE
    assert adjusted("metasgd", BASE).inner.learned == "element"
    assert adjusted("imaml", BASE).inner.num_steps == 16
    reptile = adjusted("reptile", BASE)
    assert reptile.inner.num_steps == 5
    assert (reptile.outer.optimiser.name, reptile.outer.optimiser.lr) == ("sgd", 1.0)
    assert reptile.schedule.decay == "linear"


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("reptile", {"checkpoint": True}, "--learner.checkpoint is for maml, anil, metasgd,"),
        ("maml", {"order": "serial"}, "--learner.order is for reptile; maml has none"),
        ("maml", {"leap": LeapMetric("energy")}, "--learner.leap is for leap, warp-leap"),
        ("maml", {"leap_final": False}, "--learner.leap-final is for leap, warp-leap; maml has"),
        (
            "leap",
            {"leap_final": False, "inner": InnerSettings(num_steps=1)},
            "--learner.no-leap-final leaves one inner step no path: take at least 2",
        ),
        ("anil", {"warp": WarpSettings(objective="replay")}, "--learner.warp is for warp,"),
        ("reptile", {"inner": InnerSettings(learned="element")}, "reptile says nothing about step"),
        ("meta-curvature", {"inner": InnerSettings("adam")}, "meta-curvature is gradient descent"),
        ("maml", {"implicit": ImplicitSettings(3.0)}, "--learner.implicit is for imaml"),
        ("metasgd", {}, "metasgd is gradient descent with one learned step size a number"),
    ],
)
def test_settings_that_a_method_would_not_read_are_refused(method, settings, message):
    with pytest.raises(UserError, match=message):
        check_applies(method, replace(BASE, **settings))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("warp-leap", "warp-leap needs a network with warp layers"),
        ("ft", "ft has a head for each training task"),
        ("daml", "daml needs tasks whose inputs alone show"),
    ],
)
def test_a_network_or_tasks_that_do_not_suit_the_method_are_refused(method, message):
    params = PLAIN.init(torch.Generator())
    with pytest.raises(UserError, match=message):
        make_learner(method, PLAIN, params, adjusted(method, BASE))


def test_decay_clipping_and_step_sizes_by_step_become_links():
    adamw = InnerSettings("adamw", lr=0.1, weight_decay=0.2, clip_norm=3.0).build()
    assert adamw == chain(clip_by_norm(3.0), metarl.adamw(0.1, weight_decay=0.2))
    rmsprop = InnerSettings("rmsprop", lr=0.1, beta2=0.9, weight_decay=0.2).build()
    assert rmsprop == metarl.rmsprop(0.1, 0.9, weight_decay=0.2)
    by_step = InnerSettings(lr=0.1, num_steps=3, learned="parameter", per_step=True).build()
    assert by_step == sgd([0.1] * 3, learned="parameter")


@pytest.mark.parametrize(
    "settings",
    [{"per_step": True}, {"clip_norm": 0.0}, {"weight_decay": -0.1}, {"weight_decay": math.nan}],
)
def test_inner_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        InnerSettings(**settings)


@pytest.mark.parametrize("method", ["metasgd", "meta-curvature", "maml", "anil", "fomaml"])
def test_clipping_and_decay_reach_every_learner_of_rules(method):
    """Learned or not, a step of clipped gradients is no longer than it may be."""
    inner = InnerSettings(lr=1.0, num_steps=1, clip_norm=1e-3)
    learner = made(method, adjusted(method, LearnerSettings(inner=inner)))
    before, after = learner.adapting, learner.adapt(meta_batch(method), 1)
    moved = torch.cat([(after[n] - p).flatten(1) for n, p in before.items()], 1).norm(dim=1)
    assert moved.max() < 1.01e-3


def test_truncation_is_an_option_of_maml_and_its_kin():
    truncated = replace(BASE, truncate=1)
    assert made("maml", truncated).truncate == 1
    assert gradient(made("metasgd", adjusted("metasgd", truncated)), meta_batch("metasgd"))
    for method in ("reptile", "fomaml", "daml"):
        with pytest.raises(UserError, match="truncate"):
            made(method, truncated)
    with pytest.raises(UserError, match="at least 0"):
        made("maml", replace(BASE, truncate=-1))


def test_first_order_maml_learns_its_step_sizes():
    inner = InnerSettings(lr=0.05, num_steps=2, learned="element", per_step=True)
    found = gradient(made("fomaml", LearnerSettings(inner=inner)), meta_batch("fomaml"))
    assert all(g.abs().sum() > 0 for n, g in found.items() if n.startswith("rule."))
    assert any(n.startswith("rule.") for n in found)


def test_stored_settings_that_a_method_does_not_read_may_have_had_other_defaults():
    stored = {"method": "maml", "learner": {"leap": {"eps": 1e-9}, "inner": {"lr": 0.1}}}
    assert own_of_learner(stored)["learner"] == {"inner": {"lr": 0.1}}
    assert own_of_learner({**stored, "method": "leap"})["learner"] == stored["learner"]
