"""Counts that no machine can hold or work through: refused by name, before anything is made.

Every whole number of every script passes `check_numbers`, be it of the command line or of a
`config.json`. What settings hold in memory is said by the settings themselves:

    HELD: ClassVar[Held] = ((8, "tasks", "steps"),)

means that 8 bytes are taken at least for every step of every task.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

from metarl.errors import UserError


@cache
def machine_bytes() -> float:
    """The memory of this machine and of its GPUs together; infinite where it does not say."""
    import torch  # help asks for no memory

    names = ("SC_PAGE_SIZE", "SC_PHYS_PAGES")
    if not hasattr(os, "sysconf") or any(name not in os.sysconf_names for name in names):
        return math.inf
    gpus = (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
    return math.prod(os.sysconf(name) for name in names) + sum(gpu.total_memory for gpu in gpus)


def require_memory(bytes_each: int, counts: Sequence[tuple[str, int]]) -> None:
    """Check that the product of counts fits this machine.

    Args:
        bytes_each: A lower bound of what one of the things takes, of which there are as many as the
            product of the counts.
        counts: Each a name that the user knows, such as ``--tasks``, and a number of at least 0.

    Raises:
        UserError: They take more than this machine has; the message says how much.
    """
    needed, there = bytes_each * math.prod(number for _, number in counts), machine_bytes()
    if needed > there:
        product = " x ".join(f"{name} {number}" for name, number in counts)
        raise UserError(
            f"{product} takes at least {_gigabytes(needed)} of memory, and this machine has "
            f"{_gigabytes(there)}: take less"
        )


def _gigabytes(num_bytes: float) -> str:
    number = num_bytes / 1e9
    return f"{number:,.0f} GB" if 10 <= number < 1e9 else f"{number:.2g} GB"


Held = tuple[tuple[int | str, ...], ...]
"""Lower bounds of memory: the bytes of one thing, and the settings whose product is their number.

Settings of settings have a dot, as in ``learner.inner_steps``. A product with a setting that there
is not (of another method, say) is no bound; None is one of nothing, and of several numbers the
largest counts.
"""

LARGEST = 2**31 - 1
"""Largest count; a larger one is a slip."""

LONGEST_LOOP = 10**6
LOOPS = (
    *("num_steps", "inner_steps", "steps", "test_steps", "num_epochs", "epochs", "warp_epochs"),
    *("num_iterations", "solver_iterations"),
)
"""Counts of what is done within one iteration, or for one task: a million times take hours."""

FOR_EVER = 2**63 - 1
ENDLESS = ("iterations", "log_every", "checkpoint_every", "validate_every", "warmup")
"""Counts of iterations, which may be meant to go on until they are interrupted."""


def option(path: str) -> str:
    """Return the option of a setting; those of methods, tasks, agents, networks have no prefix."""
    for group in ("learner.", "network.", "environment.", "agent."):
        path = path.removeprefix(group) if path.count(".") == 1 else path
    return f"--{path.replace('_', '-')}"


def check_numbers(settings: Any, named: Callable[[str], str] = option) -> None:
    """Check that whole numbers are not too large to be meant, and that all others are finite.

    JSON, and so `config.json`, has no infinity and no NaN: a run that had one could not be read.

    Args:
        settings: A dataclass, whose settings may be dataclasses.
        named: What the user knows the setting of a path by.

    Raises:
        UserError: There is one.
    """
    for path, number in numbers(settings):
        if isinstance(number, float):
            if not math.isfinite(number):
                raise UserError(f"{named(path)} must be finite, got {number}")
            continue
        name = path.rpartition(".")[2]
        most = LONGEST_LOOP if name in LOOPS else FOR_EVER if name in ENDLESS else LARGEST
        if number > most and not name.endswith(("seed", "seeds")):
            raise UserError(f"{named(path)} must be at most {most}, got {shown(number)}")


def check_memory(settings: Any) -> None:
    """Check that settings hold no more than this machine has, by their `HELD`.

    Raises:
        UserError: They do.
    """
    for bytes_each, *paths in held(settings):
        if all(_has(settings, path) for path in paths):
            numbers = [(option(path), _largest(settings, path)) for path in paths]
            require_memory(bytes_each, [(name, n) for name, n in numbers if n is not None])


def held(settings: Any) -> Iterator[tuple[Any, ...]]:
    """Yield what settings hold, and what the settings in them hold."""
    yield from getattr(settings, "HELD", ())
    for field in dataclasses.fields(settings):
        for bytes_each, *paths in getattr(getattr(settings, field.name), "HELD", ()):
            yield bytes_each, *(f"{field.name}.{path}" for path in paths)


def numbers(settings: Any, prefix: str = "") -> Iterator[tuple[str, int | float]]:
    """Every number of settings, by its path such as ``learner.inner_steps``."""
    for field in dataclasses.fields(settings):
        value, path = getattr(settings, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from numbers(value, f"{path}.")
        for number in value if isinstance(value, tuple) else (value,):
            if type(number) in (int, float):
                yield path, number


def shown(number: int) -> str:
    """A whole number in words; one of many digits by their number."""
    return str(number) if number < 10**30 else f"a number of {number.bit_length()} bits"


def _has(settings: Any, path: str) -> bool:
    group, _, name = path.rpartition(".")
    return hasattr(getattr(settings, group) if group else settings, name)


def _largest(settings: Any, path: str) -> int | None:
    """The number of a setting, of several the largest; None: no number."""
    value = attrgetter(path)(settings)
    value = max(value, default=None) if isinstance(value, tuple) else value
    return value if type(value) is int else None
