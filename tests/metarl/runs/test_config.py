"""Settings from config.json: today's strictly, those of version 0.1 under their new names."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from metarl.errors import RunDirectoryError
from metarl.methods import GRADIENT, METHODS
from metarl.runs.config import recipe_of, restored, upgraded
from metarl.runs.files import to_json

INNER_0_1 = {
    **{"rule": "adam", "lr": 0.5, "num_steps": 3, "momentum": 0.8, "beta1": 0.1, "beta2": 0.2},
    **{"weight_decay": 0.3, "clip_norm": 4.0, "learned": "element", "per_step": True, "later": 0.7},
}
LEARNER_0_1 = {
    "inner": INNER_0_1,
    "outer": {
        "optimiser": {
            **{"name": "rmsprop", "lr": 0.01, "beta1": 0.3, "beta2": 0.4, "eps": 1e-7},
            "weight_decay": 0.6,
        },
        **{"slow_lr": 0.02, "rule_lr": 0.03, "max_grad_norm": 5.0},
    },
    "schedule": {"decay": "cosine", "final": 0.1, "warmup": 7},
    "execution": {"chunk_size": 2, "num_threads": 3, "compile": False},
    "checkpoint": True,
    "truncate": 2,
    "order": "serial",
    "leap": {"distance": "energy", "loss": False, "stabiliser": False, "eps": 1e-9},
    "leap_final": False,
    "warp": {
        **{"algorithm": "offline", "objective": "replay", "draws": 4, "epochs": 5, "stride": 6},
    },
    "implicit": {"strength": 9.0, "solver": "neumann", "num_iterations": 8},
}
"""What version 0.1 wrote of every method: all settings, read or not."""

OUTER = {
    **{"optimiser": "rmsprop", "lr": 0.01, "beta1": 0.3, "beta2": 0.4, "eps": 1e-7},
    **{"weight_decay": 0.6, "slow_lr": 0.02, "rule_lr": 0.03, "max_grad_norm": 5.0},
    **{"decay": "cosine", "final": 0.1, "warmup": 7, "chunk_size": 2, "num_threads": 3},
    **{"compile": False, "checkpoint": True, "truncate": 2, "order": "serial"},
    **{"leap_distance": "energy", "leap_loss": False, "leap_stabiliser": False, "leap_eps": 1e-9},
    **{"leap_final": False, "warp_algorithm": "offline", "warp_objective": "replay"},
    **{"warp_draws": 4, "warp_epochs": 5, "warp_stride": 6},
    **{"strength": 9.0, "solver": "neumann", "solver_iterations": 8},
}


@dataclass(frozen=True)
class Settings:
    method: str = "maml"
    learner: object = field(default_factory=METHODS["maml"])
    family: str = "sine"
    hidden: tuple[int, ...] = (4,)
    place: Path | None = None


def defaults(method="maml"):
    return Settings(method, METHODS[method]())


def config_of(settings, **extra):
    config = {**asdict(settings), "recipe": "some.recipe", "seed": 0, "provenance": {}, **extra}
    return to_json(config, "config")


def read(config, recipe="some.recipe"):
    return restored(defaults, config, recipe, ("method",))


@pytest.mark.parametrize("method", METHODS)
def test_settings_come_back(method):
    settings = defaults(method)
    assert read(json.loads(json.dumps(config_of(settings)))) == settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden": [4, "x"]}, r"'x' is no int at hidden\[1\]"),
        ({"hidden": 4}, "4 is no list at hidden"),
        ({"hidden": [4.5]}, "4.5 is no int"),
        ({"hidden": [True]}, "True is no int"),
        ({"place": 3}, "3 is no str at place"),
        ({"learner": {"inner_lr": "fast"}}, "'fast' is no float at learner.inner_lr"),
        ({"learner": {"inner_rule": "sdg"}}, "'sdg' is not one of sgd, .* at learner.inner_rule"),
        ({"learner": {"inner_lr": -1.0}}, "inner_lr must be finite and above 0, got -1.0"),
        ({"learner": {"order": "serial"}}, "Extra fields .*: order"),
        ({"learner": 3}, "learner"),
        ({"shape": 3}, "shape"),
        ({"method": "sgd"}, "sgd"),
        ({"recipe": "other.recipe"}, "it is that of one of other.recipe"),
    ],
)
def test_a_value_that_is_none_is_named_with_its_place(changes, words):
    with pytest.raises(RunDirectoryError, match=words) as refused:
        read(config_of(defaults(), **changes))
    assert len(str(refused.value).splitlines()) == 1


def test_whole_numbers_may_be_written_with_a_point_and_new_settings_may_lack():
    config = config_of(defaults(), hidden=[13.0])
    del config["learner"]["rule_lr"]
    found = read(config)
    assert found.hidden == (13,)
    assert type(found.hidden[0]) is int
    assert found.learner == defaults().learner


@pytest.mark.parametrize("method", GRADIENT)
def test_a_learner_of_version_0_1_is_read_under_the_names_of_today(method):
    """What the method does not read is left out, whatever it was."""
    config = {"family": "sine", "method": method, "hidden": [4], "learner": LEARNER_0_1}
    found = asdict(read(config, "experiments.regression").learner)
    known = {
        **OUTER,
        **{f"inner_{name}": value for name, value in INNER_0_1.items() if name != "num_steps"},
        "inner_steps": 3,
    }
    assert {name: known.get(name, value) for name, value in found.items()} == found
    assert found["inner_lr"] == 0.5


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("promp", {"num_epochs": 2, "clip": 0.1, "inner_kl_coef": 0.2, "max_divergence": 2.0}),
        (
            "trpo-maml",
            {"max_divergence": 0.5, "damping": 0.6, "solver_iterations": 7, "backtrack": 0.9},
        ),
        ("emaml", {"exploration_coef": 0.25}),
    ],
)
def test_what_learners_of_policies_had_beside_is_theirs(method, expected):
    config = {
        "env": "point",
        "method": method,
        "learner": LEARNER_0_1,
        "of_policies": {
            "promp": {"num_epochs": 2, "clip": 0.1, "inner_kl_coef": 0.2, "max_divergence": None},
            "trust_region": {
                **{"max_divergence": 0.5, "damping": 0.6, "num_iterations": 7},
                **{"num_backtracks": 8, "backtrack": 0.9},
            },
            "exploration_coef": 0.25,
        },
    }
    found = asdict(read(config, "experiments.maze_adapt").learner)
    assert {name: found[name] for name in expected} == expected


def test_runs_of_version_0_1_are_known_by_their_settings():
    for config, recipe in (
        ({"protocol": "fewshot"}, "experiments.omniglot"),
        ({"protocol": "multishot"}, "experiments.alphabets"),
        ({"env": "maze"}, "experiments.maze_adapt"),
        ({"family": "sine"}, "experiments.regression"),
        ({"wall_penalty": 0.0}, "experiments.maze"),
        ({}, None),
        ({"recipe": "my.recipe", "family": "sine"}, "my.recipe"),
    ):
        assert recipe_of(config) == recipe


def test_the_network_of_version_0_1_has_its_layers():
    config = {"filters": 8, "reduction": "pool", "warp": {"kind": "1x1", "num_layers": 2}}
    assert upgraded(config) == {
        "network": {"filters": 8, "reduction": "pool", "warp_kind": "1x1", "warp_layers": 2}
    }
