"""The meta-training loop: iterations, metrics, checkpoints, interruption and resume.

Glossary: an *iteration* works on one meta-batch of tasks and updates the learner; a *task* is one
maze, or one data set; a *trial* is an agent's time on one maze; a trial consists of one or more
*episodes* of *steps*. One loop drives N agents (seeds) that are stacked into one tensor program;
each has its own run directory, and each directory is as if its agent had been trained alone.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from metarl.core import Schedule
from metarl.core.processes import current
from metarl.errors import UserError, check_counts
from metarl.meta import NonFiniteLossError
from metarl.native import Mode, Ran, recorded, using
from metarl.runs import checkpoint, resume
from metarl.runs.directory import RunDirectory
from metarl.runs.interruption import Interruption
from metarl.runs.loggers import LoggerName
from metarl.runs.progress import Progress
from metarl.seeding import set_streams
from metarl.train.beginning import weights_for
from metarl.train.line import Line, restored_line

logger = logging.getLogger(__name__)


class Learner(Protocol):
    """N stacked agents that can be trained, saved and restored one by one."""

    def set_learning_rate_factor(self, factor: float) -> None:
        """Scale the learning rates."""

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything agent ``index`` needs to go on."""

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where every agent left off."""


@dataclass(frozen=True)
class LoopSettings:
    """Settings of the loop: its end, its logging and its checkpoints.

    Attributes:
        iterations: Iterations in all, those before a resume included.
        log_every: Iterations per line of metrics; each line is the mean over them.
        checkpoint_every: Iterations between checkpoints; the last iteration is always saved.
        schedule: Schedule of the learning rates.
        native: auto: native kernels where there are some; off: eager code alone. None: a resume
            goes on as the runs have run, new runs are auto.
        init_from: A run, or an agent of the package, whose weights new runs begin with; None: with
            those that their seeds draw.
        log: Loggers beside `metrics.jsonl`. None: a resume keeps those of the runs.
        film_every: Iterations between films (`RunDirectory.filmed`); None: no films.
        dtype: Precision of the weights, and of what is computed with them.
    """

    iterations: int
    log_every: int = 10
    checkpoint_every: int = 500
    schedule: Schedule = field(default_factory=Schedule)
    native: Mode | None = None
    init_from: Path | str | None = None
    log: tuple[LoggerName, ...] | None = None
    film_every: int | None = None
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        """Check that all counts are positive."""
        names = ("iterations", "log_every", "checkpoint_every", "film_every")
        check_counts(error=UserError, **{name: getattr(self, name) for name in names})


_pause: ContextVar[int | None] = ContextVar("pause", default=None)


@contextmanager
def pausing_at(iteration: int) -> Iterator[None]:
    """Pause of every training in the `with` block: it ends early, saved as an interrupted one is.

    A resume goes on bit for bit, for the run is still one of as many iterations as before.

    Args:
        iteration: Where it ends, unless it is over before.
    """
    before = _pause.set(iteration)
    try:
        yield
    finally:
        _pause.reset(before)


class MetaTraining:
    """One run of the loop.

    Args:
        learner: The stacked agents.
        iterate: Works on one meta-batch and updates the learner; returns metrics ``[N]`` by name,
            which stay on the device until a line is written. A metric may be missing at times
            (a validation): a line has the mean over the iterations that gave it.
        runs: One run directory an agent.
        generators: For each agent its random streams by name; saved and restored with it.
        steps_per_iteration: Count of one agent in one iteration; a function, where it depends on
            how many iterations are over.
        settings: When to end, write and save.
        headline: The metrics that the progress bar shows.
        counter: The things counted: environment steps, or (supervised) tasks.
        description: Name in the progress bar.
        at_the_end: Judges what was learned, once, after the last iteration; its metrics ``[N]`` go
            into the last line. It draws nothing from ``generators``.
    """

    def __init__(
        self,
        learner: Learner,
        iterate: Callable[[], Mapping[str, Tensor]],
        runs: Sequence[RunDirectory],
        generators: Sequence[Mapping[str, torch.Generator]],
        steps_per_iteration: int | Callable[[int], int],
        settings: LoopSettings,
        headline: Sequence[str] = ("return",),
        *,
        counter: Literal["env_steps", "tasks_seen"] = "env_steps",
        description: str = "training",
        at_the_end: Callable[[], Mapping[str, Tensor]] = dict,
    ) -> None:
        self.learner, self.iterate, self.runs = learner, iterate, runs
        self.generators, self.settings, self.headline = generators, settings, headline
        self.steps_per_iteration = (
            steps_per_iteration if callable(steps_per_iteration) else lambda _: steps_per_iteration
        )
        self.counter, self.counted = counter, 0
        self.description, self.at_the_end = description, at_the_end
        self.processes = current()
        self.iteration = 0
        self._wall_seconds = 0.0
        self._native, self._ran = settings.native or "auto", Ran()
        self._eager: list[str] = []  # why parts of what is gone on with have run so
        self._line = Line()
        self._closed = False  # whether the last line is written, which may come too early

    def resume(self) -> None:
        """Go back to the newest checkpoint that all runs have; later metrics are dropped.

        The settings may ask for another number of iterations than the runs were made for: with a
        constant schedule they become, bit for bit, what they would have been if made for it;
        another schedule follows the new number from here on. A run that is at its last iteration is
        left as it is. One that was killed before its first checkpoint was whole begins again.

        Raises:
            UserError: A checkpoint is missing, damaged, or not of these settings; more has been
                done than the settings ask for; or another process is training the run.
        """
        total, native = self.settings.iterations, self.settings.native
        self._native, self._eager, states = self.processes.first(self._found)
        if states is None:
            for run in self.runs:
                resume.note(run, 0, total, native, self.settings.log, goes_on=False)
            return
        with self.runs[0].fits_settings():
            self._load(states)
        goes_on = self.iteration < total or not self._closed
        for run in self.runs:
            resume.note(run, self.iteration, total, native, self.settings.log, goes_on=goes_on)
        if goes_on:
            self._reopen([state.get("closed", False) for state in states])

    def _found(self) -> tuple[Mode, list[str], list[checkpoint.State] | None]:
        """Claim the runs; how they go on, and their states: None, where none was saved."""
        resume.claim(self.runs, self.settings.iterations)
        mode = self.settings.native or resume.kept_mode(self.runs)
        eager = resume.kept_eager(self.runs)
        if self._lacks_a_checkpoint() and not any(run.read_metrics() for run in self.runs):
            return mode, eager, None
        checkpoint.rewind_to_common([run.checkpoint_path for run in self.runs])
        return mode, eager, [run.load_checkpoint() for run in self.runs]

    def run(self) -> None:
        """Train to the last iteration.

        Raises:
            NonFiniteLossError: A loss became NaN or infinite; the checkpoints stand.
            KeyboardInterrupt: Ctrl-C was pressed; a checkpoint has been written first.
        """
        ended = False
        with Interruption() as interruption:
            try:
                for run in self.runs:
                    run.lock()
                with using(self._native), recorded(self._eager) as self._ran:
                    self._run(interruption)
                ended = not self.processes.any(interruption.asked)
            finally:
                for run in self.runs:
                    run.close(whole=ended and self.iteration == self.settings.iterations)
        if not ended or self.processes.any(interruption.asked):  # amid the closing, too
            raise KeyboardInterrupt(f"saved at iteration {self.iteration}")

    def _run(self, interruption: Interruption) -> None:
        total = self.settings.iterations
        # A checkpoint is there before the first step: a run killed at any moment resumes.
        if self.processes.first(self._lacks_a_checkpoint):
            if self.settings.init_from is not None:
                self._begin_with(self.settings.init_from)
            self._save()
        if self.iteration < total or not self._closed:
            for run in self.runs:
                run.begin_loggers()
            self._film()
        with self._shown() as progress:
            started = time.perf_counter() - self._wall_seconds
            stop = self.processes.any(interruption.asked or self._is_paused())
            if self.iteration == total and not self._closed:
                self._close(interruption)
                self._save()
            while self.iteration < total and not stop:
                with interruption.computing():
                    metrics = self._iterate()
                self._add(metrics)
                self._wall_seconds = time.perf_counter() - started
                done = self.iteration == total
                if done:
                    progress.update(self.iteration, self._close(interruption))
                elif self.iteration % self.settings.log_every == 0:
                    progress.update(self.iteration, self._write_metrics())
                # Looked at once: what stops has been saved. Who was asked stops all.
                stop = self.processes.any(interruption.asked or self._is_paused())
                if done or stop or self.iteration % self.settings.checkpoint_every == 0:
                    self._save()
                if not stop:
                    started += self._film()

    def _film(self) -> float:
        """Film what was learned so far, if it is time to; return the seconds that it took."""
        every, began = self.settings.film_every, time.perf_counter()
        if not every or self.iteration % every:
            return 0.0
        self._save()
        for run in self.runs if self.processes.is_first else ():
            run.film(self.iteration)
        return time.perf_counter() - began

    def _is_paused(self) -> bool:
        pause = _pause.get()
        return pause is not None and self.iteration >= pause

    def _begin_with(self, name_or_path: Path | str) -> None:
        """Give every agent the weights of a run; optimisers and random streams stay their own.

        Raises:
            UserError: There is no such run, or it has other weights, or none.
        """
        states = [self.learner.agent_state(n) for n in range(len(self.runs))]
        for state in states:
            own, back = state.get("params", {}), state.get("initial_fast", {})
            state["params"] = self.processes.first(partial(weights_for, name_or_path, own))
            if back:  # to which fast weights return
                state["initial_fast"] = {name: state["params"][name] for name in back}
        self.learner.load_agent_states(states)

    def _shown(self) -> Progress:
        """Progress that is shown of all agents; one process shows it."""
        stream = None if self.processes.is_first else io.StringIO()
        total, start = self.settings.iterations, self.iteration
        return Progress(total, self.description, start=start, stream=stream)

    def _lacks_a_checkpoint(self) -> bool:
        return any(not run.checkpoint_path.exists() for run in self.runs)

    def _iterate(self) -> Mapping[str, Tensor]:
        factor = self.settings.schedule.factor(self.iteration, self.settings.iterations)
        self.learner.set_learning_rate_factor(factor)
        try:
            return self.iterate()
        except NonFiniteLossError as error:
            whose = [self.runs[n] for n in error.agents] or self.runs
            raise NonFiniteLossError(
                f"{', '.join(str(run.path) for run in whose)}: iteration {self.iteration + 1}: "
                f"{error}; the last checkpoint is untouched, but a resume would end here again: "
                "train again with a smaller --lr",
                error.agents,
            ) from error

    def _add(self, metrics: Mapping[str, Tensor]) -> None:
        """Count an iteration, and add its metrics to those of the line to come."""
        self._line.add(metrics)
        self.counted += self.steps_per_iteration(self.iteration)
        self.iteration += 1

    def _close(self, interruption: Interruption) -> dict[str, float]:
        """Write the last line; the checkpoint keeps its sums, for the run may be extended."""
        with interruption.computing():
            judged = self.at_the_end()
        self._closed = True
        line = self._line
        if not line.sums:  # the line of this iteration has been written
            return {}
        self._line = line.beside(judged)
        headline = self._write_metrics()
        self._line = line
        return headline

    def _reopen(self, closed: Sequence[bool]) -> None:
        """Go on after the last line as if it had not been the last."""
        self._closed = False
        between = self.iteration % self.settings.log_every != 0
        if not between and not all(closed):
            self._line = Line()  # some seeds wrote them in a line that stays
        comes_again = any(closed) and bool(self._line.sums)
        for run in self.runs:
            run.truncate_metrics(self.iteration - 1 if comes_again else self.iteration)
        if comes_again and not between:
            self._write_metrics()

    def _write_metrics(self) -> dict[str, float]:
        means = self._line.means()
        counted = {self.counter: self.counted}
        for n, run in enumerate(self.runs):
            own = {name: values[n] for name, values in means.items()}
            beside, seconds = self._learning_rate(run), self._wall_seconds
            run.write_metrics(self.iteration, own, wall_seconds=seconds, beside=beside, **counted)
        self._line = Line()
        shown = [name for name in self.headline if name in means]
        return {name: sum(means[name]) / len(means[name]) for name in shown}

    def _learning_rate(self, run: RunDirectory) -> dict[str, float]:
        """The learning rate of the last iteration, where the settings have one."""
        learner = run.config.get("learner")
        rate = learner.get("lr") if isinstance(learner, Mapping) else None
        if not isinstance(rate, int | float) or not self.iteration:
            return {}
        schedule, total = self.settings.schedule, self.settings.iterations
        return {"learning_rate": rate * schedule.factor(self.iteration - 1, total)}

    def _save(self) -> None:
        states = [self.learner.agent_state(n) for n in range(len(self.runs))]
        self._check_finite(states)
        for n, run in enumerate(self.runs):
            if self.iteration:  # before, nothing has run
                run.note_native(self._ran.to_json())
            run.save_checkpoint(
                {
                    "iteration": self.iteration,
                    "counted": self.counted,
                    "wall_seconds": self._wall_seconds,
                    "learner": states[n],
                    "generators": {k: g.get_state() for k, g in self.generators[n].items()},
                    **self._line.agent_state(n),
                    "closed": self._closed,
                }
            )

    def _check_finite(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Keep the checkpoints that are there where there is nothing better to write.

        Raises:
            NonFiniteLossError: Weights, or what an optimiser remembers, are not finite.
        """
        found = [checkpoint.not_finite(state, "learner") for state in states]
        agents = tuple(n for n, where in enumerate(found) if where is not None)
        if agents:
            whose = ", ".join(f"{self.runs[n].path} ({found[n]})" for n in agents)
            raise NonFiniteLossError(
                f"iteration {self.iteration}: what was learned is not finite: {whose}; nothing was "
                "saved, the checkpoint before stands: train again with a smaller --lr",
                agents,
            )

    def _load(self, states: Sequence[Mapping[str, Any]]) -> None:
        self.learner.load_agent_states([s["learner"] for s in states])
        for n, state in enumerate(states):
            seed = (self.runs[n].seed, state["iteration"])
            moved = set_streams(self.generators[n], state["generators"], seed)
            if moved and n == 0:
                logger.warning(
                    "the run goes on on another device, whose random streams are others: from "
                    "iteration %d on %s begin again, from seed and iteration",
                    state["iteration"],
                    ", ".join(moved),
                )
        self._line = restored_line(states)
        self.iteration = states[0]["iteration"]
        self.counted = states[0].get("counted", self.iteration * self.steps_per_iteration(0))
        self._closed = all(s.get("closed", True) for s in states)
        self._wall_seconds = max(s["wall_seconds"] for s in states)
