import platform
import sys
import warnings

import pytest
import torch

from metarl.devices import keep_freed_memory, resolve_device, small_networks
from metarl.errors import DeviceError, UserError


def test_auto_is_a_device_that_works() -> None:
    assert torch.ones(2, device=resolve_device("auto")).sum().item() == 2
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device().type == expected


@pytest.mark.parametrize("name", ["cpu", torch.device("cpu")])
def test_cpu(name: str | torch.device) -> None:
    assert resolve_device(name) == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta", "xpu"])
def test_unknown_names_are_refused_by_name(name: str) -> None:
    with pytest.raises(DeviceError, match=f"{name!r}.*use auto"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_cuda_without_cuda_names_the_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"{name!r} was asked for.*--device cpu"):
        resolve_device(name)


def test_mps_without_mps_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="no Apple GPU; use cpu"):
        resolve_device("mps")


def test_a_cuda_index_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="there are 2 CUDA devices"):
        resolve_device("cuda:2")


@pytest.mark.gpu
def test_cuda_carries_its_index() -> None:
    assert resolve_device("cuda") == torch.device("cuda", torch.cuda.current_device())


def test_small_networks_flushes_denormals_in_one_thread_and_then_no_more() -> None:
    denormal, threads = torch.tensor(1e-39), torch.get_num_threads()
    with small_networks():
        assert torch.get_num_threads() == 1
        assert (denormal * 0.5).item() == 0.0
    assert torch.get_num_threads() == threads
    assert (denormal * 0.5).item() > 0.0


class Library:
    """Stands in for a C library."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.calls.append((parameter, value))
        return 1


def test_small_networks_have_the_c_library_keep_what_is_freed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = Library()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("metarl.devices.ctypes.CDLL", lambda name: library)
    with small_networks():
        # glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD.
        assert library.calls == [(-1, 2**31 - 1), (-3, 32 * 2**20)]


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("metarl.devices.ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_glibc_accepts_it() -> None:
    if platform.libc_ver()[0] == "glibc":
        assert keep_freed_memory()


def test_that_a_driver_makes_its_context_late_is_no_fault():
    """A thread of the backward pass may be the first to ask for one."""
    text = "Attempting to run cuBLAS, but there was no current CUDA context! Attempting to set it"
    warnings.warn(text, stacklevel=1)
