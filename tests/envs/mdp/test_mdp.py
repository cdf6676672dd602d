import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import (
    MDPTask,
    MDPTasks,
    TabularMDPEnv,
    TabularMDPVectorEnv,
    TaskSet,
    Trial,
    mdp_reference_returns,
)

# Action 0 stays, action 1 goes to the other state with probability 1/4; state 1 pays.
COIN = MDPTask(
    transitions=(((1.0, 0.0), (0.75, 0.25)), ((0.0, 1.0), (0.25, 0.75))),
    reward_means=((0.0, -1.0), (4.0, 0.0)),
)


def test_anchors_by_hand() -> None:
    """Two steps: staying pays 0; leaving pays -1 and with 1/4 a 4 in the second step."""
    assert mdp_reference_returns([COIN], horizon=2).oracle == 0.0
    # Three: V_1 = (0, 4), V_2 = (0, 8), V_3(0) = max(0, -1 + 8/4).
    assert mdp_reference_returns([COIN], horizon=3).oracle == pytest.approx(1.0)
    # Random: V_1 = (-1/2, 2), V_2(0) = -1/2 + (7/8)(-1/2) + (1/8) 2.
    random = mdp_reference_returns([COIN], horizon=2).random
    assert random == pytest.approx(-0.5 + 7 / 8 * -0.5 + 1 / 8 * 2)


def test_random_actions_earn_one_a_step_over_the_family() -> None:
    tasks = TaskSet(MDPTasks().sample(400, np.random.default_rng(0)))
    returns = mdp_reference_returns(tasks)
    assert (tasks[0].num_states, tasks[0].num_actions) == (10, 5)
    assert abs(returns.random - 10.0) < 0.25
    assert abs(returns.oracle - 21.8) < 0.4


def test_the_environment_pays_what_the_anchors_say() -> None:
    (task,) = MDPTasks(4, 3).sample(1, np.random.default_rng(0))
    num_envs, horizon = 4000, 6
    env = TabularMDPVectorEnv(num_envs, tasks=[task], horizon=horizon)
    env.reset(seed=0)
    actions = torch.Generator().manual_seed(1)
    total = torch.zeros(num_envs)
    for _ in range(horizon):
        total += env.step(torch.randint(3, (num_envs,), generator=actions))[1]
    error = total.std().item() / num_envs**0.5
    random, oracle = mdp_reference_returns([task], horizon=horizon)
    assert abs(total.mean().item() - random) < 5 * error
    assert random < oracle


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_no_policy_is_above_the_oracle(seed: int, horizon: int) -> None:
    """Any policy of state and time, evaluated exactly."""
    rng = np.random.default_rng(seed)
    (task,) = MDPTasks(3, 2).sample(1, rng)
    transitions, means = (array.astype(np.float64) for array in task.arrays())
    value = np.zeros(3)
    for _ in range(horizon):
        policy = rng.dirichlet(np.ones(2) * 0.3, size=3)
        value = (policy * (means + transitions @ value)).sum(1)
    returns = mdp_reference_returns([task], horizon=horizon)
    assert value[0] <= returns.oracle + 1e-9
    assert returns.random <= returns.oracle + 1e-9


def test_moves_and_rewards_of_given_numbers() -> None:
    env = TabularMDPEnv(tasks=[COIN], horizon=3, render_mode="ansi")
    first, _ = env.reset(options={"uniforms": [0.7, 0.8, 0.0], "normals": [0.0, 0.5, -0.5]})
    assert first.tolist() == [1, 0]
    steps = [env.step(action) for action in (1, 1, 0)]
    assert [env_step[0].tolist() for env_step in steps] == [[1, 0], [0, 1], [0, 1]]
    assert [env_step[1] for env_step in steps] == [-1.0, -0.5, 3.5]
    assert env.state == 1
    assert "state 1 of 2" in env.render()


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
def test_the_ends_of_the_unit_interval_are_states(uniform: float) -> None:
    (task,) = MDPTasks(7, 2).sample(1, np.random.default_rng(0))
    env = TabularMDPEnv(tasks=[task], horizon=1)
    env.reset(options={"uniforms": [uniform]})
    env.step(0)
    assert env.state == (0 if uniform == 0 else 6)


def test_states_are_visited_as_often_as_they_should() -> None:
    (task,) = MDPTasks(4, 2).sample(1, np.random.default_rng(0))
    env = TabularMDPVectorEnv(20000, tasks=[task], horizon=1)
    env.reset(seed=0)
    env.step(torch.ones(20000, dtype=torch.int64))
    shares = torch.bincount(env.states, minlength=4) / 20000
    expected = np.array(task.transitions[0][1])
    assert np.abs(shares.numpy() - expected).max() < 5 * 0.0036


@pytest.mark.parametrize("rng", [np.random.default_rng(0), torch.Generator().manual_seed(0)])
def test_tasks_are_flat_dirichlet_and_normal(rng: object) -> None:
    tasks = MDPTasks(5, 4).sample(300, rng)  # type: ignore[arg-type]
    transitions = np.array([task.transitions for task in tasks])
    means = np.array([task.reward_means for task in tasks])
    assert transitions.mean() == pytest.approx(0.2)
    assert transitions.var() == pytest.approx(4 / 150, rel=0.05)  # 1/n (1 - 1/n) / (n + 1)
    assert abs(means.mean() - 1) < 0.07
    assert abs(means.std() - 1) < 0.05


def test_make_and_trials() -> None:
    env = gymnasium.make("metarl/TabularMDP-v0", num_states=3)
    assert env.observation_space.shape == (3,)
    many = gymnasium.make_vec("metarl/TabularMDP-v0", num_envs=2)
    assert isinstance(many, TabularMDPVectorEnv)
    trial = Trial(env, 3)
    trial.reset(seed=0)
    task = env.unwrapped.task  # type: ignore[attr-defined]
    ends = [trial.step(0)[3] for _ in range(30)]
    assert ends == [False] * 29 + [True]
    assert env.unwrapped.task == task  # type: ignore[attr-defined]


def test_bad_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="no processes"):
        mdp_reference_returns([])
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        mdp_reference_returns([COIN], horizon=0)
