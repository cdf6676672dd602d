"""Multi-shot Omniglot: a learner that learns the 20 characters of an alphabet in 100 steps.

    python -m experiments.alphabets train --method warp-leap --pretrain 25 --run-dir runs/leap
    python -m experiments.alphabets evaluate runs/leap
    python -m experiments.alphabets sweep --preset fast --methods warp-leap leap ft none

The images are those of `experiments.omniglot download`. The preset `reference` has the choices of
the published code (Flennerhag et al. 2020) where this package has a setting for them: two-coloured
images, black where an image was moved away, distorted held-out images, a random head for every task
(leap, reptile, fomaml, none), the first-order objective of the warp layers, K - 1 segments of
Leap's path (leap, warp-leap), and for warp-leap Leap's simplified form. What it does not have:

- held-out accuracy with running statistics: here those of training images of the alphabet;
- reptile and fomaml that end a step early: here phi_K, after the last step, is what counts;
- one optimiser for initialisation and warp layers: here each side has one of its own (the same
  for plain gradient descent, which the preset takes; not with momentum or Adam);
- one module under the name of fifty heads (ft): here every alphabet has a head of its own.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import torch
import tyro
from torch import Tensor

from metarl.core import Execution
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.classification import (
    FIGURES,
    accuracies,
    area_under,
    describe_seeds,
    percent,
)
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.evaluate.supervised import AdaptationCurve, adaptation_curve
from metarl.meta import MetaLearner
from metarl.meta.maml import SecondOrder
from metarl.meta.method import GradientMethod, Untrained
from metarl.meta.warpgrad.method import WarpLeapSettings
from metarl.methods import gradient_methods_for, method_named
from metarl.nn import Network
from metarl.nn.conv_settings import ConvNetSettings, WarpLayers, stacked
from metarl.plots.classification import draw_classification, drawn
from metarl.run import (
    Command,
    Recipe,
    RunSettings,
    Training,
    at_least,
    check_option,
    command,
    in_turn,
    main,
    one_of,
    write_summaries,
)
from metarl.run.counts import Held
from metarl.runs.directory import RunDirectory
from metarl.runs.files import to_json, write_json
from metarl.seeding import spawn_generators, stream
from metarl.supervised import (
    AlphabetBatches,
    AlphabetSettings,
    AlphabetSplit,
    AlphabetTasks,
    Distortion,
    Examples,
    Omniglot,
    alphabet_tasks,
    choose_alphabets,
    load_omniglot,
    split_alphabets,
)
from metarl.supervised.criteria import cross_entropy
from metarl.supervised.omniglot.alphabet_learning import AlphabetBatch, TrainingImages, fresh_heads
from metarl.supervised.omniglot.cache import Resize
from metarl.supervised.omniglot.download import default_folder
from metarl.supervised.tasks import SupervisedTasks
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.selection import SelectedLearner, load_selected
from metarl.train.trainer import Trainer

METHODS = gradient_methods_for("data", "recurring")
STREAMS = ("init", "tasks")
VALIDATION_SEED = 20_000
"""Of the images of validation."""

MAY_RESET_HEAD = ("leap", "reptile", "fomaml", "none")
"""Methods whose tasks may begin with a random head; the others learn theirs."""

JUDGED_AHEAD = ("fomaml", "imaml")
"""Methods that are judged on images that were not adapted to, beside those of second order."""

REFERENCE_IMAGES = 300
"""Training images (at least) whose statistics non-transductive batch norm takes."""

Preset = Literal["fast", "default", "reference"]


# ---------------------------------------------------------------------------------- settings


@dataclass(frozen=True)
class TrainSettings(RunSettings):
    """Meta-train a network that learns the 20 characters of an alphabet in 100 steps."""

    method: Annotated[str, one_of(METHODS)] = "warp-leap"
    """The learner; ft: fine-tune a body trained with a head per alphabet; none: no
    meta-training."""
    learner: Annotated[GradientMethod, tyro.conf.arg(name="")] = field(
        default_factory=WarpLeapSettings
    )
    preset: Preset = "default"
    """fast: for one CPU core; default: the published sizes; reference: published faults too."""
    pretrain: int = 30
    """Alphabets to meta-train on."""
    test_alphabets: int = 10
    """Alphabets to be judged by; they do not depend on --pretrain."""
    split_seed: int | None = None
    """Which alphabets are which. Default: the seed of the run."""
    classes: int = 20
    """Characters of an alphabet; alphabets of fewer are left out."""
    held_out: int = 5
    """Drawings of a character to be judged by; the others are learned from."""
    log_every: int = 1
    checkpoint_every: int = 20
    meta_batch: int = 20
    """Alphabets per iteration; they come again where there are fewer."""
    test_steps: int = 100
    """Inner steps in validation and evaluation, the same for every learner."""
    network: Annotated[ConvNetSettings, tyro.conf.arg(name="")] = field(default_factory=WarpLayers)
    images: Annotated[AlphabetSettings, tyro.conf.AvoidSubcommands] = field(
        default_factory=AlphabetSettings
    )
    """How images are drawn and distorted."""
    resize: Resize = "lanczos"
    """lanczos: grey images; nearest: two colours, as the published code has them."""
    query: Literal["train", "held-out"] = "train"
    """Images of the meta-loss: another minibatch, or (by default where a learner is judged on
    images that it did not adapt to, as maml) what is held out."""
    head_reset: bool = False
    """Every task begins with a head of its own that is drawn at random."""
    validate_every: int = 20
    """Iterations between validations; the learner that does best is kept."""
    validation_alphabets: int = 5
    """Alphabets of a validation, neither trained nor tested on; the same every time."""
    data: Path | None = None
    """Folder with the images. Default: $METARL_DATA/omniglot, else data/omniglot."""
    complete: bool = True
    """Refuse data of fewer or more characters than their authors publish."""

    HELD: ClassVar[Held] = (
        (784, "meta_batch", "images.batch_size"),  # a byte for every pixel of an image
    )

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be trained."""
        super().__post_init__()
        alphabets = ("pretrain", "test_alphabets", "classes", "held_out", "validation_alphabets")
        at_least(1, self, *alphabets, "meta_batch", "test_steps", "validate_every")
        at_least(0, self, "split_seed")
        method_named(self.method, METHODS)
        if self.head_reset and self.method not in MAY_RESET_HEAD:
            raise UserError(
                f"--head-reset is for {', '.join(MAY_RESET_HEAD)}; {self.method} learns its head"
            )
        if isinstance(self.network, WarpLayers) != self.learner.warped:
            raise UserError(f"--method {self.method} has another network: see `defaults`")

    def execution(self, device: torch.device) -> Execution:
        """Return how many alphabets are worked on at a time."""
        filters, images = self.network.filters, self.images.batch_size
        return stacked(self.learner.execution, device, images, filters)


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
        network=WarpLayers() if learner.warped else ConvNetSettings(),
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


# ---------------------------------------------------------------------------------- training


def prepare(settings: TrainSettings) -> Training:
    """Return the training: one learner per seed, one after the other."""
    omniglot = load_images(settings)
    for seed in settings.seeds:
        sides(settings, omniglot, seed)
    return in_turn(partial(build, settings, omniglot))


def build(settings: TrainSettings, omniglot: Omniglot, run: RunDirectory) -> MetaTraining:
    """Make everything that trains one seed."""
    device, seed = resolve_device(settings.device), run.seed
    streams = spawn_generators(seed, STREAMS)
    split = sides(settings, omniglot, seed)
    write_json(run.path / "split.json", to_json(split.manifest(), "split"))
    seen = alphabet_tasks(omniglot, split.pretrain, settings.held_out, device)
    network, learner = make_network(settings), new_learner(settings, streams["init"], device, seed)
    chosen = dict(list(split.validation.items())[: settings.validation_alphabets])
    unseen = alphabet_tasks(omniglot, chosen, settings.held_out, device)

    def validate() -> float:
        """Return the accuracy on alphabets for validation after the last step."""
        curve = measure(settings, network, learner, unseen, VALIDATION_SEED, (settings.test_steps,))
        return float(curve.non_transductive.mean())

    trainer = SelectedLearner(
        Trainer(learner, settings.learner.outer), validate, settings.validate_every
    )

    def iterate() -> Mapping[str, Tensor]:
        return trainer.step(draw_tasks(settings, network, learner, seen, streams["tasks"]))

    return MetaTraining(
        trainer,
        iterate,
        [run],
        [streams],
        settings.meta_batch,
        LoopSettings(
            settings.iterations,
            settings.log_every,
            settings.checkpoint_every,
            settings.learner.schedule,
        ),
        headline=("query_loss", "last_support_loss", "support_loss", "validation_accuracy"),
        counter="tasks_seen",
        description=f"training seed {seed}",
        at_the_end=trainer.validate_at_the_end,
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


def draw_tasks(
    settings: TrainSettings,
    network: Network,
    learner: MetaLearner,
    alphabets: AlphabetTasks,
    generator: torch.Generator,
) -> AlphabetBatch:
    """Draw a meta-batch to train on."""
    chosen = choose_alphabets(len(alphabets), settings.meta_batch, generator)
    key = int(torch.randint(2**62, (1,), generator=generator))
    batches = AlphabetBatches.start(alphabets, chosen, settings.images, (key,))
    heads = {}
    if settings.head_reset:
        heads = fresh_heads(network, learner.fast, len(chosen), generator)
    source = TrainingImages(batches) if settings.query == "train" else batches
    indices = torch.tensor(chosen, device=alphabets.train.inputs.device)
    return AlphabetBatch(network, source, cross_entropy, indices, heads)


def measure(
    settings: TrainSettings,
    network: Network,
    learner: MetaLearner,
    alphabets: AlphabetTasks,
    seed: int,
    at: Collection[int],
) -> AdaptationCurve:
    """Adapt to alphabets, and classify their held-out drawings on the way.

    Args:
        settings: How images are drawn, and for how many steps.
        network: Of the learner.
        learner: As it was trained, or in training.
        alphabets: To be judged by, each once.
        seed: Of images and distortions.
        at: After which numbers of steps to look.
    """
    count = len(alphabets)
    batches = AlphabetBatches.start(alphabets, range(count), settings.images, (seed,))
    heads = {}
    if settings.head_reset:
        heads = fresh_heads(network, learner.fast, count, stream(seed, 0))
    # Their numbers are not those of training alphabets: nothing may look at them.
    indices = torch.full((count,), -1)
    return adaptation_curve(
        learner,
        AlphabetBatch(network, batches, cross_entropy, indices, heads),
        settings.test_steps,
        query=lambda tasks: tasks.source.draw("query"),
        reference=reference_images,
        at=at,
        chunk_size=settings.execution(alphabets.train.inputs.device).stacked,
    )


def reference_images(tasks: SupervisedTasks) -> Examples:
    """Draw training images, as many as the training set has."""
    found = [tasks.source.draw("support")]
    while sum(one.inputs.shape[1] for one in found) < REFERENCE_IMAGES:
        found.append(tasks.source.draw("support"))
    inputs, targets = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
    return Examples(inputs, targets)


# -------------------------------------------------------------------------------- evaluation


@dataclass(frozen=True)
class EvaluateSettings:
    """Adapt to unseen alphabets, and sum the accuracy up in summary.json."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """A run directory, or a folder of seed-N runs."""
    steps: int | None = None
    """Inner steps. Default: the run's --test-steps."""
    every: int = 10
    """Inner steps between the points of a curve."""
    checkpoint: Literal["best", "last"] = "best"
    """The learner as it did best in validation, or as it was at the end."""
    seed: int = 10_000
    """Of images and distortions."""
    data: Path | None = None
    """Folder with the images. Default: the run's."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    json: bool = False
    """Print the summary as one line of JSON, the last of standard output."""

    def __post_init__(self) -> None:
        """Check the counts."""
        at_least(1, self, "steps", "every")
        at_least(0, self, "seed")


def evaluate(settings: EvaluateSettings) -> EvaluationResult:
    """Evaluate every run, and seeds together; draw pictures of each run."""
    return write_summaries(
        settings.run,
        partial(evaluate_run, settings=settings),
        describe,
        FIGURES,
        describe_seeds,
        as_json=settings.json,
    )


def evaluate_run(run: RunDirectory, settings: EvaluateSettings) -> dict[str, Any]:
    """Return the summary of one run; draws its pictures."""
    started = time.perf_counter()
    trained = RECIPE.settings_of(run.config)
    steps, data = settings.steps or trained.test_steps, settings.data or trained.data
    trained = replace(trained, test_steps=steps, data=data)
    device, seed = resolve_device(settings.device), run.seed
    learner = new_learner(trained, spawn_generators(seed, STREAMS)["init"], device, seed)
    checkpoint = load_selected(run, learner, settings.checkpoint)
    omniglot = load_images(trained)
    test = alphabet_tasks(omniglot, sides(trained, omniglot, seed).test, trained.held_out, device)
    at = points(steps, settings.every)
    curve = measure(trained, make_network(trained), learner, test, settings.seed, at)
    draw_classification(run, curve, trained.method, "unseen alphabets")
    return {
        "protocol": "multishot",
        "preset": trained.preset,
        "method": trained.method,
        "pretrain": trained.pretrain,
        "classes": trained.classes,
        **accuracies(curve),
        "area_under_training_loss": float(area_under(curve.support_loss).mean()),
        "support_loss_curve": curve.support_loss.mean(0).tolist(),
        "alphabets": dict(zip(test.names, curve.non_transductive[:, -1].tolist(), strict=True)),
        **checkpoint,
        "num_tasks": len(test),
        "run_seed": seed,
        "seed": settings.seed,
        "device": str(device),
        "tasks_seen": checkpoint["iteration"] * trained.meta_batch,
        "wall_seconds": time.perf_counter() - started,
    }


def points(num_steps: int, every: int) -> list[int]:
    """Return the numbers of inner steps after which accuracy is measured, rising."""
    return [*range(0, num_steps, every), num_steps]


def describe(run: RunDirectory, summary: dict[str, Any]) -> str:
    """Return the summary in a few lines."""
    return "\n".join(
        (
            f"{run.path}: {summary['method']} ({summary['preset']}), {summary['pretrain']}"
            f" alphabets to meta-train on, {summary['num_tasks']} unseen ones,"
            f" {summary['steps'][-1]} steps",
            f"  non-transductive (normalised as training images) "
            f"{percent(summary, 'non_transductive')}",
            f"  transductive (held-out images together)          "
            f"{percent(summary, 'transductive')}",
            f"  mean training loss on the way {summary['area_under_training_loss']:.3f};"
            f" {summary['checkpoint']} checkpoint, of iteration {summary['iteration']}"
            f" of {summary['trained_iterations']}",
            f"  drawn: {drawn(run)}",
        )
    )


def place(settings: TrainSettings) -> Path:
    """Return a name that says what the run is, under ``runs/``."""
    name = f"omniglot-alphabets-{settings.pretrain}-{settings.method}"
    return Path("runs") / (name if settings.preset == "default" else f"{name}-{settings.preset}")


def sweep(prog: str, arguments: Sequence[str]) -> None:
    """Train and evaluate several learners; imported when it is wanted, for it needs the recipe."""
    import_module("experiments.alphabets_sweep").run_sweep(prog, arguments)


SWEEP = Command("train and evaluate several learners, seeds and numbers of alphabets", sweep)

RECIPE = Recipe(
    name="experiments.alphabets",
    defaults=defaults,
    prepare=prepare,
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
