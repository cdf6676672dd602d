"""`search`: look for settings by what they are worth on validation tasks, and report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from metarl.compare.executors import Unit, check_executor, launch
from metarl.errors import UserError
from metarl.invocation import typed
from metarl.run import Command
from metarl.run.command_line import parse_training
from metarl.run.commands import fail, option
from metarl.run.counts import check_numbers
from metarl.run.recipe import by_option
from metarl.runs.files import held, to_json, write_json
from metarl.search.report import write_report
from metarl.search.settings import (
    KEPT,
    VALIDATION_SEED,
    Kept,
    Question,
    SearchSettings,
    kept_in,
    question_in,
    question_of,
)
from metarl.search.space import Dimension, corners, dimension
from metarl.search.storage import QUESTION, open_study, require_optuna, without_password
from metarl.search.trials import (
    PATIENCE,
    Plan,
    Searchable,
    pruner_of,
    sampler_of,
    work,
)

OF_THE_SEARCH = ("run_dir", "resume", "seeds", "device")
"""Options of `train` that `search` has itself."""

NOT_SEARCHED = {
    **{
        name: f"{name.replace('_', '-')} says where or how, and not what"
        for name in (
            *("run_dir", "resume", "device", "native", "log_every", "checkpoint_every", "config"),
            *("log", "film_every"),
        )
    },
    "init_from": "what trials begin with is the same for all",
    "seeds": "a trial trains all --seeds, and is worth the mean over them",
    "iterations": "all trials have the same --iterations, where they are not given up",
}
"""Options of `train` that are not searched, and why."""


def search_command(searchable: Callable[[], Searchable]) -> Command:
    """Return the command of a recipe.

    Args:
        searchable: Returns the recipe; it is asked when the command runs, for it has the command.
    """
    what = "look for the settings that do best on validation tasks (Optuna)"
    return Command(what, lambda prog, arguments: run_search(searchable(), prog, arguments))


def run_search(searchable: Searchable, prog: str, arguments: Sequence[str]) -> None:
    """Read the command line, and search."""
    require_optuna()
    folder = Path(option(arguments, "--run-dir", str(SearchSettings().run_dir)))
    try:
        search(searchable, prog, folder, arguments)
    except KeyboardInterrupt as interrupt:
        what = f", {interrupt}" if interrupt.args else ""
        kept = (folder / KEPT).exists()
        how = f"go on with: {prog} --run-dir {folder}" if kept else "the same command begins again"
        fail(f"interrupted{what}; {how}", status=130)


def search(searchable: Searchable, prog: str, folder: Path, arguments: Sequence[str]) -> None:
    """Do the trials that are not done yet, and report.

    Raises:
        UserError: The search cannot be made; then nothing has been touched.
        KeyboardInterrupt: Interrupted, after saving.
    """
    asked, rest = tyro.cli(
        SearchSettings, prog=prog, args=list(arguments), return_unknown_args=True
    )
    check_numbers(asked)
    kept = kept_in(folder)
    place = place_of(asked, kept, searchable.recipe.name)
    if asked.report:
        if kept is None and asked.storage is None:
            raise UserError(f"there is no search in {folder}; leave out --report")
        if kept is not None:
            check_recipe(kept.question, searchable.recipe.name, folder, f"{folder}")
        study = open_study(folder, *place, searchable.direction, None)
        question = question_in(study.user_attrs)
        check_recipe(question, searchable.recipe.name, folder, f"the search {place[1]}")
        write_report(study, folder, question, searchable, prog)
        return
    check_executor(asked.executor)
    given = [name for name, _ in by_option(arguments)]
    question = question_of(asked, given, rest, searchable.recipe.name, kept)
    plan, base = planned(searchable, question, asked, shared=place[0] is not None)
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder, patience=PATIENCE):
        study = open_study(folder, *place, searchable.direction, question.to_json())
        question.check_same(study.user_attrs[QUESTION], f"the search {place[1]}")
        own = Kept(question, without_password(place[0]), place[1])
        write_json(folder / KEPT, to_json(own, "search"))
    if asked.executor == "here":
        study.pruner = pruner_of(asked.pruner, base.iterations, question.validations)
        work(plan, study)
    else:
        hand_over(searchable, asked, arguments)
    write_report(study, folder, question, searchable, prog)


def check_recipe(question: Question, recipe: str, folder: Path, where: str) -> None:
    """Check that a search is of the recipe that reports it: another one may rank the other way.

    Args:
        question: What was searched for.
        recipe: Name of the recipe that reports.
        folder: Of the search.
        where: The search, in words.

    Raises:
        UserError: It is of another one.
    """
    if question.recipe != recipe:
        command = f"{typed('search', question.recipe)} --run-dir {folder} --report"
        theirs, own = (name.rpartition(".")[2] for name in (question.recipe, recipe))
        raise UserError(
            f"{where} is a search of {theirs}, not of {own}: `{command}` reports it, with "
            "--storage and --study where it has some of its own"
        )


def hand_over(searchable: Searchable, asked: SearchSettings, arguments: Sequence[str]) -> None:
    """Let workers elsewhere do the trials.

    Raises:
        UserError: All of them failed.
        KeyboardInterrupt: Interrupted; see `metarl.compare.executors.launch`.
    """
    module = searchable.recipe.module or searchable.recipe.name
    words = ("search", *arguments, "--executor", "here", "--workers", "1")
    units = [Unit(module, words, f"worker {n}") for n in range(asked.workers)]
    failed = launch(units, asked.executor, asked.slurm, asked.run_dir, asked.workers)
    if len(failed) == len(units):
        raise UserError("; ".join(f"{name}: {why}" for name, why in failed.items()))


def planned(
    searchable: Searchable, question: Question, asked: SearchSettings, *, shared: bool
) -> tuple[Plan, Any]:
    """Return what a worker does, and the settings that all trials begin from.

    Raises:
        UserError: An option is refused.
    """
    base, space = checked(searchable, question, asked.device)
    plan = Plan(
        searchable.recipe,
        partial(_judge, searchable, question.tasks, asked.device),
        partial(settings_of, searchable, question, asked.device),
        space,
        asked.run_dir,
        asked.trials,
        question.validations,
        sampler_of(asked.sampler, asked.sampler_seed),
        shared,
    )
    return plan, base


def _judge(
    searchable: Searchable, tasks: int | None, device: str, run: Any, settings: Any
) -> float:
    return searchable.judge(run, settings, tasks, VALIDATION_SEED, device)


def place_of(asked: SearchSettings, kept: Kept | None, recipe: str) -> tuple[str | None, str]:
    """Return where the trials are kept, and the name of the study.

    Raises:
        UserError: It is another place than the one of the folder.
    """
    folder = asked.run_dir
    usual = f"{recipe.removeprefix('experiments.')}:{folder.resolve().name}"
    if kept is None:
        return asked.storage, asked.study or usual
    if asked.storage is not None and without_password(asked.storage) != kept.storage:
        raise UserError(
            f"{folder} keeps its trials in {kept.storage or 'its journal'}, not in "
            f"{without_password(asked.storage)}; name another --run-dir"
        )
    if asked.study not in (None, kept.study):
        raise UserError(f"{folder} is of the search {kept.study}; name another --run-dir")
    return asked.storage or kept.storage, kept.study


def checked(
    searchable: Searchable, question: Question, device: str
) -> tuple[Any, tuple[Dimension, ...]]:
    """Return the settings that are the same for all trials, and the space.

    Every value that the space names is read as `train` would read it.

    Raises:
        UserError: An option is unknown, of another kind, refused, or not to be searched.
    """
    for name, (word, *_) in by_option(question.options):
        if name in OF_THE_SEARCH:
            raise UserError(f"{word} is not for the trials: it is the whole search's")
    if question.tasks is not None and searchable.counted_by is not None:
        raise UserError(f"--tasks: validation has as many as --{searchable.counted_by} says")
    if not question.search:
        raise UserError("--search says what to look for, such as --search lr=log:1e-4:1e-2")
    recipe = searchable.recipe
    read = partial(settings_of, searchable, question, device)
    same = "that would be other tasks, and what trials are worth could not be compared"
    closed = {**NOT_SEARCHED, **dict.fromkeys(searchable.tasks, same)}
    for text in question.search:
        name = text.partition("=")[0].lstrip("-").replace("-", "_")
        if name in closed:
            raise UserError(f"--search {text}: {closed[name]}")
    base = read(_first_picks(question.search, recipe.picks))
    space = tuple(dimension(text, base, closed) for text in question.search)
    names = [one.option for one in space]
    for one in names:
        if names.count(one) > 1:
            raise UserError(f"--search {one} is given twice")
    for words in corners(space):
        settings = read(words)
        recipe.prepared(settings)
    said = {word.partition("=")[0].lstrip("-") for word in question.options if word[:2] == "--"}
    for one in names:
        if one in {name.replace("_", "-") for name in said}:
            raise UserError(f"--{one} is searched; drop it from the options for all trials")
    return base, space


def _first_picks(search: Sequence[str], picks: Sequence[str]) -> list[str]:
    """Return the first values of what chooses which options there are."""
    found = []
    for text in search:
        name, _, values = text.partition("=")
        if name.replace("-", "_") in picks:
            found += [f"--{name}", values.partition(",")[0]]
    return found


def settings_of(
    searchable: Searchable, question: Question, device: str, words: Sequence[str]
) -> Any:
    """Return the settings of a trial.

    Args:
        searchable: The recipe.
        question: Options for all trials, and their seeds.
        device: Where they train.
        words: The trial's own options.

    Raises:
        UserError: One is refused.
    """
    seeds = ["--seeds", *map(str, question.seeds)]
    line = [*question.options, *seeds, "--device", device, *words]
    try:
        settings = parse_training(searchable.recipe, "search", line)
    except SystemExit as told:
        if told.code == 0:  # --help
            raise
        raise UserError(f"`train` does not take {' '.join(words) or 'these options'}") from None
    return replace(settings, resume=None)
