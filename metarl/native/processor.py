"""What the processor of this machine can do."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from metarl.native.compiler import LEVELS

NEEDED = {
    "x86-64-v3": frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    "x86-64-v4": frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
}
"""What each level needs beside those below it, by the words of ``/proc/cpuinfo``."""


@cache
def features() -> tuple[str, ...]:
    """What the processor can do, as the system says it, sorted; empty where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ()
    found = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return tuple(sorted(found.partition(":")[2].split()))


@cache
def levels() -> tuple[str, ...]:
    """Those of `LEVELS` that run here, the best first."""
    there: frozenset[str] = frozenset(features())
    found: list[str] = []
    for level in reversed(LEVELS):
        if not there >= NEEDED[level]:
            break
        found.insert(0, level)
    return tuple(found)
