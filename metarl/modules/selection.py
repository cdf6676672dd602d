"""Selection of parameters of a module: by module, by a module's name, by a name pattern.

Parameters under several names (tied weights) are one parameter, called by the first of them, as
`nn.Module.named_parameters` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from torch import nn
from torch.nn.parameter import is_lazy

Selector: TypeAlias = str | nn.Module
"""A module inside the model, its name, a parameter's name, or a pattern such as ``"*.bias"``."""


def select(model: nn.Module, selectors: Selector | Iterable[Selector]) -> tuple[str, ...]:
    """The names of the parameters that any of the selectors means, in the model's order.

    Args:
        model: The module.
        selectors: One or several.

    Raises:
        TypeError: The model is no module, or a selector is none.
        ValueError: A selector means nothing, or one of the names of a tied parameter but not all.
    """
    check_module(model)
    aliases = aliases_of(model)
    meant: set[str] = set()
    given: Any = selectors
    one = isinstance(given, str | nn.Module) or not isinstance(given, Iterable)
    for selector in (given,) if one else given:
        meant |= set(_meant(model, selector))
    return tuple(name for name, names in aliases.items() if _all(name, names, meant))


def check_module(model: object) -> None:
    """Check that the model is a module: no function, no class, no parameters alone.

    Raises:
        TypeError: It is no module.
    """
    if not isinstance(model, nn.Module):
        given = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise TypeError(f"the model must be an instance of torch.nn.Module, got {given}")


def aliases_of(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Every parameter's first name, and all of its names.

    Raises:
        ValueError: A lazy module has not seen an input yet.
    """
    for name, b in model.named_buffers():
        if is_lazy(b):
            raise ValueError(f"{name} has no shape yet: call the model once before wrapping it")
    first: dict[int, str] = {}
    found: dict[str, tuple[str, ...]] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        if is_lazy(p):
            raise ValueError(f"{name} has no shape yet: call the model once before wrapping it")
        canonical = first.setdefault(id(p), name)
        found[canonical] = (*found.get(canonical, ()), name)
    return found


def _meant(model: nn.Module, selector: Selector) -> Sequence[str]:
    names = [n for n, _ in model.named_parameters(remove_duplicate=False)]
    if isinstance(selector, nn.Module):
        places = [n for n, m in model.named_modules(remove_duplicate=False) if m is selector]
        if not places and isinstance(selector, nn.ModuleList):  # the user's own list of modules
            return [n for module in selector for n in _meant(model, module)]
        if not places:
            raise ValueError(f"{type(selector).__name__} is no module of the model")
        return [n for n in names if any(_inside(n, place) for place in places)]
    if not isinstance(selector, str):
        raise TypeError(
            f"a module, its name or a pattern such as '*.bias' selects parameters, got {selector!r}"
        )
    if not names:
        raise ValueError(f"{type(model).__name__} has no parameters: there is nothing to adapt")
    chosen = [n for n in names if fnmatchcase(n, selector) or _inside(n, selector)]
    if not chosen:
        raise ValueError(f"{selector!r} names no parameter; names are {', '.join(names)}")
    return chosen


def _inside(name: str, place: str) -> bool:
    return not place or name.startswith(place + ".")


def _all(name: str, aliases: Sequence[str], meant: set[str]) -> bool:
    if not meant.intersection(aliases):
        return False
    if not meant.issuperset(aliases):
        raise ValueError(
            f"{' and '.join(aliases)} are one tied parameter: select all of its names or none"
        )
    return True


def two_sides(
    model: nn.Module, fast: Selector | Iterable[Selector], slow: Selector | Iterable[Selector]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the trainable parameters that are fast, and of those that are slow.

    Raises:
        ValueError: One is on both sides or on neither, or none is fast.
    """
    check_module(model)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    sides = [tuple(n for n in select(model, side) if n in trainable) for side in (fast, slow)]
    both = set(sides[0]) & set(sides[1])
    neither = trainable.difference(*sides)
    if both or neither:
        raise ValueError(
            "every trainable parameter either adapts or warps; on both sides: "
            f"{', '.join(sorted(both)) or 'none'}; on neither: "
            f"{', '.join(sorted(neither)) or 'none'} (requires_grad_(False) freezes it)"
        )
    if not sides[0]:
        raise ValueError("nothing adapts: adapt_modules have no trainable parameter")
    return sides[0], sides[1]
