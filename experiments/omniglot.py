"""Few-shot Omniglot: a learner that tells a few characters apart from one drawing of each.

    python -m experiments.omniglot download
    python -m experiments.omniglot train --method maml --ways 5 --shots 1 --run-dir runs/maml
    python -m experiments.omniglot evaluate runs/maml

Whole alphabets, learned in a hundred steps: `experiments.alphabets`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from metarl.compare.command import compare_command
from metarl.compare.plan import Comparable
from metarl.compare.work import script_of
from metarl.evaluate.measures import ACCURACY, BESIDE_TEST, files_of
from metarl.methods import gradient_methods_for, method_named
from metarl.nn.conv_settings import ReducedConvNetSettings
from metarl.run import Recipe, command, main, one_of
from metarl.run.classification import (
    CharactersSettings,
    evaluate_characters,
    validation_accuracy,
)
from metarl.run.counts import Held
from metarl.run.supervised import SupervisedSettings, training
from metarl.search.command import search_command
from metarl.search.trials import Searchable
from metarl.supervised.omniglot.download import default_folder, download
from metarl.supervised.omniglot.few_shot import FewShotOmniglot

from . import alphabets

METHODS = gradient_methods_for("data")


@dataclass(frozen=True)
class TrainSettings(FewShotOmniglot, SupervisedSettings):
    """Meta-train a network that tells characters apart from a few drawings."""

    method: Annotated[str, one_of(METHODS)] = "maml"
    iterations: int = 60_000
    log_every: int = 50
    meta_batch: int = 32
    network: Annotated[ReducedConvNetSettings, tyro.conf.arg(name="")] = field(
        default_factory=ReducedConvNetSettings
    )

    PROBLEM: ClassVar[type[Any]] = FewShotOmniglot
    HELD: ClassVar[Held] = (
        (784, "meta_batch", "ways", "shots"),  # a byte for every pixel of an image
        (784, "meta_batch", "ways", "train_shots"),
        (784, "meta_batch", "ways", "query_shots"),
        (784, "validation_tasks", "ways", "shots"),
    )

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be trained."""
        SupervisedSettings.__post_init__(self)


def defaults(method: str = "maml", ways: int = 5) -> TrainSettings:
    """Return the published settings of a method, for so many characters in a task."""
    many, learner = ways >= 20, method_named(method, METHODS)()
    settings = TrainSettings(
        method=method,
        learner=learner.having(chunk_size="auto"),
        network=FewShotOmniglot.usual(warped=learner.warped).network,
        ways=ways,
        meta_batch=16 if many else 32,
        test_steps=5 if many else 3,
    )
    if method in ("reptile", "leap"):
        return far(settings, many=many)
    steps, lr = (5, 0.1) if many else (1, 0.4)
    if method == "imaml":
        # Rajeswaran et al. 2019: so many steps; lambda 2 and 5 iterations are the usual ones.
        steps, lr = 25 if many else 16, 0.1
    elif learner.warped:
        # Five steps are of the size that MAML takes where it takes five.
        steps, lr = 5, 0.1
    if steps > 5 or learner.warped:
        settings = replace(settings, test_steps=steps)
    return replace(settings, learner=settings.learner.having(inner_lr=lr, inner_steps=steps))


def far(settings: TrainSettings, *, many: bool) -> TrainSettings:
    """Return the settings of learners that go far: Nichol et al. 2018, appendix A."""
    lr, steps, batch = (5e-4, 10, 20) if many else (1e-3, 5, 10)
    inner = {"inner_rule": "adam", "inner_lr": lr, "inner_steps": steps, "inner_beta1": 0.0}
    return replace(
        settings,
        learner=settings.learner.having(**inner, decay="linear"),
        meta_batch=5,
        train_shots=10,
        inner_batch=batch,
        test_steps=50,
        iterations=200_000 if many else 100_000,
    )


@dataclass(frozen=True)
class DownloadSettings:
    """Download the archives (about 15 MB) from their authors' repository, and check them."""

    data: Path | None = None
    """Where to put them. Default: $METARL_DATA/omniglot, else data/omniglot."""


def run_download(settings: DownloadSettings) -> None:
    """Download what is not there."""
    folder = settings.data or default_folder()
    download(folder)
    print(f"the images are in {folder}")


RECIPE: Recipe[TrainSettings] = Recipe(
    name="experiments.omniglot",
    module=f"{__package__}.omniglot",
    defaults=defaults,
    training=training,
    place=lambda s: Path("runs") / f"omniglot-{s.ways}way-{s.shots}shot-{s.method}",
    methods=METHODS,
    picks=("method", "ways"),
    commands={
        "download": command("get the images from their authors", DownloadSettings, run_download),
        "evaluate": command(
            "measure accuracy on unseen characters, step by step, and draw it",
            CharactersSettings,
            lambda how: evaluate_characters(how, RECIPE.settings_of),
        ),
        "compare": compare_command(lambda: COMPARABLE),
        "search": search_command(lambda: SEARCHABLE),
        "sweep": alphabets.SWEEP,
    },
    may_move=("data",),
    elsewhere={"protocol": "characters are learned here, alphabets by the recipe alphabets"},
)

TASKS = (
    *("ways", "shots", "query_shots", "rotations", "train_characters"),
    *("validation_characters", "validate_by", "data", "complete"),
)
"""Settings that say which tasks there are, and by what they are judged."""

COMPARABLE: Comparable = Comparable(
    RECIPE,
    script_of(
        RECIPE,
        evaluate_characters,
        results=(
            *files_of(),
            *files_of(BESIDE_TEST),
        ),
    ),
    CharactersSettings,
    ACCURACY,
    tasks=TASKS,
    title=lambda s: f"{s.ways}-way {s.shots}-shot Omniglot, accuracy {s.validate_by}",
    methods=("maml", "fomaml", "anil", "none"),
    beside_test=BESIDE_TEST,
)

SEARCHABLE: Searchable = Searchable(
    RECIPE,
    validation_accuracy,
    "validation accuracy",
    tasks=(*TASKS, "validation_tasks"),
    counted_by="validation-tasks",
)

if __name__ == "__main__":
    main(RECIPE)
