"""Measures: what the values are that an evaluation leaves of every task, and what they are called.

Whatever is learned, an evaluation writes `adaptation.json`: the names of the N tasks, the
experience behind each of K + 1 looks, and the values ``[N, K + 1]``, or ``[N, K + 1, E]`` where
there are several of a task. `metarl.compare` takes the values from here alone; who earns least and
most stands here too, under ``anchors``, or in the summary beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl.runs.files import to_json, write_json


@dataclass(frozen=True)
class Measure:
    """Definition of the values of tasks.

    Attributes:
        name: Name of one, and beginning of what is made of it, such as ``return_mean``.
        entry: Name of all of them in `adaptation.json`.
        axis: Name of an axis of them in a picture.
        looks: What k counts.
        experience: What lies behind each k, in two words.
        column: Name of its column.
        behind: What it is, in the words of a picture.
        counter: Entry of a summary, or of metrics, that counts what was learned from in training.
        learned_from: What that counts, in words.
        episodic: Whether values are of episodes, which have a length and may succeed.
        digits: Digits behind the point.
        higher_is_better: Whether more of it is better.
    """

    name: str
    entry: str
    axis: str
    looks: str
    experience: str
    column: str
    behind: str
    counter: str
    learned_from: str
    episodic: bool = False
    digits: int = 2
    higher_is_better: bool = True

    @property
    def sign(self) -> float:
        """Factor with which more is better."""
        return 1.0 if self.higher_is_better else -1.0

    @property
    def percentile(self) -> int:
        """Percentile beyond which the worst fifth of the tasks lies."""
        return 20 if self.higher_is_better else 80


RETURN = Measure(
    name="return",
    entry="returns",
    axis="return per episode",
    looks="steps of adaptation: gradient steps, or episodes of a trial",
    experience="episodes seen",
    column="episodes_of_experience",
    behind="episodes of experience on the task",
    counter="env_steps",
    learned_from="training steps",
    episodic=True,
)

TRIAL_RETURN = replace(
    RETURN,
    axis="return per trial",
    looks="nothing: a trial is one",
    experience="trials before",
    column="trials_of_experience",
    behind="trials before",
)
"""What an agent earns in a trial, within which it learns; its length is that of the search."""

ACCURACY = Measure(
    name="accuracy",
    entry="accuracies",
    axis="accuracy",
    looks="the looks at a learner on its way",
    experience="inner steps",
    column="inner_steps",
    behind="inner steps on the task",
    counter="tasks_seen",
    learned_from="training tasks",
    digits=4,
)

ERROR = replace(
    ACCURACY,
    name="error",
    entry="errors",
    axis="mean squared error",
    higher_is_better=False,
)


BESIDE_TEST = "-validation"
"""End of the names of what is measured on validation tasks, beside what is on test tasks."""


def end_of(split: str) -> str:
    """End of the names of what is measured on the tasks of a split: test or validation."""
    return BESIDE_TEST if split == "validation" else ""


def files_of(side: str = "") -> tuple[str, str]:
    """Files that an evaluation leaves in a run: its summary, and the values of every task.

    Args:
        side: End of their names, where it is of other tasks than usual.
    """
    return f"summary{side}.json", f"adaptation{side}.json"


def write_values(
    path: Path,
    measure: Measure,
    values: NDArray[np.float64],
    task_ids: Sequence[str],
    experience: Sequence[int],
    **more: Any,
) -> None:
    """Write the values of every task.

    Args:
        path: The file.
        measure: What they are.
        values: ``[N, K + 1]``, or ``[N, K + 1, E]``.
        task_ids: Names of the N tasks: the same name, the same task.
        experience: What lies behind each k, ``[K + 1]``.
        more: Further entries: ``lengths`` and ``successes``, of the shape of the values;
            ``anchors``, names and values of what is earned at worst and at best, None where it is
            not known, and the axis of a picture.
    """
    content = {
        **{"task_ids": list(task_ids), "experience": list(experience), measure.entry: values},
        **more,
    }
    write_json(path, to_json(content, "adaptation"))
