"""Modules under the names that they had in version 0.1: found, with a `DeprecationWarning`.

    >>> from metarl.fewshot import SupervisedTasks  # doctest: +SKIP
    DeprecationWarning: metarl.fewshot is metarl.supervised since version 0.2

A module imported by its former name is the module of today, not a second one.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

FORMER_NAMES = {
    "metarl.adaptation_curve": "metarl.evaluate.supervised",
    "metarl.adaptation_evaluation": "metarl.evaluate.returns",
    "metarl.atomic": "metarl.runs.files",
    "metarl.checkpoint": "metarl.runs.checkpoint",
    "metarl.core.choices": "metarl.errors",
    "metarl.core.nested": "metarl.core.params",
    "metarl.core.norms": "metarl.core.params",
    "metarl.core.renamed": "metarl.errors",
    "metarl.evaluation": "metarl.evaluate.trials",
    "metarl.fewshot": "metarl.supervised",
    "metarl.fewshot.alphabet_batches": "metarl.supervised.omniglot.alphabets",
    "metarl.fewshot.alphabets": "metarl.supervised.omniglot.alphabets",
    "metarl.fewshot.cache_file": "metarl.supervised.omniglot.cache",
    "metarl.fewshot.class_index": "metarl.supervised.task_dataset",
    "metarl.fewshot.criteria": "metarl.supervised.tasks",
    "metarl.fewshot.distortion": "metarl.supervised.omniglot.distortion",
    "metarl.fewshot.drawing_file": "metarl.supervised.omniglot.archive",
    "metarl.fewshot.draws": "metarl.supervised.task_dataset",
    "metarl.fewshot.minibatches": "metarl.supervised.examples",
    "metarl.fewshot.omniglot": "metarl.supervised.omniglot.images",
    "metarl.fewshot.omniglot_archive": "metarl.supervised.omniglot.archive",
    "metarl.fewshot.omniglot_cache": "metarl.supervised.omniglot.cache",
    "metarl.fewshot.omniglot_download": "metarl.supervised.omniglot.download",
    "metarl.fewshot.omniglot_splits": "metarl.supervised.omniglot.splits",
    "metarl.fewshot.regression_families": "metarl.supervised.regression",
    "metarl.file_lock": "metarl.runs.files",
    "metarl.interruption": "metarl.runs.interruption",
    "metarl.json_file": "metarl.runs.files",
    "metarl.meta.emaml": "metarl.meta.policy.emaml",
    "metarl.meta.no_meta_training": "metarl.meta.fine_tuning",
    "metarl.meta.numbered_tasks": "metarl.meta.task_views",
    "metarl.meta.policy_tasks": "metarl.core.tasks",
    "metarl.meta.promp": "metarl.meta.policy.promp",
    "metarl.meta.recorded": "metarl.meta.task_views",
    "metarl.meta.stacked_optimiser": "metarl.core.optimisers",
    "metarl.meta.task_checks": "metarl.meta.task_views",
    "metarl.meta.trajectory_objectives": "metarl.meta.policy.trajectory_objectives",
    "metarl.meta.trpo": "metarl.meta.policy.trpo",
    "metarl.meta.trust_region": "metarl.meta.policy.trpo",
    "metarl.meta.warpgrad_continual": "metarl.meta.warpgrad.continual",
    "metarl.meta.warpgrad_objectives": "metarl.meta.warpgrad.objectives",
    "metarl.meta.warpgrad_offline": "metarl.meta.warpgrad.offline",
    "metarl.meta_training": "metarl.train.trainer",
    "metarl.metrics_log": "metarl.runs.metrics",
    "metarl.model_selection": "metarl.train.selection",
    "metarl.modules.anil": "metarl.modules.maml",
    "metarl.modules.collected": "metarl.modules.dual_updater",
    "metarl.modules.graph": "metarl.core.second_order",
    "metarl.modules.inner_optimisers": "metarl.modules.torch_rules",
    "metarl.modules.meta_sgd": "metarl.modules.maml",
    "metarl.modules.named_tree": "metarl.modules.functional",
    "metarl.modules.part": "metarl.modules.clone",
    "metarl.modules.statistics": "metarl.modules.functional",
    "metarl.modules.step_check": "metarl.modules.step_watch",
    "metarl.modules.task_source": "metarl.modules.module_task",
    "metarl.modules.trajectory": "metarl.modules.recorder",
    "metarl.modules.warp_parameters": "metarl.modules.warp",
    "metarl.progress": "metarl.runs.progress",
    "metarl.provenance": "metarl.runs.provenance",
    "metarl.rl.adaptable_policy": "metarl.rl.policies",
    "metarl.rl.adapted_agent": "metarl.rl.agents",
    "metarl.rl.agent": "metarl.rl.agents",
    "metarl.rl.cuda_graph": "metarl.core.cuda_graph",
    "metarl.rl.episode_rollout": "metarl.rl.collector",
    "metarl.rl.episodes": "metarl.rl.trajectory",
    "metarl.rl.exploration": "metarl.rl.tasks",
    "metarl.rl.linear_baseline": "metarl.rl.advantages",
    "metarl.rl.policy": "metarl.rl.policies",
    "metarl.rl.policy_gradient_settings": "metarl.rl.losses",
    "metarl.rl.policy_gradient_tasks": "metarl.rl.tasks",
    "metarl.rl.returns": "metarl.rl.advantages",
    "metarl.rl.rollout": "metarl.rl.collector",
    "metarl.rl.surrogates": "metarl.rl.losses",
    "metarl.rl.trials": "metarl.rl.tasks",
    "metarl.run_directory": "metarl.runs.directory",
    "metarl.sb3.adapted_policy": "metarl.sb3.agent",
    "metarl.sb3.batched_vec_env": "metarl.sb3.task_vec_env",
    "metarl.statistics": "metarl.stats",
    "metarl.statistics.intervals": "metarl.stats.estimates",
    "metarl.statistics.means": "metarl.stats.estimates",
    "metarl.statistics.student_t": "metarl.stats.estimates",
    "metarl.training": "metarl.train.loop",
}
"""Name in version 0.1, and today's."""


class FormerNames(MetaPathFinder, Loader):
    """Finds a module by its former name, and hands out today's."""

    def __init__(self) -> None:
        self._own: dict[str, ModuleSpec] = {}  # of modules that are being imported, by former name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Specification of a module that has another name today; None for all others."""
        return ModuleSpec(fullname, self) if _today(fullname) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Module of today's name."""
        today = _today(spec.name)
        assert today is not None
        warnings.warn(f"{spec.name} is {today} since version 0.2", DeprecationWarning, stacklevel=2)
        module = import_module(today)
        if module.__spec__ is not None:
            self._own[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own specification back; it has run under its name of today."""
        if module.__spec__ is not None:  # that of the former name, as the import system set it
            module.__spec__ = self._own.pop(module.__spec__.name, module.__spec__)


def _today(name: str) -> str | None:
    """Name of today of a module of version 0.1, or of one in a folder that was renamed."""
    if name in FORMER_NAMES:
        return FORMER_NAMES[name]
    folder, _, module = name.rpartition(".")
    return f"{FORMER_NAMES[folder]}.{module}" if folder in FORMER_NAMES else None


def find_former_names() -> None:
    """Let the import system find modules by their former names, once."""
    if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
        # First: the path of a renamed folder would give a second copy of a module in it.
        sys.meta_path.insert(0, FormerNames())
