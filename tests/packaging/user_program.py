"""What somebody writes who has the wheel alone: ``python user_program.py FOLDER``."""

import sys
from pathlib import Path

import gymnasium

import envs
import metarl
from metarl.experiment import Experiment, compare
from metarl.meta.maml import FOMAMLSettings, MAMLSettings
from metarl.methods.agents import AdaptingPolicy
from metarl.rl import GymnasiumProblem

folder = Path(sys.argv[1])
for package in (metarl, envs):
    assert Path(str(package.__file__)).is_relative_to(sys.prefix), package.__file__

goals = envs.maze_tasks(envs.pillar_maze(7)).split(train=0.5, validation=0.2, test=0.3)
maze = {"size": 7, "horizon": 15, "position": True, "render_mode": "rgb_array"}
problem = GymnasiumProblem(
    lambda: gymnasium.make("metarl/GridMaze-v0", **maze),
    train=goals.train,
    validation=goals.validation,
    test=goals.test,
    task_via="option",
    name="small mazes",
)
agent = AdaptingPolicy(episodes=3, hidden=(8,))
experiments = {
    settings.name: Experiment(
        problem, settings(inner_lr=0.5), agent, iterations=2, meta_batch=2, device="cpu"
    )
    for settings in (MAMLSettings, FOMAMLSettings)
}

# Train, evaluate, film.
maml = experiments["maml"]
maml.train(folder / "maml")
summary = maml.evaluate(folder / "maml", tasks=3, steps=1).summary
assert len(summary["return_mean"]) == 2
assert maml.film(folder / "maml", folder / "film.gif", steps=1).stat().st_size > 1000
adapted = metarl.load(folder / "maml").adapt(problem, goals.test.tasks[0], num_steps=1)
assert adapted.act(gymnasium.make("metarl/GridMaze-v0", **maze).reset(seed=0)[0]) in range(4)

# Compare.
compared = compare(experiments, folder / "compared", (0, 1), tasks=3, steps=1, reference="fomaml")
assert [method["method"] for method in compared.methods] == ["maml", "fomaml"]
assert {"comparison.csv", "comparison.md", "comparison.png"} < {
    path.name for path in (folder / "compared").iterdir()
}

# An agent of the package, in three lines and a loop.
env = envs.MetaObservation(gymnasium.make("metarl/GridMaze-v0", size=13))
player = metarl.load("maze13-warp")
player.begin()
observation, _ = env.reset(seed=0)
earned = 0.0
for _ in range(200):
    observation, reward, terminated, truncated, _ = env.step(player.act(observation))
    player.observe(reward, terminated, truncated)
    earned += float(reward)
assert earned > 100, earned
