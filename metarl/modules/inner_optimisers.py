"""PyTorch's optimisers as update rules, so that a step they took can be taken again.

A learned step size and momentum of every adapting parameter (`OptimizerParameters`) are ordinary
rules too: alpha = exp(log_lr), beta = sigmoid(logit), so that no step of the outer optimiser makes
them negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metarl.core import (
    Adam,
    Chain,
    Momentum,
    Params,
    RMSprop,
    StepSize,
    Transform,
    UpdateRule,
    WeightDecay,
    precise,
)
from metarl.core.step_sizes import Sizes
from metarl.core.update_rules import State


@dataclass(frozen=True)
class LearnedMomentum(Transform):
    """``m' = beta m + g``, u = m', with one learned beta a parameter.

    Attributes:
        beta: Its initial value.
    """

    beta: float

    def __post_init__(self) -> None:
        """Refuse what has no logit."""
        if not 0 < self.beta < 1:
            raise ValueError(f"a learned momentum must lie between 0 and 1, got {self.beta}")

    def parameters(self, fast: Params) -> dict[str, Tensor]:
        """``logit.NAME``, scalars."""
        logit = math.log(self.beta / (1 - self.beta))
        return {f"logit.{n}": torch.full_like(p.new_empty(()), logit) for n, p in fast.items()}

    def init(self, fast: Params) -> State:
        """M = 0."""
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


KNOWN = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)


def rule_of(optimiser: torch.optim.Optimizer, fast: Params) -> UpdateRule:
    """The rule by which an optimiser steps, with its settings of now.

    Args:
        optimiser: SGD, Adam, AdamW or RMSprop over the parameters.
        fast: The parameters, by name.

    Raises:
        ValueError: It is another, or has settings that no rule has.
    """
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimiser.param_groups]
    sizes = [float(g.pop("lr")) for g in groups]
    s, kind = groups[0], type(optimiser)
    odd = [k for k in ("dampening", "maximize", "amsgrad") if s.get(k)]
    if kind not in KNOWN or odd or any(g != s for g in groups):
        raise ValueError(
            f"no update rule is known for this {kind.__name__} ({', '.join(odd) or 'its groups'}): "
            f"{', '.join(one.__name__ for one in KNOWN)} are, whose groups differ in lr alone, "
            "without dampening, maximize and amsgrad"
        )
    decay: list[Transform] = [WeightDecay(s["weight_decay"])] if s["weight_decay"] else []
    return Chain((*_moments(kind, s, decay), StepSize(_sizes(optimiser, sizes, fast))))


def _moments(kind: type, s: dict[str, Any], decay: list[Transform]) -> list[Transform]:
    """The links before the step size, weight decay at its place."""
    if kind in (torch.optim.Adam, torch.optim.AdamW):
        beta1, beta2 = s["betas"]
        adam = Adam(float(beta1), float(beta2), s["eps"])
        return [adam, *decay] if s["decoupled_weight_decay"] else [*decay, adam]
    links = [*decay]
    if kind is torch.optim.RMSprop:
        links.append(RMSprop(s["alpha"], s["eps"], s["centered"]))
    if s["momentum"]:
        links.append(Momentum(s["momentum"], s.get("nesterov", False)))
    return links


def _sizes(optimiser: torch.optim.Optimizer, sizes: list[float], fast: Params) -> Sizes:
    """One step size, or by parameter where groups differ."""
    if len(set(sizes)) == 1:
        return sizes[0]
    by_id = {
        id(p): size
        for group, size in zip(optimiser.param_groups, sizes, strict=True)
        for p in group["params"]
    }
    return {name: by_id[id(p)] for name, p in fast.items() if id(p) in by_id}


@torch.no_grad()
def state_of(optimiser: torch.optim.Optimizer, rule: UpdateRule, fast: Params) -> State:
    """What the optimiser has kept about parameters, as a state of the rule.

    Args:
        optimiser: Over the parameters.
        rule: The rule by which it steps.
        fast: The parameters, by name.

    Returns:
        Unstacked, in at least float32.

    Raises:
        ValueError: The optimiser does not step on all of the parameters.
    """
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    strangers = [name for name, p in fast.items() if id(p) not in held]
    if strangers:
        raise ValueError(f"the optimiser does not step on {', '.join(strangers)}")
    state: dict[str, Tensor] = {}
    for i, link in enumerate(rule.links):
        for name, p in fast.items():
            kept = {k: v for k, v in optimiser.state.get(p, {}).items() if v is not None}
            zeros = torch.zeros_like(p)
            if isinstance(link, Adam):
                state[f"{i}.m.{name}"] = kept.get("exp_avg", zeros)
                state[f"{i}.v.{name}"] = kept.get("exp_avg_sq", zeros)
                state[f"{i}.t"] = torch.as_tensor(kept.get("step", 0.0)).to(precise(p))
            elif isinstance(link, RMSprop):
                state[f"{i}.v.{name}"] = kept.get("square_avg", zeros)
                if link.centered:
                    state[f"{i}.mean.{name}"] = kept.get("grad_avg", zeros)
            elif isinstance(link, Momentum | LearnedMomentum):
                state[f"{i}.{name}"] = kept.get("momentum_buffer", zeros)
    return {name: precise(s) for name, s in state.items()}
