"""The contract of ``--help``, over scripts and methods: what it shows is read, the rest is refused.

An option may be refused beside another option's usual value; it is shown where some value of it is
taken beside the usual settings, or beside those with one other option changed.
"""

import re
import types
import typing
from dataclasses import fields, is_dataclass, replace

import pytest
import torch

from experiments import alphabets, maze, maze_adapt, omniglot, regression
from metarl.errors import UserError
from metarl.methods import recurrent
from metarl.run import main
from metarl.run.counts import option

CPU = torch.device("cpu")


def usual(script, method, env):
    """The usual settings, of a small network."""
    if script is maze_adapt:
        return script.defaults(env, method)
    if script is regression:
        family = ("sine-domain",) if method == "daml" else ("sine",)
        return script.defaults(*family, method)
    settings = script.RECIPE.defaults(method=method)
    network = getattr(settings, "network", None)
    return replace(settings, network=replace(network, filters=2)) if network else settings


def check(script, settings):
    """Make what is trained: what is refused is refused here."""
    if script is maze_adapt:
        settings.learning().check("cpu", settings.meta_batch)
    elif script is maze:
        settings.trained().check("cpu", settings.batch_size)
    else:
        settings.learning().learner(torch.Generator(), CPU, settings.meta_batch)


def leaves(settings, prefix=""):
    """Path, value and kind of every setting."""
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for f in fields(settings):
        value = getattr(settings, f.name)
        if is_dataclass(value):
            yield from leaves(value, f"{prefix}{f.name}.")
        else:
            yield f"{prefix}{f.name}", value, hints[f.name]


def values(usual, kind):
    """Some values of a kind; none of paths and texts."""
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        yield from values(usual, members[0])
    elif origin in (typing.Union, types.UnionType):
        for member in members:
            yield from values(usual, member)
    elif origin is typing.Literal:
        yield from members
    elif kind is bool:
        yield not usual
    elif kind is int:
        yield from (usual or 1, 1, 2, 3, 9)
    elif kind is float:
        yield from (0.5, 0.25, 1.0, 0.0, 2.0)


def changed(settings, path, value):
    name, _, rest = path.partition(".")
    inner = getattr(settings, name)
    return replace(settings, **{name: changed(inner, rest, value) if rest else value})


def taken(script, settings, *changes):
    try:
        for path, value in changes:
            settings = changed(settings, path, value)
        check(script, settings)
    except (UserError, ValueError):
        return False
    return True


def alternatives(script, settings):
    """Other values of every setting but those that choose defaults or say where."""
    closed = {*script.RECIPE.picks, "run_dir", "resume", "device", "seeds", "data", "complete"}
    for path, value, kind in leaves(settings):
        other = [v for v in dict.fromkeys(values(value, kind)) if repr(v) != repr(value)]
        suppressed = "Suppress" in repr(kind)
        if other and not suppressed and (path.partition(".")[0] not in closed or path == "core"):
            yield path, other


CASES = [
    *[(maze_adapt, method, "point") for method in maze_adapt.METHODS if "ppo" not in method],
    *[(maze_adapt, method, "bandit") for method in ("maml", "ppo", "recurrent-ppo", "rl2")],
    *[(s, m, "") for s in (maze, regression, omniglot, alphabets) for m in s.RECIPE.methods],
]


@pytest.mark.parametrize(
    ("script", "method", "env"),
    CASES,
    ids=[f"{s.RECIPE.name.partition('.')[2]}-{m}{'-' + e if e else ''}" for s, m, e in CASES],
)
def test_help_shows_what_is_read_and_what_it_does_not_show_is_refused(
    script, method, env, capsys, monkeypatch
):
    monkeypatch.setattr(recurrent, "require_cuda", lambda device: None)  # whatever this machine has
    settings = usual(script, method, env)
    assert taken(script, settings)
    hidden = set(script.RECIPE.unread(settings))
    every = dict(alternatives(script, settings))
    assert hidden <= every.keys()
    words = [(path, v) for path, some in every.items() for v in some if isinstance(v, str | bool)]
    for path, some in every.items():
        alone = any(taken(script, settings, (path, v)) for v in some)
        if path in hidden:
            assert not alone, path
            continue
        assert alone or any(
            taken(script, settings, other, (path, v))
            for v in some
            for other in words
            if other[0] not in (path, *hidden)
        ), path
    picks = ("--env", env) if env else ("--family", "sine-domain") if method == "daml" else ()
    with pytest.raises(SystemExit):
        main(script.RECIPE, ["train", "--method", method, *picks, "--help"])
    shown = set(re.findall(r"^[^\w-]{0,2}(--[\w.-]+)", capsys.readouterr().out, re.MULTILINE))
    names = {path: re.sub(r"^(learner|agent|environment|network)\.", "", path) for path in every}
    assert {path for path, name in names.items() if option(name) in shown} == every.keys() - hidden
