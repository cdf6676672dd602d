"""Update rules by the names and defaults of `torch.optim`, and links to put before them.

sgd(0.1, momentum=0.9)
chain(clip_by_norm(1.0), adamw(1e-2))
sgd({"head.*": 0.1, "*": 0.01})                       step sizes by parameter
sgd([0.1] * 5, learned="parameter")                   by parameter and step, learned (MAML++)
"""

from __future__ import annotations

from metarl.core.limits import ClipByNorm, ClipByValue, WeightDecay
from metarl.core.meta_curvature import MetaCurvature
from metarl.core.moments import Adam, Momentum, RMSprop
from metarl.core.step_sizes import LaterSteps, Learned, Sizes, StepSize
from metarl.core.update_rules import Chain, Transform, UpdateRule


def chain(*links: Transform) -> UpdateRule:
    """Chain links into a rule, in order; a rule among them counts as its own links.

    Raises:
        TypeError: Something is no link.
        ValueError: Weight decay stands after the step size, where it would push away from 0.
    """
    flat: list[Transform] = []
    for link in links:
        if not isinstance(link, Transform):
            raise TypeError(f"a chain is made of links such as metarl.sgd(0.1), got {link!r}")
        flat += link.links if isinstance(link, Chain) else (link,)
    sizes = [i for i, link in enumerate(flat) if isinstance(link, StepSize)]
    if sizes and any(isinstance(link, WeightDecay) for link in flat[sizes[0] :]):
        raise ValueError("weight decay must come before the step size: chain(weight_decay(d), ...)")
    return Chain(tuple(flat))


def clip_by_norm(max_norm: float) -> Transform:
    """Scale each task's gradient to a norm of at most ``max_norm``: the first link of a chain."""
    return ClipByNorm(max_norm)


def clip_by_value(max_value: float) -> Transform:
    """Clamp the numbers of a gradient to ``[-max_value, max_value]``: the first link of a chain."""
    return ClipByValue(max_value)


def weight_decay(decay: float) -> Transform:
    """Coupled weight decay: the link before a rule. For the decoupled one see `adamw`."""
    return WeightDecay(decay)


def sgd(
    lr: Sizes,
    momentum: float = 0.0,
    *,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    learned: Learned = "no",
    later: float = 1.0,
) -> UpdateRule:
    """Gradient descent, with momentum.

    Args:
        lr: Step size: a number, one for each step, or either by name pattern (`step_sizes.Sizes`).
        momentum: As of `torch.optim.SGD`, and so are ``nesterov`` and ``weight_decay``.
        nesterov: Look ahead.
        weight_decay: Coupled.
        learned: Meta-learn the step sizes: no; parameter: one for each tensor; element: one for
            each number.
        later: Multiplies every step but the first.
    """
    if nesterov and not momentum:
        raise ValueError("Nesterov's step needs momentum above 0, got 0")
    moments: list[Transform] = [Momentum(momentum, nesterov)] if momentum else []
    return chain(*_decay(weight_decay), *moments, *_steps(lr, learned, later))


def adam(
    lr: Sizes,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    *,
    weight_decay: float = 0.0,
    detach_second_moment: bool = False,
    learned: Learned = "no",
    later: float = 1.0,
) -> UpdateRule:
    """Adam with coupled weight decay; ``lr``, ``learned`` and ``later`` as of `sgd`."""
    moments = Adam(*betas, eps, detach_second_moment)
    return chain(*_decay(weight_decay), moments, *_steps(lr, learned, later))


def adamw(
    lr: Sizes,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    *,
    weight_decay: float = 1e-2,
    detach_second_moment: bool = False,
    learned: Learned = "no",
    later: float = 1.0,
) -> UpdateRule:
    """Adam with decoupled weight decay; ``lr``, ``learned`` and ``later`` as of `sgd`."""
    moments = Adam(*betas, eps, detach_second_moment)
    return chain(moments, *_decay(weight_decay), *_steps(lr, learned, later))


def rmsprop(
    lr: Sizes,
    alpha: float = 0.99,
    eps: float = 1e-8,
    *,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    learned: Learned = "no",
    later: float = 1.0,
) -> UpdateRule:
    """RMSprop of `torch.optim`; ``lr``, ``learned`` and ``later`` as of `sgd`."""
    moments: list[Transform] = [RMSprop(alpha, eps, centered)]
    moments += [Momentum(momentum)] if momentum else []
    return chain(*_decay(weight_decay), *moments, *_steps(lr, learned, later))


def meta_curvature(lr: Sizes, *, learned: Learned = "no") -> UpdateRule:
    """Gradient descent through learned curvature (`MetaCurvature`), with step size ``lr``."""
    return Chain((MetaCurvature(), StepSize(lr, learned)))


def _decay(strength: float) -> list[Transform]:
    return [WeightDecay(strength)] if strength else []


def _steps(lr: Sizes, learned: Learned, later: float) -> list[Transform]:
    return [*([LaterSteps(later)] if later != 1.0 else []), StepSize(lr, learned)]
