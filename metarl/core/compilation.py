"""Compiled meta-gradients: traced once into one graph of tensor operations, then compiled.

`torch.compile` cannot go backward twice through a function it has compiled, which rules out a
compiled loss in a second-order inner loop. So the whole meta-gradient, with all the gradients in
it, is traced by `make_fx`; what is left is plain tensor operations, and they are compiled.

A trace is good for one shape of what the tasks draw, and for one loss. Another gets its own.
Compiling takes from seconds to minutes, once; torch keeps the result on disk.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, TypeAlias

import torch
import torch.utils._pytree as pytree
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from metarl.core.params import Params
from metarl.core.tasks import DataTaskBatch, Split, TaskBatch, is_data
from metarl.errors import UserError

Found: TypeAlias = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Gradients and metrics by name."""

Work: TypeAlias = Callable[[Params, TaskBatch[Any]], Found]
"""A function of leaf parameters and tasks, which depends on nothing else."""

REMEDY = "leave out `compile` (--compile)"


class CompiledGradients:
    """A meta-gradient that is compiled when it meets tasks of a new shape.

    Args:
        work: Function to compile. It may branch on shapes, not on values.
    """

    thread_safe: ClassVar[bool] = True  # it traces under a lock

    def __init__(self, work: Work) -> None:
        self._work = work
        self._splits: dict[Hashable, list[Split]] = {}
        self._programs: dict[Hashable, Callable[[Sequence[Tensor]], Found]] = {}
        self._lock = threading.Lock()

    def __call__(self, params: Params, tasks: TaskBatch[Any]) -> Found:
        """Return the gradients and metrics of ``work``, up to rounding.

        Raises:
            UserError: The tasks are no data set, the work cannot be traced, or there is no
                compiler.
        """
        if not is_data(tasks):
            raise UserError(
                f"the experience of {type(tasks).__name__} depends on the parameters, "
                f"and only data sets can be compiled: {REMEDY}"
            )
        kind = tasks.loss_identity
        with torch.enable_grad(), self._lock:
            batches = self._draw(kind, params, tasks)
            given = _Arguments(params, batches)
            key = (kind, given.key)
            if key not in self._programs:
                self._programs[key] = self._compile(given, tasks)
            program = self._programs[key]
        with torch.no_grad():
            return program(given.tensors)

    def _draw(self, kind: Hashable, params: Params, tasks: DataTaskBatch[Any]) -> list[Any]:
        """Draw the batches the work will ask for, in its order; the first time it is rehearsed."""
        if kind in self._splits:
            return [tasks.draw(split) for split in self._splits[kind]]
        rehearsal = _Given(tasks)
        self._work(_leaves(params), rehearsal)
        self._splits[kind] = rehearsal.splits
        return rehearsal.batches

    def _compile(
        self, given: _Arguments, tasks: DataTaskBatch[Any]
    ) -> Callable[[Sequence[Tensor]], Found]:
        """Trace, look for what was left out, compile and try."""
        check_compiler()
        names: list[tuple[str, ...]] = []

        def flat_work(*tensors: Tensor) -> list[Tensor]:
            params, batches = given.rebuild(tensors)
            grads, metrics = self._work(_leaves(params), _Given(tasks, batches))
            names[:] = [tuple(grads), tuple(metrics)]
            return [*grads.values(), *metrics.values()]

        try:
            graph = make_fx(flat_work)(*given.tensors)
            _refuse_constants(graph)
            compiled = torch.compile(
                graph, fullgraph=True, dynamic=False, options={"guard_filter_fn": _no_guards}
            )
            with torch.no_grad():
                compiled(*given.tensors)
        except RuntimeError as error:
            why = " ".join(str(error).split())[:200]
            raise UserError(f"this cannot be compiled ({why}): {REMEDY}") from error
        of_grads, of_metrics = names

        def program(tensors: Sequence[Tensor]) -> Found:
            found = compiled(*tensors)
            count = len(of_grads)
            return dict(zip(of_grads, found[:count], strict=True)), dict(
                zip(of_metrics, found[count:], strict=True)
            )

        return program


class _Given:
    """Tasks that hand out the given batches in order, or draw and note; all else is their own."""

    def __init__(self, tasks: DataTaskBatch[Any], batches: Sequence[Any] | None = None) -> None:
        self._tasks, self._batches = tasks, batches
        self.splits: list[Split] = []
        self.batches: list[Any] = []

    @property
    def num_tasks(self) -> int:
        return self._tasks.num_tasks

    def sample(self, fast: Params, slow: Params, split: Split) -> Any:
        return self.draw(split)

    def draw(self, split: Split) -> Any:
        batches = self._batches
        batch = self._tasks.draw(split) if batches is None else batches[len(self.splits)]
        self.splits.append(split)
        self.batches.append(batch)
        return batch

    def loss(self, fast: Params, slow: Params, batch: Any) -> Tensor:
        return self._tasks.loss(fast, slow, batch)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the tasks, such as the features that a learned loss sees."""
        return getattr(self._tasks, name)


class _Arguments:
    """Parameters and batches as a list of tensors without repetitions, and back.

    Attributes:
        tensors: The list.
        key: Equal where one program serves both: places, sizes, strides, dtypes, devices.
    """

    def __init__(self, params: Params, batches: Sequence[Any]) -> None:
        self._names = tuple(params)
        distinct = {id(batch): batch for batch in batches}  # data sets draw one over and over
        self._order = _places(batches)
        leaves, self._spec = pytree.tree_flatten(list(distinct.values()))
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                raise UserError(f"a batch holds {leaf!r}, which is no tensor: {REMEDY}")
        self._leaf_order = _places(leaves)
        once = {id(leaf): leaf for leaf in leaves}
        self.tensors: list[Tensor] = [*(p.detach() for p in params.values()), *once.values()]
        kinds = [(t.shape, t.stride(), t.dtype, t.device) for t in self.tensors]
        self.key: Hashable = (self._names, self._order, self._leaf_order, *kinds)

    def rebuild(self, tensors: Sequence[Tensor]) -> tuple[dict[str, Tensor], list[Any]]:
        count = len(self._names)
        params = dict(zip(self._names, tensors[:count], strict=True))
        leaves = [tensors[count + i] for i in self._leaf_order]
        distinct = pytree.tree_unflatten(leaves, self._spec)
        return params, [distinct[i] for i in self._order]


def _places(objects: Sequence[Any]) -> tuple[int, ...]:
    """Return the place of each object among the distinct ones."""
    places: dict[int, int] = {}
    return tuple(places.setdefault(id(one), len(places)) for one in objects)


def check_compiler() -> None:
    """Look for the C++ compiler that `torch.compile` calls on a CPU, and on a GPU beside Triton.

    Raises:
        UserError: There is none.
    """
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        raise UserError(
            f"torch.compile needs a C++ compiler, and {name} is not on the path: install it, "
            f"name another in the environment variable CXX, or {REMEDY}"
        )


def _leaves(params: Params) -> dict[str, Tensor]:
    return {name: p.detach().requires_grad_() for name, p in params.items()}


def _refuse_constants(graph: fx.GraphModule) -> None:
    """A tensor that is neither parameter nor drawn would keep its value of today for ever."""
    kept = [n for n in graph.graph.nodes if n.op == "get_attr"]
    tensors = [t for n in kept if isinstance(t := getattr(graph, str(n.target)), Tensor)]
    if tensors:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        raise UserError(
            f"the loss uses tensors that are neither parameters nor drawn ({shapes}): {REMEDY}"
        )


def _no_guards(guards: Sequence[Any]) -> list[bool]:
    """The key of a program says all that a guard would check at every call."""
    return [False] * len(guards)
