"""Settings that come back from a run's `config.json`.

A run says which recipe it is of: ``"recipe": "experiments.regression"``. Its settings are those of
the recipe's dataclass, and a setting that the recipe does not know is an error: what it asked for
would be lost. Runs of version 0.1 name no recipe; `upgraded` brings their settings to the names of
today, and what their method did not read is left out.

In version 0.1 the runs of `experiments.maze` and `experiments.maze_adapt` kept the settings of
every kind of method beside one another; today a run has an environment, an agent and a learner,
which have the settings that they read.
"""

from __future__ import annotations

import dataclasses
import operator
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from cattrs import Converter, transform_error

from metarl.errors import RunDirectoryError, UserError, understood

ENVIRONMENT = (
    *("horizon", "size", "start", "goal", "salt", "arms"),
    *("reward", "wall_penalty", "goals"),
)
NETWORK = ("hidden", "activation", "initial_std", "episodes")
OPTIMISER = ("lr", "beta1", "beta2", "eps", "weight_decay")


def moved_agents(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]] | None:
    """Return the settings that a run's method reads, and where they are today.

    Args:
        config: The `config.json` of a run of version 0.1.

    Returns:
        The config, and today's place of each that has another, or of a group of them; None: it is
        the run of another recipe.
    """
    if "wall_penalty" in config:
        return _maze(dict(config))
    if "env" not in config:
        return None
    method = config.get("method")
    moved = {name: f"environment.{name}" for name in ENVIRONMENT}
    kept: tuple[str, ...]
    if method in ("rl2", "warp-rnn"):
        moved |= {"trial_episodes": "agent.trial_episodes", **two_timescales("recurrent.learner")}
        moved |= {"recurrent.schedule": "learner", "recurrent": "agent"}
        kept = ("trial_episodes", "recurrent")
    elif method == "ppo":
        moved |= {name: f"agent.{name}" for name in NETWORK}
        moved |= {"ppo.schedule": "learner", "ppo": "learner"}
        kept = (*NETWORK, "ppo")
    else:
        own = (*NETWORK, "core", "core_size", "loss")
        moved |= {name: f"agent.{name}" for name in own}
        kept = (*own, "learner", "of_policies")
    foreign = {"trial_episodes", "recurrent", "ppo", "learner", "of_policies", "loss", "core"}
    foreign |= {"core_size", *NETWORK}
    found = {n: v for n, v in config.items() if n in kept or n not in foreign}
    recurrent = found.get("recurrent")
    if isinstance(recurrent, Mapping):
        recurrent = {**recurrent, "learner": _sides(recurrent.get("learner"))}
        if method == "warp-rnn":  # it had a core of its own
            recurrent["core"] = "warp"
        found["recurrent"] = recurrent
    return found, moved


def _maze(found: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Rename options of `experiments.maze`, whose methods were called by their cores."""
    core, learner = found.get("method"), found.get("learner", {})
    moved = {name: f"environment.{name}" for name in ENVIRONMENT}
    moved |= {**two_timescales("learner"), "schedule": "learner"}
    # What returns fast weights to their start is a setting of the two timescales alone.
    resets = isinstance(learner, Mapping) and learner.get("reset_fast", "never") != "never"
    found["core"], found["learner"] = core, _sides(learner)
    found["method"] = "warp-rnn" if core == "warp" or resets else "rl2"
    return found, moved


def _sides(learner: Any) -> Any:
    """Return the settings of two timescales, of the slow one what is not the fast one's."""
    if not isinstance(learner, Mapping):
        return learner
    fast, slow = learner.get("fast"), learner.get("slow")
    if not (isinstance(fast, Mapping) and isinstance(slow, Mapping)):
        return learner
    if {**slow, "lr": fast.get("lr")} != fast:
        return learner
    own = {} if slow == fast else {"slow_lr": slow.get("lr")}
    return {**{n: v for n, v in learner.items() if n != "slow"}, **own}


def two_timescales(group: str) -> dict[str, str]:
    """Return where the settings of two timescales are today."""
    moved = {f"{group}.fast.{name}": f"learner.{name}" for name in OPTIMISER}
    moved |= {f"{group}.fast.name": "learner.optimiser", f"{group}.slow": "learner.slow"}
    return {**moved, group: "learner"}


FORMER_GROUPS = {
    **two_timescales("recurrent.learner"),
    "recurrent.learner.slow.lr": "learner.slow_lr",
    "learner.fast.name": "learner.optimiser",
    "learner.fast": "learner",
    "learner.slow.lr": "learner.slow_lr",
    "recurrent.schedule": "learner",
    "recurrent": "agent",
    "ppo.schedule": "learner",
    "ppo": "learner",
}
"""Where groups of settings are today, whatever the method."""

SettingsT = TypeVar("SettingsT")

OWN = ("recipe", "seed", "provenance", "resumed", "anchors", "spaces", "native_ran")
"""Entries of `config.json` that are no settings."""

BEFORE = {"native": "off"}
"""What runs did that were made before there was the setting."""

_INNER = ("rule", "lr", "momentum", "beta1", "beta2", "weight_decay", "clip_norm", "learned")
_MOVED: dict[str, str] = {
    **{f"learner.inner.{name}": f"learner.inner_{name}" for name in (*_INNER, "per_step", "later")},
    "learner.inner.num_steps": "learner.inner_steps",
    "learner.outer.optimiser.name": "learner.optimiser",
    "learner.outer.optimiser": "learner",
    "learner.outer": "learner",
    "learner.schedule": "learner",
    "learner.execution": "learner",
    **{f"learner.leap.{n}": f"learner.leap_{n}" for n in ("distance", "loss", "stabiliser", "eps")},
    **{
        f"learner.warp.{name}": f"learner.warp_{name}"
        for name in ("algorithm", "objective", "draws", "epochs", "stride")
    },
    "learner.implicit.num_iterations": "learner.solver_iterations",
    "learner.implicit": "learner",
    "of_policies.exploration_coef": "learner.exploration_coef",
    "filters": "network.filters",
    "reduction": "network.reduction",
    **{
        f"warp.{name}": f"network.warp_{name}"
        for name in ("kind", "filters", "activation", "residual", "batch_norm", "head", "start")
    },
    "warp.num_layers": "network.warp_layers",
}
"""Where a setting of version 0.1 was, or a group of them, and where it is today."""

_OF_METHOD = {"promp": "of_policies.promp", "trpo-maml": "of_policies.trust_region"}
"""Groups of settings of version 0.1 of one method each, which are its learner's today."""


def recipe_of(config: Mapping[str, Any]) -> str | None:
    """Return the recipe of a run, such as ``experiments.regression``; None: unknown."""
    if "recipe" in config:
        return str(config["recipe"])
    if "protocol" in config:
        many = config["protocol"] == "multishot"
        return "experiments.alphabets" if many else "experiments.omniglot"
    telling = {
        "env": "experiments.maze_adapt",
        "family": "experiments.regression",
        "wall_penalty": "experiments.maze",
    }
    return next((recipe for name, recipe in telling.items() if name in config), None)


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run of version 0.1 under the names of today."""
    config, moved = moved_agents(config) or (dict(config), {})
    moved = {**_MOVED, **moved}
    group = _OF_METHOD.get(config.get("method", ""))
    if group is not None:
        moved |= {f"{group}.num_iterations": "learner.solver_iterations", group: "learner"}
    found: dict[str, Any] = {}
    for path, value in _leaves(config):
        if path == "of_policies.promp.max_divergence" and value is None:
            continue  # no bound: the usual one, which nothing but a blow-up reaches
        *places, name = _today(path, moved).split(".")
        here = found
        for place in places:
            here = here.setdefault(place, {})
            if not isinstance(here, dict):
                raise TypeError(f"{place} is {here!r}")
        here[name] = value
    return found


def today(option: str) -> str:
    """Return what an option of version 0.1, such as ``learner.inner.lr``, is called now."""
    groups = dict.fromkeys(_OF_METHOD.values(), "learner")
    groups |= {f"{g}.num_iterations": "learner.solver_iterations" for g in list(groups)}
    path = _today(option.replace("-", "_"), {**_MOVED, **FORMER_GROUPS, **groups})
    for group in ("learner", "agent", "network"):
        path = path.removeprefix(f"{group}.")
    return path.replace("_", "-")


def restored(
    default: Callable[..., SettingsT],
    config: Mapping[str, Any],
    recipe: str,
    picks: Sequence[str],
    former: Mapping[str, Any] | None = None,
) -> SettingsT:
    """Return the settings that a run's `config.json` keeps.

    Args:
        default: The settings of a recipe, given the picks; the kinds of its values are the kinds
            that are restored, such as the settings of the method that was picked.
        config: What the file holds.
        recipe: Whose run it should be.
        picks: Names of the settings that ``default`` takes.
        former: Values of those that earlier runs do not have, or none.

    Raises:
        RunDirectoryError: It is the run of another recipe, or of another version; or a value is
            none of its setting's.
    """
    whose, problem = recipe_of(config), f"is not that of a run of {recipe}"
    if whose != recipe:
        other = f"it is that of one of {whose}" if whose else "name another run"
        raise RunDirectoryError(f"config.json {problem}; {other}")
    problem += " of this version"
    new = "recipe" in config
    with understood("config.json", problem, "restore it, or use the version that wrote it"):
        values = {name: value for name, value in config.items() if name not in OWN}
        values = values if new else upgraded(values)
        picked = {**(former or {}), **values}
        for name in (*picks, "learner"):
            if name not in picked:
                raise RunDirectoryError(f"config.json {problem}: it has no {name}; restore it")
        try:
            usual = default(**{name: picked[name] for name in picks})
        except UserError as error:
            raise RunDirectoryError(f"config.json {problem}: {error}") from None
    known = {field.name for field in dataclasses.fields(typing.cast(Any, usual))}
    values = {**{name: value for name, value in BEFORE.items() if name in known}, **values}
    try:
        return _converter(usual, strict=new).structure(values, type(usual))
    except Exception as error:
        found = transform_error(error, "", lambda reason, _: _words(reason))
        places = "; ".join(text.replace(" @ .", " at ").removesuffix(" @ ") for text in found[:3])
        raise RunDirectoryError(
            f"config.json {problem} ({places}); restore it, or use the version that wrote it"
        ) from error


def structured(usual: SettingsT, values: Mapping[str, Any]) -> SettingsT:
    """Return settings of the kind of others from JSON values, each of its own kind and no other.

    Args:
        usual: Settings; what is not among the values is as in their kind.
        values: By their names.

    Raises:
        Exception: Any, where a value is of another kind, or of a setting that there is not.
    """
    return _converter(usual, strict=True).structure(values, type(usual))


def check_own(config: Mapping[str, Any]) -> None:
    """Check the kinds of the entries that a run directory itself has written.

    Raises:
        TypeError: One is of another kind.
    """
    seed, resumed = config.get("seed", 0), config.get("resumed", [])
    if type(seed) is not int or seed < 0:
        raise TypeError(f"seed is {seed!r}")
    if not isinstance(resumed, list):
        raise TypeError(f"resumed is {resumed!r}")
    ran = config.get("native_ran", {"kernels": {}})
    if not isinstance(ran, dict) or not isinstance(ran.get("kernels"), dict):
        raise TypeError(f"native_ran is {ran!r}")
    for name, words in (("native_ran", ran.get("eager", [])), ("log", config.get("log", []))):
        if not isinstance(words, list) or not all(type(word) is str for word in words):
            raise TypeError(f"{name} is {config[name]!r}")
    anchors = config.get("anchors") or {}
    for value in anchors.values():
        if type(value) not in (int, float, type(None)):
            raise TypeError(f"anchors are {anchors!r}")


def _leaves(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return all values by their path; a mapping is no value."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        inside = isinstance(value, Mapping) and value
        found += _leaves(value, f"{prefix}{name}.") if inside else [(f"{prefix}{name}", value)]
    return found


def _today(path: str, moved: Mapping[str, str]) -> str:
    """Return where a setting of version 0.1 is today, by the longest path that was moved."""
    head, rest = path, ""
    while head:
        if head in moved:
            return moved[head] + rest
        head, _, last = head.rpartition(".")
        rest = f".{last}{rest}"
    return path


def _converter(usual: object, *, strict: bool) -> Converter:
    """Make what turns JSON values into settings, each of its own kind and no other.

    Args:
        usual: Settings whose values are of the kinds that are restored.
        strict: Whether a setting that there is not is an error.
    """
    converter = Converter(forbid_extra_keys=strict)

    def union(value: Any, kind: Any) -> Any:
        return converter.structure(value, _member(get_args(kind), value))

    def row(value: Any, kind: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise TypeError(f"{value!r} is no list")
        many: Any = list[get_args(kind)[0]]  # type: ignore[misc]
        return tuple(converter.structure(value, many))

    def narrowed(own: type) -> Callable[[Any, Any], Any]:
        return lambda value, _: converter.structure(value, own)

    add = converter.register_structure_hook_func
    for plain in (int, float, bool, str, type(None)):
        converter.register_structure_hook(plain, _plain)
    converter.register_structure_hook(Path, lambda value, _: Path(_plain(value, str)))
    add(lambda kind: _origin(kind) is Literal, _choice)
    add(lambda kind: _origin(kind) in (typing.Union, types.UnionType), union)
    add(lambda kind: _origin(kind) is tuple, row)
    for hint, own in _narrower(usual):
        add(partial(operator.is_, hint), narrowed(own))
    return converter


def _narrower(usual: object) -> Iterator[tuple[Any, type]]:
    """Yield kinds of settings, and the kinds below them that their values are of."""
    hints = typing.get_type_hints(type(usual))
    for field in dataclasses.fields(typing.cast(Any, usual)):
        value = getattr(usual, field.name)
        if dataclasses.is_dataclass(value):
            if type(value) is not hints[field.name]:
                yield hints[field.name], type(value)
            yield from _narrower(value)


def _origin(kind: Any) -> Any:
    return get_origin(kind)


def _plain(value: Any, kind: Any) -> Any:
    """Return a number, word or None as it is; 13.0 is 13 in JSON that another program wrote.

    Raises:
        TypeError: It is of another kind.
    """
    if kind in (int, float) and type(value) in (int, float) and kind(value) == value:
        return kind(value)
    if kind not in (int, float) and type(value) is kind:
        return value
    raise TypeError(f"{value!r} is no {kind.__name__}")


def _choice(value: Any, kind: Any) -> Any:
    choices = get_args(kind)
    if value not in choices or type(value) not in map(type, choices):
        raise ValueError(f"{value!r} is not one of {', '.join(map(str, choices))}")
    return value


def _member(kinds: Sequence[Any], value: Any) -> Any:
    """Return which kind of a union a value is of: None, one of some words, or the one other."""
    if value is None and type(None) in kinds:
        return type(None)
    words = [k for k in kinds if _origin(k) is Literal]
    others = [k for k in kinds if k not in words and k is not type(None)]
    return next((k for k in words if value in get_args(k)), [*others, *words][0])


def _words(reason: BaseException) -> str:
    return str(reason) or type(reason).__name__
