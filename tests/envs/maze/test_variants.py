"""What the maze can be asked for: random starts, a goal that ends the episode, the place seen."""

from typing import Any

import numpy as np
import pytest
import torch

from envs import GridMazeEnv, GridMazeVectorEnv, MazeTask, maze_tasks, oracle, pillar_maze

LAYOUT = pillar_maze(5)
TASK = MazeTask(LAYOUT, (1, 2))
RIGHT, UP = 3, 0


def starts_of(env: GridMazeVectorEnv, tasks: Any, **reset: Any) -> list[list[int]]:
    env.reset(options={"tasks": tasks}, **reset)
    positions: list[list[int]] = env.agent_positions.tolist()
    return positions


def test_random_starts_are_all_cells_but_the_goal() -> None:
    others = set(LAYOUT.free_cells) - {TASK.goal}
    many = GridMazeVectorEnv(400, layout=LAYOUT, start="random")
    assert {tuple(cell) for cell in starts_of(many, [TASK] * 400, seed=0)} == others
    one = GridMazeEnv(layout=LAYOUT, start="random", tasks=[TASK])
    found = set()
    for seed in range(100):
        one.reset(seed=seed)
        found.add(one.agent_position)
    assert found == others
    one.reset(seed=99)
    assert one.agent_position in found


def test_random_starts_are_drawn_again_for_every_episode_of_a_task() -> None:
    env = GridMazeVectorEnv(50, layout=LAYOUT, start="random")
    first = starts_of(env, [TASK] * 50, seed=1)
    env.reset(options={"same_task": True})
    assert env.agent_positions.tolist() != first
    assert env.tasks == (TASK,) * 50, "the task is the goal's, wherever its episodes start"
    assert starts_of(env, [TASK] * 50, seed=1) == first


def test_a_task_starts_where_it_starts_whatever_its_company_and_what_the_goal_does() -> None:
    tasks = maze_tasks(LAYOUT).tasks[:3]

    def starts(part: slice, respawn: Any) -> list[list[int]]:
        generators = [torch.Generator().manual_seed(seed) for seed in range(3)][part]
        env = GridMazeVectorEnv(
            5 * len(generators),
            layout=LAYOUT,
            generator=generators,
            start="random",
            respawn=respawn,
        )
        return starts_of(env, [task for task in tasks[part] for _ in range(5)])

    everything = starts(slice(None), "end")
    assert everything[5:10] == starts(slice(1, 2), "end")
    assert everything == starts(slice(None), "random")


def test_a_random_start_is_a_start_like_any_other() -> None:
    """From where they start, mazes go on as those whose tasks start there."""
    env = GridMazeVectorEnv(30, layout=LAYOUT, horizon=9, start="random", wall_penalty=0.5)
    given = {"teleports": torch.randint(8, (9, 30), generator=torch.Generator().manual_seed(0))}
    starts = starts_of(env, [TASK] * 30, seed=0)
    env.reset(seed=0, options={"tasks": [TASK] * 30, **given})
    twin = GridMazeVectorEnv(30, layout=LAYOUT, horizon=9, wall_penalty=0.5)
    there = [MazeTask(LAYOUT, TASK.goal, (row, column)) for row, column in starts]
    assert torch.equal(
        *(e.reset(options=o)[0] for e, o in ((twin, {"tasks": there, **given}),) * 2)
    )
    for action in torch.randint(4, (9, 30), generator=torch.Generator().manual_seed(1)):
        for one, other in zip(env.step(action)[:4], twin.step(action)[:4], strict=True):
            assert torch.equal(one, other)


def test_a_goal_that_ends_the_episode_pays_once_and_holds_the_agent() -> None:
    env = GridMazeVectorEnv(2, layout=LAYOUT, horizon=4, respawn="end", wall_penalty=0.5)
    env.reset(options={"tasks": [TASK, MazeTask(LAYOUT, (3, 3))]})
    results = [env.step(torch.tensor(actions)) for actions in ([UP, UP], [UP, UP], [RIGHT, RIGHT])]
    assert [r[1].tolist() for r in results] == [[10.0, 0.0], [0.0, -0.5], [0.0, 0.0]]
    assert [r[2].tolist() for r in results] == [[True, False]] * 3
    assert env.agent_positions.tolist() == [[1, 2], [1, 3]]
    _, _, terminated, truncated, _ = env.step(torch.tensor([0, 0]))
    assert (terminated.tolist(), truncated.tolist()) == ([True, False], [False, True])
    one = GridMazeEnv(layout=LAYOUT, respawn="end", tasks=[TASK])
    one.reset()
    assert one.step(UP)[1:4] == (10.0, True, False)
    assert one.agent_position == TASK.goal


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_episodes_that_end_early_are_followed_by_others(mode: str) -> None:
    env = GridMazeVectorEnv(64, layout=LAYOUT, horizon=6, respawn="end", autoreset_mode=mode)
    random = GridMazeVectorEnv(
        64, layout=LAYOUT, horizon=6, respawn="end", start="random", autoreset_mode=mode
    )
    for mazes in (env, random):
        mazes.reset(seed=0)
        rng = torch.Generator().manual_seed(7)
        paid, ends = torch.zeros(64), torch.zeros(64)
        for _ in range(60):
            _, rewards, terminated, truncated, _ = mazes.step(
                torch.randint(4, (64,), generator=rng)
            )
            assert torch.equal(rewards > 0, terminated)
            paid += rewards
            ends += terminated | truncated
            assert (mazes.agent_cells != mazes.goals).all() or mode == "NextStep"
        assert (ends >= 60 // 7).all()
        assert paid.mean() > 10


@pytest.mark.parametrize("start", ["centre", "random"])
@pytest.mark.parametrize(("goal", "respawn"), [("teleports", "random"), ("ends", "end")])
def test_random_actions_earn_what_the_anchor_says(start: Any, goal: Any, respawn: Any) -> None:
    tasks = maze_tasks(LAYOUT).split().test
    own = {"start": start, "horizon": 8, "reward": 2.0}
    env = GridMazeVectorEnv(20000, tasks=tasks, respawn=respawn, **own)
    env.reset(seed=0)
    rng = torch.Generator().manual_seed(7)
    total = sum(env.step(torch.randint(4, (20000,), generator=rng))[1] for _ in range(8))
    own["goal"] = goal
    floor = oracle.random_return(tasks, **own)
    error = float(total.std()) / 20000**0.5  # type: ignore[union-attr]
    assert abs(float(total.mean()) - floor) < 4 * error  # type: ignore[union-attr]
    assert floor < oracle.oracle_return(tasks, **own)


def test_anchors_of_several_mazes_are_means_over_their_tasks() -> None:
    five, seven = maze_tasks(LAYOUT).tasks, maze_tasks(pillar_maze(7)).tasks
    both = oracle.reference_returns(five + seven, horizon=20)
    for name in ("random", "localising", "ceiling", "oracle"):
        alone = [getattr(oracle.reference_returns(t, horizon=20), name) for t in (five, seven)]
        weighted = np.average(alone, weights=(len(five), len(seven)))
        assert getattr(both, name) == pytest.approx(weighted)
    starts = (MazeTask(LAYOUT, (1, 1)), MazeTask(LAYOUT, (1, 1), (1, 2)))
    alone = [oracle.oracle_return([task], horizon=5) for task in starts]
    assert oracle.oracle_return(starts, horizon=5) == pytest.approx(np.mean(alone))


def test_goals_alone_say_no_task_where_starts_differ() -> None:
    env = GridMazeVectorEnv(1, tasks=[TASK, MazeTask(LAYOUT, (1, 1), (3, 3))])
    with pytest.raises(ValueError, match="goals alone do not say a task"):
        env.reset(options={"goals": torch.tensor([0])})


def test_former_names_are_understood() -> None:
    for former, today in (("teleports", "random"), ("ends", "end")):
        for kind in (GridMazeEnv, GridMazeVectorEnv):
            with pytest.warns(DeprecationWarning, match=f"now respawn='{today}'") as warned:
                env = kind(layout=LAYOUT, goal=former)
            assert env.settings.respawn == today
            assert warned[0].filename == __file__
    for former, position in (("walls", False), ("walls_and_place", True)):
        for kind in (GridMazeEnv, GridMazeVectorEnv):
            sight = kind(layout=LAYOUT, observe=former).settings.sight
            assert (sight.view, sight.position) == ("3x3", position)
