"""Supervised tasks: N-way K-shot from any data set, Omniglot, regression families."""

from metarl.fewshot.alphabet_batches import AlphabetBatches, AlphabetSettings
from metarl.fewshot.alphabets import AlphabetTasks, alphabet_tasks, choose_alphabets
from metarl.fewshot.distortion import Distortion
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
from metarl.fewshot.tasks import SupervisedTasks

__all__ = [
    "REGRESSION_FAMILIES",
    "AlphabetBatches",
    "AlphabetSettings",
    "AlphabetSplit",
    "AlphabetTasks",
    "CharacterSplit",
    "Distortion",
    "Examples",
    "FewShotBatch",
    "Logistic",
    "Omniglot",
    "PhaseSine",
    "RegressionFamily",
    "Sine",
    "SupervisedTasks",
    "TaskDataset",
    "TwoDomainSine",
    "alphabet_tasks",
    "choose_alphabets",
    "load_omniglot",
    "omniglot_tasks",
    "pixels",
    "split_alphabets",
    "split_characters",
]
