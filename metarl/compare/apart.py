"""Runs that were trained apart, perhaps on other machines, and copied into one folder.

Nothing is trained: what is in ``METHOD/seed-S`` is looked at, whoever trained it. Runs of a method
have the same settings, runs of all methods the same tasks, and all were evaluated alike, or what
differs is said. Runs that are missing, or not evaluated as they are now, are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from metarl.compare.plan import Comparable, check_overrides, evaluation, overrides, with_options
from metarl.compare.settings import CompareSettings, Comparison, option_name
from metarl.compare.work import PLACES, differences, evaluated_by, in_words
from metarl.errors import UserError, understood
from metarl.evaluate.measures import files_of
from metarl.run.recipe import by_option
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json

JUDGED = (
    *("split", "seed", "num_tasks", "greedy", "checkpoint"),
    *("query_shots", "num_points", "num_test_points", "protocol"),
)
"""Entries of `summary.json` that all runs have in common, as far as they have them."""

JUDGED_ALIKE = ("episodes_per_step", "steps", "axis")
"""Those that the runs of a method have in common."""

IN_SUMMARY = {
    **{"tasks": "num_tasks", "points": "num_points", "test_points": "num_test_points"},
    "episodes": "episodes_per_step",
}
"""Entries of `summary.json` that have other names than the settings of an evaluation."""


class Gathered(NamedTuple):
    """Contents of a folder.

    Attributes:
        comparison: What is compared.
        settings: Settings of a run of each method.
        reasons: Why runs that are there cannot be counted, by their names.
        runs: All runs of each method.
    """

    comparison: Comparison
    settings: dict[str, Any]
    reasons: dict[str, str]
    runs: Mapping[str, Sequence[_Found]]


class _Found(NamedTuple):
    name: str
    settings: Any
    summary: Mapping[str, Any]
    how: Mapping[str, Any]

    def judged_by(self, name: str) -> list[Any]:
        """Values that a setting of its evaluation has had, as far as they are known."""
        found = [self.how[name]] if name in self.how else []
        entry = IN_SUMMARY.get(name, name)
        if entry == "steps" and self.summary.get(entry):
            return [self.summary[entry][-1], *found]
        return [self.summary[entry], *found] if entry in self.summary else found


class Given(NamedTuple):
    """Words of a command line.

    Attributes:
        names: Options, as `by_option` names them.
        train: Options of `train`.
        evaluate: Names of those of the evaluation.
        override: Options of one method.
    """

    names: tuple[str, ...]
    train: tuple[str, ...]
    evaluate: tuple[str, ...]
    override: tuple[str, ...]

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Given:
        """Read a command line."""
        every = list(by_option(arguments))
        own = {each.name for each in fields(CompareSettings)}
        train = [word for name, words in every if name not in own for word in words]
        evaluate, override = [], []
        for name, words in every:
            if name == "evaluate":
                option = option_name(words[0]).partition(".")[2].replace("-", "_")
                evaluate.append("split" if option == "side" else option)
            if name == "override":
                _, equals, rest = words[0].partition("=")
                override += [rest, *words[1:]] if equals else words[1:]
        names = tuple(name for name, _ in every)
        return cls(names, tuple(train), tuple(evaluate), tuple(override))


def gathered(
    comparable: Comparable,
    asked: CompareSettings,
    stored: Comparison | None,
    given: Sequence[str],
) -> Gathered:
    """Look at the runs in a folder.

    Args:
        comparable: The script.
        asked: The command line.
        stored: What the folder's `comparison.json` says; None: there is none.
        given: Names of the options on the command line.

    Raises:
        UserError: There are no runs, or they cannot be compared.
    """
    folder, side = asked.run_dir, comparable.of_side(asked.evaluate)
    places = runs_in(folder, comparable.every_name)
    if not places:
        raise UserError(
            f"there is no comparison in {folder}, no run METHOD/seed-S; leave out --report-only"
        )
    reasons: dict[str, str] = {}
    found: dict[str, list[_Found]] = {}
    for (method, seed), path in places.items():
        run = RunDirectory.open(path)
        one = _Found(f"{method}/seed-{seed}", comparable.script.settings_of(run.config), {}, {})
        if method not in comparable.names(one.settings):
            raise UserError(f"{path} is a run of {one.settings.method}, not of {method}")
        reason = not_evaluated(run, side)
        if reason is None:
            summary, how = read_json(path / f"summary{side}.json"), {}
            recorded = evaluated_by(path, comparable.script)
            if recorded.get("split") == summary.get("split"):  # both splits may have been
                how = recorded
            one = one._replace(summary=summary, how=how)
        else:
            reasons[one.name] = reason
        found.setdefault(method, []).append(one)
    check_alike(comparable, found)
    methods = (*(stored.methods if stored else ()), *found)
    seeds = {*(stored.seeds if stored else ()), *(seed for _, seed in places)}
    if "methods" in given:
        methods = (*methods, *asked.methods)
    if "seeds" in given:
        seeds |= set(asked.seeds)
    base = stored or Comparison(tuple(found), (0,), evaluate=asked.evaluate)
    reference = asked.reference if "reference" in given else base.reference
    return Gathered(
        replace(
            base,
            methods=tuple(dict.fromkeys(methods)),
            seeds=tuple(sorted(seeds)),
            reference=reference,
        ),
        {method: runs[0].settings for method, runs in found.items()},
        reasons,
        found,
    )


def runs_in(folder: Path, methods: Sequence[str]) -> dict[tuple[str, int], Path]:
    """Return the run directories in a folder, by method and seed."""
    found = {}
    for config in sorted(folder.glob("*/seed-*/config.json")):
        method, seed = config.parent.parent.name, config.parent.name.removeprefix("seed-")
        if method in methods and seed.isdecimal():
            found[method, int(seed)] = config.parent
    order = {method: number for number, method in enumerate(methods)}
    return dict(sorted(found.items(), key=lambda item: (order[item[0][0]], item[0][1])))


def not_evaluated(run: RunDirectory, side: str = "") -> str | None:
    """Return why a run cannot be counted, in words; None where it was evaluated at its end.

    Args:
        run: The run.
        side: End of the names of what its evaluation has left.
    """
    command = f"evaluate {run.path}" + (" --split validation" if side else "")
    path, values = (run.path / file for file in files_of(side))
    if not values.exists() or not path.exists():
        return f"it is not evaluated: {command}"
    with understood(path, "is not a summary", "evaluate the run again"):
        summary = read_json(path)
        # Where validation chooses the checkpoint, its iteration may be an earlier one.
        done = int(summary.get("trained_iterations", summary["iteration"]))
        total = int(run.config["iterations"])
    if done != total:
        return f"it was evaluated after {done} of {total} iterations: finish it, and {command}"
    return None


def check_alike(comparable: Comparable, found: Mapping[str, Sequence[_Found]]) -> None:
    """Check that runs can be compared.

    Raises:
        UserError: They cannot; the message names two runs, and in what they differ.
    """
    every = [one for runs in found.values() for one in runs]
    for runs in found.values():
        for one in runs[1:]:
            _refuse(runs[0], one, differences(runs[0].settings, one.settings, PLACES))
    for one in every[1:]:
        here, there = (
            {name: getattr(r.settings, name) for name in comparable.tasks} for r in (every[0], one)
        )
        _refuse(every[0], one, differences(here, there, PLACES))
    for runs, names in ((every, JUDGED), *((runs, JUDGED_ALIKE) for runs in found.values())):
        judged = [one for one in runs if one.summary]
        for one in judged[1:]:
            how = [{name: r.summary.get(name) for name in names} for r in (judged[0], one)]
            _refuse(judged[0], one, differences(*how), "were evaluated differently")


def check_given(comparable: Comparable, given: Given, asked: Comparison, found: Gathered) -> None:
    """Check that runs were trained and evaluated as a command line says, as far as it does.

    Args:
        comparable: The script.
        given: The command line.
        asked: What it asks for, and what the folder compares.
        found: The runs.

    Raises:
        UserError: One was not, or nobody knows.
    """
    there = tuple(found.settings)
    check_overrides(comparable, replace(asked, methods=there, override=given.override))
    for method, runs in found.runs.items():
        paths = [path for path, _ in overrides(replace(asked, override=given.override), method)]
        own = tuple(path[1] for path in paths if path[0] == "evaluate" and len(path) > 1)
        trained = given.train or [path for path in paths if path[0] != "evaluate"]
        here = replace(asked, options=given.train)
        for one in runs if trained else ():
            wanted = with_options(comparable, here, method, one.settings)
            before, now = (comparable.script.plain(each) for each in (one.settings, wanted))
            _refuse_given(differences(before, now, PLACES), one.name, "trains")
        how = evaluation(asked, method)
        for one in (one for one in runs if one.summary):
            others = {}
            for name in (*given.evaluate, *own):
                known, wanted = one.judged_by(name), getattr(how, name)
                if not known:
                    raise UserError(
                        f"--evaluate.{name.replace('_', '-')}: {one.name} does not say by what it "
                        "was evaluated; drop it, or leave out --report-only"
                    )
                if wanted not in known:
                    others[f"evaluate.{name}"] = known[0], wanted
            _refuse_given(others, one.name, "evaluates")


def _refuse_given(found: Mapping[str, tuple[Any, Any]], name: str, does: str) -> None:
    if found:
        raise UserError(
            f"--report-only {does} nothing, and {in_words(found, f'in {name}', 'now')}; drop it, "
            "or leave out --report-only"
        )


def check_judged(stored: Comparison, found: Gathered) -> None:
    """Check that runs were evaluated on the tasks that a folder says it compares on.

    Raises:
        UserError: One was not.
    """
    for one in (one for runs in found.runs.values() for one in runs if one.summary):
        others = {}
        for name in ("split", "seed", "tasks"):
            known = one.judged_by(name) if hasattr(stored.evaluate, name) else []
            if known and getattr(stored.evaluate, name) not in known:
                others[f"evaluate.{name}"] = known[0], getattr(stored.evaluate, name)
        if others:
            raise UserError(
                f"{one.name} was evaluated otherwise: "
                f"{in_words(others, f'in {one.name}', 'in the comparison')}; leave out "
                "--report-only, and it is evaluated again"
            )


def _refuse(
    one: _Found,
    other: _Found,
    found: Mapping[str, tuple[Any, Any]],
    what: str = "cannot be compared",
) -> None:
    if found:
        words = in_words(found, f"in {one.name}", f"in {other.name}")
        raise UserError(f"{one.name} and {other.name} {what}: {words}; take one of them away")
