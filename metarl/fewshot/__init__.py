"""Supervised tasks: N-way K-shot from any data set, Omniglot, regression families."""

from metarl.fewshot.examples import Examples, FewShotBatch
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
    "Examples",
    "FewShotBatch",
    "Logistic",
    "PhaseSine",
    "RegressionFamily",
    "Sine",
    "TaskDataset",
    "TwoDomainSine",
]
