"""A model's modules, methods and attributes as a clone has them: with adapted parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from torch import nn

Run = Callable[..., Any]
"""``run(function, *args, **kwargs)`` calls the function while the model has adapted parameters."""

_OF_MODULES = frozenset(dir(nn.Module())) - {"forward", "training"}
"""What every module has: it would change the model, or tell of the model's own parameters."""


class Part:
    """One module of a clone: called and asked as the module itself, with adapted parameters.

    Methods, properties and submodules see the clone's parameters and buffers; gradients pass them.
    What every `nn.Module` has (``eval``, ``to``, ``parameters``, ...) is the model's or the
    clone's, and nothing can be set.
    """

    __slots__ = ("_module", "_run")

    def __init__(self, run: Run, module: nn.Module) -> None:
        """See a module through a clone.

        Args:
            run: Calls a function with adapted parameters.
            module: The model or one of its modules.
        """
        object.__setattr__(self, "_run", run)
        object.__setattr__(self, "_module", module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output."""
        return self._seen(self._run(self._module, *args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        """A submodule as a part, a method or function that runs in the clone, or a value."""
        if name in _OF_MODULES or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(
                f"a clone's module has no {name!r}: call it on the model (modes and devices are "
                "the model's), or on the clone (parameters, named_buffers, state_dict)"
            )
        return self._seen(self._run(getattr, self._module, name))

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        """Refuse to set what would be the model's."""
        raise AttributeError(f"{name!r} cannot be set through a clone: set it on the model")

    def __getitem__(self, index: Any) -> Any:
        """An entry of a container of modules."""
        return self._seen(self._run(lambda: self._module[index]))

    def __iter__(self) -> Iterator[Any]:
        """The entries of a container of modules."""
        return iter([self._seen(entry) for entry in self._run(lambda: [*self._module])])

    def __len__(self) -> int:
        """How many entries a container of modules has."""
        return len(self._module)

    def __bool__(self) -> bool:
        """A part is a part, whether its container is empty or not."""
        return True

    def __dir__(self) -> list[str]:
        """What the module has of its own."""
        return sorted(set(dir(self._module)) - _OF_MODULES)

    def __repr__(self) -> str:
        """The module, adapted."""
        return f"adapted {self._module!r}"

    def _seen(self, value: Any) -> Any:
        return seen(self._run, value)


def seen(run: Run, value: Any) -> Any:
    """What a clone gives out: nothing that would use the model's own parameters later.

    Args:
        run: Calls a function with adapted parameters.
        value: An output, or what an attribute is.

    Returns:
        The value; a module as a `Part`, a function as one that runs in the clone.

    Raises:
        TypeError: An iterator or coroutine, which would go on with the model's own parameters.
    """
    if isinstance(value, nn.Module):
        return Part(run, value)
    if isinstance(value, Iterator) or hasattr(value, "__await__"):
        raise TypeError(
            f"a {type(value).__name__} runs later, with the model's own parameters instead of the "
            "adapted ones: let the method return a list"
        )
    if callable(value) and not isinstance(value, type):

        @functools.wraps(value, updated=())
        def inside(*args: Any, **kwargs: Any) -> Any:
            return seen(run, run(value, *args, **kwargs))

        return inside
    return value
