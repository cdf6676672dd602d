"""`compare`: do what is not done yet, and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from metarl.compare.apart import Given, check_given, check_judged, gathered
from metarl.compare.executors import Unit, check_executor, launch
from metarl.compare.plan import Comparable, check_options, check_same_folder, jobs
from metarl.compare.processes import work_off
from metarl.compare.results import Compared, measured
from metarl.compare.settings import (
    PLACES_OF_EVALUATION,
    CompareSettings,
    Comparison,
    in_words_of_today,
    merged,
    stored_in,
)
from metarl.compare.tables import as_csv, as_markdown
from metarl.compare.work import PLACES, Job, chosen, finished, name_of
from metarl.errors import UserError
from metarl.run import Command
from metarl.run.commands import fail, option
from metarl.run.counts import check_numbers
from metarl.runs.config import today
from metarl.runs.files import held, read_json, to_json, write_bytes, write_json

PATIENCE = 60.0
"""Seconds that a report waits for that of another process."""

Read = Callable[[], tuple[CompareSettings, Comparison]]


def compare_command(comparable: Callable[[], Comparable]) -> Command:
    """Return the command `compare` of a recipe.

    Args:
        comparable: Returns what is compared; the recipe that it is of may be made after this.
    """
    what = "train and evaluate many methods: one table, one picture"
    return Command(what, lambda prog, arguments: run_compare(comparable(), prog, arguments))


def run_compare(comparable: Comparable, prog: str, arguments: Sequence[str]) -> None:
    """Read the command line, and compare."""
    folder = Path(option(arguments, "--run-dir", str(comparable.usual.run_dir)))
    try:
        failures = compare(
            comparable,
            folder,
            partial(asked_for, comparable, prog, folder, arguments),
            arguments,
        )
    except KeyboardInterrupt as interrupt:
        what = f", {interrupt}" if f"{interrupt}" else ""
        kept = (folder / "comparison.json").exists()
        how = f"go on with: {prog} --run-dir {folder}" if kept else "the same command begins again"
        fail(f"interrupted{what}; {how}", status=130)
    if failures:
        fail(f"{len(failures)} failed: {', '.join(failures)}, see above", status=1)


def asked_for(
    comparable: Comparable, prog: str, folder: Path, arguments: Sequence[str]
) -> tuple[CompareSettings, Comparison]:
    """Read the command line, and what is to be compared by it and by what the folder holds now.

    Raises:
        UserError: A setting is refused, or the folder holds something else.
    """
    default = replace(comparable.usual, run_dir=folder)
    stored = stored_in(folder, default.evaluate, comparable.recipe.name)
    if stored is None and not arguments:  # hours of work are asked for in words
        words = f"--methods {' '.join(comparable.methods)}"
        raise UserError(
            f"say what to compare: `{prog} {words}` trains {in_words(comparable, default)}"
        )
    if stored is not None:
        stored = in_words_of_today(stored, today)
        kept = {name: v for name, v in vars(stored).items() if name != "options"}
        default = replace(default, **kept)
    asked, rest = tyro.cli(
        CompareSettings, prog=prog, args=arguments, default=default, return_unknown_args=True
    )
    check_numbers(asked)
    comparable.check_names((*asked.methods, *(stored.methods if stored else ())))
    comparison = merged(stored, asked, rest)
    if stored is not None:
        check_same_folder(comparable, folder, stored, comparison)
    return asked, comparison


def in_words(comparable: Comparable, asked: CompareSettings) -> str:
    """Return what a new comparison would train, in words."""
    runs = [comparable.settings((), method=method).iterations for method in asked.methods]
    seeds = len(asked.seeds)
    return (
        f"{len(runs) * seeds} runs, {seeds} seeds each, of {seeds * sum(runs)} iterations together"
    )


def compare(
    comparable: Comparable, folder: Path, read: Read, arguments: Sequence[str] = ()
) -> dict[str, str]:
    """Train and evaluate what is missing, and report.

    Args:
        comparable: The script.
        folder: Where.
        read: Reads what the folder holds and what is asked for. It is called again each time that
            the folder is ours alone: other processes may have added something meanwhile.
        arguments: Of the command line, for those who work elsewhere.

    Returns:
        The runs that failed, and of what.

    Raises:
        UserError: The comparison cannot be made; then nothing has been touched.
        KeyboardInterrupt: Interrupted, after saving.
    """
    settings, comparison = read()
    if settings.report_only:
        report_apart(comparable, settings, comparison, arguments)
        return {}
    check_executor(settings.executor)
    planned = jobs(comparable, comparison, folder, settings.device, settings.only)
    if settings.only and comparison == stored_in(
        folder, comparable.usual.evaluate
    ):  # nothing new, for nobody to wait for
        return bring(comparable, planned, settings, arguments)
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder, patience=PATIENCE):
        settings, comparison = read()
        planned = jobs(comparable, comparison, folder, settings.device)
        keep(folder, comparison, settings_of(planned), recipe=comparable.recipe.name)
        before = comparison
    failures = bring(comparable, chosen(planned, folder, settings.only), settings, arguments)
    if settings.only:
        return failures
    with held(folder, patience=PATIENCE):
        settings, comparison = read()
        if comparison != before:
            planned = jobs(comparable, comparison, folder, settings.device)
        kept = settings_of(planned)
        return report(comparable, folder, comparison, kept, failures).failures


def bring(
    comparable: Comparable, planned: Sequence[Job], settings: CompareSettings, words: Sequence[str]
) -> dict[str, str]:
    """Bring runs to their end, here or elsewhere; returns those that failed, and of what."""
    folder = settings.run_dir
    if settings.executor == "here":
        found = work_off(planned, settings.jobs)
        return {str(path.relative_to(folder)): why for path, why in found.items()}
    recipe = comparable.recipe
    here = ("--executor", "here", "--jobs", "1")
    names = [name_of(job, folder) for job in planned if not finished(job)]
    units = [Unit(recipe.home, ("compare", *words, *here, "--only", name), name) for name in names]
    return launch(units, settings.executor, settings.slurm, folder, settings.jobs)


def report_apart(
    comparable: Comparable,
    settings: CompareSettings,
    asked: Comparison,
    arguments: Sequence[str],
) -> None:
    """Sum up runs that are there, whoever trained them.

    Raises:
        UserError: There are none, they cannot be compared, none has an option that is given, or
            one is otherwise than it.
    """
    folder = settings.run_dir
    stored = stored_in(folder, comparable.usual.evaluate)
    given = Given.of(arguments)
    found = gathered(comparable, settings, stored, given.names)
    check_options(replace(asked, methods=tuple(found.settings)), found.settings)
    check_given(comparable, given, asked, found)
    if stored is not None:
        check_judged(stored, found)
    with held(folder, patience=PATIENCE):
        kept, keeps = found.settings, stored is not None
        report(comparable, folder, found.comparison, kept, found.reasons, keeps=keeps)


def settings_of(planned: Sequence[Job]) -> dict[str, Any]:
    """Return the settings of a run of each method, by the name that it is compared by."""
    return {job.path.parent.name: job.train for job in planned}


def keep(folder: Path, comparison: Comparison, settings: Mapping[str, Any], **more: Any) -> None:
    """Write `comparison.json`; of what more there is in it, what is not given stays."""
    path = folder / "comparison.json"
    before = read_json(path) if path.exists() else {}
    own = {
        method: {n: v for n, v in vars(settings[method]).items() if n not in PLACES}
        for method in comparison.methods
        if method in settings
    }
    how = {n: v for n, v in vars(comparison.evaluate).items() if n not in PLACES_OF_EVALUATION}
    compared = {**vars(comparison), "evaluate": how}
    content = {**before, "comparison": compared, "settings": own, **more}
    write_json(path, to_json(content, "comparison"))


def report(
    comparable: Comparable,
    folder: Path,
    comparison: Comparison,
    settings: Mapping[str, Any],
    failures: Mapping[str, str],
    *,
    keeps: bool = True,
) -> Compared:
    """Write the numbers, the tables and the picture; print the table."""
    side = comparable.of_side(comparison.evaluate)
    compared = measured(folder, comparison, failures, comparable.measure, side)
    if keeps:
        kept = {"recipe": comparable.recipe.name, "results": vars(compared)}
        keep(folder, comparison, settings, **kept)
    title = f"Adaptation on unseen tasks: {comparable.title(next(iter(settings.values())))}"
    text = write_report(folder, compared, title, comparable.families)
    print(text.partition("\n## Step by step")[0])
    ends = ("json", "csv", "md", "png") if keeps else ("csv", "md", "png")
    written = ", ".join(str(folder / f"comparison.{end}") for end in ends)
    print(f"written: {written}")
    return compared


def write_report(
    folder: Path,
    compared: Compared,
    title: str,
    families: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Write `comparison.csv`, `comparison.md` and `comparison.png`; returns the text of the second.

    Args:
        folder: Where.
        compared: The numbers.
        title: Words above tables and picture.
        families: Methods that share a panel of the picture, by its title.
    """
    # Half a second, of which training has no need.
    from metarl.compare.picture import draw
    from metarl.plots.lines import save_figure

    text = as_markdown(compared, title)
    write_bytes(folder / "comparison.csv", as_csv(compared))
    write_bytes(folder / "comparison.md", text.encode())
    save_figure(draw(compared, title, families), folder / "comparison.png")
    return text
