"""`compare`: do what is not done yet, and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tyro

from experiments.maze_adapt.comparison.picture import draw
from experiments.maze_adapt.comparison.plan import PLACES, Job, jobs
from experiments.maze_adapt.comparison.results import Compared, measured
from experiments.maze_adapt.comparison.settings import (
    CompareSettings,
    Comparison,
    merged,
    stored_in,
)
from experiments.maze_adapt.comparison.tables import as_csv, as_markdown
from experiments.maze_adapt.comparison.work import work_off
from metarl.errors import UserError
from metarl.plots.lines import save_figure
from metarl.run.command_line import fail, option
from metarl.run.counts import check_counts
from metarl.runs import files
from metarl.runs.files import held, read_json, to_json, write_json


def run_compare(prog: str, arguments: Sequence[str]) -> None:
    """Read the command line, and compare."""
    folder = Path(option(arguments, "--run-dir", str(CompareSettings().run_dir), ()))
    try:
        failures = compare(folder, lambda: asked_for(prog, folder, arguments))
    except KeyboardInterrupt as interrupt:
        what = f", {interrupt}" if interrupt.args else ""
        kept = (folder / "comparison.json").exists()
        how = f"go on with: {prog} --run-dir {folder}" if kept else "the same command begins again"
        fail(f"interrupted{what}; {how}", status=130)
    if failures:
        fail(f"{len(failures)} failed: {', '.join(failures)}, see above", status=1)


def asked_for(
    prog: str, folder: Path, arguments: Sequence[str]
) -> tuple[CompareSettings, Comparison]:
    """What the command line says, and what is compared by it and by what the folder holds now."""
    stored = stored_in(folder)
    default = CompareSettings(run_dir=folder)
    if stored is not None:
        kept = {name: v for name, v in vars(stored).items() if name != "options"}
        default = replace(default, **kept)
    asked, rest = tyro.cli(
        CompareSettings, prog=prog, args=arguments, default=default, return_unknown_args=True
    )
    check_counts(asked)
    return asked, merged(stored, asked, rest)


def compare(folder: Path, read: Callable[[], tuple[CompareSettings, Comparison]]) -> dict[str, str]:
    """Train and evaluate what is missing, and report.

    Args:
        folder: Where.
        read: Reads what the folder holds and what is asked for. It is called again when the folder
            is ours alone: another process may have added something meanwhile.

    Returns:
        The runs that failed, and of what.

    Raises:
        UserError: The comparison cannot be made; then nothing has been touched.
        KeyboardInterrupt: Interrupted, after saving.
    """
    settings, comparison = read()
    planned = jobs(comparison, folder, settings.device)
    if settings.report_only and not (folder / "comparison.json").exists():
        raise UserError(f"there is no comparison in {folder}; leave out --report-only")
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        settings, comparison = read()
        planned = jobs(comparison, folder, settings.device)
        if settings.report_only:
            return report(folder, comparison, planned, {}).failures
        keep(folder, comparison, planned)
        found = work_off(planned, settings.jobs)
        failures = {str(path.relative_to(folder)): why for path, why in found.items()}
        return report(folder, comparison, planned, failures).failures


def keep(folder: Path, comparison: Comparison, planned: Sequence[Job], **results: Any) -> None:
    """Write `comparison.json`; without new results those that are there stay."""
    path = folder / "comparison.json"
    before = read_json(path) if path.exists() else {}
    settings = {
        job.train.method: {n: v for n, v in vars(job.train).items() if n not in PLACES}
        for job in planned
    }
    content = {**before, "comparison": comparison, "settings": settings, **results}
    write_json(path, to_json(content, "comparison"))


def report(
    folder: Path, comparison: Comparison, planned: Sequence[Job], failures: Mapping[str, str]
) -> Compared:
    """Write the numbers, the tables and the picture; print the table."""
    compared = measured(folder, comparison, failures)
    keep(folder, comparison, planned, results=vars(compared))
    tasks = planned[0].train
    size = f" {tasks.size} x {tasks.size}" if tasks.env == "maze" else ""
    title = f"Adaptation on unseen tasks: {tasks.env}{size}, {tasks.horizon} steps an episode"
    text = as_markdown(compared, title)
    files.write_bytes(folder / "comparison.csv", as_csv(compared).encode())
    files.write_bytes(folder / "comparison.md", text.encode())
    save_figure(draw(compared, title), folder / "comparison.png")
    print(text.partition("\n## Step by step")[0])
    written = ", ".join(str(folder / f"comparison.{end}") for end in ("json", "csv", "md", "png"))
    print(f"written: {written}")
    return compared
