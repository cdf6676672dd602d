"""The policy that all tasks begin with keeps looking: its entropy, in the meta-objective.

Where rewards are rare, a task whose goal is not found before adaptation has no policy gradient, and
stays where it is. Meta-training makes that worse: it learns not to look where no goal of the
training tasks is. The entropy of all policies would help, but the adapted ones pay for it. So the
meta-objective gains the entropy of the first policy alone, on the states which it visits:

    (1/N) sum_i  l_query(phi_K^i)  -  c (1/N) sum_i  mean_{s in D_0^i} H(pi_theta(. | s))

which is the first half of the task-agnostic objective of Jamal & Qi (2019, entropy before
adaptation up, after it down), for policies. The states are taken as they were drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metarl.core import Params, share
from metarl.rl.episodes import mean_over_steps
from metarl.rl.policy_gradient_tasks import PolicyGradientTasks


def start_entropy(tasks: PolicyGradientTasks, fast: Params, slow: Params) -> Tensor:
    """Mean entropy of a policy on the first episodes that were drawn to adapt by.

    Args:
        tasks: Which were learned from; ``settings.start_entropy_coef`` above 0 keeps the episodes.
        fast: The parameters of the policy that adapt, unstacked.
        slow: The others, unstacked.

    Returns:
        Nats a step, a scalar: a mean over the tasks of the mean over their steps.
    """
    policy = tasks.policy
    entropies = []
    for episodes in tasks.starts:
        stacked = share({**fast, **slow}, len(episodes.mask))
        outputs = policy.outputs(stacked, episodes.observations)
        entropies.append(mean_over_steps(policy.distribution.entropy(outputs), episodes.mask))
    return torch.cat(entropies).mean()
