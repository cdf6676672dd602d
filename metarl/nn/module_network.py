"""Any module as a network of this package: N networks on N batches, their parameters passed in.

The module is vectorised over the N networks with `torch.vmap` where that can be done (most layers),
and called for one network after the other where it cannot (recurrent layers, fused attention,
branches on values); which of the two is found out at the first call in each mode. The user's module
is never touched: calls are of copies that share its tensors, one copy per call at a time, so that
threads do not meet.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from metarl.core import Params
from metarl.core.params import refuse_compiled
from metarl.core.second_order import Instead, composed
from metarl.nn.network import by_reference

Modes: TypeAlias = tuple[bool, ...]
"""The modes of a module's parts: whether each is in training mode."""


class ModuleNetwork:
    """A module as a function of stacked parameters (`nn.Network`).

    Attributes:
        module: The module. Its modes and buffers count as they are at the call; layers, hooks and
            other attributes as they are at the first call.
    """

    def __init__(self, module: nn.Module) -> None:
        """Take a module, which is neither changed nor copied yet.

        Raises:
            TypeError: It is compiled, or a module within it is.
        """
        refuse_compiled(module)
        self.module = module
        self._copies: list[nn.Module] = []
        self._copied: tuple[int, ...] = ()
        self._stacks: dict[Modes, bool] = {}
        self._random: dict[Modes, bool] = {}
        self._pads: dict[Modes, bool] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModuleNetwork) and self.module is other.module

    def __hash__(self) -> int:
        return hash(self.module)

    def __repr__(self) -> str:
        return f"ModuleNetwork({type(self.module).__name__})"

    @property
    def thread_safe(self) -> bool:
        """Whether it has been called in these modes and has drawn no random numbers."""
        return not self._random.get(self._modes(), True)

    def __call__(self, params: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """Outputs ``[N, B, ...]`` of inputs ``[N, B, ...]``.

        Args:
            params: All of the module's, by its names, stacked ``[N, ...]``; others are left out.
            inputs: The module is given ``[B, ...]`` of each network.
            num_reference: See `nn.Network`: a module takes it if its examples do not depend on
                each other.

        Raises:
            ValueError: A parameter is missing, the module writes into parameters or buffers, or an
                example's output depends on the others and there are reference examples.
            TypeError: The module cannot be copied, or its output is no tensor.
        """
        names = [name for name, _ in self.module.named_parameters()]
        missing = [name for name in names if name not in params]
        if missing:
            raise ValueError(f"these parameters of the module are missing: {', '.join(missing)}")
        own = {name: params[name] for name in names}
        return by_reference(lambda x: self._outputs(own, x), inputs, num_reference, repr(self))

    def _outputs(self, params: Params, inputs: Tensor) -> Tensor:
        modes = self._modes()
        with self._borrowed() as module, composed(module):
            if modes not in self._stacks:
                return self._first(module, modes, params, inputs)
            call = stacked if self._stacks[modes] else one_by_one
            with _Padding() if self._pads[modes] else nullcontext():
                return call(module, params, dict(self.module.named_buffers()), inputs)

    def _first(self, module: nn.Module, modes: Modes, params: Params, inputs: Tensor) -> Tensor:
        """The first call in these modes: whether it stacks, whether it draws at random."""
        params = {name: p.clone() for name, p in params.items()}
        buffers = {name: b.clone() for name, b in self.module.named_buffers()}
        state, padding = _random_state(inputs.device), _Padding()
        try:
            with warnings.catch_warnings(), padding:
                warnings.filterwarnings("error", message="There is a performance drop")
                outputs, stacks = stacked(module, params, buffers, inputs), True
        except (RuntimeError, UserWarning):
            # torch.vmap cannot, or not fast. Or the module itself fails: then it says so here.
            outputs, stacks = one_by_one(module, params, buffers, inputs), False
        written = [name for name, t in {**params, **buffers}.items() if t._version]
        if written:
            raise ValueError(
                f"the module writes into {', '.join(written)}, which the tasks would share: put it "
                "into evaluation mode, take track_running_stats=False for batch norm (or "
                "GroupNorm) and no max_norm for nn.Embedding, or use metarl.MAML, whose clones "
                "have buffers of their own"
            )
        self._random[modes] = not torch.equal(state, _random_state(inputs.device))
        self._stacks[modes], self._pads[modes] = stacks, stacks and padding.met
        return outputs

    def _modes(self) -> Modes:
        return tuple(module.training for module in self.module.modules())

    @contextmanager
    def _borrowed(self) -> Iterator[nn.Module]:
        """A copy for one call; after an error or an interrupt it is not used again."""
        now = tuple(map(id, self.module.modules()))
        if now != self._copied:
            self._copies, self._copied = [], now
        copies = self._copies
        try:
            module = copies.pop()
        except IndexError:
            module = _copy(self.module)
        for own, other in zip(self.module.modules(), module.modules(), strict=True):
            other.training = own.training
        yield module
        copies.append(module)


def stacked(module: nn.Module, params: Params, buffers: Params, inputs: Tensor) -> Tensor:
    """All N networks as one tensor program."""

    def one(params: Params, inputs: Tensor) -> Tensor:
        return _call(module, params, buffers, inputs)

    outputs: Tensor = torch.vmap(one, randomness="different")(params, inputs)
    return outputs


class _Padding(Instead):
    """Vectors of a padding that get no gradient in any of the stacked networks.

    `torch.vmap` counts the rows of all networks through, and holds that of the first alone.

    Attributes:
        met: Whether there was a padding.
    """

    def __init__(self) -> None:
        super().__init__({functional.embedding: self._embedding})
        self.met = False

    def _embedding(
        self, inputs: Tensor, weight: Tensor, padding_idx: int | None = None, *args: Any, **how: Any
    ) -> Tensor:
        bounded = (args or [how.get("max_norm")])[0] is not None  # which writes, and is refused
        if padding_idx is not None and not bounded and -len(weight) <= padding_idx < len(weight):
            self.met = True
            rows = torch.arange(len(weight), device=weight.device).unsqueeze(1)
            weight = torch.where(rows == padding_idx % len(weight), weight.detach(), weight)
            padding_idx = None
        return functional.embedding(inputs, weight, padding_idx, *args, **how)


def one_by_one(module: nn.Module, params: Params, buffers: Params, inputs: Tensor) -> Tensor:
    """Call one network after the other."""
    each = [
        _call(module, {name: p[i] for name, p in params.items()}, buffers, x)
        for i, x in enumerate(inputs)
    ]
    return torch.stack(each)


def _call(module: nn.Module, params: Params, buffers: Params, inputs: Tensor) -> Tensor:
    state = {**params, **buffers}
    output = functional_call(module, state, (inputs,))
    if not isinstance(output, Tensor):
        raise TypeError(
            f"the module's output must be a tensor, got {type(output).__name__}: wrap it in a "
            "module that returns the one that counts"
        )
    replaced = [name for name, b in buffers.items() if state[name] is not b]
    if replaced:
        raise ValueError(f"the module replaces its buffers ({', '.join(replaced)})")
    return output


def _copy(module: nn.Module) -> nn.Module:
    """Rebuild a structure around the same tensors."""
    shared: dict[int, Tensor] = {}
    for part in module.modules():
        values = (*part._parameters.values(), *part._buffers.values(), *vars(part).values())
        shared |= {id(value): value for value in values if isinstance(value, Tensor)}
    try:
        copied = copy.deepcopy(module, dict(shared))
    except (TypeError, RuntimeError, ValueError, AttributeError) as error:
        raise TypeError(
            f"{type(module).__name__} cannot be copied ({error}), as a network that is called with "
            "other parameters than its own must be: make copy.deepcopy of it work"
        ) from error
    for part in copied.modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag):
            part.sparse = False  # the gradient of one network's share of a stack is dense
    return copied


def _random_state(device: torch.device) -> Tensor:
    """The state of torch's own generator of a device."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.get_rng_state()
