"""Ratios of probabilities begin at 1: on the CPU to the last bit."""

import math

import pytest
import torch

from metarl.core.tasks import MAX_LOG_RATIO, StaleBatchError, check_ratios, tolerance


def test_on_the_cpu_the_last_bit_counts():
    check_ratios(torch.zeros(2, 3))
    for dtype in (torch.float32, torch.float64):
        with pytest.raises(StaleBatchError, match="must be those that were stored"):
            check_ratios(torch.tensor([0.0, torch.finfo(dtype).eps], dtype=dtype))


def test_an_accelerator_may_round():
    assert tolerance(torch.device("cpu")) == 0.0
    assert tolerance(torch.device("cuda")) == MAX_LOG_RATIO > 0.0


def test_what_is_no_number_is_for_the_loss_to_say():
    check_ratios(torch.tensor([0.0, math.nan]))
