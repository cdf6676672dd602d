"""`evaluate` of several seeds, alike in every script: a mean and an interval, said and stored."""

import json

import pytest

from experiments import regression as regression_script
from experiments.maze import RECIPE as MAZE
from experiments.maze_adapt import RECIPE as MAZE_ADAPT
from experiments.maze_evaluation import measured_on
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.run import adaptation, trials
from tests.experiments.scripts import maze, maze_adapt, regression

SCRIPTS = {
    "maze": (
        maze,
        trials,
        ("--size", "5", "--horizon", "5", "--batch-size", "2", "--hidden-size", "3"),
        "mean_return",
    ),
    "maze_adapt": (
        maze_adapt,
        adaptation,
        ("--env", "bandit", "--horizon", "3", "--meta-batch", "2", "--episodes", "2"),
        "return_mean",
    ),
    "regression": (regression, regression_script, ("--meta-batch", "2", "--hidden", "3"), "mse"),
}
READERS = {
    "maze": (lambda config: measured_on(MAZE.settings_of(config)),),
    "maze_adapt": (MAZE_ADAPT.settings_of,),
    "regression": (regression_script.RECIPE.settings_of,),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_seeds_are_summed_up_together(name, tmp_path, capsys):
    main, script, options, figure = SCRIPTS[name]
    place = tmp_path / "runs"
    train = ("--iterations", "1", "--seeds", "0", "1", "--device", "cpu", "--run-dir", str(place))
    main(["train", *options, *train])
    settings = script.EvaluateSettings(place, tasks=3, device="cpu", json=True)
    capsys.readouterr()
    result = script.evaluate(settings, *READERS[name])
    said = capsys.readouterr().out.splitlines()
    assert isinstance(result, EvaluationResult)
    assert list(result.runs) == ["seed-0", "seed-1"]
    stored = json.loads((place / "summary.json").read_text())
    assert json.loads(said[-1]) == stored
    assert figure in stored
    assert [run[figure] for run in stored["runs"]] == [
        json.loads((place / seed / "summary.json").read_text())[figure] for seed in result.runs
    ]
    assert any("2 runs" in line or "2 seeds" in line for line in said[:-1])
    alone = script.EvaluateSettings(place / "seed-1", tasks=3, device="cpu")
    alone = script.evaluate(alone, *READERS[name])
    assert alone.summary[figure] == result.runs["seed-1"][figure]
