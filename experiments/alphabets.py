"""Multi-shot Omniglot: a learner that learns the 20 characters of an alphabet in 100 steps.

    python -m experiments.alphabets train --method warp-leap --pretrain 25 --run-dir runs/leap
    python -m experiments.alphabets evaluate runs/leap
    python -m experiments.alphabets sweep --preset fast --methods warp-leap leap ft none

The images are those of `experiments.omniglot download`. A sweep is learners × numbers of
meta-training alphabets × seeds; the same command goes on.

The preset `reference` has the choices of the published code (Flennerhag et al. 2020) where this
package has a setting for them: two-coloured images, black where an image was moved away, distorted
held-out images, a random head for every task (leap, reptile, fomaml, none), the first-order
objective of the warp layers, K - 1 segments of Leap's path (leap, warp-leap), and for warp-leap
Leap's simplified form. What it does not have:

- held-out accuracy with running statistics: here those of training images of the alphabet;
- reptile and fomaml that end a step early: here phi_K, after the last step, is what counts;
- one optimiser for initialisation and warp layers: here each side has one of its own (the same
  for plain gradient descent, which the preset takes; not with momentum or Adam);
- one module under the name of fifty heads (ft): here every alphabet has a head of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import tyro

from metarl.compare import sweep
from metarl.compare.command import compare_command
from metarl.compare.plan import Comparable
from metarl.compare.sweep import Axes, Number, Summary, SweepReport
from metarl.compare.work import Job, script_of
from metarl.errors import UserError
from metarl.evaluate.measures import ACCURACY, files_of
from metarl.invocation import typed
from metarl.meta.maml import SecondOrder
from metarl.meta.method import GradientMethod
from metarl.meta.warpgrad.method import WarpLeapSettings
from metarl.methods import gradient_methods_for, method_named
from metarl.nn import WarpConvNet
from metarl.nn.conv_settings import ConvNetSettings, WarpLayers
from metarl.run import Command, Recipe, check_option, command, main, one_of
from metarl.run.classification import (
    AlphabetsSettings,
    evaluate_alphabets,
    points,
    validation_accuracy,
)
from metarl.run.commands import parse
from metarl.run.counts import Held
from metarl.run.supervised import SupervisedSettings, training
from metarl.search.command import search_command
from metarl.search.trials import Searchable
from metarl.supervised import AlphabetSettings, Distortion
from metarl.supervised.omniglot.multi_shot import MultiShotOmniglot

METHODS = gradient_methods_for("data", "recurring")

MAY_RESET_HEAD = ("leap", "reptile", "fomaml", "none")
"""Methods whose tasks may begin with a random head; the others learn theirs."""

JUDGED_AHEAD = ("fomaml", "imaml")
"""Methods that are judged on images that were not adapted to, beside those of second order."""

Preset = Literal["fast", "default", "reference"]


@dataclass(frozen=True)
class TrainSettings(MultiShotOmniglot, SupervisedSettings):
    """Meta-train a network that learns the 20 characters of an alphabet in 100 steps."""

    method: Annotated[str, one_of(METHODS)] = "warp-leap"
    """The learner; ft: fine-tune a body trained with a head per alphabet; none: no
    meta-training."""
    learner: Annotated[GradientMethod, tyro.conf.arg(name="")] = field(
        default_factory=WarpLeapSettings
    )
    preset: Preset = "default"
    """fast: for one CPU core; default: the published sizes; reference: published faults too."""
    log_every: int = 1
    checkpoint_every: int = 20
    meta_batch: int = 20
    """Alphabets per iteration; they come again where there are fewer."""
    network: Annotated[ConvNetSettings, tyro.conf.arg(name="")] = field(default_factory=WarpLayers)
    images: Annotated[AlphabetSettings, tyro.conf.AvoidSubcommands] = field(
        default_factory=AlphabetSettings
    )

    PROBLEM: ClassVar[type[Any]] = MultiShotOmniglot
    HELD: ClassVar[Held] = (
        (784, "meta_batch", "images.batch_size"),  # a byte for every pixel of an image
    )

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be trained."""
        SupervisedSettings.__post_init__(self)
        if self.head_reset and self.method not in MAY_RESET_HEAD:
            raise UserError(
                f"--head-reset is for {', '.join(MAY_RESET_HEAD)}; {self.method} learns its head"
            )


def defaults(preset: Preset = "default", method: str = "warp-leap") -> TrainSettings:
    """Return the settings of a preset, with what the method needs otherwise."""
    check_option("--preset", preset, get_args(Preset))
    settings = published(method)
    match preset:
        case "fast":
            settings = fast(settings)
        case "reference":
            settings = reference(settings)
    return replace(settings, preset=preset)


def published(method: str) -> TrainSettings:
    """Return the published sizes and learning rates, with none of the faults."""
    learner = method_named(method, METHODS)()
    whole_graph, ahead = isinstance(learner, SecondOrder), method in JUDGED_AHEAD
    learner = learner.having(
        inner_lr=0.1,
        inner_steps=5 if whole_graph else 100,
        optimiser="sgd",
        lr=0.5 if whole_graph or ahead else 0.1,
        beta1=0.0,
        decay="constant",
        chunk_size="auto",
        warp_algorithm="offline",
    )
    return TrainSettings(
        method=method,
        learner=learner,
        network=MultiShotOmniglot.usual(warped=learner.warped).network,
        images=AlphabetSettings(batch_size=128, distort_held_out=False, ink=1),
        query="held-out" if whole_graph or ahead else "train",
        iterations=1 if method == "none" else 1000,
    )


def reference(settings: TrainSettings) -> TrainSettings:
    """Return the published code's choices."""
    learner = settings.learner.having(warp_objective="first_order", leap_final=False)
    if settings.method == "warp-leap":
        learner = learner.having(leap_loss=False)
    network = settings.network
    if isinstance(network, WarpLayers):
        network = replace(network, warp_start="random")
    return replace(
        settings,
        learner=learner,
        network=network,
        images=AlphabetSettings(128, Distortion(fill="black"), distort_held_out=True, ink=0),
        resize="nearest",
        head_reset=settings.method in MAY_RESET_HEAD,
    )


def fast(settings: TrainSettings) -> TrainSettings:
    """Return what a quarter of an hour of one CPU core suffices for; a fifth is replayed."""
    return replace(
        settings,
        learner=settings.learner.having(warp_stride=5),
        meta_batch=5,
        network=replace(settings.network, filters=16),
        iterations=1 if settings.method == "none" else 150,
        images=replace(settings.images, batch_size=20),
        validate_every=25,
        checkpoint_every=5,
    )


# Sweeps -------------------------------------------------------------------------------------------


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
        base = parse(TrainSettings, typed("train", "alphabets"), options, default)
        path = settings.run_dir / method / f"pretrain-{pretrain}" / f"seed-{seed}"
        wanted = replace(base, pretrain=pretrain, seeds=(seed,), run_dir=path)
        how = AlphabetsSettings(path, data=wanted.data, device=wanted.device)
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
    if isinstance(network, WarpLayers) and isinstance(
        built := settings.learning().network, WarpConvNet
    ):
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
        f"{__package__}.alphabets",
        SweepSettings,
        jobs,
        closed=("run-dir", "resume", "preset", "method", "pretrain", "seeds"),
        check=lambda job: job.train.problem.load(),  # where there are none, that is said once
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
    training=training,
    place=place,
    methods=METHODS,
    picks=("preset", "method"),
    unread=lambda settings: () if settings.method in MAY_RESET_HEAD else ("head_reset",),
    commands={
        "evaluate": command(
            "measure accuracy on unseen alphabets, step by step, and draw it",
            AlphabetsSettings,
            lambda how: evaluate_alphabets(how, RECIPE.settings_of),
        ),
        "compare": compare_command(lambda: COMPARABLE),
        "search": search_command(lambda: SEARCHABLE),
        "sweep": SWEEP,
    },
    may_move=("data",),
)

TASKS = (
    *("preset", "pretrain", "test_alphabets", "split_seed", "classes", "held_out", "resize"),
    *("validation_alphabets", "data", "complete"),
)
"""Settings that say which tasks there are."""

SEARCHABLE: Searchable = Searchable(
    RECIPE,
    validation_accuracy,
    "validation accuracy",
    tasks=TASKS,
    counted_by="validation-alphabets",
)

SCRIPT = script_of(RECIPE, evaluate_alphabets, plain=plain, known=known)


def of_one_split(preset: Preset = "default", method: str = "warp-leap") -> TrainSettings:
    """Return settings for a comparison: all seeds are judged by the same alphabets."""
    return replace(defaults(preset, method), split_seed=0)


COMPARABLE: Comparable = Comparable(
    RECIPE,
    script_of(RECIPE, evaluate_alphabets, plain=plain, results=files_of()),
    AlphabetsSettings,
    ACCURACY,
    tasks=TASKS,
    title=lambda s: f"{s.classes}-way Omniglot, {s.pretrain} alphabets to meta-train on",
    methods=("warp-leap", "leap", "reptile", "ft", "none"),
    defaults=of_one_split,
)

if __name__ == "__main__":
    main(RECIPE)
