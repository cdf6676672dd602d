"""Libraries are built, kept and loaded; what they compute is right."""

import ctypes

import pytest
import torch

from metarl.native import kernels

SIZE, POINTER = ctypes.c_int64, ctypes.c_void_p


@pytest.mark.parametrize(("dtype", "suffix"), [(torch.float32, "f"), (torch.float64, "d")])
def test_product_of_odd_sizes_is_that_of_torch(dtype, suffix):
    library = kernels("selfcheck")
    if library is None:
        pytest.skip("no compiler here")
    a, b = torch.randn(31, 17, dtype=dtype), torch.randn(17, 48, dtype=dtype)
    c = torch.full((31, 48), torch.nan, dtype=dtype)
    getattr(library, f"metarl_product_{suffix}")(
        SIZE(31), SIZE(48), SIZE(17), *(POINTER(x.data_ptr()) for x in (a, b, c))
    )
    torch.testing.assert_close(c, a @ b)
