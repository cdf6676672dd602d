from functools import partial
from itertools import product

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from envs import (
    BanditEnv,
    BanditTask,
    BanditTasks,
    BanditVectorEnv,
    MDPTasks,
    MetaObservation,
    TaskSet,
    bandit_reference_returns,
    bayes_optimal_return,
)
from envs.bandit import tasks as bandit_tasks
from envs.bandit.algorithms import (
    Algorithm,
    gittins,
    gittins_indices,
    greedy,
    play_bandits,
    thompson,
    ucb1,
)
from envs.base import randomness


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mean_and_error(returns: torch.Tensor) -> tuple[float, float]:
    return returns.mean().item(), (returns.std() / len(returns) ** 0.5).item()


@pytest.mark.parametrize("family", [BanditTasks(), MDPTasks()])
def test_a_continuum_says_why_it_cannot_be_split(family: BanditTasks | MDPTasks) -> None:
    with pytest.raises(ValueError, match=r"draws from a continuum.*a generator of their own"):
        family.split()


# Anchors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arms", "best"), [(5, 5 / 6), (10, 10 / 11), (50, 50 / 51)])
@pytest.mark.parametrize("pulls", [10, 100, 500])
def test_random_and_oracle_of_the_published_settings(arms: int, best: float, pulls: int) -> None:
    returns = bandit_reference_returns(BanditTasks(arms), horizon=pulls)
    assert returns == pytest.approx((pulls / 2, pulls * best))
    tasks = TaskSet(BanditTasks(arms).sample(1000, np.random.default_rng(0)))
    drawn = bandit_reference_returns(tasks, horizon=pulls)
    assert drawn == pytest.approx(returns, rel=0.05)


def test_optimum_of_the_published_settings() -> None:
    optima = [bayes_optimal_return(arms, 10) for arms in (5, 10, 50)]
    assert [round(optimum, 3) for optimum in optima] == [6.660, 6.714, 6.714]
    text = " ".join((bandit_tasks.__doc__ or "").split())
    assert "6.660, 6.714 and 6.714 for 5, 10 and 50 arms" in text


def test_optimum_by_hand() -> None:
    assert bayes_optimal_return(1, 7) == pytest.approx(3.5)
    assert bayes_optimal_return(2, 1) == 0.5
    # Two arms, two pulls: after a success (1/2) the same arm pays 2/3, else the other 1/2.
    assert bayes_optimal_return(2, 2) == pytest.approx(0.5 + 0.5 * 2 / 3 + 0.5 * 1 / 2)


def test_optimum_is_that_of_trying_every_plan() -> None:
    """Two arms, three pulls: every map from what was seen to an arm, by enumeration."""
    seen = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1)]
    best = 0.0
    for arms in product((0, 1), repeat=len(seen)):
        plan = dict(zip(seen, arms, strict=True))
        total = 0.0
        for outcome in product((0, 1), repeat=3):
            counts, chance = [[1, 1], [1, 1]], 1.0
            for t, paid in enumerate(outcome):
                arm = counts[plan[outcome[:t]]]
                chance *= arm[1 - paid] / sum(arm)
                arm[1 - paid] += 1
            total += chance * sum(outcome)
        best = max(best, total)
    assert bayes_optimal_return(2, 3) == pytest.approx(best)


def test_the_environment_pays_what_the_anchors_say() -> None:
    tasks = TaskSet(BanditTasks(5).sample(40, np.random.default_rng(0)))
    env = BanditVectorEnv(4000, tasks=list(tasks), horizon=20)
    policies = (
        lambda: torch.randint(5, (4000,), generator=generator(1)),
        lambda: env.task_parameters[0].argmax(1),
    )
    for policy, anchor in zip(policies, bandit_reference_returns(tasks, horizon=20), strict=True):
        env.reset(seed=0, options={"tasks": [*tasks] * 100})
        total = sum(env.step(policy())[1] for _ in range(20))
        mean, _ = mean_and_error(total)
        assert abs(mean - anchor) < 5 * 2.3 / 4000**0.5  # a binomial's deviation is below 2.3


# Reference algorithms -------------------------------------------------------------------------

ALGORITHMS: dict[str, Algorithm] = {
    "thompson": thompson,
    "ucb1": ucb1,
    "tuned ucb1": partial(ucb1, bonus=0.1, prior_pulls=2.0),
    "greedy": greedy,
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("thompson", 5.85), ("ucb1", 5.68), ("tuned ucb1", 6.61), ("greedy", 6.65)],
)
def test_algorithms_earn_what_they_should_and_never_more_than_the_optimum(
    name: str, expected: float
) -> None:
    probabilities = torch.rand(4000, 5, generator=generator(0))
    rewards = play_bandits(ALGORITHMS[name], probabilities, 10, generator(1))
    assert rewards.shape == (4000, 10)
    mean, error = mean_and_error(rewards.sum(1))
    assert abs(mean - expected) < 4 * error + 0.02
    assert 5.0 + 4 * error < mean < bayes_optimal_return(5, 10) + 4 * error


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms_learn_and_repeat_with_their_seed(name: str) -> None:
    probabilities = torch.tensor([[0.1, 0.9, 0.2]]).expand(200, 3)
    play = partial(play_bandits, ALGORITHMS[name], probabilities, 60)
    rewards = play(generator(0))
    assert rewards[:, 40:].mean() > rewards[:, :10].mean() + 0.1
    assert torch.equal(rewards, play(generator(0)))
    assert not torch.equal(rewards, play(generator(1)))


def test_what_the_algorithms_choose() -> None:
    successes, failures = torch.tensor([[8.0, 1.0, 0.0]]), torch.tensor([[2.0, 0.0, 0.0]])
    assert greedy(successes, failures, generator(0)).item() == 0
    assert ucb1(successes, failures, generator(0)).item() == 2, "untried"
    assert ucb1(successes[:, :2], failures[:, :2], generator(0)).item() == 1, "less known"
    ties = greedy(torch.zeros(3000, 3), torch.zeros(3000, 3), generator(0))
    assert (torch.bincount(ties) - 1000).abs().max() < 5 * 26
    arms = thompson(torch.full((3000, 1), 1.0).expand(3000, 2), torch.zeros(3000, 2), generator(0))
    assert (torch.bincount(arms) - 1500).abs().max() < 5 * 28


# The environment ------------------------------------------------------------------------------


def test_an_arm_pays_below_its_probability() -> None:
    env = BanditEnv(tasks=[BanditTask((0.25, 0.75))], horizon=3, render_mode="ansi")
    env.reset(options={"uniforms": [0.5, 0.5, 0.75]})
    steps = [env.step(action) for action in (0, 1, 1)]
    assert [step[1] for step in steps] == [0.0, 1.0, 0.0]
    assert [step[2:4] for step in steps] == [(False, False)] * 2 + [(False, True)]
    assert "arms 0.25 0.75  last pull 1 (did not pay)" in env.render()


def test_make_and_make_vec() -> None:
    env = gymnasium.make("metarl/Bandit-v0", num_arms=10, horizon=500).unwrapped
    assert isinstance(env, BanditEnv)
    assert (env.num_arms, env.horizon) == (10, 500)
    many = gymnasium.make_vec(
        "metarl/Bandit-v0", num_envs=3, num_arms=50, autoreset_mode=AutoresetMode.SAME_STEP
    )
    assert isinstance(many, BanditVectorEnv)
    many.reset(seed=0)
    assert many.task_parameters[0].shape == (3, 50)
    meta = MetaObservation(env, unused_input=False)
    assert meta.observation_space.shape == (1 + 3 + 10,)


def test_same_step_begins_anew_with_new_arms() -> None:
    env = BanditVectorEnv(3, horizon=2, autoreset_mode=AutoresetMode.SAME_STEP)
    _, info = env.reset(seed=0)
    env.step(torch.zeros(3, dtype=torch.int64))
    *_, truncated, after = env.step(torch.zeros(3, dtype=torch.int64))
    assert truncated.all()
    assert after["_final_obs"].all()
    assert not torch.equal(after["task_parameters"][0], info["task_parameters"][0])


def test_drawing_in_blocks_changes_nothing_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = torch.zeros(4, dtype=torch.int64)
    runs = []
    for max_draws in (2**22, 8):  # all five steps at once, or two at a time
        monkeypatch.setattr(randomness, "MAX_DRAWS", max_draws)
        env = BanditVectorEnv(4, horizon=5, generator=generator(0))
        rewards = []
        for _ in range(4):
            env.reset()
            rewards += [env.step(actions)[1] for _ in range(5)]
        runs.append(torch.cat((torch.stack(rewards), env.task_parameters[0].T)))
    assert torch.equal(*runs)


def test_bad_questions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"horizon must be in 1 .. 24 .* got 100"):
        bayes_optimal_return(5, 100)
    with pytest.raises(ValueError, match="num_arms"):
        bayes_optimal_return(0, 1)
    with pytest.raises(ValueError, match="no bandits"):
        bandit_reference_returns([])
    with pytest.raises(ValueError, match="at least 1 pull, got 0"):
        bandit_reference_returns(BanditTasks(), horizon=0)


def test_gittins_indices_are_those_by_hand():
    """One pull left: the posterior mean; two: (1/2 + 1/2 2/3) / (3/2) = 5/9 for a new arm."""
    indices = gittins_indices(4, resolution=18_000)
    assert indices[0, 2, 1].item() == pytest.approx(3 / 5, abs=1e-4)
    assert indices[1, 0, 0].item() == pytest.approx(5 / 9, abs=1e-4)
    assert (
        indices[1:, 0, 0] > indices[:-1, 0, 0]
    ).all()  # to know an arm is worth more, the longer


def test_with_two_pulls_gittins_earns_what_the_best_policy_earns():
    """Two arms, two pulls: 1/2, then 2/3 if the first paid, else a new arm's 1/2."""
    generator = torch.Generator().manual_seed(0)
    chances = torch.rand(200_000, 2, generator=generator, dtype=torch.float64)
    mean = play_bandits(gittins(2), chances, 2, generator).sum(1).mean()
    assert mean.item() == pytest.approx(0.5 + 0.5 * 2 / 3 + 0.5 * 0.5, abs=5e-3)
