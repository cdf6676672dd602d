"""Kernels built for other processors, by another compiler and under sanitizers pass their tests."""

import ctypes
import os
import shutil
import threading

import pytest

from metarl.native import libraries
from tests.metarl.native.builds import ADDRESSES, THREADS, on_build


def needs_level(level):
    missing = level not in libraries.levels()
    return pytest.mark.skipif(missing, reason=f"this processor does not run {level}")


@needs_level("x86-64-v3")
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")
def test_kernels_of_half_as_wide_vectors_pass():
    # Tuned for a processor for which g++ would round the sums of single rows otherwise.
    ran = on_build("-march=x86-64-v3 -mtune=znver3")
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert "passed" in ran.stdout


def test_a_build_that_fails_does_not_pass():
    ran = on_build("", "-k", "short_of_room", CXX="false")
    assert ran.returncode != 0
    assert "NativeUnavailableError" in ran.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("clang++") is None, reason="no clang++ here")
def test_kernels_of_clang_pass():
    ran = on_build("", CXX="clang++")
    assert ran.returncode == 0, ran.stdout[-3000:]


@pytest.mark.slow
@pytest.mark.skipif(ADDRESSES.loaded is None, reason="no sanitizers here")
def test_kernels_touch_nothing_that_is_not_theirs():
    status, said = ADDRESSES.run()
    assert status == 0, said[-3000:]


@pytest.mark.slow
@pytest.mark.skipif(THREADS.loaded is None, reason="no sanitizer of threads here")
def test_threads_touch_nothing_of_each_other():
    status, said = THREADS.run()
    assert status == 0, said[-3000:]
    assert "passed" in said


@pytest.mark.skipif(ADDRESSES.loaded is None, reason="no sanitizers here")
def test_sanitizers_find_a_product_that_writes_too_far():
    """What the first test above relies on."""
    status, said = ADDRESSES.run("-k", "short_of_room", files=[__file__])
    assert status != 0
    assert "ERROR: AddressSanitizer" in said
    assert "metarl_product_d" in said


@pytest.mark.slow
@pytest.mark.skipif(THREADS.loaded is None, reason="no sanitizer of threads here")
def test_sanitizers_find_two_threads_that_write_to_one_place():
    """What the second test above relies on."""
    status, said = THREADS.run("-k", "by_two_threads", files=[__file__])
    assert status != 0
    assert "WARNING: ThreadSanitizer: data race" in said
    assert "metarl_product_d" in said


@pytest.mark.skipif("asan" not in os.environ.get("LD_PRELOAD", ""), reason="for the test above")
def test_product_into_a_buffer_short_of_room():
    from metarl.native import kernels

    rows, width, depth = 3, 48, 2
    sizes = [ctypes.c_int64(size) for size in (rows, width, depth)]
    a, b = (ctypes.c_double * (rows * depth))(), (ctypes.c_double * (depth * width))()
    c = (ctypes.c_double * (rows * width - 1))()
    kernels("selfcheck").metarl_product_d(*sizes, a, b, c)


@pytest.mark.skipif("tsan" not in os.environ.get("LD_PRELOAD", ""), reason="for the test above")
def test_product_into_one_buffer_by_two_threads():
    from metarl.native import kernels

    size = 320
    sizes = [ctypes.c_int64(size)] * 3
    a, b, c = ((ctypes.c_double * size**2)() for _ in range(3))
    product = kernels("selfcheck").metarl_product_d  # which lets go of Python's lock
    ready = threading.Barrier(2)

    def write():
        ready.wait()
        product(*sizes, a, b, c)

    both = [threading.Thread(target=write) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
