"""Gymnasium's own wrappers around every environment here, with what a fresh install has."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import imageio_ffmpeg
import numpy as np
import pytest
import torch
from gymnasium import wrappers
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector

import envs
from tests.envs.families import every_id

HORIZON = 5
NEXT, SAME, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED


def single(env_id: str, **settings: Any) -> gymnasium.Env[Any, Any]:
    env = gymnasium.make(env_id, horizon=HORIZON, **settings)
    env.action_space.seed(0)
    return env


def many(env_id: str, **settings: Any) -> Any:
    env = gymnasium.make_vec(env_id, num_envs=3, horizon=HORIZON, **settings)
    env.action_space.seed(0)
    return env


def played(env: Any, steps: int = 2 * HORIZON + 3) -> list[tuple[Any, ...]]:
    """The outcomes of random steps, over several episodes."""
    env.reset(seed=0)
    outcomes = []
    for _ in range(steps):
        outcomes.append(env.step(env.action_space.sample()))
        assert np.asarray(outcomes[-1][0]) in env.observation_space
        if (outcomes[-1][2] or outcomes[-1][3]) and not isinstance(env, wrappers.Autoreset):
            env.reset()
    env.close()
    return outcomes


# Single -----------------------------------------------------------------------------------------


@every_id
def test_episode_statistics(env_id: str) -> None:
    outcomes = played(wrappers.RecordEpisodeStatistics(single(env_id)))
    lengths = [info["episode"]["l"] for *_, info in outcomes if "episode" in info]
    assert lengths[:2] == [HORIZON] * 2
    returns = [info["episode"]["r"] for *_, info in outcomes if "episode" in info]
    assert returns[0] == pytest.approx(sum(outcome[1] for outcome in outcomes[:HORIZON]))


@every_id
def test_normalised_rewards_and_observations(env_id: str) -> None:
    env = wrappers.NormalizeObservation(wrappers.NormalizeReward(single(env_id)))
    outcomes = played(env)
    assert all(np.isfinite(outcome[0]).all() and np.isfinite(outcome[1]) for outcome in outcomes)
    plain = [outcome[1] for outcome in played(single(env_id))]
    assert [outcome[1] == 0 for outcome in outcomes] == [reward == 0 for reward in plain]


@every_id
def test_stacked_frames(env_id: str) -> None:
    plain = [outcome[0] for outcome in played(single(env_id), HORIZON)]
    stacked = played(wrappers.FrameStackObservation(single(env_id), 3), HORIZON)
    for t in range(2, HORIZON):
        np.testing.assert_array_equal(stacked[t][0], plain[t - 2 : t + 1])


@every_id
def test_a_time_limit_and_the_time(env_id: str) -> None:
    limited = wrappers.TimeLimit(single(env_id), 3)
    assert limited.spec is not None
    assert limited.spec.max_episode_steps == 3
    ends = [outcome[3] for outcome in played(limited, 7)]
    assert ends == [False, False, True, False, False, True, False]
    outcomes = played(wrappers.TimeAwareObservation(single(env_id)), HORIZON)
    assert [outcome[0][-1] for outcome in outcomes] == list(range(1, HORIZON + 1))
    parts = wrappers.TimeAwareObservation(single(env_id), flatten=False, normalize_time=True)
    parts.reset(seed=0)
    observation, *_ = parts.step(parts.action_space.sample())
    assert observation["time"].tolist() == pytest.approx([1 / HORIZON])
    trial = wrappers.TimeAwareObservation(envs.Trial(single(env_id), 3))
    assert trial.observation_space.high[-1] == 3 * HORIZON


@every_id
def test_autoreset(env_id: str) -> None:
    outcomes = played(wrappers.Autoreset(single(env_id)))
    assert [t for t, outcome in enumerate(outcomes) if outcome[3]] == [HORIZON - 1, 2 * HORIZON]
    assert outcomes[HORIZON][1] == 0


@every_id
def test_conversion_to_tensors_and_back(env_id: str) -> None:
    plain = played(single(env_id), HORIZON)
    tensors = wrappers.NumpyToTorch(single(env_id))
    tensors.reset(seed=0)
    back = wrappers.ArrayConversion(
        wrappers.NumpyToTorch(single(env_id)), env_xp=torch, target_xp=np
    )
    back.reset(seed=0)
    for wanted in plain:
        action = tensors.action_space.sample()
        observation, reward, _, truncated, _ = tensors.step(torch.as_tensor(action))
        assert isinstance(observation, torch.Tensor)
        np.testing.assert_array_equal(observation, wanted[0])
        assert (reward, truncated) == (wanted[1], wanted[3])
        again, *_ = back.step(np.asarray(action))
        assert isinstance(again, np.ndarray)
        np.testing.assert_array_equal(again, wanted[0])


def unit(space: Any) -> tuple[Any, Any]:
    """0 and 1 in the type of a space's numbers."""
    return space.dtype.type(0), space.dtype.type(1)


OBSERVATIONS: dict[str, Callable[[Any], Any]] = {
    "transformed": lambda env: wrappers.TransformObservation(
        env, lambda seen: 2 * seen, Box(-np.inf, np.inf, env.observation_space.shape, np.float32)
    ),
    "flat": wrappers.FlattenObservation,
    "rescaled": lambda env: wrappers.RescaleObservation(env, *unit(env.observation_space)),
    "delayed": lambda env: wrappers.DelayObservation(env, 2),
    "reshaped": lambda env: wrappers.ReshapeObservation(env, (*env.observation_space.shape, 1)),
    "skipped": lambda env: wrappers.MaxAndSkipObservation(env, 2),
    "clipped reward": lambda env: wrappers.ClipReward(env, -0.5, 0.5),
    "transformed reward": lambda env: wrappers.TransformReward(env, lambda reward: reward - 1),
    "repeated": lambda env: wrappers.RepeatAction(env, 2),
    "sticky": lambda env: wrappers.StickyAction(env, 0.5),
}


@every_id
@pytest.mark.parametrize("name", OBSERVATIONS)
def test_transformations(env_id: str, name: str) -> None:
    rewards = [outcome[1] for outcome in played(OBSERVATIONS[name](single(env_id)))]
    if name == "clipped reward":
        assert max(map(abs, rewards)) <= 0.5


@every_id
def test_actions_of_other_ranges(env_id: str) -> None:
    env = single(env_id)
    if not isinstance(env.action_space, Box):
        pytest.skip("its actions are whole numbers")
    half, high = np.float32(0.5), env.action_space.high
    rescaled = wrappers.RescaleAction(single(env_id), np.float32(-1), np.float32(1))
    rescaled.reset(seed=0)
    env.reset(seed=0)
    one = rescaled.step(np.full(env.action_space.shape, half))
    np.testing.assert_allclose(one[0], env.step(half * high)[0], rtol=1e-6)
    played(wrappers.ClipAction(single(env_id)))
    played(wrappers.DiscretizeAction(single(env_id), 3))


# Pictures ---------------------------------------------------------------------------------------


@every_id
def test_a_film_of_an_episode(env_id: str, tmp_path: Path) -> None:
    film = wrappers.RecordVideo(
        single(env_id, render_mode="rgb_array"), str(tmp_path / "film"), disable_logger=True
    )
    played(film, HORIZON)
    (file,) = (tmp_path / "film").glob("*episode-0.mp4")
    frames, _ = imageio_ffmpeg.count_frames_and_secs(file)
    assert frames == HORIZON + 1


@every_id
def test_films_of_vector_environments(env_id: str, tmp_path: Path) -> None:
    singles = many(env_id, vectorization_mode="sync", render_mode="rgb_array")
    film = vector.RecordVideo(singles, str(tmp_path / "film"), disable_logger=True)
    film.reset(seed=0)
    for _ in range(2 * HORIZON):
        film.step(film.action_space.sample())
    film.close()
    assert list((tmp_path / "film").glob("*.mp4"))


def test_a_film_of_the_tensor_mazes(tmp_path: Path) -> None:
    mazes = many("metarl/GridMaze-v0", render_mode="rgb_array")
    film = vector.RecordVideo(mazes, str(tmp_path / "film"), disable_logger=True)
    film.reset(seed=0)
    for _ in range(2 * HORIZON):
        film.step(film.action_space.sample())
    film.close()
    assert list((tmp_path / "film").glob("*.mp4"))


@every_id
def test_windows_and_pictures(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")  # nobody need look
    played(wrappers.HumanRendering(single(env_id, render_mode="rgb_array")), 2)
    kept = wrappers.RenderCollection(single(env_id, render_mode="rgb_array"))
    kept.reset(seed=0)
    for _ in range(3):
        kept.step(kept.action_space.sample())
    assert len(kept.render()) == 4
    played(wrappers.AddRenderObservation(single(env_id, render_mode="rgb_array")), 2)


# Vector -----------------------------------------------------------------------------------------


@every_id
@pytest.mark.parametrize("mode", [NEXT, SAME])
def test_vector_episode_statistics(env_id: str, mode: AutoresetMode) -> None:
    env = vector.RecordEpisodeStatistics(many(env_id, autoreset_mode=mode))
    paid, ends = np.zeros(3), 0
    for *_, rewards, _, truncated, info in played_many(env, 4 * HORIZON):
        paid += rewards
        if truncated.any():
            assert info["_episode"].all()
            assert info["episode"]["l"].tolist() == [HORIZON] * 3
            np.testing.assert_allclose(info["episode"]["r"], paid, rtol=1e-6)
            paid, ends = np.zeros(3), ends + 1
    assert ends >= 3


def played_many(env: Any, steps: int = 2 * HORIZON + 3) -> list[tuple[Any, ...]]:
    env.reset(seed=0)
    outcomes = []
    for _ in range(steps):
        outcomes.append(env.step(env.action_space.sample()))
        assert np.asarray(outcomes[-1][0]) in env.observation_space
    return outcomes


@every_id
def test_vector_normalisation(env_id: str) -> None:
    plain = played_many(many(env_id))
    observed = played_many(vector.NormalizeObservation(many(env_id)))
    rewarded = played_many(vector.NormalizeReward(many(env_id)))
    for one, seen, paid in zip(plain, observed, rewarded, strict=True):
        assert np.isfinite(seen[0]).all()
        np.testing.assert_array_equal(one[1], seen[1])
        np.testing.assert_array_equal(one[0], paid[0])
        np.testing.assert_array_equal(one[1] == 0, paid[1] == 0)
        assert np.isfinite(paid[1]).all()
    frozen = vector.NormalizeObservation(many(env_id, autoreset_mode=NEXT))
    frozen.update_running_mean = False
    played_many(frozen)
    played_many(vector.NormalizeReward(many(env_id, autoreset_mode=SAME)))


@every_id
@pytest.mark.parametrize("mode", [NEXT, SAME, DISABLED])
def test_infos_as_a_list(env_id: str, mode: AutoresetMode) -> None:
    env = vector.DictInfoToList(many(env_id, autoreset_mode=mode))
    _, infos = env.reset(seed=0)
    assert len(infos) == 3
    assert infos[0]["task_parameters"].keys() == infos[2]["task_parameters"].keys()
    lists = [outcome[4] for outcome in played_many(env, HORIZON if mode is DISABLED else 12)]
    assert all(len(infos) == 3 for infos in lists)
    ended = [infos for infos in lists if "final_obs" in infos[0]]
    assert len(ended) == (2 if mode is SAME else 0)
    for infos in ended:
        assert all(info["final_obs"].shape == env.single_observation_space.shape for info in infos)


@every_id
def test_vector_conversions(env_id: str) -> None:
    plain = played_many(many(env_id))
    tensors = vector.NumpyToTorch(many(env_id))
    back = vector.ArrayConversion(many(env_id, device="cpu"), env_xp=torch, target_xp=np)
    tensors.reset(seed=0)
    back.reset(seed=0)
    for wanted in plain:
        actions = tensors.action_space.sample()
        mine, again = tensors.step(torch.as_tensor(actions)), back.step(actions)
        assert all(isinstance(part, torch.Tensor) for part in mine[:4])
        assert all(isinstance(part, np.ndarray) for part in again[:4])
        for parts in zip(mine[:4], again[:4], wanted[:4], strict=True):
            np.testing.assert_array_equal(parts[0], parts[2])
            np.testing.assert_array_equal(parts[1], parts[2])


VECTOR: dict[str, Callable[[Any], Any]] = {
    "transformed": lambda env: vector.TransformObservation(
        env,
        lambda seen: seen + 1,
        Box(-np.inf, np.inf, env.observation_space.shape, np.float32),
        Box(-np.inf, np.inf, env.single_observation_space.shape, np.float32),
    ),
    "one by one": lambda env: vector.VectorizeTransformObservation(
        env, wrappers.FlattenObservation
    ),
    "flat": vector.FlattenObservation,
    "rescaled": lambda env: vector.RescaleObservation(env, *unit(env.single_observation_space)),
    "reshaped": lambda env: vector.ReshapeObservation(
        env, (*env.single_observation_space.shape, 1)
    ),
    "clipped reward": lambda env: vector.ClipReward(env, -0.5, 0.5),
    "transformed reward": lambda env: vector.TransformReward(env, lambda reward: reward - 1),
    "statistics of our inputs": lambda env: vector.RecordEpisodeStatistics(
        vector.NormalizeReward(vector.NormalizeObservation(envs.VectorMetaObservation(env)))
    ),
}


@every_id
@pytest.mark.parametrize("name", VECTOR)
def test_vector_transformations(env_id: str, name: str) -> None:
    outcomes = played_many(VECTOR[name](many(env_id)))
    assert len({id(outcome[0]) for outcome in outcomes}) == len(outcomes)
    if name == "clipped reward":
        assert max(abs(outcome[1]).max() for outcome in outcomes) <= 0.5


@every_id
def test_vector_actions_of_other_ranges(env_id: str) -> None:
    env = many(env_id)
    if not isinstance(env.single_action_space, Box):
        pytest.skip("its actions are whole numbers")
    played_many(vector.ClipAction(many(env_id)))
    half, high = np.float32(0.5), env.action_space.high
    rescaled = vector.RescaleAction(many(env_id), np.float32(-1), np.float32(1))
    rescaled.reset(seed=0)
    env.reset(seed=0)
    one = rescaled.step(np.full_like(high, half))
    np.testing.assert_allclose(one[0], env.step(half * high)[0], rtol=1e-6)


@every_id
def test_wrapped_environments_can_be_copied_and_made_again(env_id: str) -> None:
    env = wrappers.TimeAwareObservation(wrappers.NormalizeReward(single(env_id)))
    env.reset(seed=0)
    env.step(env.action_space.sample())
    twin = copy.deepcopy(env)
    for _ in range(HORIZON - 1):
        action = env.action_space.sample()
        for one, other in zip(env.step(action)[:4], twin.step(action)[:4], strict=True):
            np.testing.assert_array_equal(one, other)
    assert env.spec is not None
    again = gymnasium.make(env.spec.from_json(env.spec.to_json()))
    env.reset(seed=1)
    again.reset(seed=1)
    for _ in range(HORIZON):
        action = env.action_space.sample()
        np.testing.assert_array_equal(env.step(action)[0], again.step(action)[0])
