"""Checks and notes of a resume: how far runs have got, and how far they are to go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metarl.errors import UserError
from metarl.native import Mode, unavailable
from metarl.runs.config import BEFORE
from metarl.runs.directory import RunDirectory
from metarl.runs.loggers import USUAL

FORMER = {"recurrent": "selfcheck"}
"""Libraries of kernels that were taken apart since, and what says whether kernels can be had."""


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
    """Check that a resume asks for no fewer iterations than a run has done.

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


def kept_mode(runs: Sequence[RunDirectory]) -> Mode:
    """Return the mode in which runs go on unless another is asked for: the one they ran in.

    A run of ``auto`` that nothing native has run in goes on eagerly, as do runs that were made
    before there were native kernels.

    Raises:
        UserError: The runs have run in different ones.
    """
    modes: dict[Mode, RunDirectory] = {}
    for run in runs:
        ran = run.config.get("native_ran")
        asked = run.config.get("native", BEFORE["native"])
        native = bool(ran["kernels"]) if ran else asked == "auto"
        modes.setdefault("auto" if native else "off", run)
    if len(modes) > 1:
        raise UserError(
            f"{modes['auto'].path} ran with native kernels, {modes['off'].path} without: resume "
            "them one at a time, or name one mode for all with --native auto or --native off"
        )
    return next(iter(modes))


def kept_eager(runs: Sequence[RunDirectory]) -> list[str]:
    """Return reasons why parts of runs ran eagerly, in words: they go on so."""
    every = [run.config.get("native_ran", {}).get("eager", ()) for run in runs]
    return sorted({reason for reasons in every for reason in reasons})


def check_kernels(run: RunDirectory, mode: Mode) -> None:
    """Check that a run which goes on natively finds here the kernels that it has run with.

    Raises:
        UserError: It does not: it would go on eagerly, and its last bits would be others.
    """
    if mode == "off":
        return
    ran = run.config.get("native_ran", {"kernels": {}})
    for name, built in ran["kernels"].items():
        reason = unavailable(FORMER.get(name, name))
        if reason is not None:
            raise UserError(
                f"{run.path} ran with native kernels ({name}: {built}), which there are not here: "
                f"{reason}. Mend that, or go on without them by --native off: from here on the "
                "last bits are others"
            )


def note(
    run: RunDirectory,
    iteration: int,
    total: int,
    native: Mode | None = None,
    log: Sequence[str] | None = None,
    *,
    goes_on: bool = True,
) -> None:
    """Note in `config.json` that a run is resumed, and what it does otherwise from here on.

    Args:
        run: Whose settings may have ``iterations``, ``native`` and ``log``.
        iteration: Where it goes on.
        total: Iterations in all.
        native: Whether native kernels are used; None: as before.
        log: Loggers; None: as before.
        goes_on: Whether anything is done; if not, what is new is worth a note.
    """
    changes: dict[str, Any] = {}
    if run.config.get("iterations", total) != total:
        changes["iterations"] = total
    if goes_on and native not in (None, kept_mode([run])):
        changes["native"] = native
    if log is not None and list(log) != list(run.config.get("log", USUAL)):
        changes["log"] = list(log)
    if goes_on or changes:
        run.note_resume(iteration, changes=changes or None)


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
