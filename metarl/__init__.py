"""metarl: agents that learn a new maze within one trial, and the learners behind them.

Every method is *tasks → adaptation → meta-update*: a meta-batch of tasks arrives, fast weights
adapt to each task while slow weights stand still, and a meta-gradient moves what is shared.

For your own training loop there are `MAML`, `MetaSGD`, `ANIL` and `Warp`, which take any module and
any loss. `metarl.experiment` trains, evaluates and compares methods on a problem, and `load` gives
the agent of a run. They are imported when they are first used, so that ``import metarl`` loads no
torch. It registers the ids ``metarl/...`` with Gymnasium; the environments behind them are the
package `envs`, or `metarl.envs` where another package has that name.
"""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import TYPE_CHECKING

import gymnasium

from metarl.former_names import find_former_names
from metarl.on_demand import imported_from

if TYPE_CHECKING:
    from metarl.core import (
        ReplayBuffer,
        adam,
        adamw,
        chain,
        clip_by_norm,
        clip_by_value,
        meta_curvature,
        rmsprop,
        sgd,
        weight_decay,
    )
    from metarl.methods.loading import load
    from metarl.modules import (
        ANIL,
        MAML,
        Clone,
        DualUpdater,
        MetaSGD,
        OptimizerParameters,
        Warp,
    )
    from metarl.supervised import TaskDataset

__version__ = "0.2.0"

__all__ = [
    "ANIL",
    "MAML",
    "Clone",
    "DualUpdater",
    "MetaSGD",
    "OptimizerParameters",
    "ReplayBuffer",
    "TaskDataset",
    "Warp",
    "adam",
    "adamw",
    "chain",
    "clip_by_norm",
    "clip_by_value",
    "load",
    "meta_curvature",
    "rmsprop",
    "sgd",
    "weight_decay",
]

_HOMES = {
    "metarl.core": (
        "ReplayBuffer",
        "adam",
        "adamw",
        "chain",
        "clip_by_norm",
        "clip_by_value",
        "meta_curvature",
        "rmsprop",
        "sgd",
        "weight_decay",
    ),
    "metarl.supervised": ("TaskDataset",),
    "metarl.methods.loading": ("load",),
    "metarl.modules": (
        "ANIL",
        "MAML",
        "Clone",
        "DualUpdater",
        "MetaSGD",
        "OptimizerParameters",
        "Warp",
    ),
}


find_former_names()

# By name only: they are imported when one is made. `envs` registers the same ids for itself. Its
# list is read as a file, for another package may have the name `envs`, and ours loads torch.
_FAMILIES = run_path(str(Path(__file__).parents[1] / "envs" / "families.py"))["FAMILIES"]
for _folder, _name in _FAMILIES.items():
    if f"metarl/{_name}-v0" not in gymnasium.registry:
        gymnasium.register(
            id=f"metarl/{_name}-v0",
            entry_point=f"metarl.envs.{_folder}:{_name}Env",
            vector_entry_point=f"metarl.envs.vector_entry_points:{_folder}",
        )


__getattr__ = imported_from(__name__, _HOMES)


def __dir__() -> list[str]:
    """Everything, imported or not."""
    return sorted({*globals(), *__all__})
