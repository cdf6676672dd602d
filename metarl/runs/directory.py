"""A run directory: all that one training run leaves behind, the same for every script.

    config.json             every setting at the top level; "provenance": versions, commit, device
    metrics.jsonl           one object a line (see `metarl.runs.metrics`)
    events.out.tfevents.*   the same metrics for TensorBoard
    loggers.json            what loggers find their run by (see `metarl.runs.loggers`)
    checkpoint.pt           all that is needed to go on (see `metarl.runs.checkpoint`)
    summary.json            the final evaluation
    *.png, *.gif            pictures

One seed uses the folder itself. Several seeds have one run directory each in it: `seed-0`, ….
"""

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from numpy.typing import NDArray

from metarl.errors import CheckpointError, RunDirectoryError, understood
from metarl.runs import checkpoint
from metarl.runs.config import check_own
from metarl.runs.files import Lock, read_json, to_json, write_json
from metarl.runs.loggers import Loggers
from metarl.runs.metrics import MetricsLog
from metarl.runs.place import is_vacant, refuse_occupied
from metarl.runs.provenance import provenance


class RunDirectory:
    """One run on disk. Make it with `create` or `open`; use it in `with`, or `close` it.

    Attributes:
        path: The folder.
        config: What `config.json` holds.
        was_trained: Whether a checkpoint has been saved through this object.
        device: What it computes on when it is resumed, for the provenance; None: that is not known.
        filmed: Films what it has learned, as its last checkpoint has it, into a .gif.
    """

    filmed: Callable[[Path], object] | None = None

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.device: torch.device | None = None
        self._metrics = MetricsLog(path / "metrics.jsonl")
        self._loggers = Loggers(path, self._metrics.rows)
        self._lock: Lock | None = None
        self._noted: int | None = None
        self.was_trained = False

    @classmethod
    def create(
        cls,
        path: Path | str,
        config: object,
        *,
        device: torch.device | str | None = None,
        **extra: object,
    ) -> Self:
        """Make a new run directory and write its `config.json`; it is locked until `close`.

        Args:
            path: A folder that does not exist yet, or is empty.
            config: The settings: a dataclass or a mapping.
            device: What the run computes on, for the provenance.
            **extra: More top-level entries of `config.json`, such as `seed` or `anchors`.

        Raises:
            RunDirectoryError: Something is there already, or another process is making it.
        """
        path = Path(path)
        content = {
            **_settings(config),
            **{key: to_json(value, key) for key, value in extra.items()},
            "provenance": provenance(device),
        }
        refuse_occupied(path)
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path, content)
        run.lock()
        try:
            refuse_occupied(path)  # again, now that nobody else can be making it
            write_json(path / "config.json", content)
        except BaseException:
            run.unlock()
            raise
        return run

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open an existing run, to resume, evaluate, render or plot it.

        Raises:
            RunDirectoryError: The folder is missing, or it is not a run.
        """
        path = Path(path)
        if not path.is_dir():
            raise RunDirectoryError(f"there is no run directory {path}; check the path")
        if not (path / "config.json").is_file():
            inside = sorted(config.parent for config in path.glob("seed-*/config.json"))
            hint = f"; name one of its runs, such as {inside[0]}" if inside else ""
            if is_vacant(path):
                hint = f": nothing has been written yet; begin with --run-dir {path}"
            raise RunDirectoryError(f"{path} is not a run: it has no config.json{hint}")
        config = read_json(path / "config.json")
        if not isinstance(config.get("provenance"), dict):
            raise RunDirectoryError(
                f"{path} is not a run of metarl: its config.json has no provenance; "
                "name a folder that a `train` command made"
            )
        with understood(path / "config.json", "is not that of a run", "restore it"):
            check_own(config)
        return cls(path, config)

    @property
    def seed(self) -> int:
        """The seed of the run.

        Raises:
            RunDirectoryError: Its `config.json` has none.
        """
        if "seed" not in self.config:
            raise RunDirectoryError(f"{self.path / 'config.json'} has no seed; restore it")
        return int(self.config["seed"])

    # ----------------------------------------------------------------- who is training

    def lock(self) -> None:
        """Claim the run for this process until `unlock`: two writers would spoil it.

        Where the file system has no locks nothing is claimed.

        Raises:
            RunDirectoryError: Another process is training it.
        """
        if self._lock is None:
            self._lock = Lock(self.path)

    def unlock(self) -> None:
        """Give the run free."""
        if self._lock is not None:
            self._lock.release()
        self._lock = None

    def note_resume(
        self,
        iteration: int,
        device: torch.device | str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        """Add to `config.json` that training goes on from an iteration, and with which versions.

        What has been noted through this object is not noted again.

        Args:
            iteration: Where it goes on.
            device: On what.
            changes: Settings that are another from here on, such as ``iterations``.
        """
        if iteration == self._noted and not changes:
            return
        self._noted = iteration
        now = read_json(self.path / "config.json")  # others may have resumed it since
        entry = {"iteration": iteration, "provenance": provenance(device or self.device)}
        if changes:
            entry["changed_from"] = {name: now.get(name) for name in changes}
        resumed = [*now.get("resumed", []), entry]
        self.config = {**now, **(changes or {}), "resumed": resumed}
        write_json(self.path / "config.json", self.config)

    def note_native(self, ran: Mapping[str, Any]) -> None:
        """Note in `config.json`, as ``native_ran``, what has run natively and why not the rest.

        Args:
            ran: JSON of `metarl.native.Ran`; what is there already is not written again.
        """
        if self.config.get("native_ran") == ran:
            return
        now = read_json(self.path / "config.json")
        self.config = {**now, "native_ran": dict(ran)}
        write_json(self.path / "config.json", self.config)

    def write_json(self, name: str, content: object) -> None:
        """Write a file of the run's own beside the others, such as `split.json`.

        Args:
            name: Of the file.
            content: What `metarl.runs.files.to_json` turns into JSON.
        """
        write_json(self.path / name, to_json(content, name))

    # -------------------------------------------------------------------------- metrics

    def begin_loggers(self) -> None:
        """Begin the loggers that the settings name, before anything is trained.

        Raises:
            UserError: One cannot be begun.
        """
        self._loggers.begin(self.config)

    def write_metrics(
        self,
        iteration: int,
        metrics: Mapping[str, float],
        *,
        wall_seconds: float,
        env_steps: int | None = None,
        tasks_seen: int | None = None,
        beside: Mapping[str, float] | None = None,
    ) -> None:
        """Append one line to `metrics.jsonl`, and log the same values.

        Args:
            iteration: Iterations done, this one included; grows from line to line.
            metrics: Name → number. NaN and infinity become null in the file.
            wall_seconds: Training time so far, over all resumes.
            env_steps: Environment steps so far (reinforcement learning).
            tasks_seen: Tasks so far (supervised learning). Exactly one of the two is given.
            beside: Further metrics for the loggers alone.
        """
        if (env_steps is None) == (tasks_seen is None):
            raise ValueError("give exactly one of env_steps and tasks_seen")
        progress = {"env_steps": env_steps} if tasks_seen is None else {"tasks_seen": tasks_seen}
        head = {"iteration": iteration, **progress, "wall_seconds": wall_seconds}
        if taken := head.keys() & metrics.keys():
            raise ValueError(f"metrics may not be called {sorted(taken)}: every line has those")
        row: dict[str, Any] = {**head, **metrics}
        self.begin_loggers()
        self._metrics.append(row)
        self._loggers.write(row, beside or {})

    def show(self, name: str, file: Path) -> None:
        """Log a picture (.png) or a film (.gif), at the last line of metrics."""
        self._loggers.show(name, file)

    def film(self, iteration: int) -> None:
        """Film what was learned by an iteration, once, into the folder ``films``, and log it."""
        output = self.path / "films" / f"{iteration:06d}.gif"
        if self.filmed is not None and not output.exists():
            output.parent.mkdir(exist_ok=True)
            self.filmed(output)
            self.show("film", output)

    def read_metrics(self) -> dict[str, NDArray[Any]]:
        """The metrics as columns, each an array [lines]; NaN where a line has no value."""
        return self._metrics.columns()

    def truncate_metrics(self, after_iteration: int) -> None:
        """Drop the metrics after an iteration, on a resume from its checkpoint."""
        self._metrics.truncate(after_iteration)
        self._loggers.go_back(after_iteration)

    # ------------------------------------------------------------- checkpoint and summary

    @property
    def checkpoint_path(self) -> Path:
        """Path that `save_checkpoint` writes to."""
        return self.path / "checkpoint.pt"

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write `checkpoint.pt` (see `metarl.runs.checkpoint.save`), after the metrics so far."""
        self._metrics.sync()
        self._loggers.flush()
        checkpoint.save(self.checkpoint_path, state)
        self.was_trained = True

    def load_checkpoint(self, device: torch.device | str = "cpu") -> checkpoint.State:
        """Read `checkpoint.pt` (see `metarl.runs.checkpoint.load`).

        Raises:
            CheckpointError: It cannot be read, or what was learned is not finite.
        """
        state = checkpoint.load(self.checkpoint_path, device)
        where = checkpoint.not_finite(state.get("learner"), "learner")
        if where is not None:
            raise CheckpointError(
                f"{self.checkpoint_path} holds what is not finite ({where}): the training has "
                "diverged; train again with smaller learning rates"
            )
        return state

    def fits_settings(self) -> AbstractContextManager[None]:
        """The border around what takes a checkpoint's state in: all it raises is one named error.

        Raises:
            CheckpointError: On leaving, where the state is not what the settings ask for.
        """
        return understood(
            self.checkpoint_path,
            "does not fit the settings in its config.json",
            "restore the one or the other",
            CheckpointError,
        )

    def write_summary(self, summary: Mapping[str, object]) -> None:
        """Write `summary.json`, replacing an earlier one; NaN and infinity become null."""
        write_json(self.path / "summary.json", to_json(summary, "summary"))

    def read_summary(self) -> dict[str, Any]:
        """Content of `summary.json`.

        Raises:
            RunDirectoryError: The run has not been evaluated yet.
        """
        path = self.path / "summary.json"
        if not path.is_file():
            raise RunDirectoryError(f"{self.path} has no summary.json yet; run `evaluate` on it")
        return read_json(path)

    # ------------------------------------------------------------------------- lifetime

    def close(self, *, whole: bool = True) -> None:
        """Close the loggers and give the run free. Writing again begins them again.

        Args:
            whole: Whether the training came to its end.
        """
        try:
            self._loggers.close(whole=whole)
        finally:
            self.unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _settings(config: object) -> dict[str, Any]:
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = dataclasses.asdict(config)
    if not isinstance(config, Mapping):
        raise TypeError(f"config must be a dataclass or a mapping, got {type(config).__name__}")
    if "provenance" in config:
        raise ValueError("the setting 'provenance' would hide the run's own; rename it")
    return {str(key): to_json(value, str(key)) for key, value in config.items()}
