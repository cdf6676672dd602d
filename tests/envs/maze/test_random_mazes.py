"""Random mazes as a problem: sides that are apart, horizons, stages, a bonus that fades."""

import pytest
import torch

from envs import MazeFamily, MazeTask, layout_anchors, layout_hash, named_mazes
from envs.maze.few import FewLayouts
from envs.maze.generators import GENERATORS
from envs.maze.perfect import is_perfect
from envs.maze.random_mazes import RandomMazes
from envs.maze.settings import sizes_of, usual_horizon
from metarl.rl.problem import check_problem

CPU = torch.device("cpu")

SNAKE = """
#######
#S....#
#####.#
#.....#
#.#####
#....G#
#######
"""
OPEN = """
#####
#...#
#.#.#
#...#
#####
"""


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def hashes(tasks):
    return {layout_hash(task.layout) for task in tasks}


def test_sides_are_apart_and_a_layout_has_one_side_whoever_draws_it():
    sides = {}
    for mazes in ("dfs", "mst"):
        problem = check_problem(RandomMazes(mazes, "9"))
        for name in ("train", "validation", "test"):
            drawn = getattr(problem, name).sample(200, seeded())
            sides.setdefault(name, set()).update(hashes(drawn))
    train, validation, test = sides.values()
    assert train
    assert not train & test
    assert not train & validation
    assert not validation & test


def test_another_salt_deals_them_out_differently():
    train = RandomMazes("dfs", "9").train.sample(300, seeded())
    other = RandomMazes("dfs", "9", salt="x")
    assert other.num_trained_on(train) < len({task.layout for task in train})


@pytest.mark.parametrize("mazes", GENERATORS)
def test_environments_play_mazes_of_every_generator(mazes):
    problem = RandomMazes(mazes, "15", horizon=7)
    env = problem.make_env(6, [seeded(), seeded(1)], CPU)
    seen, _ = env.reset_tensors()
    assert seen.shape == (6, *problem.observation.shape)
    assert problem.num_trained_on(env.tasks) == len({task.layout for task in env.tasks})


def test_of_a_maze_that_is_always_the_same_the_goals_are_dealt_out():
    problem = check_problem(RandomMazes("pillars", "9"))
    assert problem.num_trained_on(problem.test) == 1
    assert len(problem.train) > len(problem.test) > 0
    with pytest.raises(ValueError, match="size must be one number for pillars"):
        RandomMazes("pillars", "9..13")


def test_an_environment_draws_as_the_generators_say_and_alone_as_in_company():
    problem = RandomMazes("dfs", "9", horizon=7)
    both = problem.make_env(6, [seeded(3), seeded(4)], CPU)
    alone = problem.make_env(3, [seeded(4)], CPU)
    for _ in range(2):
        both.reset_tensors()
        alone.reset_tensors()
        assert both.tasks[3:] == alone.tasks


@pytest.mark.parametrize(
    ("size", "expected"), [("13", (13, 13)), ("9..25", (9, 25)), ("9-25", (9, 25))]
)
def test_sizes(size, expected):
    assert sizes_of(size) == expected


def test_a_range_has_mazes_of_all_its_sizes():
    problem = RandomMazes("dfs", "9..13")
    sizes = {task.layout.height for task in problem.train.sample(100, seeded())}
    assert sizes == {9, 11, 13}
    assert problem.horizon == usual_horizon(13) == 200


def test_horizons_go_with_sizes():
    assert [usual_horizon(n) for n in (9, 13, 19, 25)] == [100, 200, 500, 800]
    assert RandomMazes(size="13").of_size("25").horizon == 800
    assert RandomMazes(size="13", horizon=50).of_size("25").horizon == 200


def test_stages_grow_and_the_last_is_of_full_size():
    problem = RandomMazes("dfs", "13", size_schedule="9:0.4,11:0.6", exploration_bonus=0.2)
    assert [(s.begins, s.problem.size, s.problem.horizon) for s in problem.stages] == [
        (0.0, "9", 100),
        (0.4, "11", 100),
        (0.6, "13", 200),
    ]
    assert all(stage.problem.exploration_bonus == 0.2 for stage in problem.stages)


def test_the_bonus_falls_to_nothing():
    problem = RandomMazes("dfs", "9", exploration_bonus=0.2)
    env = problem.make_env(2, [seeded()], CPU)
    for done, bonus in ((0.0, 0.2), (0.35, 0.1), (0.7, 0.0), (0.9, 0.0)):
        problem.ease(env, done)
        env.reset_tensors()
        paid = 0.0
        for action in (0, 1, 2, 3) * 2:
            _, rewards, *_, info = env.step_tensors(torch.full((2,), action))
            paid = max(paid, float(info.get("bonus", torch.zeros(2)).max()))
            assert ((rewards == 0) | (rewards >= 1) | (rewards == info.get("bonus", -1))).all()
        assert paid == pytest.approx(bonus)


def test_few_layouts_are_as_many_and_have_all_their_goals():
    problem = RandomMazes("dfs", "9", num_layouts=3)
    assert isinstance(problem.train, FewLayouts)
    tasks = problem.train.sample(600, seeded())
    assert len(hashes(tasks)) == 3
    for layout in {task.layout for task in tasks}:
        goals = {task.goal for task in tasks if task.layout == layout}
        (start,) = {task.start for task in tasks if task.layout == layout}
        assert goals == set(layout.free_cells) - {start}
    assert problem.num_trained_on(tasks) == 3
    assert problem.num_trained_on(RandomMazes("dfs", "9").test.sample(50, seeded())) == 0
    env = problem.make_env(4, [seeded()], CPU)
    env.reset_tensors()
    assert hashes(env.tasks) <= hashes(tasks)


def test_few_layouts_refuse_more_than_there_are(monkeypatch):
    monkeypatch.setattr("envs.maze.few.PATIENCE", 2)
    with pytest.raises(ValueError, match="500 different layouts were asked for"):
        FewLayouts(MazeFamily("dfs", 7), 500)


def test_a_file_is_parted_by_layout(tmp_path):
    path = tmp_path / "mazes.txt"
    drawn = MazeFamily("mst", 9).sample(40, seeded())
    layouts = dict.fromkeys(task.layout for task in drawn)
    path.write_text("\n\n".join(layout.to_ascii() for layout in layouts))
    problem = RandomMazes(str(path))
    sides = [{t.layout for t in side} for side in problem.splits]
    assert sum(map(len, sides)) == len(layouts)
    assert all(sides)
    check_problem(problem)
    assert problem.num_trained_on(problem.every_task) == len(sides[0])


def test_named_mazes_are_the_same_on_all_sides():
    problem = RandomMazes("named")
    assert set(problem.test) == set(named_mazes())
    with pytest.raises(ValueError, match="which are for tests alone"):
        problem.check_sides()


def test_perfect_mazes_are_told():
    perfect = RandomMazes("mst", "9").train.sample(20, seeded())
    assert all(is_perfect(task.layout) for task in perfect)
    assert is_perfect(MazeTask.from_ascii(SNAKE).layout)
    loops = RandomMazes("mst", "9", loops=1.0).train.sample(20, seeded())
    assert not all(is_perfect(task.layout) for task in loops)
    assert RandomMazes("mst", "9").num_trained_on(loops) < len({t.layout for t in loops})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mazes": "maze.txt"}, "mazes must be one of .*dfs.*, or a text file.*got 'maze.txt'"),
        ({"size": "nine"}, r"size must be a number such as 13, or a range such as 9\.\.25"),
        ({"size": "25..9"}, "size must be a range from a smaller to a larger number"),
        ({"size": "12"}, "odd"),
        ({"size": "9..14"}, "both odd"),
        ({"size": "99"}, "size must be at most 62"),
        ({"size": "5"}, "too few"),
        ({"horizon": -1}, "horizon must be"),
        ({"reward": 0.0}, "reward must be above 0, got 0.0"),
        ({"wall_penalty": -1.0}, "wall_penalty must be finite and at least 0, got -1.0"),
        ({"exploration_bonus": float("nan")}, "exploration_bonus must be finite and at least 0"),
        ({"loops": 2.0}, "loops"),
        ({"num_layouts": -1}, "num_layouts must be at least 0, got -1"),
        ({"size_schedule": "9"}, "size_schedule must be sizes and the shares"),
        ({"size_schedule": "9:0.5,11:0.4"}, "which rise and stay below 1"),
        ({"size_schedule": "9:1.0"}, "which rise and stay below 1"),
        ({"view": "4x4"}, "view must be one of"),
        ({"see_through": True}, "see_through"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        RandomMazes(**{"size": "9", **settings})


def test_a_file_with_too_few_mazes_to_part_is_refused(tmp_path):
    path = tmp_path / "one.txt"
    path.write_text(OPEN)
    with pytest.raises(ValueError, match="draw more mazes into the file"):
        RandomMazes(str(path)).check_sides()


def test_agents_that_turn_are_judged_by_those_that_turn():
    mazes = RandomMazes("dfs", size=9, view="egocentric-5", wall_penalty=0.1)
    tasks = mazes.test.sample(3, torch.Generator().manual_seed(0))
    turning = layout_anchors(
        tasks, horizon=mazes.horizon, reward=1.0, wall_penalty=0.1, turning=True
    )
    assert mazes.ladder(tasks).means() == turning.means()
    assert RandomMazes("dfs", size=9).ladder(tasks).means()["oracle"] > turning.means()["oracle"]


def test_mazes_of_other_sizes_than_those_of_training_were_not_drawn():
    small, large = (RandomMazes("dfs", size).train.sample(60, seeded()) for size in ("9", "13"))
    of_13, of_9 = RandomMazes("dfs", "13"), RandomMazes("dfs", "9")
    assert (of_13.num_trained_on(small), of_9.num_trained_on(large)) == (0, 0)
    assert of_13.num_trained_on(large) == len(hashes(large))
    for both in (RandomMazes("dfs", "13", size_schedule="9:0.4"), RandomMazes("dfs", "9..13")):
        assert both.num_trained_on(small) == len(hashes(small))
    few = RandomMazes("dfs", "13", size_schedule="9:0.4", num_layouts=3)
    smaller = few.stages[0].problem.train.sample(60, seeded())
    assert few.num_trained_on(smaller) == 3


def test_who_learns_nothing_earns_the_same_in_every_episode_of_a_trial() -> None:
    mazes = RandomMazes("dfs", size=9, horizon=40)
    tasks = mazes.test.sample(5, seeded())
    one, three = mazes.ladder(tasks).means(), mazes.ladder(tasks, 3).means()
    for name in ("random", "oracle", "right_hand", "left_hand"):
        assert three[name] == pytest.approx(3 * one[name]), name
    assert 2 * one["explorer"] < three["explorer"] <= three["ceiling"] <= three["oracle"]
