"""What a kernel may read by its address."""

import pytest
import torch

from metarl.native.call import has_address, is_plain


def test_numbers_in_memory_are_plain():
    assert is_plain(torch.ones(3), None, torch.nn.Parameter(torch.ones(2)))


@pytest.mark.parametrize(
    "tensor",
    [
        torch._efficientzerotensor((3,)),  # what autograd says for zeros, without memory
        torch.ones(3, dtype=torch.complex64).conj().imag,  # the negative of what lies there
        torch.ones(3, device="meta"),
        torch.ones(3).to_sparse(),
    ],
    ids=["zeros without memory", "negative view", "meta", "sparse"],
)
def test_what_lies_elsewhere_or_otherwise_is_not(tensor):
    assert not has_address(tensor)
