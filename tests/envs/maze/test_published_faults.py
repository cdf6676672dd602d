"""The faults of the published mazes: absent by default, present where a preset asks for them."""

import torch

from envs import GridMazeVectorEnv, MazeTask, VectorMetaObservation, pillar_maze
from envs.maze.layout import MOVES

LAYOUT = pillar_maze(13)
NUM_ENVS = 20000


def landings(teleport: str) -> torch.Tensor:
    """Where `NUM_ENVS` agents are sent by one find, as places."""
    env = GridMazeVectorEnv(NUM_ENVS, teleport=teleport, horizon=1)  # type: ignore[arg-type]
    env.reset(seed=0, options={"tasks": [MazeTask(LAYOUT, (5, 6))] * NUM_ENVS})
    _, rewards, *_ = env.step(torch.zeros(NUM_ENVS, dtype=torch.int64))
    assert (rewards == 10).all()
    return env.agent_cells


def test_thirteen_has_97_free_cells_and_24_pillars() -> None:
    env = GridMazeVectorEnv(1, teleport="interior")
    assert env.layout.num_free == 97
    assert len(env.settings.tables.places) - 97 == 24


def test_a_fifth_of_the_published_teleports_end_in_a_pillar() -> None:
    in_pillar = float((landings("interior") >= 97).float().mean())
    assert abs(in_pillar - 24 / 120) < 5 * 0.0028  # five standard errors


def test_by_default_none_does() -> None:
    assert (landings("free") < 97).all()


def test_a_teleport_never_ends_on_the_goal() -> None:
    goal = LAYOUT.cell_number((5, 6))
    for teleport in ("free", "interior"):
        places = landings(teleport)
        assert (places != goal).all()
        expected = 96 if teleport == "free" else 120
        assert len(places.unique()) == expected, "and everywhere else"


def test_an_agent_in_a_pillar_sees_it_and_walks_out() -> None:
    env = GridMazeVectorEnv(4, teleport="interior", horizon=2)
    # Draw 96 of the places other than the goal is place 97, the first pillar: (2, 2).
    teleports = torch.tensor([[96] * 4] * 2)
    env.reset(options={"tasks": [MazeTask(LAYOUT, (5, 6))] * 4, "teleports": teleports})
    observations, *_ = env.step(torch.zeros(4, dtype=torch.int64))
    assert env.agent_positions.tolist() == [[2, 2]] * 4
    assert observations[:, 4].tolist() == [1.0] * 4
    env.step(torch.arange(4))
    assert env.agent_positions.tolist() == [[2 + down, 2 + right] for down, right in MOVES]


def test_the_goal_is_never_the_centre() -> None:
    _, info = GridMazeVectorEnv(NUM_ENVS).reset(seed=0)
    assert (info["goals"] != LAYOUT.cell_number((6, 6))).all()
    assert len(info["goals"].unique()) == 96


def test_time_is_never_above_one() -> None:
    env = VectorMetaObservation(GridMazeVectorEnv(2, horizon=200))
    env.reset(seed=0)
    times = [env.step(torch.tensor([0, 1]))[0][0, 11].item() for _ in range(200)]
    assert max(times) == times[-1] == 1.0


def test_rows_and_columns_are_not_swapped() -> None:
    env = GridMazeVectorEnv(1, size=5)
    env.reset(options={"tasks": [MazeTask(pillar_maze(5), (3, 3))]})
    env.step(torch.tensor([0]))
    assert env.agent_positions.tolist() == [[1, 2]], "up is one row less"
