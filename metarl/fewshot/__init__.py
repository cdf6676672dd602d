"""Supervised tasks: N-way K-shot from any data set, Omniglot, regression families."""

from metarl.fewshot.examples import Examples, FewShotBatch
from metarl.fewshot.omniglot import Omniglot, load_omniglot, omniglot_tasks, pixels
from metarl.fewshot.omniglot_splits import (
    AlphabetSplit,
    CharacterSplit,
    split_alphabets,
    split_characters,
)
from metarl.fewshot.regression import RegressionFamily
from metarl.fewshot.regression_families import (
    REGRESSION_FAMILIES,
    Logistic,
    PhaseSine,
    Sine,
    TwoDomainSine,
)
from metarl.fewshot.task_dataset import TaskDataset

__all__ = [
    "REGRESSION_FAMILIES",
    "AlphabetSplit",
    "CharacterSplit",
    "Examples",
    "FewShotBatch",
    "Logistic",
    "Omniglot",
    "PhaseSine",
    "RegressionFamily",
    "Sine",
    "TaskDataset",
    "TwoDomainSine",
    "load_omniglot",
    "omniglot_tasks",
    "pixels",
    "split_alphabets",
    "split_characters",
]
