"""The mazes to adapt to: variants, anchors, and that test goals are never trained on."""

from itertools import product

import pytest
import torch

from envs import GridMazeVectorEnv, VectorMetaObservation, VectorTrial, maze_tasks
from envs.maze import anchors as oracle
from envs.maze.generators import GENERATORS
from envs.maze.layout import Layout
from experiments.environments import ENVIRONMENTS, Maze, environment_named, problem_named
from metarl.errors import UserError
from metarl.rl.trial_env import TrialEnv, num_trial_inputs

VARIANTS = list(product(("centre", "random"), ("teleports", "ends")))
CPU = torch.device("cpu")


def maze(size, horizon, start="centre", goal="teleports", **salt):
    return Maze(size=size, horizon=horizon, start=start, goal=goal, **salt)


def environments(world, tasks, episodes, generators):
    """Environments with some episodes per task, and their reset options."""
    many = [task for task in tasks for _ in range(episodes)]
    return world.make_env(len(many), generators, CPU), {"tasks": many}


def play(world, tasks, episodes, actions=None, seed=0):
    """Rewards and ends ``[T, B]``, and the starts of one episode by these or by random actions."""
    generator = torch.Generator().manual_seed(seed)
    env, options = environments(world, tasks, episodes, [generator])
    env.reset(options=options)
    starts = env.unwrapped.agent_positions
    rewards, ends = [], []
    for _ in range(world.horizon):
        moves = torch.randint(4, (env.num_envs,), generator=generator)
        _, reward, terminated, *_ = env.step(moves if actions is None else actions(env.unwrapped))
        rewards.append(reward)
        ends.append(terminated)
    return torch.stack(rewards), torch.stack(ends), starts


@pytest.mark.parametrize("size", [5, 7, 9, 11, 13])
def test_goals_to_train_choose_and_test_on_are_apart_and_together_all(size):
    world = maze(size, 10)
    three = world.train, world.validation, world.test
    sides = [{task.goal for task in side.tasks} for side in three]
    goals = [task.goal for task in maze_tasks(world.test[0].layout)]
    assert set().union(*sides) == set(goals)
    assert sum(map(len, sides)) == len(goals)
    assert min(map(len, sides)) > 0
    for start, goal in VARIANTS:
        other = maze(size, 10, start, goal)
        assert (other.train, other.validation, other.test) == three


def test_another_salt_deals_the_goals_out_differently():
    one, other = maze(9, 10), maze(9, 10, salt="a")
    assert set(one.test) != set(other.test)
    with pytest.raises(UserError, match=r"maze has no tasks for validation: .* --salt"):
        problem_named("maze", maze(5, 10, salt="goals"))


@pytest.mark.parametrize(("start", "goal"), VARIANTS)
def test_anchors_are_what_random_actions_earn(start, goal):
    world = maze(5, 8, start, goal)
    tasks = world.test.tasks
    rewards, _, _ = play(world, tasks, 4000)
    floor, best, _ = world.anchors(tasks)
    assert rewards.sum(0).mean() == pytest.approx(floor, abs=0.03)
    assert floor < best


def test_anchors_from_the_centre_with_teleports_are_the_references():
    world = maze(7, 30)
    reference = oracle.reference_returns(world.test, horizon=30, reward=1.0)
    found = world.anchors(world.test.tasks)
    assert found[:2] == pytest.approx((reference.random, reference.oracle))


@pytest.mark.parametrize("start", ["centre", "random"])
def test_who_knows_the_goal_earns_the_oracle(start):
    """A greedy walk by distance; 1 at most where the goal ends the episode."""
    world = maze(5, 3, start, "ends")
    tasks = world.test.tasks
    layout = tasks[0].layout
    away = torch.tensor(layout.distances)

    def nearer(mazes):
        table = torch.tensor(mazes.settings.tables.next_cell)[mazes.agent_cells]  # [B, A]
        return away[mazes.goals[:, None], table].argmin(1)

    rewards, ends, _ = play(world, tasks, 2000, nearer)
    assert rewards.sum(0).mean() == pytest.approx(world.anchors(tasks).oracle, abs=0.02)
    assert torch.equal(ends, rewards.cumsum(0) > 0)
    assert rewards.sum(0).max() == 1


def test_random_starts_are_all_cells_but_the_goal_and_others_the_centre():
    tasks = maze(5, 2).test.tasks[:1]
    centre, anywhere = (
        play(maze(5, 2, start), tasks, 300)[2].unique(dim=0) for start in ("centre", "random")
    )
    assert centre.tolist() == [list(tasks[0].start)]
    others = set(tasks[0].layout.free_cells) - {tasks[0].goal}
    assert {tuple(cell) for cell in anywhere.tolist()} == others


def test_starts_repeat_with_the_seed_and_are_drawn_anew_every_episode():
    world = maze(5, 2, "random")
    tasks = world.test.tasks
    one, two, other = (play(world, tasks, 20, seed=seed)[2] for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(tasks))]
    env, options = environments(world, tasks, 20, generators)
    seen = []
    for again in (options, {"same_task": True}, None):
        env.reset(options=again)
        goals = [task.goal for task in env.unwrapped.tasks]
        assert goals == [task.goal for task in tasks for _ in range(20)]
        seen.append(env.unwrapped.agent_positions)
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_a_task_starts_where_it_starts_whatever_its_company():
    world = maze(7, 2, "random")
    tasks = world.test.tasks

    def starts(part):
        generators = [torch.Generator().manual_seed(seed) for seed in range(len(tasks))][part]
        env, options = environments(world, tasks[part], 5, generators)
        env.reset(options=options)
        return env.unwrapped.agent_positions

    assert torch.equal(starts(slice(None))[5:10], starts(slice(1, 2)))


def test_a_goal_that_teleports_pays_again_and_ends_nothing():
    world = maze(5, 40)
    rewards, ends, _ = play(world, world.test.tasks, 50)
    assert rewards.sum(0).max() > 1
    assert not ends.any()


def test_settings_hand_the_variants_on():
    env = maze(5, 9, "random", "ends").make_env(2, [torch.Generator()], CPU)
    assert isinstance(env, GridMazeVectorEnv)
    assert (env.settings.start, env.settings.respawn) == ("random", "end")


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_spaces_are_those_of_the_environments(env):
    problem = environment_named(env)
    made = problem.make_env(2, [torch.Generator()], CPU)
    assert made.single_action_space == problem.actions
    assert made.single_observation_space.shape == problem.observation.shape
    observation, _ = made.reset(options={"tasks": None})
    assert observation.flatten(1).shape == (2, problem.observation.shape[0])


@pytest.mark.parametrize("env", ENVIRONMENTS)
@pytest.mark.parametrize("num_episodes", [1, 3])
def test_trials_look_as_through_the_wrappers_of_the_environments(env, num_episodes):
    problem = environment_named(env)
    one, other = (problem.make_env(4, [torch.Generator().manual_seed(3)], CPU) for _ in range(2))
    trial = TrialEnv(one, problem.horizon, num_episodes, device=CPU)
    wrapped = VectorTrial(other, num_episodes, episode_flag=True, wait=True)
    wrapped = VectorMetaObservation(wrapped, unused_input=False)
    seen, expected = (each.reset(options={"tasks": None})[0] for each in (trial, wrapped))
    assert torch.equal(seen, expected)
    assert trial.num_inputs == num_trial_inputs(problem.observation.shape[0], problem.actions)
    assert trial.horizon == wrapped.horizon
    for step in range(trial.horizon):
        actions = torch.randn(4, 2) if env == "point" else torch.randint(problem.actions.n, (4,))
        found, wanted = trial.step(actions), wrapped.step(actions)
        for part, (ours, theirs) in enumerate(zip(found[:4], wanted[:4], strict=True)):
            if part != 2:  # a trial is never terminated
                assert torch.equal(ours, theirs), (step, part)


def test_trials_of_several_episodes_keep_the_goals_and_pay_once_an_episode():
    world = maze(5, 30, "random", "ends")
    tasks = world.test.tasks
    generator = torch.Generator().manual_seed(0)
    env, options = environments(world, tasks, 100, [generator])
    trial = VectorTrial(env, 3, wait=True)
    trial.reset(options=options)
    rewards, starts = [], []
    for step in range(90):
        if step % 30 == 0:
            starts.append(env.unwrapped.agent_positions)
        rewards.append(trial.step(torch.randint(4, (env.num_envs,), generator=generator))[1])
    paid = torch.stack(rewards).view(3, 30, -1).sum(1)
    assert paid.max() == 1
    assert (paid.mean(1) > 0.5).all()
    assert not torch.equal(starts[0], starts[1])
    assert [task.goal for task in env.unwrapped.tasks][::100] == [task.goal for task in tasks]


def test_mazes_are_those_of_the_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    """A further generator is an environment's by its name alone."""
    corridor = Layout(("#######", "#.....#", *["#######"] * 5))

    def corridors(n: int, side: int, generator: torch.Generator, device: torch.device):
        return torch.from_numpy(corridor.walls.copy()).expand(n, side, side)

    monkeypatch.setitem(GENERATORS, "corridor", corridors)
    world = Maze(maze="corridor", size=7, start="random")
    assert {task.layout for task in world.train.tasks} == {corridor}
    env = world.make_env(2, [torch.Generator()], CPU)
    assert env.settings.layout == corridor
    with pytest.raises(ValueError, match="maze must be one of"):
        Maze(maze="hedge")
