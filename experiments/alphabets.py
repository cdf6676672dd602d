"""Multi-shot Omniglot: a learner that learns the 20 characters of an alphabet in 100 steps.

    python -m experiments.alphabets train --method warp-leap --pretrain 25 --run-dir runs/leap
    python -m experiments.alphabets evaluate runs/leap
    python -m experiments.alphabets sweep --preset fast --methods warp-leap leap ft none

The images are those of `experiments.omniglot download`. A sweep is learners × numbers of
meta-training alphabets × seeds; the same command goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch

from metarl.compare import sweep
from metarl.compare.summaries import Axes, Number, Summary, SweepReport
from metarl.compare.work import Job, script_of
from metarl.errors import UserError
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.evaluate.supervised import (
    ALPHABETS,
    AdaptationCurve,
    accuracies,
    adaptation_curve,
    area_under,
)
from metarl.meta import MetaLearner
from metarl.meta.method import Untrained
from metarl.nn import Network, WarpConvNet
from metarl.nn.conv_settings import WarpLayers
from metarl.run import (
    STREAMS,
    Command,
    EvaluationSettings,
    Lessons,
    Recipe,
    Training,
    at_least,
    command,
    evaluate_runs,
    main,
    one_of,
    supervised,
)
from metarl.run.command_line import parse
from metarl.runs.directory import RunDirectory
from metarl.runs.files import to_json, write_json
from metarl.seeding import spawn_generators
from metarl.supervised import (
    AlphabetSplit,
    Omniglot,
    alphabet_tasks,
    load_omniglot,
    split_alphabets,
)
from metarl.supervised.omniglot.alphabets import AlphabetLessons, reference_images
from metarl.supervised.omniglot.download import default_folder
from metarl.train.selection import load_selected

from .alphabets_settings import MAY_RESET_HEAD, METHODS, Preset, TrainSettings, defaults

VALIDATION_SEED = 20_000
"""Seed of the images of validation."""

# ---------------------------------------------------------------------------------- training


def prepare(settings: TrainSettings) -> Training:
    """Return the training: one learner per seed, one after the other."""
    omniglot = load_images(settings)
    for seed in settings.seeds:
        sides(settings, omniglot, seed)
    learner, lessons_of = partial(new_learner, settings), partial(lessons, settings, omniglot)
    return supervised(settings, settings.meta_batch, learner, lessons_of)


def lessons(
    settings: TrainSettings,
    omniglot: Omniglot,
    learner: MetaLearner,
    run: RunDirectory,
    device: torch.device,
) -> Lessons:
    """Return what one seed learns: meta-batches of its alphabets, and how it is validated."""
    split = sides(settings, omniglot, run.seed)
    write_json(run.path / "split.json", to_json(split.manifest(), "split"))
    seen = learned_from(settings, omniglot, split.pretrain, device)
    chosen = dict(list(split.validation.items())[: settings.validation_alphabets])
    unseen = learned_from(settings, omniglot, chosen, device)

    def validate() -> float:
        """Return the accuracy on alphabets for validation after the last step."""
        curve = measure(settings, unseen, learner, VALIDATION_SEED, (settings.test_steps,))
        return float(curve.non_transductive.mean())

    return Lessons(
        lambda generator: seen.sample(settings.meta_batch, learner.fast, generator),
        validate,
        settings.validate_every,
    )


def load_images(settings: TrainSettings) -> Omniglot:
    """Return the images; `DataError` says what to do where they are missing or damaged."""
    folder = settings.data or default_folder()
    return load_omniglot(folder, resize=settings.resize, complete=settings.complete)


def sides(settings: TrainSettings, omniglot: Omniglot, seed: int) -> AlphabetSplit:
    """Return which alphabets a seed trains on, validates and tests.

    Raises:
        UserError: There are not that many.
    """
    chosen = seed if settings.split_seed is None else settings.split_seed
    counts = settings.pretrain, settings.test_alphabets, settings.classes
    try:
        split = split_alphabets(omniglot, chosen, *counts)
        alphabet_tasks(omniglot, split.test, settings.held_out)
    except ValueError as error:
        raise UserError(
            f"{error}; see --pretrain, --test-alphabets, --classes, --held-out"
        ) from error
    if len(split.validation) < settings.validation_alphabets:
        raise UserError(
            f"{len(split.validation)} alphabets are left for validation: lower --pretrain, "
            f"--test-alphabets or --validation-alphabets {settings.validation_alphabets}"
        )
    return split


def learned_from(
    settings: TrainSettings, omniglot: Omniglot, chosen: Any, device: torch.device
) -> AlphabetLessons:
    """Return some alphabets as they are learned from."""
    alphabets = alphabet_tasks(omniglot, chosen, settings.held_out, device)
    how = settings.images, settings.query, settings.head_reset
    return AlphabetLessons(make_network(settings), alphabets, *how)


def make_network(settings: TrainSettings) -> Network:
    """Make four pooled convolutions and a linear layer; warp layers where they are learned."""
    return settings.network.build(settings.classes)


def new_learner(
    settings: TrainSettings, generator: torch.Generator, device: torch.device, seed: int
) -> MetaLearner:
    """Make the learner before its first iteration."""
    network = make_network(settings)
    initial = {name: p.to(device) for name, p in network.init(generator).items()}
    learner = settings.learner.having(chunk_size=settings.execution(device).chunk_size)
    return learner.build(Untrained(initial, network, num_tasks=settings.pretrain, seed=seed))


def measure(
    settings: TrainSettings,
    unseen: AlphabetLessons,
    learner: MetaLearner,
    seed: int,
    at: Collection[int],
) -> AdaptationCurve:
    """Adapt to alphabets, each once, and classify their held-out drawings on the way.

    Args:
        settings: For how many steps.
        unseen: The alphabets.
        learner: As it was trained, or in training.
        seed: Of images and distortions.
        at: After which numbers of steps to look.
    """
    return adaptation_curve(
        learner,
        unseen.all(learner.fast, seed),
        settings.test_steps,
        query=lambda tasks: tasks.source.draw("query"),
        reference=reference_images,
        at=at,
        chunk_size=settings.execution(unseen.alphabets.train.inputs.device).stacked,
    )


# -------------------------------------------------------------------------------- evaluation


@dataclass(frozen=True)
class EvaluateSettings(EvaluationSettings):
    """Adapt to unseen alphabets, and sum the accuracy up in summary.json."""

    steps: int | None = None
    """Inner steps. Default: the run's --test-steps."""
    every: int = 10
    """Inner steps between the points of a curve."""
    checkpoint: Literal["best", "last"] = "best"
    """The learner as it did best in validation, or as it was at the end."""
    data: Path | None = None
    """Folder with the images. Default: the run's."""

    def __post_init__(self) -> None:
        """Check the counts."""
        super().__post_init__()
        at_least(1, self, "steps", "every")


def evaluate(
    settings: EvaluateSettings, read: Callable[[Mapping[str, Any]], TrainSettings]
) -> EvaluationResult:
    """Evaluate every run, and seeds together; draw pictures of each run."""

    def summary_of(run: RunDirectory, device: torch.device) -> dict[str, Any]:
        # Half a second, of which training has no need.
        from metarl.plots.adaptation import draw_classification

        trained = read(run.config)
        steps, data = settings.steps or trained.test_steps, settings.data or trained.data
        trained = replace(trained, test_steps=steps, data=data)
        init = spawn_generators(run.seed, STREAMS)["init"]
        learner = new_learner(trained, init, device, run.seed)
        checkpoint = load_selected(run, learner, settings.checkpoint)
        omniglot = load_images(trained)
        test = learned_from(trained, omniglot, sides(trained, omniglot, run.seed).test, device)
        curve = measure(trained, test, learner, settings.seed, points(steps, settings.every))
        draw_classification(run, curve, trained.method, "unseen alphabets")
        last = curve.non_transductive[:, -1].tolist()
        return {
            "protocol": "multishot",
            "preset": trained.preset,
            "method": trained.method,
            "pretrain": trained.pretrain,
            "classes": trained.classes,
            **accuracies(curve),
            "area_under_training_loss": float(area_under(curve.support_loss).mean()),
            "support_loss_curve": curve.support_loss.mean(0).tolist(),
            "alphabets": dict(zip(test.alphabets.names, last, strict=True)),
            **checkpoint,
            "num_tasks": len(test.alphabets),
            "run_seed": run.seed,
            "tasks_seen": checkpoint["iteration"] * trained.meta_batch,
        }

    return evaluate_runs(settings, summary_of, ALPHABETS)


def points(num_steps: int, every: int) -> list[int]:
    """Return the numbers of inner steps after which accuracy is measured, rising."""
    return [*range(0, num_steps, every), num_steps]


# ------------------------------------------------------------------------------------- sweep


@dataclass(frozen=True)
class SweepSettings(sweep.SweepSettings):
    """Train and evaluate all combinations on alphabets.

    What is finished is left alone, what was interrupted goes on, and more --methods, --pretrain or
    --seeds may be added later. Options after ``--`` are those of `train` and hold for
    all; of these --iterations may be more than it was.
    """

    run_dir: Path = Path("runs/omniglot-sweep")
    """Where the runs go: METHOD/pretrain-P/seed-S; and results.csv, accuracy.png, steps.png."""
    methods: Annotated[tuple[str, ...], one_of(METHODS)] = (
        *("warp-leap", "leap", "reptile", "ft", "none"),
    )
    """The learners."""
    seeds: tuple[int, ...] = (0,)
    """Seeds; each has its own split."""
    preset: Preset = "fast"
    """Of all runs."""
    pretrain: tuple[int, ...] = (25,)
    """Numbers of alphabets to meta-train on."""
    data: Path | None = None
    """The folder with the images. Default: $METARL_DATA/omniglot, else data/omniglot."""

    OVER: ClassVar[tuple[str, ...]] = ("seeds", "pretrain", "methods")


def jobs(settings: SweepSettings, options: Sequence[str]) -> Iterator[Job]:
    """Yield every run, seeds outermost."""
    for seed, pretrain, method in settings.combinations():
        default = replace(defaults(settings.preset, method), data=settings.data)
        base = parse(TrainSettings, "python -m experiments.alphabets train", options, default)
        path = settings.run_dir / method / f"pretrain-{pretrain}" / f"seed-{seed}"
        wanted = replace(base, pretrain=pretrain, seeds=(seed,), run_dir=path)
        how = EvaluateSettings(path, data=wanted.data, device=wanted.device)
        yield Job(path, wanted, how, SCRIPT)


def known(job: Job) -> bool:
    """Return whether a run was evaluated after its last iteration, as the sweep evaluates."""
    expected = {
        "trained_iterations": job.train.iterations,
        "steps": points(job.train.test_steps, job.evaluate.every),
        "seed": job.evaluate.seed,
        "checkpoint": job.evaluate.checkpoint,
    }
    return sweep.judged_as(job, expected)


def plain(settings: TrainSettings) -> TrainSettings:
    """Return settings without what makes no difference, or says the same in another word."""
    network = settings.network
    if isinstance(network, WarpLayers) and isinstance(built := make_network(settings), WarpConvNet):
        network = replace(network, warp_start=built.start)
    learner = settings.learner.having(chunk_size=None, num_threads=1, compile=False)
    return replace(settings, network=network, learner=learner)


def row(summary: Summary) -> Summary | None:
    """Return the row of a run; None of one that was not trained on alphabets."""
    if summary.get("protocol") != "multishot":
        return None
    accuracy, steps = float(summary["non_transductive_accuracy"]), int(summary["steps"][-1])
    return {**summary, "non_transductive_accuracy": accuracy, "inner_steps": steps}


REPORT = SweepReport(
    what="run on alphabets",
    row=row,
    columns=(
        *("method", "preset", "pretrain", "run_seed", "iteration", "trained_iterations"),
        *("inner_steps", "checkpoint", "seed"),
        *("non_transductive_accuracy", "transductive_accuracy", "area_under_training_loss"),
        *("validation_accuracy", "num_tasks", "train_seconds"),
    ),
    over=("pretrain", "alphabets"),
    judged={
        "preset": "preset",
        "inner_steps": "inner steps",
        "checkpoint": "checkpoint",
        "seed": "evaluation seed",
    },
    told=("inner_steps", "checkpoint", "seed"),
    numbers={
        "non_transductive_accuracy": Number("accuracy", 100, 1),
        "transductive_accuracy": Number("transductive", 100, 1),
        "area_under_training_loss": Number("area under training loss"),
    },
    curve=("steps", "non_transductive_curve"),
    on_the_way=Axes(
        "inner steps on an unseen alphabet",
        "accuracy on held-out drawings",
        "20-way Omniglot, {} alphabets to meta-train on",
    ),
    at_the_end=Axes(
        "alphabets to meta-train on",
        "accuracy after the last inner step",
        "20-way Omniglot, unseen alphabets",
    ),
)

SWEEP = Command(
    "train and evaluate several learners, seeds and numbers of alphabets",
    sweep.Sweep(
        SweepSettings,
        jobs,
        closed=("run-dir", "resume", "preset", "method", "pretrain", "seeds"),
        check=lambda job: load_images(job.train),  # where there are none, that is said once
        report=REPORT,
    ).run,
)


def place(settings: TrainSettings) -> Path:
    """Return a name that says what the run is, under ``runs/``."""
    name = f"omniglot-alphabets-{settings.pretrain}-{settings.method}"
    return Path("runs") / (name if settings.preset == "default" else f"{name}-{settings.preset}")


RECIPE: Recipe[TrainSettings] = Recipe(
    name="experiments.alphabets",
    module=f"{__package__}.alphabets",
    defaults=defaults,
    prepare=prepare,
    place=place,
    methods=METHODS,
    picks=("preset", "method"),
    unread=lambda settings: () if settings.method in MAY_RESET_HEAD else ("head_reset",),
    commands={
        "evaluate": command(
            "measure accuracy on unseen alphabets, step by step, and draw it",
            EvaluateSettings,
            lambda how: evaluate(how, RECIPE.settings_of),
        ),
        "sweep": SWEEP,
    },
    may_move=("data",),
)

SCRIPT = script_of(RECIPE, evaluate, plain=plain, known=known)

if __name__ == "__main__":
    main(RECIPE)
