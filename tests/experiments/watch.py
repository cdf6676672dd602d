"""Whether a CUDA graph could record a function, asked on the meta device.

A tensor there has no values, so that nothing can be decided by one, and what comes from the CPU is
seen to come from elsewhere: it stands for a GPU where there is none.
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.metarl.core.tape import storage, tensors

WAITING = {
    *("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select"),
    *("_unique2", "unique_dim", "unique_consecutive", "bincount", "multinomial", "randperm"),
}
BRINGING = (torch.tensor, torch.asarray, torch.from_numpy, torch.scalar_tensor, Tensor.new_tensor)


class MetaGenerator(torch.Generator):
    """Says that it is on the meta device, where nothing is drawn; known by its seed."""

    device = torch.device("meta")


class NotCapturableError(Exception):
    """An operation waits for the device, brings data to it, or draws from a foreign generator."""


class NumbersOfPython(TorchFunctionMode):
    """Refuses to bring them to the device, which the dispatcher does not see."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in BRINGING or (
            function is torch.as_tensor and not isinstance(args[0], Tensor)
        ):
            raise NotCapturableError(f"{function.__name__} copies to the device")
        return function(*args, **(kwargs or {}))


class Watch(TorchDispatchMode):
    """Refuses what no graph records.

    Attributes:
        read: The storages that were there before and that the operations touch, kept alive.
    """

    def __init__(self, generators: list[torch.Generator]) -> None:
        super().__init__()
        self.read: dict[int, Any] = {}
        self._made: dict[int, Any] = {}
        self._seeds = {g.initial_seed() for g in generators}
        self._numbers = NumbersOfPython()

    def __enter__(self):
        self._numbers.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._numbers.__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        given = tensors((args, kwargs))
        if name in WAITING:
            raise NotCapturableError(f"{name} waits for the device")
        if name.startswith("index") and any(t.dtype in (torch.bool, torch.uint8) for t in given):
            raise NotCapturableError(f"{name} has a mask, so that its shape depends on values")
        if torch.Tag.nondeterministic_seeded in function.tags:
            generator = kwargs.get("generator")
            if generator is None or generator.initial_seed() not in self._seeds:
                raise NotCapturableError(f"{name} draws from another generator")
        result = function(*args, **kwargs)
        for tensor in (*given, *tensors(result)):
            if tensor.device.type != "meta":
                raise NotCapturableError(f"{name} has a tensor on {tensor.device}")
        self._note(given, self.read)
        self._note(tensors(result), self._made)
        return result

    def _note(self, found: list[Tensor], where: dict[int, Any]) -> None:
        for tensor in found:
            key = storage(tensor)
            if key not in self.read and key not in self._made:
                where[key] = tensor.untyped_storage()
