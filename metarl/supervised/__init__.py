"""Supervised tasks: N-way K-shot from any data set, Omniglot, regression families.

`Curves`, `FewShotOmniglot` and `MultiShotOmniglot` are problems for `metarl.experiment.Experiment`.
"""

from metarl.supervised.curves import Curves
from metarl.supervised.examples import Examples, FewShotBatch
from metarl.supervised.omniglot.alphabets import (
    AlphabetBatches,
    AlphabetSettings,
    AlphabetTasks,
    alphabet_tasks,
    choose_alphabets,
)
from metarl.supervised.omniglot.distortion import Distortion
from metarl.supervised.omniglot.few_shot import FewShotOmniglot
from metarl.supervised.omniglot.images import Omniglot, load_omniglot, omniglot_tasks, pixels
from metarl.supervised.omniglot.multi_shot import MultiShotOmniglot
from metarl.supervised.omniglot.splits import (
    AlphabetSplit,
    CharacterSplit,
    split_alphabets,
    split_characters,
)
from metarl.supervised.problem import ClassificationProblem, SupervisedProblem
from metarl.supervised.regression import (
    REGRESSION_FAMILIES,
    Logistic,
    PhaseSine,
    RegressionFamily,
    Sine,
    TwoDomainSine,
)
from metarl.supervised.task_dataset import TaskDataset
from metarl.supervised.tasks import SupervisedTasks

__all__ = [
    "REGRESSION_FAMILIES",
    "AlphabetBatches",
    "AlphabetSettings",
    "AlphabetSplit",
    "AlphabetTasks",
    "CharacterSplit",
    "ClassificationProblem",
    "Curves",
    "Distortion",
    "Examples",
    "FewShotBatch",
    "FewShotOmniglot",
    "Logistic",
    "MultiShotOmniglot",
    "Omniglot",
    "PhaseSine",
    "RegressionFamily",
    "Sine",
    "SupervisedProblem",
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
