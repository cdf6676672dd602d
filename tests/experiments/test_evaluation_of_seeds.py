"""`evaluate` of several seeds, alike in every script: a mean and an interval, said and stored."""

import json

import pytest

from experiments import regression as regression_script
from experiments.maze import evaluate as maze_evaluate
from experiments.maze.__main__ import main as maze
from experiments.maze_adapt import evaluate as adapt_evaluate
from experiments.maze_adapt.__main__ import main as maze_adapt
from metarl.evaluate.evaluation_result import EvaluationResult
from tests.experiments.scripts import regression

SCRIPTS = {
    "maze": (
        maze,
        maze_evaluate,
        ("--size", "5", "--horizon", "5", "--batch-size", "2", "--hidden-size", "3"),
        "mean_return",
    ),
    "maze_adapt": (
        maze_adapt,
        adapt_evaluate,
        ("--env", "bandit", "--horizon", "3", "--meta-batch", "2", "--episodes", "2"),
        "return_mean",
    ),
    "regression": (regression, regression_script, ("--meta-batch", "2", "--hidden", "3"), "mse"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_seeds_are_summed_up_together(name, tmp_path, capsys):
    main, script, options, figure = SCRIPTS[name]
    place = tmp_path / "runs"
    train = ("--iterations", "1", "--seeds", "0", "1", "--device", "cpu", "--run-dir", str(place))
    main(["train", *options, *train])
    settings = script.EvaluateSettings(place, tasks=3, device="cpu", json=True)
    capsys.readouterr()
    result = script.evaluate(settings)
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
    alone = script.evaluate(script.EvaluateSettings(place / "seed-1", tasks=3, device="cpu"))
    assert alone.summary[figure] == result.runs["seed-1"][figure]
