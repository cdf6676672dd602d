"""The modes of a thread: what torch keeps for each thread alone, and how other threads take it on.

A new thread begins with gradients on and without autocast, whatever the modes of the one that
started it. Modes that are plain values travel. Others are objects with a life of their own (torch
function and dispatch modes, such as a default device; hooks on saved tensors; transforms of
`torch.func`): they are bound to the thread that entered them, and so is the work within them.
What all threads share (default type, determinism, anomaly detection, the choice of kernels) needs
no help.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch.autograd.forward_ad import _set_fwd_grad_enabled

DEVICES = ("cpu", "cuda", "mps", "xpu")
"""Kinds of devices that have an autocast of their own."""


@dataclass(frozen=True)
class ThreadModes:
    """The modes of one thread that are values.

    Attributes:
        grad: Gradients are recorded.
        forward_grad: Forward-mode derivatives are.
        inference: Inference mode.
        autocast: Casts by kind of device: whether its operations are cast, and to what type.
        autocast_cache: Cast parameters are kept.
    """

    grad: bool
    forward_grad: bool
    inference: bool
    autocast: tuple[tuple[str, bool, torch.dtype], ...]
    autocast_cache: bool

    @classmethod
    def of_this_thread(cls) -> ThreadModes:
        """The modes as they are now."""
        return cls(
            torch.is_grad_enabled(),
            torch._C._is_fwd_grad_enabled(),
            torch.is_inference_mode_enabled(),
            tuple(
                (device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
                for device in DEVICES
                if torch.amp.is_autocast_available(device)
            ),
            torch.is_autocast_cache_enabled(),
        )

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put this thread in these modes; afterwards in its own again."""
        before = ThreadModes.of_this_thread()
        with ExitStack() as modes:
            modes.enter_context(torch.inference_mode(self.inference))
            modes.enter_context(torch.set_grad_enabled(self.grad))
            modes.enter_context(_set_fwd_grad_enabled(self.forward_grad))
            modes.callback(before._set_autocast)
            self._set_autocast()
            yield

    def _set_autocast(self) -> None:
        # Not torch.autocast, which refuses types and devices that this torch does not have.
        for device, enabled, dtype in self.autocast:
            torch.set_autocast_enabled(device, enabled)
            torch.set_autocast_dtype(device, dtype)
        torch.set_autocast_cache_enabled(self.autocast_cache)


def bound_mode() -> str | None:
    """A mode of this thread that cannot travel, in words; None: there is none."""
    if torch._C._len_torch_function_stack():
        return "a torch function mode, such as a default device"
    if torch._C._len_torch_dispatch_stack():
        return "a torch dispatch mode"
    if not torch._C._is_torch_function_enabled():
        return "torch functions that are disabled"
    hooks = torch._C._autograd
    if hooks._saved_tensors_hooks_get_disabled_error_message() is not None:
        return "hooks on saved tensors that are disabled"
    if hooks._top_saved_tensors_default_hooks(False) is not None:
        return "hooks on saved tensors"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a transform of torch.func"
    return None
