"""Algorithms for random decision processes: beliefs by hand, and the order of what they earn."""

import numpy as np
import pytest
import torch

from envs import MDPTasks, mdp_reference_returns
from envs.mdp.algorithms import Belief, best_policy, greedy, myopic, play_mdps, psrl


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def processes(num, seed=0):
    tasks = MDPTasks().sample(num, np.random.default_rng(seed))
    return tasks, *(
        torch.tensor(np.stack(a)) for a in zip(*(t.arrays() for t in tasks), strict=True)
    )


def known(policy):
    """An algorithm that does not look."""
    return lambda belief, steps, generator: policy[-steps:]


def belief_of(visits, rewards):
    """One process, two states: state 0 stays with action 0 and leaves with action 1."""
    counts = torch.zeros(1, 2, 2, 2)
    counts[0, 0, 0, 0], counts[0, 0, 1, 1], counts[0, 1, :, 1] = visits, visits, visits
    return Belief(counts, visits * torch.tensor([rewards]))


def test_a_belief_is_that_of_the_familys_prior():
    belief = belief_of(3.0, [[2.0, 1.0], [0.0, -1.0]])
    torch.testing.assert_close(belief.means, torch.tensor([[[7.0, 4.0], [1.0, -2.0]]]) / 4)
    assert (belief.variances == 0.25).all()
    assert (Belief(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2)).means == 1).all()


@pytest.mark.parametrize("algorithm", [greedy, psrl])
def test_who_plans_gives_up_a_reward_for_a_better_state_and_not_at_the_last_step(algorithm):
    belief = belief_of(1e8, [[1.0, 0.0], [5.0, 4.0]])
    policy = algorithm(belief, 3, generator())
    assert policy[:, 0].tolist() == [[1, 0], [1, 0], [0, 0]]
    assert myopic(belief, 3, generator())[:, 0].tolist() == [[0, 0]] * 3


def test_who_knows_the_process_earns_the_oracles_return():
    tasks, transitions, means = processes(1000)
    policy = best_policy(transitions, means, 10)
    paid = play_mdps(known(policy), transitions, means, 1, 10, generator())
    expected = mdp_reference_returns(tasks).oracle
    assert paid.shape == (1000, 1, 10)
    assert float(paid.sum() / 1000) == pytest.approx(expected, abs=0.6)  # deviation 0.13


def test_returns_of_a_trial_are_in_the_known_order():
    _, transitions, means = processes(500, seed=1)

    def earned(algorithm, every_step):
        paid = play_mdps(algorithm, transitions, means, 10, 10, generator(1), every_step=every_step)
        return float(paid.sum() / len(means))

    # Of the same processes: random 100, the oracle 218; standard errors are about 1.
    sampled, planned = earned(psrl, False), earned(greedy, False)
    assert 130 < sampled < planned - 8 < 145
    assert planned + 5 < earned(greedy, True) < 163
    assert planned + 5 < earned(myopic, True) < 163
