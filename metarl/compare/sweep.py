"""A sweep: methods × seeds × values of one more setting of a recipe, trained and summed up.

What is finished is left alone, and what was interrupted goes on (`metarl.compare.work`). Runs are
summed up by their `summary.json`: a table, and pictures over their seeds. Drawing is imported when
something is drawn: half a second, of which training has no need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np

from metarl.compare.executors import Executor, SlurmSettings, Unit, check_executor, launch
from metarl.compare.processes import work_off
from metarl.compare.settings import check_report
from metarl.compare.tables import csv_of
from metarl.compare.work import Failures, Job, check_same, chosen, finished, name_of
from metarl.errors import UserError, check_different, understood
from metarl.run.commands import fail, is_given, parse
from metarl.runs.directory import RunDirectory
from metarl.runs.files import write_bytes
from metarl.runs.place import check_folder
from metarl.stats import mean_and_interval

if TYPE_CHECKING:
    from metarl.plots.lines import Curves


@dataclass(frozen=True)
class SweepSettings:
    """Train and evaluate all combinations; a recipe derives settings of its own."""

    run_dir: Path
    """Where the runs and their report go."""
    methods: tuple[str, ...]
    """The learners."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds."""
    jobs: int = 1
    """Runs at a time, each in a process with one thread."""
    report_only: bool = False
    """Train nothing: sum up what is there."""
    executor: Executor = "here"
    """here: in this process, or --jobs of them; local, slurm: through submitit, in processes here
    (--jobs at a time) or as jobs of SLURM."""
    slurm: SlurmSettings = field(default_factory=SlurmSettings)
    """Of each job of SLURM."""
    only: tuple[str, ...] = ()
    """Do these runs alone, by their folders in --run-dir, and report nothing."""

    OVER: ClassVar[tuple[str, ...]] = ("seeds", "methods")
    """Settings whose values are combined, from the outermost to the innermost."""

    def __post_init__(self) -> None:
        """Check that there is something to do."""
        for name in self.OVER:
            check_different(getattr(self, name), f"--{name}", error=UserError)
        if self.jobs < 1:
            raise UserError(f"--jobs must be at least 1, got {self.jobs}")
        check_report(self.report_only, self.only)

    def combinations(self) -> Iterator[tuple[Any, ...]]:
        """Return every combination of the values of `OVER`."""
        return product(*(getattr(self, name) for name in self.OVER))


SettingsT = TypeVar("SettingsT", bound=SweepSettings)


@dataclass(frozen=True)
class Sweep(Generic[SettingsT]):
    """Definition of a sweep.

    Attributes:
        module: Where the recipe stands that has it as ``sweep``.
        settings: The dataclass of its command line.
        jobs: Makes its runs, given settings and the options of `train`, which hold for all.
        closed: Options of `train` that the sweep has itself.
        check: Checks, before the first run is trained, what all of them need.
        report: Sums up what is in the folder.
    """

    module: str
    settings: type[SettingsT]
    jobs: Callable[[SettingsT, Sequence[str]], Iterable[Job]]
    closed: tuple[str, ...]
    check: Callable[[Job], object]
    report: SweepReport

    def run(self, prog: str, arguments: Sequence[str]) -> None:
        """Read the command line, and sweep; what follows ``--`` are options of `train`."""
        cut = arguments.index("--") if "--" in arguments else len(arguments)
        words, options = arguments[:cut], arguments[cut + 1 :]
        settings = parse(self.settings, prog, words)
        if not arguments and not settings.run_dir.exists():  # hours of work are asked for in words
            runs = [job.train.iterations for job in self.jobs(settings, ())]
            raise UserError(
                f"say what to train: `{prog} --methods {' '.join(settings.methods)}` trains "
                f"{len(runs)} runs of {sum(runs)} iterations together"
            )
        try:
            failures = self.work(settings, options, words)
        except KeyboardInterrupt as interrupt:
            what = f", {interrupt}" if f"{interrupt}" else ""
            fail(f"interrupted{what}; the same command goes on", status=130)
        if failures:
            fail(f"{len(failures)} failed: {', '.join(map(str, failures))}, see above", status=1)

    def work(
        self, settings: SettingsT, options: Sequence[str] = (), words: Sequence[str] = ()
    ) -> Failures:
        """Do what is not done yet, and sum up.

        Args:
            settings: The combinations.
            options: Of `train`, for all runs.
            words: The settings on the command line, for those who work elsewhere.

        Returns:
            The runs that failed, and of what.

        Raises:
            UserError: No run can be trained, or one that is there has other settings.
            KeyboardInterrupt: Interrupted, after saving.
        """
        if is_given(options, "--config"):
            raise UserError("--config is not for `sweep`: give its options by their names")
        for name in self.closed:
            if is_given(options, f"--{name}"):
                raise UserError(f"--{name} is said before --, for the sweep as a whole")
        check_executor(settings.executor)
        check_folder(settings.run_dir)
        planned = [] if settings.report_only else list(self.jobs(settings, options))
        for job in planned:
            check_same(job)
        left = [
            job for job in chosen(planned, settings.run_dir, settings.only) if not finished(job)
        ]
        for job in left[:1]:
            self.check(job)
        failures = self._bring(left, settings, options, words)
        if not settings.only:
            self.report.write(settings.run_dir)
        return failures

    def _bring(
        self,
        left: Sequence[Job],
        settings: SettingsT,
        options: Sequence[str],
        words: Sequence[str],
    ) -> Failures:
        """Bring runs to their end, here or elsewhere."""
        if settings.executor == "here":
            return work_off(left, settings.jobs)
        folder, here = settings.run_dir, ("--executor", "here", "--jobs", "1")
        units = []
        for name in (name_of(job, folder) for job in left):
            line = ("sweep", *words, *here, "--only", name, "--", *options)
            units.append(Unit(self.module, line, name))
        folder.mkdir(parents=True, exist_ok=True)
        found = launch(units, settings.executor, settings.slurm, folder, settings.jobs)
        return {folder / name: why for name, why in found.items()}


def judged_as(job: Job, expected: Mapping[str, Any]) -> bool:
    """Return whether the summary of a run says what it should, before any `evaluated.json` does."""
    path = job.path / "summary.json"
    if not path.exists():
        return False
    done = RunDirectory.open(job.path).read_summary()
    return all(done.get(name) == value for name, value in expected.items())


# What is said and drawn of it ---------------------------------------------------------------------


Summary = Mapping[str, Any]


class Number(NamedTuple):
    """A number of a summary, as a table shows it.

    Attributes:
        words: Head of its column.
        scale: What it is multiplied by, such as 100 for per cent.
        digits: Digits behind the point.
    """

    words: str
    scale: float = 1.0
    digits: int = 2


class Axes(NamedTuple):
    """Words of a picture; ``{}`` in the title stands for the largest value that was swept."""

    xlabel: str
    ylabel: str
    title: str


@dataclass(frozen=True)
class SweepReport:
    """Content of a sweep's report: how its runs are summed up.

    Attributes:
        what: What such a run is called.
        row: Makes the row of a run of its summary; None of one that does not belong there.
        columns: Entries of a row that ``results.csv`` keeps.
        over: Entry that is swept, and what its values are called.
        judged: Entries that say how a run was judged, in words; what differs in them is not
            averaged.
        told: Those of them that are columns of the table.
        numbers: Entries that are averaged over seeds; the first is the score.
        curve: Entries of a curve on the way, its places and its values.
        on_the_way: Words of the picture of these curves, for the largest value that was swept.
        at_the_end: Words of the picture of the score against the value that was swept.
    """

    what: str
    row: Callable[[Summary], Summary | None]
    columns: tuple[str, ...]
    over: tuple[str, str]
    judged: Mapping[str, str]
    told: tuple[str, ...]
    numbers: Mapping[str, Number]
    curve: tuple[str, str]
    on_the_way: Axes
    at_the_end: Axes

    @property
    def score(self) -> str:
        """The entry that says how good a run is."""
        return next(iter(self.numbers))

    def write(self, folder: Path) -> None:
        """Write results.csv, steps.png and, of several values, accuracy.png; print the table."""
        found, over = read_summaries(folder, self.row, self.what), self.over[0]
        summaries = sorted(found, key=lambda s: (s[over], -s[self.score]))
        write_bytes(folder / "results.csv", csv_of(self.columns, summaries))
        print(self.table(summaries))
        largest = max(s[over] for s in summaries)
        on_the_way = [
            curve_within(name, runs, *self.curve)
            for (name,), runs in self.lines([s for s in summaries if s[over] == largest]).items()
        ]
        draw(folder / "steps.png", on_the_way, self.on_the_way, largest)
        written = [folder / "results.csv", folder / "steps.png"]
        if len({s[over] for s in summaries}) > 1:
            found_curves = [
                curve_across(name, runs, over, self.score)
                for (name,), runs in self.lines(summaries).items()
            ]
            at_the_end = [curve for curve in found_curves if curve is not None]
            draw(folder / "accuracy.png", at_the_end, self.at_the_end, largest)
            written.append(folder / "accuracy.png")
        print(f"written: {', '.join(map(str, written))}")

    def table(self, summaries: Sequence[Summary]) -> str:
        """Markdown: one line per value, method and way to judge; mean ± interval over seeds."""
        over, words = self.over
        heads = (
            *(words, "method", *(self.judged[name] for name in self.told)),
            *(number.words for number in self.numbers.values()),
            "seeds",
        )
        lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for (value, name), runs in self.lines(summaries, over).items():
            cells = (
                *(str(value), name, *(str(runs[0][key]) for key in self.told)),
                *(over_seeds(runs, key, n.scale, n.digits) for key, n in self.numbers.items()),
                str(len(runs)),
            )
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    def lines(
        self, summaries: Sequence[Summary], *names: str
    ) -> dict[tuple[Any, ...], list[Summary]]:
        """Return runs that differ in nothing but their seed; see `seeds_of_lines`."""
        return seeds_of_lines(summaries, self.judged, *names)


def draw(path: Path, lines: Sequence[Curves], words: Axes, largest: object) -> None:
    """Draw curves with intervals over seeds."""
    from metarl.plots.lines import learning_curves, save_figure

    title = words.title.format(largest)
    figure = learning_curves(lines, xlabel=words.xlabel, ylabel=words.ylabel, title=title)
    save_figure(figure, path)


def read_summaries(
    folder: Path, row: Callable[[Summary], Summary | None], what: str = "run"
) -> list[Summary]:
    """Summaries of the evaluated runs under a folder.

    Args:
        folder: Where.
        row: Makes the row of a run of its summary; None of one that does not belong there. What it
            raises of a damaged summary is told with the file.
        what: What such a run is called.

    Raises:
        UserError: There is no run, or a summary is damaged.
    """
    found = []
    for path in sorted(folder.rglob("summary.json")):
        if (path.parent / "config.json").exists():
            summary = RunDirectory.open(path.parent).read_summary()
            with understood(path, "is not a summary", "evaluate the run again"):
                found.append(row(summary))
    rows = [one for one in found if one is not None]
    if not rows:
        raise UserError(f"there is no evaluated {what} in {folder}")
    return rows


def seeds_of_lines(
    summaries: Sequence[Summary], judged: Mapping[str, str], *names: str
) -> dict[tuple[Any, ...], list[Summary]]:
    """Runs that differ in nothing but their seed, by ``names`` and a name for the legend.

    Args:
        summaries: Summaries of all runs; each has a ``method``.
        judged: Entries that say how a run was judged, in words; what differs in them is not
            averaged. The name for the legend is the method, and what of these differs within it.
        names: Further entries that tell lines apart.
    """
    lines: dict[tuple[Any, ...], list[Summary]] = {}
    for summary in summaries:
        alike = [s for s in summaries if s["method"] == summary["method"]]
        telling = [k for k in judged if len({s[k] for s in alike}) > 1]
        words = [f"{judged[k]} {summary[k]}" for k in telling]
        label = ", ".join([summary["method"], *words])
        lines.setdefault((*(summary[n] for n in names), label), []).append(summary)
    return lines


def over_seeds(runs: Sequence[Summary], name: str, scale: float, digits: int) -> str:
    """Mean of a number over runs with half its 95 % t interval, as ``94.0 ± 1.2``."""
    mean, _, high = mean_and_interval([scale * run[name] for run in runs])
    half = f" ± {float(high - mean):.{digits}f}" if len(runs) > 1 else ""
    return f"{float(mean):.{digits}f}{half}"


def curve_within(label: str, runs: Sequence[Summary], x: str, y: str) -> Curves:
    """Curves of runs: a list ``y`` of each summary, at the places ``x`` that all of them have."""
    from metarl.plots.lines import Curves

    common = sorted(set.intersection(*(set(run[x]) for run in runs)))
    at = [dict(zip(run[x], run[y], strict=True)) for run in runs]
    return Curves(label, np.asarray(common), np.array([[one[k] for k in common] for one in at]))


def curve_across(
    label: str, runs: Sequence[Summary], x: str, y: str, seed: str = "run_seed"
) -> Curves | None:
    """Curves of seeds: a number ``y`` of the runs of each against another, ``x``.

    Seeds that lack a run are left out; None where all do.
    """
    from metarl.plots.lines import Curves

    places = sorted({run[x] for run in runs})
    found = {(run[seed], run[x]): run[y] for run in runs}
    seeds = sorted({run[seed] for run in runs})
    whole = [s for s in seeds if all((s, place) in found for place in places)]
    values = np.array([[found[s, place] for place in places] for s in whole])
    return Curves(label, np.asarray(places), values) if whole else None
