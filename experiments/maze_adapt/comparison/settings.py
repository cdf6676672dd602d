"""Settings of `compare`: what `--help` explains, and what the folder's `comparison.json` keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments import stored_settings
from experiments.maze_adapt.evaluate import EvaluateSettings
from experiments.maze_adapt.methods import Method
from experiments.maze_adapt.worlds import EnvName, Split
from metarl.errors import RunDirectoryError, UserError
from metarl.runs.files import read_json

USUAL_REFERENCES: tuple[Any, ...] = ("ppo", "none")
"""The first of these that is compared is the reference where none is named."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How every run is evaluated: as by `evaluate`.

    Attributes:
        tasks: Unseen tasks, at most, the same for all.
        steps: Steps of adaptation. Default: the method's usual number.
        episodes: Episodes a task and step. Default: the method's usual number.
        chunk_size: Tasks that are stacked. None: all.
        split: validation to choose settings by, test to report on.
        seed: Of tasks and episodes.
    """

    tasks: int = 40
    steps: int | None = None
    episodes: int | None = None
    chunk_size: int | None = None
    split: Annotated[Split, tyro.conf.arg(aliases=("--evaluate.side",))] = "test"
    seed: int = 10_000

    def __post_init__(self) -> None:
        """Refuse what `evaluate` would refuse."""
        self.of_run(Path(), "cpu")

    def of_run(self, run: Path, device: str) -> EvaluateSettings:
        """As `evaluate` takes them."""
        return EvaluateSettings(run, device=device, **vars(self))


@dataclass(frozen=True)
class CompareSettings:
    """Train methods on the same tasks, evaluate them on the same unseen ones, and compare.

    All options of `train` are taken too, and hold for every method that has them; what is not given
    is the method's own default. What is there already is not done again: the same command goes on
    after an interruption, and further --methods or --seeds may be added to a folder later, or more
    --iterations.
    """

    run_dir: Path = Path("runs/compare")
    """Where all goes: METHOD/seed-S, and comparison.json, .csv, .md and .png."""
    env: EnvName = "maze"
    """The task distribution; see `train`."""
    methods: tuple[Method, ...] = ("maml", "fomaml", "anil", "none")
    """What to compare."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds of every method."""
    override: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """An option for one method, such as maml.learner.inner.lr=0.1 or maml.evaluate.steps=5; may be
    given many times."""
    evaluate: EvaluationSettings = field(default_factory=EvaluationSettings)
    """On unseen tasks."""
    reference: Method | None = None
    """Who the others are compared with. Default: ppo or none, if it is there."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    jobs: int = 1
    """Runs at a time, each in a process with one thread."""
    report_only: bool = False
    """Train and evaluate nothing: sum up what is there."""

    def __post_init__(self) -> None:
        """Refuse a comparison of nothing."""
        for name in ("methods", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise UserError(f"--{name} must be different values, at least one, got {values}")
        if min(self.seeds) < 0:
            raise UserError(f"--seeds must not be negative, got {self.seeds}")
        if self.jobs < 1:
            raise UserError(f"--jobs must be at least 1, got {self.jobs}")


@dataclass(frozen=True)
class Comparison:
    """What `comparison.json` keeps, so that more can be added.

    Attributes:
        env: The task distribution.
        methods: What is compared, in the order in which it was added.
        seeds: Training seeds.
        options: Of `train`, for all methods that have them, as on the command line.
        override: Options of single methods, METHOD.OPTION=VALUE.
        evaluate: On unseen tasks.
        reference: Who the others are compared with.
    """

    env: EnvName
    methods: tuple[Method, ...]
    seeds: tuple[int, ...]
    options: tuple[str, ...] = ()
    override: tuple[str, ...] = ()
    evaluate: EvaluationSettings = field(default_factory=EvaluationSettings)
    reference: Method | None = None

    def __post_init__(self) -> None:
        """Refuse a reference that is not there."""
        if self.reference is not None and self.reference not in self.methods:
            raise UserError(f"--reference {self.reference} is not among --methods; add it")

    @property
    def compared_with(self) -> Method | None:
        """The reference, named or usual; None where there is none."""
        usual: list[Method] = [m for m in USUAL_REFERENCES if m in self.methods]
        return self.reference or next(iter(usual), None)


def stored_in(folder: Path) -> Comparison | None:
    """What a folder compares; None where there is nothing yet.

    Raises:
        RunDirectoryError: It holds something else.
    """
    path = folder / "comparison.json"
    if not path.exists():
        # A lock alone is what a kill in the first moment leaves behind.
        if folder.exists() and (
            not folder.is_dir() or any(not p.name.startswith(".") for p in folder.iterdir())
        ):
            raise RunDirectoryError(
                f"{folder} holds something else than a comparison; name another --run-dir"
            )
        return None
    content: Any = read_json(path).get("comparison", {})
    how = content.get("evaluate") if isinstance(content, dict) else None
    if isinstance(how, dict) and "side" in how:  # the former name
        content = {**content, "evaluate": {"split": how["side"], **how}}
        del content["evaluate"]["side"]
    required = ("env", "methods", "seeds")
    return stored_settings.from_config(Comparison, content, required=required, what="a comparison")


def merged(stored: Comparison | None, asked: CompareSettings, rest: Sequence[str]) -> Comparison:
    """What is there, with what is asked for now.

    Args:
        stored: What the folder compares.
        asked: The command line; where nothing was said, what is stored.
        rest: Options of `train`.

    Raises:
        UserError: It is another environment.
    """
    before = stored or Comparison(asked.env, asked.methods, asked.seeds)
    if asked.env != before.env:
        raise UserError(f"{asked.run_dir} compares on --env {before.env}; name another --run-dir")
    options = before.options if tuple(rest) == before.options else (*before.options, *rest)
    return Comparison(
        asked.env,
        tuple(dict.fromkeys((*before.methods, *asked.methods))),
        tuple(sorted({*before.seeds, *asked.seeds})),
        options,
        tuple(dict.fromkeys((*before.override, *asked.override))),
        asked.evaluate,
        asked.reference,
    )
