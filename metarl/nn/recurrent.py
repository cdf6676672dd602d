"""Recurrent cores: one contract, from one step to whole sequences.

A core is a frozen value: sizes and pure functions, no parameters of its own. Parameters are passed
in, stacked over N tasks or seeds, so that N agents are one tensor program. Axes: N tasks or seeds,
T steps, B parallel mazes, I inputs, H hidden units.

The contract is `RecurrentCore`: what is remembered is a tuple of tensors ``[N, B, ...]``, empty at
the start of a trial. `step` takes one input after another; `sequence` takes all of them, goes on
from any state, and empties it where a new stretch of experience starts. A core without recurrence,
such as attention over all that was seen, meets it too: its state is a cache that grows (`grows`).

The equations of a core are written once, in `RecurrentCore.step`, as an ordinary function that is
differentiable to any order. How a whole sequence is run is the core's own affair: step by step,
all steps at once (`nn.associative`), or backwards by hand (`nn.fused`).

A core's own whole numbers are fields of its dataclass, and so a new core brings its sizes with it,
which are given as words: ``layers=3 heads=8``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar, TypeAlias, cast

import torch
from torch import Tensor

from metarl.core import Params, along
from metarl.nn.trace import NO_SLOT, Trace, TraceSpec, segment_length

State: TypeAlias = tuple[Tensor, ...]
"""The memory of a core: tensors ``[N, B, ...]``."""

Weights: TypeAlias = tuple[Tensor, ...]
"""Parameters as `RecurrentCore.fuse` arranges them: tensors ``[N, ...]``."""


class RecurrentCore(ABC):
    """A recurrent network as a value: ``h_t, state_t = step(weights, x_t, state_{t-1})``.

    Attributes:
        input_size: Number of inputs I.
        hidden_size: Number of outputs H.
        slow: Name patterns of the parameters that a two-timescale learner keeps slow.
        pace: Its usual learning rate, as a factor of a recipe's.
        warmup_steps: Steps of the optimiser over which its learning rate usually rises.
        grows: Whether the state grows with every step, as a cache of all that was seen does.
    """

    input_size: int
    hidden_size: int
    slow: tuple[str, ...] = ()
    pace: ClassVar[float] = 1.0
    warmup_steps: ClassVar[int] = 0
    grows: ClassVar[bool] = False

    @abstractmethod
    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of one network (no leading axis), float32, on the CPU."""

    @abstractmethod
    def fuse(self, params: Params) -> Weights:
        """Arrange stacked parameters ``[N, ...]`` for `step`, once a sequence; differentiable."""

    @abstractmethod
    def initial_state(
        self, weights: Weights, batch_size: int, num_steps: int | None = None
    ) -> State:
        """The state at the start of a trial.

        Args:
            weights: Weights that `fuse` returned.
            batch_size: B.
            num_steps: Largest number of steps of the trial, where a core asks for it; None: not
                known.

        Returns:
            Tensors ``[N, B, ...]``.
        """

    @abstractmethod
    def step(
        self, weights: Weights, x: Tensor, state: State, slot: Any = NO_SLOT
    ) -> tuple[Tensor, State]:
        """One step of N networks on B sequences each.

        Args:
            weights: Weights that `fuse` returned.
            x: Inputs ``[N, B, I]``.
            state: The state before the step.
            slot: A slot of a `Trace` to write the activations into, without a graph; by default
                they are allocated and the step is differentiable.

        Returns:
            The output ``[N, B, H]`` and the state after the step.
        """

    def emptied(self, state: State, empty: State, where: Tensor) -> State:
        """A state that is ``empty`` where bool ``[N, B]`` says so, and goes on elsewhere."""
        return emptied(state, empty, where)

    def fits(self, state: State, empty: State) -> bool:
        """Whether a state has the shapes of one of these trials, given their empty one."""
        return [one.shape for one in state] == [one.shape for one in empty]

    @torch.no_grad()
    def advanced(
        self, weights: Weights, inputs: Tensor, state: State, starts: Tensor | None = None
    ) -> State:
        """The state after whole sequences, without a graph.

        Args:
            weights: Weights that `fuse` returned.
            inputs: ``[N, T, B, I]``.
            state: The state before the first step.
            starts: See `sequence`.
        """
        empty = self.initial_state(weights, inputs.shape[2], inputs.shape[1])
        for t, x in enumerate(inputs.unbind(1)):
            if starts is not None:
                state = self.emptied(state, empty, starts[:, t])
            _, state = self.step(weights, x, state)
        return state

    def trace_spec(self) -> TraceSpec:
        """The activations that `step` writes into a slot; none, unless a core says otherwise."""
        return TraceSpec({})

    def new_trace(self, shape: tuple[int, int, int], like: Tensor) -> Trace:
        """Allocate a trace for (N, T, B), with the dtype and on the device of ``like``."""
        return Trace(self.trace_spec(), shape, segment_length(shape[1]), like)

    def new_outputs(self, shape: tuple[int, int, int], like: Tensor) -> Trace:
        """Allocate a trace of the outputs alone, for (N, T, B); nothing goes back through it."""
        return self.new_trace(shape, like)

    def record(
        self,
        weights: Weights,
        inputs: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Trace:
        """The trace of whole sequences, run without a graph where there is something to keep.

        Args:
            weights: Weights that `fuse` returned.
            inputs: ``[N, T, B, I]``.
            state: See `sequence`.
            starts: See `sequence`.
            trace: Memory for the activations; None allocates.
        """
        num_tasks, num_steps, batch_size = inputs.shape[:3]
        return trace or self.new_trace((num_tasks, num_steps, batch_size), inputs)

    def sequence(
        self,
        params: Params,
        inputs: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """Run whole sequences, differentiable once at least.

        Args:
            params: Stacked parameters ``[N, ...]``.
            inputs: ``[N, T, B, I]``.
            state: The state before the first step; None: that of `initial_state`.
            starts: bool ``[N, T, B]``: before these steps the state is emptied; None: nowhere.
            trace: Activations that a rollout has recorded of these inputs, state and starts under
                these parameters: they are not computed again. None runs the sequence.

        Returns:
            Outputs ``[N, T, B, H]``; ``outputs[:, t]`` has seen the inputs since the last start up
            to ``inputs[:, t]``.
        """
        return self.unrolled(params, inputs, state, starts)

    def once(
        self,
        params: Params,
        inputs: Tensor,
        state: State | None,
        starts: Tensor | None,
        memory: Trace,
    ) -> Tensor:
        """The same as `sequence`, for a loss that is differentiated once, as fast as there is.

        Args:
            params: Stacked parameters ``[N, ...]``.
            inputs: ``[N, T, B, I]``.
            state: See `sequence`.
            starts: See `sequence`.
            memory: Trace of this shape whose contents may be written over.
        """
        return self.sequence(params, inputs, state, starts)

    def unrolled(
        self,
        params: Params,
        inputs: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
    ) -> Tensor:
        """The same as `sequence`, step by step: differentiable to any order and in either mode."""
        weights = self.fuse(params)
        empty = self.initial_state(weights, inputs.shape[2], inputs.shape[1])
        state = empty if state is None else state
        outputs = []
        for t, x in enumerate(inputs.unbind(1)):
            if starts is not None:
                state = self.emptied(state, empty, starts[:, t])
            output, state = self.step(weights, x, state)
            outputs.append(output)
        return torch.stack(outputs, 1)


def emptied(state: State, empty: State, where: Tensor) -> State:
    """A state that is ``empty`` where bool ``[N, B]`` says so, and goes on elsewhere."""
    return tuple(
        torch.where(along(where, now), new, now) for new, now in zip(empty, state, strict=True)
    )


def orthogonal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """An orthogonal matrix ``[rows, columns]`` (Saxe et al. 2014)."""
    return torch.nn.init.orthogonal_(torch.empty(rows, columns), generator=generator)


def uniform(shape: Sequence[int], bound: float, generator: torch.Generator) -> Tensor:
    """Uniform in ``[-bound, bound]``."""
    return torch.empty(*shape).uniform_(-bound, bound, generator=generator)


def gate_weights(
    num_inputs: int, num_hidden: int, num_gates: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Two matrices and two biases for gates side by side, uniform in 1/sqrt(H), as `torch.nn`."""
    bound, width = num_hidden**-0.5, num_gates * num_hidden
    return {
        "weight_ih": uniform((num_inputs, width), bound, generator),
        "weight_hh": uniform((num_hidden, width), bound, generator),
        "bias_ih": uniform((width,), bound, generator),
        "bias_hh": uniform((width,), bound, generator),
    }


# Sizes as words -----------------------------------------------------------------------------------


def sizes_of(core: RecurrentCore) -> dict[str, int]:
    """Sizes of a core by name, but for its inputs and hidden units."""
    own = [f.name for f in fields(cast(Any, core)) if f.type in ("int", int)]
    return {n: getattr(core, n) for n in own if n not in ("input_size", "hidden_size")}


def with_sizes(core: RecurrentCore, words: Sequence[str]) -> RecurrentCore:
    """The same core with other sizes.

    Args:
        core: The core.
        words: ``NAME=COUNT`` each.

    Raises:
        ValueError: A word is none, the core has no such size, or it is out of range.
    """
    known = sizes_of(core)
    given: dict[str, int] = {}
    for word in words:
        name, sign, count = word.partition("=")
        if not sign or not count.isdecimal():
            raise ValueError(f"a size is NAME=COUNT, such as layers=3, got {word!r}")
        if name not in known:
            there = ", ".join(known) or "none but the hidden units"
            raise ValueError(f"{word!r} is no size of a {type(core).__name__}, which has: {there}")
        if int(count) < 1 or name in given:
            raise ValueError(f"{name} must be at least 1, and said once, got {' '.join(words)}")
        given[name] = int(count)
    return cast(RecurrentCore, replace(cast(Any, core), **given))
