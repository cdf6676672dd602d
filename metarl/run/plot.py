"""`plot RUN [RUN ...] --output FILE.png`: learning curves of any runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from metarl.errors import UserError
from metarl.run.commands import brought_to_an_end, parse
from metarl.runs.place import check_file

if TYPE_CHECKING:
    from metarl.runs.directory import RunDirectory

AXES = {"env_steps": "environment steps", "tasks_seen": "tasks seen", "iteration": "iterations"}
FORMATS = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class PlotSettings:
    """Draw the learning curves of runs, with intervals over their seeds."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run directories, or folders that hold seed-0, seed-1, ..."""
    output: Path = Path("curves.png")
    """The picture; its ending says in which format: .png, .svg or .pdf."""
    metric: str | None = None
    """Which metric of metrics.jsonl to draw. Default: return; else validation_accuracy, as Omniglot
    has it; else query_loss."""
    x: Literal["auto", "env_steps", "tasks_seen", "iteration"] = "auto"
    """What to draw it over. auto: environment steps, or tasks seen where there are no steps."""
    smoothing: int | None = None
    """Average over this many points. Default: one fiftieth of the longest curve."""
    log: bool = False
    """Draw the logarithm, as suits a loss."""
    confidence: float = 0.95
    """Confidence of the interval over the seeds."""
    anchors: bool = True
    """Draw the returns to judge by (random actions, oracle, ...) that the runs know of."""
    title: str = ""
    """Words above the picture."""

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be drawn."""
        if not self.runs:
            raise UserError("name at least one run directory, such as runs/demo")
        if self.output.suffix not in FORMATS:
            raise UserError(f"--output {self.output} must end in {', '.join(FORMATS)}")
        check_file(self.output)
        if self.smoothing is not None and self.smoothing < 1:
            raise UserError(f"--smoothing must be at least 1, got {self.smoothing}")
        if not 0.0 < self.confidence < 1.0:
            raise UserError(f"--confidence must lie between 0 and 1, got {self.confidence}")


def plot(settings: PlotSettings) -> None:
    """Read the runs, draw them, write the picture."""
    # Seconds, of which ``--help`` has no need.
    from metarl.evaluate.references import REFERENCES, explained
    from metarl.plots.lines import learning_curves, save_figure
    from metarl.plots.runs import curves, group_runs, usual_metric, usual_x
    from metarl.runs.seeds import find_runs

    runs = [run for path in settings.runs for run in find_runs(path)]
    x = usual_x(runs) if settings.x == "auto" else settings.x
    metric = settings.metric or usual_metric(runs)
    lines = [curves(label, group, x, metric) for label, group in group_runs(runs).items()]
    if settings.log and min(line.values.min() for line in lines) <= 0:
        raise UserError(f"{metric!r} is not always above 0: it has no logarithm, leave out --log")
    longest = max(len(line.x) for line in lines)
    anchors = _anchors(runs) if settings.anchors and metric == "return" else {}
    figure = learning_curves(
        lines,
        anchors=anchors,
        smoothing=settings.smoothing or max(1, longest // 50),
        confidence=settings.confidence,
        xlabel=AXES[x],
        ylabel="return per trial" if metric == "return" else metric.replace("_", " "),
        title=settings.title,
        log=settings.log,
        note=explained(key for key, name in REFERENCES.items() if name in anchors),
    )
    save_figure(figure, settings.output)
    print(f"drew {len(runs)} runs: {settings.output}")


def _anchors(runs: Sequence[RunDirectory]) -> dict[str, float]:
    """Anchors that all runs have in common; says so where they have different ones."""
    from metarl.plots.runs import common_anchors

    found = common_anchors(runs)
    if found is None:
        print("the runs are of different tasks: returns to judge by are not drawn", file=sys.stderr)
    return found or {}


def main(arguments: Sequence[str] | None = None, program: str = "metarl plot") -> None:
    """Read the command line; a mistake of the user ends in one line and exit status 2.

    Args:
        arguments: Of the command line; None: those of this process.
        program: What the user has typed before them.
    """
    given = sys.argv[1:] if arguments is None else arguments
    with brought_to_an_end(given):
        plot(parse(PlotSettings, program, given))
