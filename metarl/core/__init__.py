"""Named parameters, their fast and slow sides, tasks, update rules and the one inner loop."""

from metarl.core.choices import check_choice
from metarl.core.compilation import CompiledGradients, check_compiler
from metarl.core.execution import Execution, add_to_grads
from metarl.core.features import FeatureTasks, run_once
from metarl.core.inner_loop import InnerStep, inner_step, inner_steps
from metarl.core.limits import ClipByNorm, ClipByValue, WeightDecay
from metarl.core.meta_curvature import MetaCurvature
from metarl.core.moments import Adam, Momentum, RMSprop
from metarl.core.nested import nested_tensors
from metarl.core.norms import task_norms
from metarl.core.optimiser_rules import (
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
from metarl.core.optimisers import OptimiserSettings, clip_gradients, gradient_norms
from metarl.core.params import (
    Model,
    Params,
    Partition,
    added,
    along,
    cut,
    frozen,
    gradients,
    leaves,
    named_params,
    num_parameters,
    own_precision,
    partition,
    precise,
    prefixed,
    scope,
    share,
    stack,
    unstack,
    zeros_like,
)
from metarl.core.replay import ReplayBuffer, Visit
from metarl.core.rewind import pull_back, rewind
from metarl.core.settings import Method, OuterSettings, Schedule
from metarl.core.step_sizes import LaterSteps, StepSize
from metarl.core.tasks import DataTaskBatch, DivisibleTaskBatch, Split, StagedTaskBatch, TaskBatch
from metarl.core.update_rules import Chain, Transform, UpdateRule

__all__ = [
    "Adam",
    "Chain",
    "ClipByNorm",
    "ClipByValue",
    "CompiledGradients",
    "DataTaskBatch",
    "DivisibleTaskBatch",
    "Execution",
    "FeatureTasks",
    "InnerStep",
    "LaterSteps",
    "MetaCurvature",
    "Method",
    "Model",
    "Momentum",
    "OptimiserSettings",
    "OuterSettings",
    "Params",
    "Partition",
    "RMSprop",
    "ReplayBuffer",
    "Schedule",
    "Split",
    "StagedTaskBatch",
    "StepSize",
    "TaskBatch",
    "Transform",
    "UpdateRule",
    "Visit",
    "WeightDecay",
    "adam",
    "adamw",
    "add_to_grads",
    "added",
    "along",
    "chain",
    "check_choice",
    "check_compiler",
    "clip_by_norm",
    "clip_by_value",
    "clip_gradients",
    "cut",
    "frozen",
    "gradient_norms",
    "gradients",
    "inner_step",
    "inner_steps",
    "leaves",
    "meta_curvature",
    "named_params",
    "nested_tensors",
    "num_parameters",
    "own_precision",
    "partition",
    "precise",
    "prefixed",
    "pull_back",
    "rewind",
    "rmsprop",
    "run_once",
    "scope",
    "sgd",
    "share",
    "stack",
    "task_norms",
    "unstack",
    "weight_decay",
    "zeros_like",
]
