"""`sweep`: learners × numbers of meta-training alphabets × seeds; the same command goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.omniglot.evaluate import evaluate
from experiments.omniglot.evaluate_settings import EvaluateSettings
from experiments.omniglot.multishot_evaluate import points
from experiments.omniglot.multishot_presets import defaults
from experiments.omniglot.multishot_problem import make_network
from experiments.omniglot.multishot_settings import (
    MultiShotMethod,
    MultiShotSettings,
    Preset,
    from_config,
)
from experiments.omniglot.multishot_train import train
from experiments.omniglot.sweep_report import write_report
from experiments.omniglot.warp_layers import WarpLayers
from metarl.core import Execution
from metarl.errors import UserError
from metarl.nn import WarpConvNet
from metarl.run.command_line import fail, is_given, parse
from metarl.runs.directory import RunDirectory
from metarl.runs.resume import check_total

TRAIN = "python -m experiments.omniglot train --protocol multishot"
"""The command whose options follow ``--``."""

MAY_DIFFER = ("run_dir", "data", "device", "resume", "iterations")
"""Settings that may be others when a sweep goes on."""


@dataclass(frozen=True)
class SweepSettings:
    """Train and evaluate all combinations, one after the other, on alphabets.

    What is finished is left alone, what was interrupted goes on, and more --methods, --pretrain or
    --seeds may be added later. Options after ``--`` are those of `train --protocol multishot` and
    hold for all; of these --iterations may be more than it was.
    """

    run_dir: Path = Path("runs/omniglot-sweep")
    """Where the runs go: METHOD/pretrain-P/seed-S; and results.csv, accuracy.png, steps.png."""
    preset: Preset = "fast"
    """Of all runs."""
    methods: tuple[MultiShotMethod, ...] = ("warp-leap", "leap", "reptile", "ft", "none")
    """The learners."""
    pretrain: tuple[int, ...] = (25,)
    """Numbers of alphabets to meta-train on."""
    seeds: tuple[int, ...] = (0,)
    """Seeds; each has its own split."""
    data: Path | None = None
    """The folder with the images. Default: $METARL_DATA/omniglot, else data/omniglot."""
    report_only: bool = False
    """Train nothing: sum up what is there."""

    def __post_init__(self) -> None:
        """Refuse a sweep of nothing."""
        for name in ("methods", "pretrain", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise UserError(f"--{name} must be different values, at least one, got {values}")


def run_sweep(prog: str, arguments: Sequence[str]) -> None:
    """Read the command line, and sweep."""
    own, rest = list(arguments), []
    if "--" in own:
        cut = own.index("--")
        own, rest = own[:cut], own[cut + 1 :]
    settings = parse(SweepSettings, prog, own)
    try:
        sweep(settings, rest)
    except KeyboardInterrupt as interrupt:
        what = f", {interrupt}" if interrupt.args else ""
        fail(f"interrupted{what}; the same command goes on", status=130)


def sweep(settings: SweepSettings, options: Sequence[str] = ()) -> None:
    """Do what is not done yet, and sum up.

    Args:
        settings: The combinations.
        options: Of `train --protocol multishot`, for all runs.

    Raises:
        UserError: A run cannot be trained, or one that is there has other settings.
        KeyboardInterrupt: Interrupted, after saving.
    """
    planned = [] if settings.report_only else list(combinations(settings, options))
    for path, wanted in planned:
        if (path / "config.json").exists():
            check_same(path, wanted)
    for path, wanted in planned:
        bring_to_its_end(path, wanted)
    write_report(settings.run_dir)


def combinations(
    settings: SweepSettings, options: Sequence[str]
) -> Iterator[tuple[Path, MultiShotSettings]]:
    """The run directory and the settings of every run, seeds outermost."""
    for name in ("run-dir", "resume", "preset", "method", "pretrain", "seeds"):
        if is_given(options, f"--{name}"):
            raise UserError(f"--{name} is said before --, for the sweep as a whole")
    for seed in settings.seeds:
        for pretrain in settings.pretrain:
            for method in settings.methods:
                default = replace(defaults(settings.preset, method), data=settings.data)
                base = parse(MultiShotSettings, TRAIN, options, default)
                path = settings.run_dir / method / f"pretrain-{pretrain}" / f"seed-{seed}"
                yield path, replace(base, pretrain=pretrain, seeds=(seed,), run_dir=path)


def bring_to_its_end(path: Path, wanted: MultiShotSettings) -> None:
    """Train and evaluate a run as far as that has not been done."""
    if not (path / "config.json").exists():
        train(wanted)
    else:
        if finished(path, wanted):
            return
        go_on = replace(
            defaults(),
            resume=path,
            iterations=wanted.iterations,
            data=wanted.data,
            device=wanted.device,
        )
        train(go_on, ("--iterations",))
    evaluate(evaluation(path, wanted))


def evaluation(path: Path, wanted: MultiShotSettings) -> EvaluateSettings:
    """How every run of a sweep is judged."""
    return EvaluateSettings(path, data=wanted.data, device=wanted.device)


def finished(path: Path, wanted: MultiShotSettings) -> bool:
    """Whether a run was evaluated after its last iteration, as the sweep evaluates."""
    if not (path / "summary.json").exists():
        return False
    done, how = RunDirectory.open(path).read_summary(), evaluation(path, wanted)
    expected = {
        "trained_iterations": wanted.iterations,
        "steps": points(wanted.test_steps, how.every),
        "seed": how.seed,
        "checkpoint": how.checkpoint,
    }
    return all(done.get(name) == value for name, value in expected.items())


def check_same(path: Path, wanted: MultiShotSettings) -> None:
    """Refuse to go on with a run of other settings, or with one that has gone further.

    Raises:
        UserError: It has others; or more iterations.
    """
    run = RunDirectory.open(path)
    there, same = plain(from_config(run.config)), plain(wanted)
    names = [n for n in vars(same) if n not in MAY_DIFFER]
    other = [n for n in names if getattr(there, n) != getattr(same, n)]
    if other:
        raise UserError(
            f"{path} was trained with another {', '.join(other)}; name another --run-dir"
        )
    if wanted.iterations < there.iterations:
        check_total(run, wanted.iterations)


def plain(settings: MultiShotSettings) -> MultiShotSettings:
    """Without what makes no difference, or says the same in another word."""
    warp = WarpLayers()
    if isinstance(network := make_network(settings), WarpConvNet):
        warp = replace(settings.warp, start=network.start)
    return replace(settings, warp=warp, learner=replace(settings.learner, execution=Execution()))
