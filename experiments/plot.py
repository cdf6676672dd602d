"""Draw the learning curves of runs: ``python -m experiments.plot RUN [RUN ...] --output FILE.png``.

Runs of one method and preset are one line, the mean over their seeds. Where such runs differ in
another setting they are lines of their own, and the legend names the setting.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from experiments.references import REFERENCES, explained
from metarl.errors import UserError
from metarl.plots.lines import Curves, learning_curves, save_figure
from metarl.run.command_line import parse, told_in_one_line, write_anything
from metarl.runs.directory import RunDirectory, find_runs

AXES = {"env_steps": "environment steps", "tasks_seen": "tasks seen", "iteration": "iterations"}
METRICS = ("return", "validation_accuracy", "query_loss", "last_support_loss", "support_loss")
FORMATS = (".png", ".svg", ".pdf")

# Settings that may differ between the seeds of one line.
BOOKKEEPING = {
    *("seed", "seeds", "run_dir", "resume", "device", "data", "provenance", "anchors"),
    *("iterations", "log_every", "checkpoint_every", "resumed"),
}


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
    """Of the interval over the seeds."""
    anchors: bool = True
    """Draw the returns to judge by (random actions, oracle, ...) that the runs know of."""
    title: str = ""
    """Words above the picture."""

    def __post_init__(self) -> None:
        """Refuse, before any work starts, what cannot be drawn."""
        if not self.runs:
            raise UserError("name at least one run directory, such as runs/demo")
        if self.output.suffix not in FORMATS:
            raise UserError(f"--output {self.output} must end in {', '.join(FORMATS)}")
        if self.smoothing is not None and self.smoothing < 1:
            raise UserError(f"--smoothing must be at least 1, got {self.smoothing}")
        if not 0.0 < self.confidence < 1.0:
            raise UserError(f"--confidence must lie between 0 and 1, got {self.confidence}")


def plot(settings: PlotSettings) -> None:
    """Read the runs, draw them, write the picture."""
    runs = [run for path in settings.runs for run in find_runs(path)]
    x = _choose_x(runs) if settings.x == "auto" else settings.x
    metric = settings.metric or _choose_metric(runs)
    lines = [curves(label, group, x, metric) for label, group in group_runs(runs).items()]
    if settings.log and min(line.values.min() for line in lines) <= 0:
        raise UserError(f"{metric!r} is not always above 0: it has no logarithm, leave out --log")
    longest = max(len(line.x) for line in lines)
    anchors = common_anchors(runs) if settings.anchors and metric == "return" else {}
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


def group_runs(runs: Sequence[RunDirectory]) -> dict[str, list[RunDirectory]]:
    """Put the runs that differ in nothing but their seed together, under a name for the legend."""
    flat = [
        {k: v for k, v in _flatten(_method_settings(run.config)).items() if not _of_execution(k)}
        for run in runs
    ]
    names = [_name(run.config) for run in runs]
    groups: dict[str, list[RunDirectory]] = {}
    for run, settings, name in zip(runs, flat, names, strict=True):
        alike = [other for other, label in zip(flat, names, strict=True) if label == name]
        keys = {key for other in alike for key in other}
        telling = [k for k in sorted(keys) if any(o.get(k) != settings.get(k) for o in alike)]
        label = ", ".join([name, *(f"{key}={settings.get(key)}" for key in telling)])
        groups.setdefault(label, []).append(run)
    return groups


def curves(label: str, runs: Sequence[RunDirectory], x: str, metric: str) -> Curves:
    """One row a run, at the iterations that all of them have logged."""
    columns = [_columns(run, x, metric) for run in runs]
    common = set.intersection(*(set(c["iteration"].tolist()) for c in columns))
    if not common:
        raise UserError(
            f"the runs of {label!r} have no iteration in common; "
            "plot them one at a time, or train them on"
        )
    chosen = [np.isin(c["iteration"], sorted(common)) for c in columns]
    values = [c[metric][rows] for c, rows in zip(columns, chosen, strict=True)]
    return Curves(label, columns[0][x][chosen[0]], np.stack(values).astype(np.float64))


def common_anchors(runs: Sequence[RunDirectory]) -> dict[str, float]:
    """The anchors of the runs, for the legend; none where no run has any, or they differ."""
    anchors = [run.config["anchors"] for run in runs if run.config.get("anchors")]
    if any(other != anchors[0] for other in anchors):
        print("the runs are of different tasks: returns to judge by are not drawn", file=sys.stderr)
        return {}
    first = anchors[0] if anchors else {}
    return {
        REFERENCES.get(name, name.replace("_", " ")): value
        for name, value in first.items()
        if value is not None
    }


def _choose_metric(runs: Sequence[RunDirectory]) -> str:
    """What all runs have, from the most telling on."""
    logged = [run.read_metrics() for run in runs]
    found = [m for m in METRICS if all(_has_numbers(columns, m) for columns in logged)]
    return found[0] if found else METRICS[0]


def _has_numbers(columns: Mapping[str, Any], metric: str) -> bool:
    return metric in columns and bool(np.isfinite(columns[metric].astype(np.float64)).any())


def _choose_x(runs: Sequence[RunDirectory]) -> str:
    logged = [run.read_metrics() for run in runs]
    for x in ("env_steps", "tasks_seen"):
        if all(x in columns for columns in logged):
            return x
    return "iteration"


def _columns(run: RunDirectory, x: str, metric: str) -> dict[str, Any]:
    columns = run.read_metrics()
    if not columns:
        raise UserError(f"{run.path} has no metrics yet; train it a little longer")
    for name in (metric, x):
        if name not in columns:
            raise UserError(f"{run.path} has no metric {name!r}; it has {', '.join(columns)}")
    finite = np.isfinite(columns[metric].astype(np.float64))
    if not finite.any():
        raise UserError(f"{run.path} has no finite value of {metric!r}")
    return {name: columns[name][finite] for name in ("iteration", x, metric)}


def _method_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the runs of one line share; under a schedule their length is a part of it."""
    decays = [v for name, v in _flatten(config).items() if name.rpartition(".")[2] == "decay"]
    scheduled = any(decay != "constant" for decay in decays)
    ignored = BOOKKEEPING - {"iterations"} if scheduled else BOOKKEEPING
    return {key: value for key, value in config.items() if key not in ignored}


def _of_execution(key: str) -> bool:
    """How many tasks were stacked makes no difference to what is learned."""
    _, _, name = key.removeprefix("learner.execution.").rpartition(".")
    return key.startswith("learner.") and name in ("chunk_size", "num_threads", "compile")


def _name(config: Mapping[str, Any]) -> str:
    preset = config.get("preset")
    method = str(config.get("method", "run"))
    return method if preset in (None, "default") else f"{method} ({preset})"


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line; a mistake of the user ends in one line and exit status 2."""
    given = sys.argv[1:] if arguments is None else arguments
    write_anything()
    with told_in_one_line(given):
        plot(parse(PlotSettings, "python -m experiments.plot", given))


if __name__ == "__main__":
    main()
