"""A task's own version of a model: a function of the model's parameters that gradients pass.

A `Clone` is the whole model with adapted parameters, a `Part` one of its modules, methods or
attributes as the clone has them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from metarl.core import Params, UpdateRule, detached, leaves
from metarl.core.second_order import refuse_second_derivative
from metarl.core.update_rules import State
from metarl.modules.functional import call, lock_of


class Clone:
    """A model with adapted parameters phi_k. Made by `MAML.clone`.

    It holds copies of all parameters and buffers, and each step makes new tensors, so the model
    stays as it is, and gradients of whatever the clone computes reach the model's parameters. The
    graph is freed with the clone and the losses made from it. Modes are the model's.

    Batch norm in training mode moves the running statistics of the clone, never the model's. A
    model that was meta-trained through clones has those it began with: evaluate it in training
    mode, make its norms with ``track_running_stats=False``, or keep the statistics of a task,
    ``model.load_state_dict(dict(clone.named_buffers()), strict=False)``.

    Other methods, properties and submodules are used as the model's: ``clone.encode(x)``,
    ``clone.encoder(x)``; `module` has those whose name the clone has, too.

    Attributes:
        num_steps: k, inner steps taken so far.
    """

    def __init__(
        self,
        model: nn.Module,
        fast: Params,
        still: Params,
        buffers: Params,
        rule: UpdateRule,
        rule_params: Params,
        state: State,
        *,
        first_order: bool,
        num_steps: int = 0,
    ) -> None:
        """Copy parameters; ``state`` is stacked ``[1, ...]``, the rest unstacked.

        Copies tell a loss of the clone from a loss of the model, and a forward pass may write into
        them.
        """
        self._model, self._rule, self._rule_params = model, rule, rule_params
        with torch.enable_grad():
            self._fast = {name: p.clone() for name, p in fast.items()}
            self._still = {name: p.clone() for name, p in still.items()}
        self._buffers, self._state = dict(buffers), state
        self._first_order, self.num_steps = first_order, num_steps

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model's output with phi_k and the clone's own buffers."""
        return self.module(*args, **kwargs)

    @property
    def module(self) -> Part:
        """The model as the clone has it: its methods, properties and submodules, adapted."""
        return Part(self._run, self._model)

    def __getattr__(self, name: str) -> Any:
        """An attribute of the model that the clone does not have, with adapted parameters."""
        if name.startswith("__") or "_model" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.module, name)

    def _run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function while the model has the clone's parameters and buffers."""
        params = {**self._still, **self._fast}
        whole = None if function is self._model else function
        output, self._buffers = call(self._model, params, self._buffers, args, kwargs, whole)
        return output

    def adapt(self, loss: Tensor, *, first_order: bool | None = None) -> None:
        """Take one inner step: phi_{k+1} = U(phi_k, grad loss).

        A parameter that the loss does not depend on has gradient zero. In the first-order form
        the gradient of the step is a constant for what comes before it, hence d phi_{k+1} / d phi_k
        is the identity; what the rule has learned is learned still. So

            for k in range(num_steps):
                clone.adapt(loss(clone(x), y), first_order=k < num_steps - 5)

        is truncated back-propagation: the gradient goes back through the last five steps, and the
        memory does not grow with the steps before.

        Args:
            loss: A scalar that was computed with this clone.
            first_order: Setting of this step, instead of the clone's.

        Raises:
            ValueError: The loss is no scalar, has no graph, or depends on none of the parameters
                that adapt.
        """
        if loss.numel() != 1 or loss.is_complex():
            raise ValueError(
                f"the loss must be one number, a real one, got {tuple(loss.shape)} {loss.dtype}"
            )
        if not loss.requires_grad:
            raise ValueError(
                "the loss has no gradient: compute it from the clone's output, outside "
                "torch.no_grad() and without detach(), item() or argmax() on the way"
            )
        first_order = self._first_order if first_order is None else first_order
        found = self._gradients(loss, first_order)
        sparse = {n for n, g in found.items() if g.is_sparse}
        grads = {n: g.to_dense() for n, g in found.items()}
        with torch.enable_grad():
            fast, self._state = self._rule.step(
                _stacked(self._fast),
                _stacked(grads),
                self._state,
                self._rule_params,
                first_order=first_order,
            )
            unstacked = {n: p.squeeze(0) for n, p in fast.items()}
            self._fast = {n: _dense(p) if n in sparse else p for n, p in unstacked.items()}
        self.num_steps += 1

    def detach(self) -> Clone:
        """Another clone that begins where this one stands, without a graph to what came before.

        No gradient passes from it to the initialisation; parameters that stand still and what the
        rule has learned are reached through its own steps. For first-order steps, through which
        the initialisation is reached, see `adapt`.
        """
        cut = self.clone()
        cut._fast = leaves(cut._fast)
        cut._state = detached(self._state)
        cut._buffers = detached(self._buffers)
        return cut

    def _gradients(self, loss: Tensor, first_order: bool) -> dict[str, Tensor]:
        found: tuple[Tensor | None, ...] = torch.autograd.grad(
            loss.reshape(()),
            list(self._fast.values()),
            create_graph=not first_order,
            allow_unused=True,
        )
        if all(g is None for g in found):
            raise ValueError(
                "the loss depends on none of the clone's adapting parameters: compute it with "
                "clone(...), not with the model, and again after every adapt()"
            )
        if not first_order:
            refuse_second_derivative(loss, [g for g in found if g is not None], self._fast)
        return {
            n: torch.zeros_like(p) if g is None else g
            for (n, p), g in zip(self._fast.items(), found, strict=True)
        }

    def clone(self) -> Clone:
        """Another clone that begins where this one stands, its rule's state included."""
        return Clone(
            self._model,
            self._fast,
            self._still,
            self._buffers,
            self._rule,
            self._rule_params,
            self._state,
            first_order=self._first_order,
            num_steps=self.num_steps,
        )

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """All parameters by the model's names: phi_k, and copies of what stands still."""
        with lock_of(self._model):
            names = [name for name, _ in self._model.named_parameters()]
        for name in names:
            yield name, self._fast[name] if name in self._fast else self._still[name]

    def parameters(self) -> Iterator[Tensor]:
        """Iterate over the parameters of `named_parameters`."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The clone's buffers by the model's names."""
        return iter(self._buffers.items())

    def state_dict(self) -> dict[str, Any]:
        """Copies of parameters and buffers; ``load_state_dict`` of such a model takes them."""
        adapted = {**self._still, **self._fast, **self._buffers}
        with lock_of(self._model):
            own = chain(self._model.named_parameters(), self._model.named_buffers())
            named = {id(t): adapted[name] for name, t in own if name in adapted}
            state = self._model.state_dict(keep_vars=True)
        return {
            key: named.get(id(value), value).detach().clone()
            if isinstance(value, Tensor)
            else value
            for key, value in state.items()
        }


class _Dense(torch.autograd.Function):
    """The identity; a sparse gradient comes out dense, since few operations take another."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """``x``, in memory of its own."""
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Return the gradient as a dense tensor."""
        return grads[0].to_dense()


def _dense(x: Tensor) -> Tensor:
    out: Tensor = _Dense.apply(x)  # type: ignore[no-untyped-call]
    return out


def _stacked(params: Params) -> dict[str, Tensor]:
    """Return parameters as update rules take them, for one task: ``[1, ...]``."""
    return {name: p.unsqueeze(0) for name, p in params.items()}


Run = Callable[..., Any]
"""``run(function, *args, **kwargs)`` calls the function while the model has adapted parameters."""

_OF_MODULES = frozenset(dir(nn.Module())) - {"forward", "training"}
"""Attributes of every module: they would change the model, or tell of its own parameters."""


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
        """Raise AttributeError: it would be set on the model."""
        raise AttributeError(f"{name!r} cannot be set through a clone: set it on the model")

    def __getitem__(self, index: Any) -> Any:
        """An entry of a container of modules."""
        return self._seen(self._run(lambda: self._module[index]))

    def __iter__(self) -> Iterator[Any]:
        """The entries of a container of modules."""
        return iter([self._seen(entry) for entry in self._run(lambda: [*self._module])])

    def __len__(self) -> int:
        """Number of entries of a container of modules."""
        return len(self._module)

    def __bool__(self) -> bool:
        """A part is a part, whether its container is empty or not."""
        return True

    def __dir__(self) -> list[str]:
        """Names of the module's own attributes."""
        return sorted(set(dir(self._module)) - _OF_MODULES)

    def __repr__(self) -> str:
        """The module, adapted."""
        return f"adapted {self._module!r}"

    def _seen(self, value: Any) -> Any:
        return seen(self._run, value)


def seen(run: Run, value: Any) -> Any:
    """Return a value as a clone gives it out: it never uses the model's own parameters later.

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
