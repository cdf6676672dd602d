"""Native kernels: the hot loops in C++, built by the system's compiler at first use.

Whoever has a kernel asks `kernels` for its library and runs eagerly where there is none; what runs
is the same function of the same numbers, but for the last bits. `libraries` finds, builds, tries
and loads; `mode` is the one switch.
"""

from metarl.native.compiler import NativeUnavailableError
from metarl.native.mode import (
    Mode,
    Ran,
    eagerly,
    kernels,
    native_mode,
    num_threads,
    recorded,
    sharing,
    unavailable,
    using,
)

__all__ = [
    "Mode",
    "NativeUnavailableError",
    "Ran",
    "eagerly",
    "kernels",
    "native_mode",
    "num_threads",
    "recorded",
    "sharing",
    "unavailable",
    "using",
]
