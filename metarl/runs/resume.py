"""What a resume checks and notes: how far runs have got, and how far they are to go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metarl.errors import UserError
from metarl.runs.directory import RunDirectory
from metarl.runs.files import held


def complete(
    folder: Path, runs: Sequence[RunDirectory], seeds: Sequence[int]
) -> list[RunDirectory]:
    """The runs of all seeds, where a kill came amid their making: the others are made now.

    Args:
        folder: Of the ``seed-N``.
        runs: Those that are there, at least one.
        seeds: All that there should be.

    Raises:
        UserError: A seed is missing though the others have been trained.
    """
    missing = sorted(set(seeds) - {run.seed for run in runs})
    if missing and any(run.checkpoint_path.exists() or run.read_metrics() for run in runs):
        raise UserError(
            f"{folder} lacks seed {', '.join(map(str, missing))} of {len(seeds)}; "
            f"resume its runs one at a time, such as {runs[0].path}, or train again"
        )
    origin = runs[0].config["provenance"]
    config = {n: v for n, v in runs[0].config.items() if n not in ("provenance", "seed")}
    if not missing:
        return list(runs)
    with held(folder):
        made = [
            RunDirectory.create(folder / f"seed-{n}", config, device=origin.get("device"), seed=n)
            for n in missing
        ]
    return sorted([*runs, *made], key=lambda run: run.seed)


def claim(runs: Sequence[RunDirectory], total: int) -> list[int]:
    """Lock runs that are to go on to ``total`` iterations, if all of them can.

    Args:
        runs: To be resumed; nothing in them is changed.
        total: Iterations in all.

    Returns:
        The iterations that each run has done, 0 where there is no checkpoint yet.

    Raises:
        UserError: One has done more than that, is an export, or is trained by another process.
        CheckpointError: A checkpoint is damaged.
    """
    for run in runs:
        run.lock()
    return [check_total(run, total) for run in runs]


def check_total(run: RunDirectory, total: int) -> int:
    """Refuse to resume a run to fewer iterations than it has done.

    Returns:
        The iterations that it has done.

    Raises:
        UserError: It has done more, or is an export.
        CheckpointError: Its checkpoint is damaged.
    """
    done = _iterations_done(run)
    if done > total:
        raise UserError(
            f"{run.path} has done {done} iterations already, it cannot end at {total}; "
            f"name {done} or more, or train again in another --run-dir"
        )
    return done


def note(run: RunDirectory, iteration: int, total: int, *, goes_on: bool = True) -> None:
    """Note in `config.json` that a run is resumed, and the new total where it is another.

    Args:
        run: Whose settings may have ``iterations``.
        iteration: Where it goes on.
        total: Iterations in all.
        goes_on: Whether anything is done; if not, a new total alone is worth a note.
    """
    planned = run.config.get("iterations", total)
    if goes_on or planned != total:
        run.note_resume(iteration, changes=None if planned == total else {"iterations": total})


def _iterations_done(run: RunDirectory) -> int:
    """The iteration of the checkpoint.

    Raises:
        UserError: The run is a copy that was made to be given away.
    """
    if not run.checkpoint_path.exists():
        return 0
    state = run.load_checkpoint()
    if "generators" not in state:
        raise UserError(
            f"{run.path} is an exported run, which has the weights alone: it can be evaluated and "
            "rendered, not resumed; resume the run that it is a copy of, or train again"
        )
    return int(state["iteration"])
