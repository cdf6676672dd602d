"""Films of Minigrid show what Minigrid itself would draw."""

import gymnasium
import numpy as np
import pytest

from envs.minigrid.reading import make_minigrid, set_task
from envs.problems import Minigrid
from metarl.evaluate.film import Scene, require_filmed


@pytest.mark.parametrize("env_id", ["MiniGrid-Unlock-v0", "MiniGrid-GoToDoor-5x5-v0"])
def test_pictures_are_minigrids(env_id: str) -> None:
    problem = Minigrid(env_id, grids=5)
    task, length = problem.tasks[0], 30
    env = gymnasium.make_vec("metarl/Minigrid-v0", num_envs=2, tasks=problem.tasks, device="cpu")
    real = make_minigrid(env_id)
    set_task(real, task)
    env.reset(options={"tasks": [problem.tasks[1], task]})
    actions = np.random.default_rng(0).integers(6, size=length)
    actions[actions == 5] = 3  # a toggle would end some
    film = require_filmed(problem)
    seen, frames = [film.watch(env)], [real.get_frame(True, 16)]
    for action in actions:
        env.step([int(action)] * 2)
        real.step(int(action))
        seen.append(film.watch(env))
        frames.append(real.get_frame(True, 16))
    rows = np.stack([notes[1].numpy() for notes in seen])
    scene = Scene("anybody", task, rows, actions, np.zeros(length))
    for t in range(length + 1):
        (picture,) = film.pictures(scene, t, 16)
        height, width, _ = frames[t].shape
        np.testing.assert_array_equal(picture[:height, :width], frames[t])
    assert film.whole(scene, 0, None).shape[1] == max(208, 32 * task.width)  # words need room
