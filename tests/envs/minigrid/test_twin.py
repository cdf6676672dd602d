"""The tensor twin against Minigrid itself: seen, paid and ended alike, step for step."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from minigrid.wrappers import OneHotPartialObsWrapper

from envs import MinigridEnv, MinigridTask, MinigridVectorEnv, minigrid_tasks
from envs.minigrid.codes import SHOWN
from envs.minigrid.dynamics import ENDINGS
from envs.minigrid.reading import make_minigrid, set_task
from envs.minigrid.views import Shadows, shadow_tables
from tests.envs.minigrid.ids import PLAYED, actions, elsewhere, every_id, some

B = 8


def play(
    most: int, env_id: str, tasks: Any, rng: np.random.Generator, set_real: Any, batch: int = B
) -> int:
    """Plays some tasks in the twin and in Minigrid; the number of steps."""
    twin: Any = gymnasium.make_vec(
        "metarl/Minigrid-v0", num_envs=batch, tasks=tasks, autoreset_mode=AutoresetMode.DISABLED
    )
    reals = [make_minigrid(env_id) for _ in range(batch)]
    chosen = [tasks[int(number)] for number in rng.integers(len(tasks), size=batch)]
    seen, info = twin.reset(options={"tasks": chosen})
    wanted = [set_real(real, task) for real, task in zip(reals, chosen, strict=True)]
    running, steps = set(range(batch)), 0
    while running and steps < most:
        action = actions(rng, batch)
        for b in running:
            assert info["direction"][b] == wanted[b]["direction"]
        results = twin.step(action)
        for b in sorted(running):
            assert np.array_equal(seen[b], wanted[b]["image"]), (env_id, steps, b)
            wanted[b], reward, ended, cut, _ = reals[b].step(int(action[b]))
            assert tuple(part[b] for part in results[1:4]) == (reward, ended, cut)
            steps += 1
            if ended or cut:
                assert np.array_equal(results[0][b], wanted[b]["image"])
                running.remove(b)
        seen, info = results[0], results[4]
    return steps


def play_for(least: int, *args: Any) -> None:
    """Plays batches until there are so many steps.

    Horizons go up to 3,600: a batch takes part of the steps only.
    """
    steps = 0
    while steps < least:
        steps += play(max(500, least // 10), *args)


def by_seed(real: Any, task: MinigridTask) -> Any:
    return real.reset(seed=task.seed)[0]


def by_contents(real: Any, task: MinigridTask) -> Any:
    set_task(real, task)
    return real.gen_obs()


@every_id
def test_equal_to_minigrid_as_it_resets_itself(env_id: str) -> None:
    play_for(500, env_id, some(env_id, 20), np.random.default_rng(0), by_seed)


@every_id
def test_equal_to_minigrid_from_anywhere(env_id: str) -> None:
    """Agents that start behind the doors and beside the targets see all that there is."""
    rng = np.random.default_rng(1)
    tasks = list(dict.fromkeys(elsewhere(task, rng) for task in some(env_id, 20) for _ in range(3)))
    play_for(500, env_id, tasks, rng, by_contents)


@pytest.mark.slow
@every_id
def test_equal_to_minigrid_over_a_hundred_thousand_steps(env_id: str) -> None:
    rng, tasks = np.random.default_rng(2), some(env_id, 200)
    others = list(dict.fromkeys(elsewhere(task, rng) for task in tasks for _ in range(3)))
    play_for(50_000, env_id, tasks, rng, by_seed, 4 * B)
    play_for(50_000, env_id, others, rng, by_contents, 4 * B)


LEFT, RIGHT, AHEAD, PICKUP, DROP, TOGGLE, DONE = range(7)
LOST, GOES_ON = "lost", "goes on"

PLAYS: list[tuple[str, str, list[tuple[int, int]], list[int], str]] = [
    ("goal", ">>..$$", [], [AHEAD, AHEAD], "won"),
    ("goal", ">>~~$$", [], [AHEAD], LOST),
    ("goal", ">>$$..", [], [RIGHT, AHEAD], GOES_ON),
    ("goal", ">>Ky..Ly$$", [], [PICKUP, AHEAD, AHEAD, TOGGLE, AHEAD, AHEAD], "won"),
    ("goal", ">>Kr..Ly$$", [], [PICKUP, AHEAD, AHEAD, TOGGLE, AHEAD, AHEAD], GOES_ON),
    ("goal", ">>Ey..Ly$$", [], [TOGGLE, PICKUP, AHEAD, AHEAD, TOGGLE, AHEAD, AHEAD], "won"),
    ("goal", ">>Db$$", [], [AHEAD, TOGGLE, TOGGLE, AHEAD, TOGGLE, AHEAD, AHEAD], "won"),
    ("goal", ">>_r$$", [], [AHEAD, AHEAD], "won"),
    ("open", ">>Dr..", [(2, 1)], [TOGGLE], "won"),
    ("open", ">>Lr..", [(2, 1)], [TOGGLE], GOES_ON),
    ("open", ">>Kr..Lr..", [(4, 1)], [PICKUP, AHEAD, AHEAD, TOGGLE], "won"),
    ("pick up", ">>Ag..", [(2, 1)], [PICKUP], "won"),
    ("pick up", ">>KrAg", [(3, 1)], [PICKUP, AHEAD, PICKUP, LEFT, LEFT, DROP, LEFT, LEFT], GOES_ON),
    (
        *("pick up", ">>KrAg", [(3, 1)]),
        *([PICKUP, AHEAD, LEFT, LEFT, DROP, LEFT, LEFT, PICKUP], "won"),
    ),
    ("memory", ">>....", [(2, 1), (3, 1)], [AHEAD], "won"),
    ("memory", ">>....", [(3, 1), (2, 1)], [AHEAD], LOST),
    ("memory", ">>Dr..", [(3, 1), (1, 1)], [PICKUP], LOST),
    ("memory", ">>Dr....", [(3, 1), (4, 1)], [PICKUP, AHEAD, AHEAD], "won"),
    ("red then blue", ">>Dr..Db", [(2, 1), (4, 1)], [TOGGLE, AHEAD, AHEAD, TOGGLE], "won"),
    ("red then blue", ">>Db..Dr", [(4, 1), (2, 1)], [TOGGLE], LOST),
    ("go to", ">>Kr..", [(2, 1)], [DONE], "won"),
    ("go to", ">>..Kr", [(3, 1)], [DONE], LOST),
    ("go to", ">>Kr..", [(2, 1)], [TOGGLE], LOST),
    ("fetch", ">>KrAb", [(2, 1)], [PICKUP], "won"),
    ("fetch", ">>AbKr", [(3, 1)], [PICKUP], LOST),
    ("put near", ">>Kr..AbXg", [(2, 1), (4, 1)], [PICKUP, AHEAD, DROP], "won"),
    ("put near", ">>Kr..AbXg", [(2, 1), (4, 1)], [PICKUP, DROP], LOST),
    ("put near", ">>Kr..AbXg", [(2, 1), (5, 1)], [PICKUP, AHEAD, DROP], LOST),
    ("put near", ">>AbKrXg", [(3, 1), (4, 1)], [PICKUP], LOST),
    ("put near", ">>XgKrAb", [(3, 1), (4, 1)], [TOGGLE, AHEAD, PICKUP, LEFT, DROP], LOST),
]
"""Rule, the middle row of a corridor, targets, actions, and what comes of them."""

OF_RULE = {some(env_id, 1)[0].rule: env_id for env_id in PLAYED}


def test_every_rule_is_among_the_plays() -> None:
    assert {rule for rule, *_ in PLAYS} == set(OF_RULE) == {*ENDINGS, "goal"}


@pytest.mark.parametrize(("rule", "row", "targets", "moves", "end"), PLAYS)
def test_what_comes_of_a_play(
    rule: str, row: str, targets: list[tuple[int, int]], moves: list[int], end: str
) -> None:
    """In Minigrid and in the twin, which agree on every step."""
    wall = "##" * (len(row) // 2 + 2)
    grid = f"{wall}\n##{row.replace('>>', '..')}##\n{wall}"
    task = MinigridTask(
        grid, (1, 1), 0, "", 20, rule=rule, targets=tuple(targets), env_id=OF_RULE[rule]
    )
    single, twin = MinigridEnv(tasks=[task]), MinigridVectorEnv(1, tasks=[task])
    np.testing.assert_array_equal(twin.reset()[0][0], single.reset()[0])
    for number, move in enumerate(moves, 1):
        seen, reward, ended, cut, _ = single.step(move)
        many, rewards, terminated, truncated, _ = twin.step([move])
        np.testing.assert_array_equal(many[0], seen)
        assert (rewards[0], terminated[0], truncated[0]) == (reward, ended, cut)
        assert ended == (number == len(moves) and end != GOES_ON)
    assert (reward > 0) == (end == "won")


def test_tasks_of_all_sizes_and_rules_play_side_by_side() -> None:
    rng = np.random.default_rng(4)
    tasks = [elsewhere(some(env_id, 1)[0], rng) for env_id in PLAYED]
    twin = MinigridVectorEnv(len(tasks), tasks=tasks)
    singles = [MinigridEnv(tasks=tasks) for _ in tasks]
    seen, info = twin.reset(options={"tasks": tasks})
    assert twin.tasks == tuple(tasks)
    assert twin.missions == tuple(task.mission for task in tasks)
    firsts = [e.reset(options={"task": task}) for e, task in zip(singles, tasks, strict=True)]
    wanted = [first for first, _ in firsts]
    assert [info["mission"] for _, info in firsts] == list(twin.missions)
    running = set(range(len(tasks)))
    for _ in range(60):
        action = actions(rng, len(tasks))
        for b in running:
            np.testing.assert_array_equal(seen[b], wanted[b])
        seen, rewards, terminated, truncated, info = twin.step(action)
        for b in sorted(running):
            wanted[b], reward, ended, cut, said = singles[b].step(action[b])
            assert (terminated[b], truncated[b]) == (ended, cut)
            assert rewards[b] == np.float32(reward)
            assert info["direction"][b] == said["direction"]
            if ended or cut:
                running.remove(b)


def test_larger_grids_may_be_set_later() -> None:
    small, large = some("MiniGrid-Empty-5x5-v0", 1), some("MiniGrid-FourRooms-v0", 2)
    twin = MinigridVectorEnv(2, tasks=small, horizon=100)
    first, _ = twin.reset()
    again, _ = MinigridVectorEnv(2, tasks=large).reset(options={"tasks": large})
    rows = twin.task_tensor(large)
    seen, _ = twin.reset(options={"tasks": rows})
    torch.testing.assert_close(seen, again)
    assert twin.tasks == large
    torch.testing.assert_close(twin.reset(options={"tasks": list(small) * 2})[0], first)


def test_last_step_can_be_both_ends() -> None:
    """Minigrid truncates whether or not the last step ends the episode."""
    text = "########\n##>>$$##\n##....##\n########"
    fields = 'mission: "get there"\nmax_steps: 1\nsee_through: true'
    task = MinigridTask.from_ascii(f"{fields}\n{text}")
    twin, single = MinigridVectorEnv(2, tasks=[task]), MinigridEnv(tasks=[task])
    twin.reset()
    single.reset()
    _, rewards, terminated, truncated, _ = twin.step([2, 0])
    assert (terminated.tolist(), truncated.tolist()) == ([True, False], [True, True])
    torch.testing.assert_close(rewards, torch.tensor([0.1, 0.0]))
    assert single.step(2)[1:4] == (pytest.approx(0.1), True, True)


def test_episodes_of_different_lengths_hold_still_when_they_are_over() -> None:
    tasks = [*some("MiniGrid-FourRooms-v0", 1), *some("MiniGrid-MultiRoom-N2-S4-v0", 1)]
    twin = MinigridVectorEnv(2, tasks=tasks)
    assert twin.horizon == 100
    twin.reset(options={"tasks": tasks})
    cut = [twin.step([0, 0])[3].tolist() for _ in range(100)]
    assert cut == [[False, t >= 40] for t in range(1, 100)] + [[True, True]]


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_autoreset_begins_each_episode_like_the_first(mode: AutoresetMode) -> None:
    tasks = some("MiniGrid-LavaGapS5-v0", 20)
    twin = MinigridVectorEnv(6, tasks=tasks, autoreset_mode=mode, horizon=20)
    singles = [MinigridEnv(tasks=tasks, horizon=20) for _ in range(6)]
    chosen = [tasks[b % len(tasks)] for b in range(6)]
    seen, _ = twin.reset(options={"tasks": chosen})
    wanted = [s.reset(options={"task": t})[0] for s, t in zip(singles, chosen, strict=True)]
    rng, over, ends = np.random.default_rng(5), [False] * 6, 0
    for _ in range(200):
        np.testing.assert_array_equal(seen, np.stack(wanted))
        action = actions(rng, 6)
        seen, rewards, terminated, truncated, info = twin.step(action)
        for b, single in enumerate(singles):
            if over[b]:  # NEXT_STEP: this one starts again
                wanted[b], over[b] = single.reset()[0], False
                assert (rewards[b], terminated[b], truncated[b]) == (0, False, False)
                continue
            wanted[b], reward, ended, cut, _ = single.step(action[b])
            assert (terminated[b], truncated[b]) == (ended, cut)
            assert rewards[b] == np.float32(reward)
            if ended or cut:
                ends += 1
                over[b] = mode is AutoresetMode.NEXT_STEP
                if not over[b]:
                    np.testing.assert_array_equal(info["final_obs"][b], wanted[b])
                    wanted[b] = single.reset()[0]
    assert ends > 50


# What is seen ---------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["MiniGrid-ObstructedMaze-1Dlh-v0", "MiniGrid-Fetch-8x8-N3-v0"])
def test_forms_of_observations(env_id: str) -> None:
    """One-hot is Minigrid's own wrapper's; codes are those of the image; twins agree."""
    tasks = some(env_id, 4)
    rng = np.random.default_rng(6)
    real = OneHotPartialObsWrapper(make_minigrid(env_id))
    forms = {
        form: (MinigridVectorEnv(1, tasks=tasks, observe=form), MinigridEnv(observe=form))
        for form in ("image", "codes", "onehot", "maze")
    }
    for task in tasks:
        one_hot, _ = real.reset(seed=task.seed)
        starts: dict[str, Any] = {}
        for form, (twin, single) in forms.items():
            seen, _ = twin.reset(options={"tasks": [task]})
            starts[form] = seen[0]
            single.settings = twin.settings
            np.testing.assert_array_equal(single.reset(options={"task": task})[0], seen[0])
            assert seen[0].numpy() in twin.single_observation_space
        for action in actions(rng, 20):
            np.testing.assert_array_equal(starts["onehot"], one_hot["image"])
            np.testing.assert_array_equal(starts["maze"], one_hot["image"][..., [2, 8]])
            assert starts["codes"].shape == (49,)
            assert not (SHOWN[starts["codes"]] != starts["codes"].numpy()).any()
            one_hot, _, *ended, _ = real.step(int(action))
            for form, (twin, single) in forms.items():
                starts[form] = twin.step([action])[0][0]
                np.testing.assert_array_equal(single.step(action)[0], starts[form])
            if any(ended):
                break


def test_direction_and_mission_follow_the_cells() -> None:
    task = some("MiniGrid-Fetch-5x5-N2-v0", 1)[0]
    kind, colour = ("key", "red") if "red key" in task.mission else ("ball", "?")
    twin = MinigridVectorEnv(1, tasks=[task], observe="onehot", direction=True, mission=True)
    seen, info = twin.reset()
    assert seen.shape == (1, 7 * 7 * 20 + 4 + 34)
    assert seen[0, 980:984].argmax() == info["direction"][0] == task.direction
    (x, y), *_ = task.named_cells
    text = task.grid.split("\n")[y][2 * x : 2 * x + 2]
    kinds = {"K": 5, "A": 6, "X": 7}
    said = seen[0, 984:]
    assert said.nonzero().ravel().tolist() == [kinds[text[0]], 11 + "rgbpye".index(text[1])]
    assert kind in task.mission or colour == "?"


@pytest.mark.parametrize("size", [3, 5, 7])
def test_shadows_are_minigrids(size: int) -> None:
    """Random walls and doors, every direction, views of all sizes that the twin has."""
    rng = np.random.default_rng(size)
    real = make_minigrid("MiniGrid-Empty-5x5-v0")
    for _ in range(40):
        cells = np.full((11, 11), "##")
        cells[1:-1, 1:-1] = rng.choice(["..", "##", "Dr", "Og", "Kb"], (9, 9))
        x, y = rng.integers(1, 10, size=2).tolist()
        cells[y, x] = ".."
        grid = "\n".join("".join(row) for row in cells)
        task = MinigridTask(grid, (x, y), int(rng.integers(4)), "", 9, view_size=size)
        twin = MinigridVectorEnv(1, tasks=[task])
        set_task(real, task)
        np.testing.assert_array_equal(twin.reset()[0][0], real.gen_obs()["image"])


def test_light_that_falls_nowhere_goes_nowhere() -> None:
    following, lit = shadow_tables(3)
    assert following[:8].tolist() == [0] * 8
    assert lit[:8].tolist() == [0] * 8
    assert Shadows(3, 9, torch.device("cpu")).view_size == 3


def test_make_vec_plays_an_id_by_its_name() -> None:
    env: Any = gymnasium.make_vec(
        "metarl/Minigrid-v0", num_envs=3, tasks="MiniGrid-LavaGapS6-v0", device="cpu"
    )
    seen, info = env.reset(seed=0)
    assert (seen.dtype, tuple(seen.shape)) == (torch.uint8, (3, 7, 7, 3))
    assert {task.env_id for task in env.tasks} == {"MiniGrid-LavaGapS6-v0"}
    assert set(env.tasks) <= set(minigrid_tasks("MiniGrid-LavaGapS6-v0", seeds=None))
    assert env.agent_positions.tolist() == [[1, 1]] * 3
    assert env.agent_directions.tolist() == info["direction"].tolist() == [0] * 3
    assert env.grids.shape == (3, 6, 6)
