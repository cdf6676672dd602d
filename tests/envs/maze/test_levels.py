"""Mazes as rows of numbers: drawn, told apart, and changed a little."""

import pytest
import torch

from envs import MazeFamily
from envs.maze.bits import check_rows, unpack_rows
from envs.maze.layout import Layout
from envs.maze.levels import MazeLevels, nearly_empty
from envs.maze.numbers import check_tasks
from envs.maze.parts import holds
from envs.maze.tasks import MazeTask
from envs.maze.tensor import GridMazeVectorEnv
from envs.problems import RandomMazes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def family(name="walls-60", size=15, **options):
    return MazeFamily(name, size, **options).split(train=0.8, validation=0.1, test=0.1).train


def values(levels, turning=False):
    """Levels as tasks."""
    tasks = []
    for goal, start, *rows in levels.tolist():
        way = rows.pop() if turning else None
        tasks.append(MazeTask.of_numbers(Layout.from_packed(tuple(rows)), goal, start, way))
    return tasks


FAMILIES = {
    "walls": family(),
    "unsolvable": family(solvable=False),
    "perfect": family("mst", 9),
    "range": family("dfs", (9, 13)),
    "uniform": family("walls-25", 13, start="uniform"),
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("how", ["draw", "bare", "edited"])
def test_levels_are_tasks_of_training(name, how):
    mazes = FAMILIES[name]
    source = MazeLevels(mazes)
    levels = source.bare(64, generator()) if how == "bare" else source.draw(64, generator())
    if how == "edited":
        before, levels = levels, source.edited(levels, 8, generator(1))
        assert (source.keys(levels) != source.keys(before)).float().mean() > 0.5
    assert levels.shape == (64, source.width)
    free = check_rows(levels[:, 2:].contiguous())
    check_tasks(levels[:, 0], levels[:, 1], free)
    env = GridMazeVectorEnv(64, tasks=mazes)
    env.reset(options={"tasks": levels})
    assert holds(mazes.parts, levels[:, 2:].contiguous()).all()
    if mazes.solvable:
        assert len(values(levels)) == 64  # which refuse layouts in pieces


def test_bare_levels_have_a_wall_or_none():
    rooms = nearly_empty(400, 9, generator(), torch.device("cpu"))
    walls = rooms[:, 1:-1, 1:-1].sum((1, 2))
    assert set(walls.tolist()) == {0, 1}
    assert 150 < int(walls.sum()) < 250
    assert rooms.sum((1, 2)).min() == 32


def test_one_edit_changes_one_thing():
    """A wall more, a wall less, or another goal; in one of three cases nothing."""
    mazes = family("walls-25", 15, solvable=False)
    source, seen = MazeLevels(mazes), {"wall": 0, "opened": 0, "goal": 0, "same": 0}
    before = source.draw(600, generator())
    after = source.edited(before, 1, generator(1))
    for old, new in zip(before, after, strict=True):
        olds, news = (
            (~unpack_rows(row[2:])).flatten().nonzero()[:, 0].tolist() for row in (old, new)
        )
        less, more = set(olds) - set(news), set(news) - set(olds)
        goals = olds[int(old[0])], news[int(new[0])]
        assert olds[int(old[1])] == news[int(new[1])]  # the start stays
        if goals[0] != goals[1]:
            seen["goal"] += 1
            assert not less
            assert more <= {goals[1]}  # dug free, if it was a wall
        else:
            assert len(less) + len(more) <= 1
            seen["wall" if less else "opened" if more else "same"] += 1
    assert 150 < seen["goal"] < 260
    assert seen["wall"] > 100
    assert seen["opened"] > 5
    assert seen["same"] > 130


def test_walls_are_edited_all_over_the_inside():
    mazes = family("walls-25", 7, solvable=False)
    source = MazeLevels(mazes)
    levels = source.edited(source.draw(2000, generator()), 12, generator(1))
    inside = ((levels[:, 2:].unsqueeze(-1) >> torch.arange(7)) & 1)[:, 1:-1, 1:-1]
    share = inside.double().mean(0)
    share[2, 2] = share[0, 0]  # the start stays free
    assert share.min() > 0.17
    assert share.max() < 0.26


def test_edits_never_lead_to_layouts_of_the_test():
    mazes = MazeFamily("walls-25", 9).split(train=0.5, test=0.5)
    source = MazeLevels(mazes.train)
    levels = source.draw(256, generator())
    for step in range(5):
        levels = source.edited(levels, 4, generator(step))
    for task in values(levels):
        assert mazes.train.contains(task)
        assert not mazes.test.contains(task)


def test_keys_tell_levels_apart():
    source = MazeLevels(family("mst", 9))
    levels = source.draw(5000, generator())
    distinct = len(set(map(tuple, levels.tolist())))
    assert len(set(source.keys(levels).tolist())) == distinct
    again = levels.clone()
    assert torch.equal(source.keys(levels), source.keys(again))
    again[:, 0] = torch.where(levels[:, 0] == 3, 4, 3)
    assert (source.keys(levels) != source.keys(again)).all()


def test_keys_do_not_see_padding():
    """A layout in rows of larger ones has the same key, be what is outside of it 0 or wall."""
    wide = MazeLevels(MazeFamily("dfs", (9, 13)))
    levels = wide.draw(200, generator())
    small = levels[(levels[:, 2:] != 0).sum(1) == 9]
    padded = small.clone()
    padded[:, 2 + 9 :] = 2**13 - 1
    padded[:, 2 : 2 + 9] |= (2**13 - 1) & ~(2**9 - 1)
    assert len(small) > 20
    assert torch.equal(wide.keys(small), wide.keys(padded))


def test_directions_are_part_of_a_level_where_agents_turn():
    source = MazeLevels(family(), turning=True)
    levels = source.draw(400, generator())
    assert levels.shape[1] == source.width == 18
    assert set(levels[:, -1].tolist()) == {0, 1, 2, 3}
    turned = levels.clone()
    turned[:, -1] = (levels[:, -1] + 1) % 4
    assert (source.keys(levels) != source.keys(turned)).all()
    edited = source.edited(levels, 5, generator(1))
    assert torch.equal(edited[:, -1], levels[:, -1])
    env = GridMazeVectorEnv(400, tasks=family(), view="egocentric-5")
    env.reset(options={"tasks": edited})
    assert torch.equal(env.agent_directions, edited[:, -1])


def test_the_same_generator_gives_the_same_levels():
    source = MazeLevels(family())
    one, other = (source.edited(source.draw(16, generator()), 5, generator(1)) for _ in range(2))
    assert torch.equal(one, other)


def test_random_mazes_hand_out_their_levels():
    problem = RandomMazes("dfs", "9")
    assert problem.levels.width == 11
    for task in values(problem.levels.draw(32, generator())):
        assert problem.train.contains(task)
    with pytest.raises(ValueError, match="endlessly many mazes of a generator, got those of dfs"):
        _ = RandomMazes("dfs", "9", num_layouts=4).levels
