"""PyTorch's optimisers as update rules, so that a step they took can be taken again.

Also the rule whose step sizes and momenta are learned (`OptimizerParameters` of a `Warp`): ordinary
links, alpha = exp(log_lr), beta = sigmoid(logit), so that no step of the outer optimiser makes them
negative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from metarl.core import Adam as AdamMoments
from metarl.core import (
    Chain,
    LaterSteps,
    Momentum,
    Params,
    StepSize,
    Transform,
    UpdateRule,
    WeightDecay,
    chain,
    precise,
    share,
    unstack,
)
from metarl.core import RMSprop as RMSpropMoments
from metarl.core.update_rules import State


@dataclass(frozen=True)
class LearnedMomentum(Transform):
    """``m' = beta m + g``, u = m', with one learned beta a parameter.

    Attributes:
        beta: Initial value of the momentum.
    """

    beta: float

    def __post_init__(self) -> None:
        """Check that the momentum has a logit."""
        if not 0 < self.beta < 1:
            raise ValueError(f"a learned momentum must lie between 0 and 1, got {self.beta}")

    def parameters(self, fast: Params) -> dict[str, Tensor]:
        """``logit.NAME``, scalars."""
        logit = math.log(self.beta / (1 - self.beta))
        return {f"logit.{n}": torch.full_like(p.new_empty(()), logit) for n, p in fast.items()}

    def init(self, fast: Params) -> State:
        """Start at M = 0."""
        return {name: torch.zeros_like(p) for name, p in fast.items()}

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """The moving sum of the gradients."""
        moments = {n: params[f"logit.{n}"].sigmoid() * state[n] + g for n, g in grads.items()}
        return moments, moments


@dataclass(frozen=True)
class OptimizerParameters:
    """Step size and momentum of every adapting parameter, meta-learned.

    Attributes:
        lr: Initial step size.
        momentum: Initial momentum; 0 has none and learns none.
    """

    lr: float
    momentum: float = 0.0

    @property
    def rule(self) -> UpdateRule:
        """The update rule whose parameters they are."""
        step_size = StepSize(self.lr, "parameter")
        return Chain((LearnedMomentum(self.momentum), step_size) if self.momentum else (step_size,))

    def groups(self, fast: dict[str, Any], learned: Params) -> list[dict[str, Any]]:
        """Parameter groups of `torch.optim.SGD`, one a parameter, with the values of now."""
        last = len(self.rule.links) - 1
        momentum = {
            n: float(learned[f"0.logit.{n}"].detach().sigmoid()) if last else 0.0 for n in fast
        }
        return [
            {
                "params": [p],
                "lr": float(learned[f"{last}.log_lr.{n}"].detach().exp()),
                "momentum": momentum[n],
            }
            for n, p in fast.items()
        ]


_KNOWN = "SGD, Adam, AdamW and RMSprop, without maximize and amsgrad"
_BY_GROUP = ("lr", "params", "param_names", "initial_lr")
_WITHOUT_EFFECT = ("foreach", "fused", "capturable", "differentiable")
_MOMENTS = (AdamMoments, RMSpropMoments, Momentum, LearnedMomentum)


def rule_of(optimiser: Optimizer, fast: Params) -> UpdateRule:
    """The rule by which an optimiser takes its next step, with its settings of now.

    Step sizes may differ by group. # Deviation: dampening d is a smaller step, lr (1 - d), with a
    larger momentum, m / (1 - d), from the second step of a parameter on.

    Args:
        optimiser: Over the parameters.
        fast: The parameters, by name.

    Raises:
        ValueError: No rule is known, or it does not step on all of the parameters.
    """
    lrs = _step_sizes(optimiser, fast)
    s, kind = _settings(optimiser), type(optimiser)
    odd = [k for k in ("maximize", "amsgrad") if s.get(k)]
    if kind not in (SGD, Adam, AdamW, RMSprop) or odd:
        raise ValueError(
            f"no update rule is known for this {kind.__name__} ({', '.join(odd) or 'its kind'}), "
            f"so that its steps cannot be taken again: adapt with {_KNOWN}, or choose objectives "
            'that need no steps (warp_objective="replay" or "none", init_objective not "maml")'
        )
    decay: list[Transform] = [WeightDecay(s["weight_decay"])] if s["weight_decay"] else []
    size = StepSize(next(iter(lrs.values())) if len(set(lrs.values())) == 1 else lrs)
    if kind in (Adam, AdamW):
        beta1, beta2 = map(float, s["betas"])
        moments = AdamMoments(beta1, beta2, s["eps"])
        decoupled = s.get("decoupled_weight_decay", kind is AdamW)
        return chain(*((moments, *decay) if decoupled else (*decay, moments)), size)
    momentum = [Momentum(s["momentum"], bool(s.get("nesterov")))] if s["momentum"] else []
    if kind is RMSprop:
        return chain(*decay, RMSpropMoments(s["alpha"], s["eps"], s["centered"]), *momentum, size)
    return chain(*decay, *momentum, size)


def _step_sizes(optimiser: Optimizer, fast: Params) -> dict[str, float]:
    """Return step sizes by name, as they act on the undamped sum of gradients."""
    groups = {id(p): group for group in optimiser.param_groups for p in group["params"]}
    strangers = [name for name, p in fast.items() if id(p) not in groups]
    if strangers:
        raise ValueError(
            f"the optimiser does not step on {', '.join(strangers)}: give it all of "
            "warp.adapt_parameters(), in one or several groups"
        )
    found = {}
    for name, p in fast.items():
        group = groups[id(p)]
        found[name] = float(group["lr"]) * _undamped(optimiser, p, group)
    return found


def _undamped(optimiser: Optimizer, p: Tensor, group: Mapping[str, Any]) -> float:
    """1 - d where the next step has dampening."""
    started = optimiser.state.get(p, {}).get("momentum_buffer") is not None
    return 1.0 - group.get("dampening", 0.0) if started and group.get("momentum") else 1.0


def _settings(optimiser: Optimizer) -> dict[str, Any]:
    """Return the settings that all groups have in common."""
    passed_over = (*_BY_GROUP, *_WITHOUT_EFFECT)
    settings = [
        {k: v for k, v in group.items() if k not in passed_over} for group in optimiser.param_groups
    ]
    different = sorted(k for k in settings[0] if any(g.get(k) != settings[0][k] for g in settings))
    if different:
        raise ValueError(
            f"the groups of the optimiser differ in {', '.join(different)}, so that no update rule "
            "is known: groups may differ in lr"
        )
    return settings[0]


@torch.no_grad()
def state_of(
    rule: UpdateRule, fast: Params, step: int, optimiser: Optimizer | None
) -> dict[str, Tensor]:
    """The state of a rule before a step, from what an optimiser has kept.

    Args:
        rule: The rule.
        fast: The parameters, by name.
        step: The number of the step, from 0.
        optimiser: Optimiser of the parameters, where it is known.

    Returns:
        Unstacked.

    Raises:
        ValueError: The rule carries a state that is not known.
    """
    state = {n: s.clone() for n, s in unstack(rule.init(share(fast, 1)), 0).items()}
    for i, link in enumerate(rule.links):
        prefix = f"{i}."
        if isinstance(link, StepSize) and f"{i}.step" in state:
            state[f"{i}.step"].fill_(step)
        elif isinstance(link, LaterSteps):
            state[f"{i}.next"].fill_(link.factor if step else 1.0)
        elif isinstance(link, _MOMENTS) and optimiser is not None:
            state |= {f"{i}.{n}": precise(s) for n, s in _moments(link, fast, optimiser).items()}
        elif any(name.startswith(prefix) for name in state):
            raise ValueError(
                f"{type(link).__name__} carries a state from step to step, which no optimiser is "
                "known to have: step by an optimiser of torch.optim, or give it to "
                "warp.register_optimizer before the first step on every task"
            )
    return state


def _moments(link: Transform, fast: Params, optimiser: Optimizer) -> State:
    found: dict[str, Tensor] = {}
    steps = [torch.zeros(())]
    for name, p in fast.items():
        kept = {k: v for k, v in optimiser.state.get(p, {}).items() if v is not None}
        zeros = torch.zeros_like(precise(p))
        match link:
            case AdamMoments():
                found[f"m.{name}"] = kept.get("exp_avg", zeros)
                found[f"v.{name}"] = kept.get("exp_avg_sq", zeros)
                steps += [torch.as_tensor(kept["step"])] if "step" in kept else []
            case RMSpropMoments():
                found[f"v.{name}"] = kept.get("square_avg", zeros)
                if link.centered:
                    found[f"mean.{name}"] = kept.get("grad_avg", zeros)
            case _:
                groups = optimiser.param_groups
                group = next(g for g in groups if any(q is p for q in g["params"]))
                scale = _undamped(optimiser, p, group)
                found[name] = kept.get("momentum_buffer", zeros) / scale
    if isinstance(link, AdamMoments):
        # A parameter that has not stepped yet has moments of 0, whatever the count.
        found["t"] = max(steps).to(precise(next(iter(found.values()))))
    return found
