"""What a resume checks and notes: how far runs have got, and how far they are to go."""

from __future__ import annotations

from collections.abc import Sequence

from metarl.errors import UserError
from metarl.runs.directory import RunDirectory


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
    done = []
    for run in runs:
        run.lock()
        done.append(_iterations_done(run))
    for run, iterations in zip(runs, done, strict=True):
        if iterations > total:
            raise UserError(
                f"{run.path} has done {iterations} iterations already, it cannot end at {total}; "
                f"name {iterations} or more, or train anew in another --run-dir"
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


def is_finished(run: RunDirectory, total: int) -> bool:
    """Whether a run has been closed after its last iteration."""
    if not run.checkpoint_path.exists():
        return False
    state = run.load_checkpoint()
    return bool(state["iteration"] == total and state.get("closed", True))


def _iterations_done(run: RunDirectory) -> int:
    """The iteration of the checkpoint.

    Raises:
        UserError: The run is a copy that was made to be given away.
    """
    if not run.checkpoint_path.exists():
        return 0
    state = run.load_checkpoint()
    if state.keys() == {"iteration", "learner"}:
        raise UserError(
            f"{run.path} is an exported run, which has the weights alone: it can be evaluated and "
            "rendered, not resumed; resume the run that it is a copy of, or train anew"
        )
    return int(state["iteration"])
