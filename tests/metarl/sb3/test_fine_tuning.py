"""PPO fine-tuned to tasks: what it sees, what it leaves alone, that it learns."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from metarl.sb3 import FineTuning, adaptation, copy_of, fine_tune, seeded
from tests.metarl.sb3.models import GOALS, mazes, params_of, same, small_ppo

TASKS = GOALS.sample(3, np.random.default_rng(1))


def env_on(n, seed):
    return mazes(5, seed=seed, tasks=[TASKS[n]] * 5)


def tuned(model, num_tasks=3, **arguments):
    return fine_tune(model, env_on, num_tasks, 2, **({"seed": 0} | arguments))


@pytest.fixture(scope="module")
def model():
    return small_ppo(mazes())


def state_of(model):
    optimiser = model.policy.optimizer.state_dict()
    return {
        **params_of(model),
        **{f"{i}.{n}": v.clone() for i, s in optimiser["state"].items() for n, v in s.items()},
    }


def test_the_result_is_task_step_episode(model):
    result = tuned(model)
    assert result.returns.shape == result.lengths.shape == (3, 3, 5)
    assert result.experience == (0, 5, 10)
    assert ((result.returns > 0) == (result.successes == 1)).all()
    assert (result.lengths[result.successes == 0] == 6).all()
    assert tuned(model, has_goal=False).successes is None


def test_it_repeats_whatever_the_number_of_tasks_and_what_others_draw(model):
    torch.manual_seed(0)
    whole = tuned(model)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    fewer, other = tuned(model, 2), tuned(model, seed=1)
    np.testing.assert_array_equal(whole.lengths[:2], fewer.lengths)
    assert (whole.lengths != other.lengths).any()


def test_the_model_stays_as_it_is():
    trained = small_ppo(mazes())
    with seeded(0):
        trained.learn(48)  # the optimiser has a state
    before, buffer, last = state_of(trained), trained.rollout_buffer, trained._last_obs.copy()
    attributes = dict(vars(trained))
    drawn = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    tuned(trained, settings=FineTuning(lr=0.1, num_epochs=3, batch_size=4))
    assert same(before, state_of(trained))
    assert trained.rollout_buffer is buffer
    assert np.array_equal(trained._last_obs, last)
    assert vars(trained) == attributes
    assert torch.equal(drawn[0], torch.get_rng_state())
    assert np.array_equal(drawn[1], np.random.get_state()[1])  # noqa: NPY002
    with seeded(0):
        trained.learn(24)


def test_step_k_learns_from_the_episodes_that_are_recorded_at_k(model):
    """The same weights as PPO on these episodes by hand; its copy starts a new optimiser."""
    from metarl.sb3.episodes import rollout_buffer
    from metarl.sb3.global_generators import child_seed

    settings = FineTuning(lr=0.01, num_epochs=3, batch_size=7)
    by_hand = copy_of(model, settings)
    for k, (learner, played) in enumerate(
        adaptation(model, env_on(0, 3), 2, seed=4, settings=settings)
    ):
        assert same(params_of(learner), params_of(by_hand))
        with seeded(child_seed(4, k, 1)):
            by_hand.rollout_buffer = rollout_buffer(by_hand, played)
            by_hand.train()
        assert not same(params_of(learner), params_of(by_hand))


def test_the_settings_are_those_of_the_copy(model):
    usual, own = copy_of(model), copy_of(model, FineTuning(0.5, 7, 9))
    assert (usual.n_epochs, usual.batch_size) == (2, 8)
    assert usual.policy.optimizer.param_groups[0]["lr"] == 3e-4
    assert (own.n_epochs, own.batch_size) == (7, 9)
    assert own.policy.optimizer.param_groups[0]["lr"] == own.lr_schedule(0.3) == 0.5
    still = tuned(model, settings=FineTuning(lr=0.0))
    again = tuned(model, settings=FineTuning(lr=0.0, num_epochs=1))
    np.testing.assert_array_equal(still.returns, again.returns)


def test_it_learns_a_task_and_its_twin_without_learning_rate_does_not():
    trained = small_ppo(mazes())

    def gained(lr):
        result = fine_tune(
            trained,
            lambda n, seed: mazes(20, seed=seed, horizon=20, tasks=[TASKS[n]] * 20),
            1,
            6,
            seed=0,
            settings=FineTuning(lr=lr, num_epochs=10, batch_size=100),
        )
        return (result.curve[:, -1] - result.curve[:, 0]).mean()

    assert gained(0.02) > 1.0 > 0.5 > gained(0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": -1.0}, "lr must be finite and at least 0, got -1.0"),
        ({"num_epochs": 0}, "num_epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FineTuning(**arguments)


def test_counts_and_models_that_cannot_be_are_refused(model):
    with pytest.raises(ValueError, match="num_tasks=0"):
        fine_tune(model, env_on, 0, 1, seed=0)
    from envs import PointNavigationVectorEnv
    from metarl.sb3 import TaskVecEnv

    points = TaskVecEnv(PointNavigationVectorEnv(2, goal_radius=0.0))
    with pytest.raises(ValueError, match="use_sde"):
        copy_of(PPO("MlpPolicy", points, use_sde=True, n_steps=32, device="cpu"))
