"""The whole of a seed counts, whatever type of whole number it is."""

import numpy as np
import pytest
import torch

from envs import BanditVectorEnv, GridMazeVectorEnv, TabularMDPVectorEnv
from envs.base.checks import torch_seed

ENVS = {"maze": GridMazeVectorEnv, "bandit": BanditVectorEnv, "mdp": TabularMDPVectorEnv}


def drawn(make, seed):
    env = make(16)
    env.reset(seed=seed)
    return [task.task_id for task in env.tasks]


@pytest.mark.parametrize("make", ENVS.values(), ids=ENVS)
@pytest.mark.parametrize("seed", [2**32, 2**63 + 7, 2**70])
def test_large_seeds_are_seeds_of_their_own(make, seed):
    assert drawn(make, seed) == drawn(make, seed)
    assert drawn(make, seed) not in (drawn(make, 0), drawn(make, seed % 2**32))


@pytest.mark.parametrize("make", ENVS.values(), ids=ENVS)
def test_seeds_of_numpy_are_seeds(make):
    assert drawn(make, np.int64(3)) == drawn(make, np.uint8(3)) == drawn(make, 3)


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (1.5, TypeError)])
def test_other_seeds_are_named(seed, error):
    with pytest.raises(error, match=f"whole number.*{seed}" if error is TypeError else str(seed)):
        torch_seed(seed)


def test_small_seeds_draw_what_they_drew():
    """As a generator of torch with that seed."""
    assert [torch_seed(s) for s in (0, 7, 2**32 - 1)] == [0, 7, 2**32 - 1]
    assert torch_seed(2**32) < 2**32
    one = torch.rand(3, generator=torch.Generator().manual_seed(7))
    assert torch.equal(one, torch.rand(3, generator=torch.Generator().manual_seed(torch_seed(7))))
