"""Multi-shot Omniglot: a learner that learns the 20 characters of an alphabet in 100 steps.

    python -m experiments.alphabets train --method warp-leap --pretrain 25 --run-dir runs/leap
    python -m experiments.alphabets evaluate runs/leap
    python -m experiments.alphabets sweep --preset fast --methods warp-leap leap ft none

The images are those of `experiments.omniglot download`, the settings those of
`experiments.alphabets_settings`. A sweep is learners × numbers of meta-training alphabets × seeds;
the same command goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from experiments import alphabets_learning as learning
from experiments.alphabets_learning import EvaluateSettings, load_images, make_network, points
from experiments.alphabets_settings import METHODS, Preset, TrainSettings, defaults
from metarl.compare.processes import work_off
from metarl.compare.work import Failures, Job, Script, check_same, finished
from metarl.errors import UserError
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.nn import WarpConvNet
from metarl.nn.conv_settings import WarpLayers
from metarl.run import Command, Recipe, command, main, one_of, train
from metarl.run.command_line import fail, is_given, parse
from metarl.runs.directory import RunDirectory

TRAIN = "python -m experiments.alphabets train"
"""The command whose options follow ``--``."""


@dataclass(frozen=True)
class SweepSettings:
    """Train and evaluate all combinations on alphabets.

    What is finished is left alone, what was interrupted goes on, and more --methods, --pretrain or
    --seeds may be added later. Options after ``--`` are those of `train` and hold for
    all; of these --iterations may be more than it was.
    """

    run_dir: Path = Path("runs/omniglot-sweep")
    """Where the runs go: METHOD/pretrain-P/seed-S; and results.csv, accuracy.png, steps.png."""
    preset: Preset = "fast"
    """Of all runs."""
    methods: Annotated[tuple[str, ...], one_of(METHODS)] = (
        *("warp-leap", "leap", "reptile", "ft", "none"),
    )
    """The learners."""
    pretrain: tuple[int, ...] = (25,)
    """Numbers of alphabets to meta-train on."""
    seeds: tuple[int, ...] = (0,)
    """Seeds; each has its own split."""
    data: Path | None = None
    """The folder with the images. Default: $METARL_DATA/omniglot, else data/omniglot."""
    jobs: int = 1
    """Runs at a time, each in a process with one thread."""
    report_only: bool = False
    """Train nothing: sum up what is there."""

    def __post_init__(self) -> None:
        """Check that there is something to do."""
        for name in ("methods", "pretrain", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise UserError(f"--{name} must be different values, at least one, got {values}")
        if self.jobs < 1:
            raise UserError(f"--jobs must be at least 1, got {self.jobs}")


def run_sweep(prog: str, arguments: Sequence[str]) -> None:
    """Read the command line, and sweep."""
    own, rest = list(arguments), []
    if "--" in own:
        cut = own.index("--")
        own, rest = own[:cut], own[cut + 1 :]
    settings = parse(SweepSettings, prog, own)
    try:
        failures = sweep(settings, rest)
    except KeyboardInterrupt as interrupt:
        what = f", {interrupt}" if interrupt.args else ""
        fail(f"interrupted{what}; the same command goes on", status=130)
    if failures:
        fail(f"{len(failures)} failed: {', '.join(map(str, failures))}, see above", status=1)


def sweep(settings: SweepSettings, options: Sequence[str] = ()) -> Failures:
    """Do what is not done yet, and sum up.

    Args:
        settings: The combinations.
        options: Of `train`, for all runs.

    Returns:
        The runs that failed, and of what.

    Raises:
        UserError: No run can be trained, or one that is there has other settings.
        KeyboardInterrupt: Interrupted, after saving.
    """
    from experiments.alphabets_report import write_report  # draws: training has no use for it

    planned = [] if settings.report_only else list(jobs(settings, options))
    for job in planned:
        check_same(job)
    for job in [job for job in planned if not finished(job)][:1]:
        # Where there are no images, that is said once.
        load_images(job.train)
    failures = work_off(planned, settings.jobs)
    write_report(settings.run_dir)
    return failures


def jobs(settings: SweepSettings, options: Sequence[str]) -> Iterator[Job]:
    """Every run, seeds outermost."""
    for name in ("run-dir", "resume", "preset", "method", "pretrain", "seeds"):
        if is_given(options, f"--{name}"):
            raise UserError(f"--{name} is said before --, for the sweep as a whole")
    for seed in settings.seeds:
        for pretrain in settings.pretrain:
            for method in settings.methods:
                default = replace(defaults(settings.preset, method), data=settings.data)
                base = parse(TrainSettings, TRAIN, options, default)
                path = settings.run_dir / method / f"pretrain-{pretrain}" / f"seed-{seed}"
                wanted = replace(base, pretrain=pretrain, seeds=(seed,), run_dir=path)
                how = EvaluateSettings(path, data=wanted.data, device=wanted.device)
                yield Job(path, wanted, how, SCRIPT)


def begin(wanted: TrainSettings) -> None:
    """Train a new run."""
    train(RECIPE, wanted)


def resume(path: Path, wanted: TrainSettings) -> None:
    """Go on with a run, to the iterations that are wanted."""
    asked = replace(defaults(), resume=path)
    changes = {name: getattr(wanted, name) for name in ("iterations", "data", "device")}
    train(RECIPE, replace(asked, **changes), ("--iterations",))


def settings_of(config: Mapping[str, Any]) -> TrainSettings:
    """Settings that a run's `config.json` keeps."""
    return RECIPE.settings_of(config)


def known(job: Job) -> bool:
    """Whether a run was evaluated after its last iteration, as the sweep evaluates."""
    if not (job.path / "summary.json").exists():
        return False
    done, how = RunDirectory.open(job.path).read_summary(), job.evaluate
    expected = {
        "trained_iterations": job.train.iterations,
        "steps": points(job.train.test_steps, how.every),
        "seed": how.seed,
        "checkpoint": how.checkpoint,
    }
    return all(done.get(name) == value for name, value in expected.items())


def plain(settings: TrainSettings) -> TrainSettings:
    """Return settings without what makes no difference, or says the same in another word."""
    network = settings.network
    if isinstance(network, WarpLayers) and isinstance(built := make_network(settings), WarpConvNet):
        network = replace(network, warp_start=built.start)
    learner = settings.learner.having(chunk_size=None, num_threads=1, compile=False)
    return replace(settings, network=network, learner=learner)


def place(settings: TrainSettings) -> Path:
    """Return a name that says what the run is, under ``runs/``."""
    name = f"omniglot-alphabets-{settings.pretrain}-{settings.method}"
    return Path("runs") / (name if settings.preset == "default" else f"{name}-{settings.preset}")


def evaluate(settings: EvaluateSettings) -> EvaluationResult:
    """Evaluate every run, and seeds together; draw pictures of each run."""
    return learning.evaluate(settings, RECIPE.settings_of)


SCRIPT = Script(begin, resume, evaluate, settings_of, plain=plain, known=known)

SWEEP = Command("train and evaluate several learners, seeds and numbers of alphabets", run_sweep)

RECIPE = Recipe(
    name="experiments.alphabets",
    defaults=defaults,
    prepare=learning.prepare,
    place=place,
    methods=METHODS,
    picks=("preset", "method"),
    commands={
        "evaluate": command(
            "measure accuracy on unseen alphabets, step by step, and draw it",
            EvaluateSettings,
            evaluate,
        ),
        "sweep": SWEEP,
    },
    may_move=("data",),
)

if __name__ == "__main__":
    main(RECIPE)
