"""Choice of a device, from what the user wrote after `--device`; and how a CPU computes."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from metarl.errors import DeviceError


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device of a name, or say why there is none.

    Args:
        name: `"auto"` (the first CUDA device if there is one, else the CPU), `"cpu"`, `"cuda"`,
            `"cuda:1"`, `"mps"`, or a `torch.device`.

    Returns:
        A device that exists on this machine. A CUDA device always carries its index.

    Raises:
        DeviceError: The name is none of the above, or this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(
            f"there is no device {name!r}; use auto, cpu, cuda, cuda:INDEX or mps"
        ) from error
    if device.type == "cuda":
        return _cuda(device)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device 'mps' was asked for, but torch sees no Apple GPU; use cpu")
    if device.type not in ("cpu", "mps"):
        raise DeviceError(f"device {str(device)!r} is not supported; use auto, cpu, cuda or mps")
    return device


@contextmanager
def small_networks() -> Iterator[None]:
    """Compute on the CPU as suits small networks, and afterwards as before.

    Products of this size are several times slower in two threads than in one, and denormal
    numbers, which vanishing gradients are full of, slow a CPU down further: one thread, and
    denormals count as zero. Memory that was freed stays with the process (`keep_freed_memory`).

    On a GPU convolutions are computed in whole single precision, as matrix products are: TF32,
    which keeps ten bits, is off by 1e-3 in meta-gradients, and a second derivative by more.
    """
    keep_freed_memory()
    num_threads, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
        torch.set_flush_denormal(False)
        torch.set_num_threads(num_threads)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 2**31 - 1
LARGEST_KEPT_BYTES = 32 * 2**20
"""The largest that glibc accepts."""


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed, for good: up to 2 GB, in blocks of up to 32 MB.

    glibc hands large blocks back to the system and takes them anew, page by page; a training loop,
    which frees and takes the same blocks in every iteration, spends up to a fifth of its time so.

    Returns:
        Whether it does; other C libraries are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    return bool(kept and mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES))


def _cuda(device: torch.device) -> torch.device:
    if not torch.cuda.is_available():
        why = "sees no GPU" if torch.version.cuda else "is a build without CUDA"
        raise DeviceError(
            f"device {str(device)!r} was asked for, but torch {torch.__version__} {why}; "
            "use --device cpu or --device auto"
        )
    index = torch.cuda.current_device() if device == torch.device("cuda") else device.index
    if index >= torch.cuda.device_count():
        raise DeviceError(
            f"device {str(device)!r} was asked for, but there are {torch.cuda.device_count()} "
            "CUDA devices, counted from cuda:0"
        )
    return torch.device("cuda", index)
