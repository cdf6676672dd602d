"""Minigrid's own environments on tasks that are set: foreign rules, settings, pictures."""

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from minigrid.core.world_object import Ball
from minigrid.envs import DoorKeyEnv, EmptyEnv

from envs import MetaObservation, MinigridEnv, MinigridVectorEnv, Trial, minigrid_tasks
from envs.minigrid.reading import make_minigrid
from envs.minigrid.tasks import FACTS
from tests.envs.minigrid.ids import actions, some

BABYAI = ["BabyAI-GoToRedBall-v0", "BabyAI-KeyInBox-v0", "BabyAI-MiniBossLevel-v0"]


@pytest.mark.parametrize("env_id", [*BABYAI, "MiniGrid-Dynamic-Obstacles-5x5-v0"])
def test_ids_with_rules_of_their_own_are_played_by_minigrid(env_id: str) -> None:
    tasks = minigrid_tasks(env_id, seeds=range(6))
    env: Any = gymnasium.make("metarl/Minigrid-v0", tasks=tasks)
    real = make_minigrid(env_id)
    rng = np.random.default_rng(0)
    for task in tasks:
        seen, info = env.reset(seed=1, options={"task": task})
        wanted, _ = real.reset(seed=task.seed)
        assert info["mission"] == wanted["mission"]
        for action in actions(rng, 60):
            np.testing.assert_array_equal(seen, wanted["image"])
            if "Dynamic" in env_id:  # the balls go where each environment's own numbers say
                break
            seen, *results, _ = env.step(action)
            wanted, *others, _ = real.step(int(action))
            assert tuple(results) == tuple(others)
            if any(results[1:]):
                break


def test_moving_obstacles_are_random_within_a_task_and_by_the_seed_alone() -> None:
    tasks = minigrid_tasks("MiniGrid-Dynamic-Obstacles-8x8-v0", seeds=range(2))
    env = MinigridEnv(tasks=tasks)
    runs = []
    for seed in (3, 3, 4):
        images = [env.reset(seed=seed, options={"task": tasks[0]})[0]]
        images += [env.step(0)[0] for _ in range(9)]
        runs.append(np.stack(images))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()
    assert env.reward_range == (-1.0, 1.0)
    other = MinigridEnv()
    with pytest.raises(ValueError, match="takes rewards away"):
        other.reset(options={"task": tasks[0]})


class Somebodys(EmptyEnv):
    """Draws other grids, and adds nothing to the step."""

    def _gen_grid(self, width: int, height: int) -> None:
        super()._gen_grid(width, height)
        self.put_obj(Ball("red"), 3, int(self.np_random.integers(2, 5)))
        self.mission = "somebody's"


class Stepping(DoorKeyEnv):
    """Has a step of its own."""

    def step(self, action: Any) -> Any:
        return super().step(6 if action == 4 else action)


class Heavy(Ball):
    """Cannot be picked up."""

    def can_pickup(self) -> bool:
        return False


class Holding(Somebodys):
    def _gen_grid(self, width: int, height: int) -> None:
        super()._gen_grid(width, height)
        self.put_obj(Heavy("blue"), 4, 4)


@pytest.fixture
def registered() -> Any:
    kinds = (Somebodys, Stepping, Holding)
    for kind in kinds:
        gymnasium.register(id=f"Test{kind.__name__}-v0", entry_point=kind)
    yield
    for kind in kinds:
        del gymnasium.registry[f"Test{kind.__name__}-v0"]


@pytest.mark.usefixtures("registered")
def test_classes_of_somebody_else() -> None:
    own = minigrid_tasks("TestSomebodys-v0", seeds=range(40))
    assert ({task.rule for task in own}, len(own)) == ({"goal"}, 3)
    assert MinigridVectorEnv(2, tasks=own).reset()[0].shape == (2, 7, 7, 3)
    for name in ("Stepping", "Holding"):
        tasks = minigrid_tasks(f"Test{name}-v0", seeds=range(5))
        assert {task.rule for task in tasks} == {f"Test{name}-v0"}
        with pytest.raises(ValueError, match=f"does not play Test{name}-v0"):
            MinigridVectorEnv(2, tasks=tasks)
        env = MinigridEnv(tasks=tasks)
        for task in tasks:
            env.reset(options={"task": task})
            env.step(2)


def test_a_seed_that_gives_something_else_is_refused() -> None:
    task = some("BabyAI-GoToRedBall-v0", 1)[0]
    with pytest.raises(ValueError, match=r"does not give task .* another version of Minigrid"):
        MinigridEnv().reset(options={"task": replace(task, seed=task.seed + 1, max_steps=64)})


# Settings -------------------------------------------------------------------------------------

BOTH: list[tuple[dict[str, Any], str]] = [
    ({"observe": "pixels"}, r"one of \['image', 'codes', 'onehot', 'maze'\], got 'pixels'"),
    ({"tasks": "MiniGrid-Emty-8x8-v0"}, "did you mean .*MiniGrid-Empty-8x8-v0"),
    ({"tasks": []}, "at least one"),
    ({"horizon": 0}, "horizon must be at least 1, got 0"),
]


@pytest.mark.parametrize(("arguments", "message"), BOTH)
def test_refused_settings(arguments: dict[str, Any], message: str) -> None:
    for kind in (MinigridEnv, MinigridVectorEnv):
        with pytest.raises(ValueError, match=message):
            kind(**arguments)


def test_refused_tasks() -> None:
    task = some("MiniGrid-FourRooms-v0", 1)[0]
    small, wide = replace(task, view_size=5), replace(task, view_size=9)
    for kind in (MinigridEnv, MinigridVectorEnv):
        with pytest.raises(ValueError, match=r"views of \[5, 7\] rows"):
            kind(tasks=[task, small])
    for refuse in (
        lambda task: MinigridEnv(tasks="MiniGrid-FourRooms-v0").reset(options={"task": task}),
        lambda task: MinigridVectorEnv(tasks="MiniGrid-FourRooms-v0").task_tensor([task]),
    ):
        with pytest.raises(ValueError, match=r"has a view of 5 rows and columns, this .* of 7"):
            refuse(small)
        with pytest.raises(ValueError, match=r"has 500 steps, .* 100: make one with horizon=500"):
            refuse(replace(task, max_steps=500))
    with pytest.raises(ValueError, match="views of up to 7 rows and columns, the tasks have 9"):
        MinigridVectorEnv(tasks=[wide])
    assert MinigridEnv(tasks=[wide]).reset()[0].shape == (9, 9, 3)
    twin = MinigridVectorEnv(1, tasks=[task])
    for name, value in (("rule", 99), ("height", 26), ("agent", -1), ("view_size", 5)):
        rows = twin.task_tensor([task])
        rows[0, FACTS.index(name) - len(FACTS)] = value
        with pytest.raises(ValueError, match=rf"a {name} of {value}, .*task_tensor"):
            twin.reset(options={"tasks": rows})


def test_numbers_are_for_any_environment() -> None:
    tasks = some("MiniGrid-DoorKey-5x5-v0", 2) + some("MiniGrid-MemoryS7-v0", 2)
    rows = MinigridVectorEnv(4, tasks=tasks).task_tensor(tasks)
    other = MinigridVectorEnv(4, tasks="MiniGrid-Empty-5x5-v0", horizon=300)
    seen, _ = other.reset(options={"tasks": rows})
    wanted, _ = MinigridVectorEnv(4, tasks=tasks).reset(options={"tasks": tasks})
    np.testing.assert_array_equal(seen, wanted)
    assert other.tasks == tasks
    rows[:, -1] += 1
    other.reset(options={"tasks": rows})
    with pytest.raises(ValueError, match="numbers do not say a mission"):
        _ = other.tasks


def test_a_horizon_that_is_given_cuts_tasks_short() -> None:
    task = some("MiniGrid-FourRooms-v0", 1)[0]
    single, twin = MinigridEnv(tasks=[task], horizon=3), MinigridVectorEnv(tasks=[task], horizon=3)
    single.reset()
    twin.reset()
    cuts = [(single.step(0)[3], bool(twin.step([0])[3])) for _ in range(3)]
    assert cuts == [(False, False)] * 2 + [(True, True)]
    made = gymnasium.make("metarl/Minigrid-v0", tasks=[task], max_episode_steps=4)
    assert (made.spec.max_episode_steps, made.unwrapped.horizon) == (4, 4)  # type: ignore[union-attr, attr-defined]


# Pictures and wrappers ------------------------------------------------------------------------


def test_pictures() -> None:
    task = some("MiniGrid-DoorKey-5x5-v0", 1)[0]
    env = MinigridEnv(tasks=[task], render_mode="ansi")
    env.reset()
    text = env.render()
    assert text.startswith("\n".join(task.to_ascii().splitlines()[-5:]))
    env = MinigridEnv(tasks=[task], render_mode="rgb_array")
    env.reset()
    first = env.render()
    env.step(0)
    assert (first.shape, first.dtype) == ((5 * 32, 5 * 32, 3), np.uint8)
    assert (first != env.render()).any()


def test_keys_are_actions() -> None:
    keys = MinigridEnv().get_keys_to_action()
    assert sorted(keys.values()) == list(range(7))
    assert keys["w",] == 2


def test_trials_of_image_tasks() -> None:
    """Two episodes on one task, seen as numbers in a row."""
    env = MetaObservation(Trial(gymnasium.make("metarl/Minigrid-v0", horizon=3), 2))
    seen, info = env.reset(seed=0)
    assert seen in env.observation_space
    names = {env.step(0)[4]["task_id"] for _ in range(6)}
    assert names == {info["task_id"]}


def test_sync_copies_play_what_the_twin_does_not() -> None:
    tasks = minigrid_tasks("BabyAI-GoToRedBall-v0", seeds=range(4))
    env = gymnasium.make_vec(
        "metarl/Minigrid-v0", num_envs=2, vectorization_mode="sync", tasks=tasks
    )
    seen, _ = env.reset(seed=0)
    assert seen.shape == (2, 7, 7, 3)
    env.step([0, 1])
    env.close()
