"""Named parameters, their fast and slow sides, tasks, update rules and the one inner loop."""

from metarl.core.choices import check_choice
from metarl.core.compilation import CompiledGradients, check_compiler
from metarl.core.execution import Execution, add_to_grads
from metarl.core.inner_loop import InnerStep, inner_step, inner_steps
from metarl.core.meta_curvature import MetaCurvature, meta_curvature
from metarl.core.nested import nested_tensors
from metarl.core.optimisers import OptimiserSettings, clip_gradients, gradient_norms
from metarl.core.params import (
    Params,
    Partition,
    frozen,
    gradients,
    leaves,
    num_parameters,
    partition,
    prefixed,
    scope,
    share,
    stack,
    unstack,
    zeros_like,
)
from metarl.core.replay import ReplayBuffer, Visit
from metarl.core.rewind import rewind
from metarl.core.tasks import DataTaskBatch, DivisibleTaskBatch, Split, TaskBatch
from metarl.core.update_rules import Chain, StepSize, Transform, UpdateRule, adam, sgd

__all__ = [
    "Chain",
    "CompiledGradients",
    "DataTaskBatch",
    "DivisibleTaskBatch",
    "Execution",
    "InnerStep",
    "MetaCurvature",
    "OptimiserSettings",
    "Params",
    "Partition",
    "ReplayBuffer",
    "Split",
    "StepSize",
    "TaskBatch",
    "Transform",
    "UpdateRule",
    "Visit",
    "adam",
    "add_to_grads",
    "check_choice",
    "check_compiler",
    "clip_gradients",
    "frozen",
    "gradient_norms",
    "gradients",
    "inner_step",
    "inner_steps",
    "leaves",
    "meta_curvature",
    "nested_tensors",
    "num_parameters",
    "partition",
    "prefixed",
    "rewind",
    "scope",
    "sgd",
    "share",
    "stack",
    "unstack",
    "zeros_like",
]
