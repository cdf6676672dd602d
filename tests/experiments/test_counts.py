"""Counts that no machine can hold: refused by name as the command line or a config.json is read."""

import dataclasses
import json
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from experiments import alphabets, maze, maze_adapt, omniglot, regression
from experiments.alphabets import SweepSettings
from metarl.compare.settings import evaluation_of
from metarl.errors import RunDirectoryError, UserError
from metarl.run import adaptation, classification, fits, main, showing, trials
from metarl.run.commands import largest_of, told_in_one_line
from metarl.run.counts import check_memory, check_numbers, held, numbers, option
from metarl.run.plot import PlotSettings

RUN = Path("runs/some")
SETTINGS = {
    "maze train": maze.TrainSettings(),
    "maze evaluate": trials.EvaluateSettings(RUN, tasks=7, window=7),
    "maze render": showing.RenderSettings(RUN, steps=7, cell_size=7),
    "maze_adapt train": maze_adapt.defaults("maze", "maml"),
    "maze_adapt train rl2": maze_adapt.defaults("bandit", "rl2"),
    "maze_adapt evaluate": adaptation.EvaluateSettings(RUN, steps=7, episodes=7, chunk_size=7),
    "maze_adapt render": adaptation.RenderSettings(RUN, steps=7, cell_size=7),
    "maze_adapt compare": evaluation_of(adaptation.EvaluateSettings)(
        steps=7, episodes=7, chunk_size=7
    ),
    "regression train": regression.TrainSettings(inner_batch=5),
    "regression evaluate": fits.EvaluateSettings(RUN, steps=7, points=7, inner_batch=5),
    "omniglot train": omniglot.TrainSettings(train_shots=3, query_shots=3, inner_batch=3),
    "omniglot train warp": omniglot.defaults("warp"),
    "omniglot evaluate": classification.CharactersSettings(RUN, tasks=7, steps=7, query_shots=7),
    "alphabets train": alphabets.TrainSettings(),
    "alphabets evaluate": classification.AlphabetsSettings(RUN, steps=7),
    "alphabets sweep": SweepSettings(),
    "plot": PlotSettings((RUN,), smoothing=7),
}
EVERY = [(n, path, value) for n, one in SETTINGS.items() for path, value in numbers(one)]
ALL = [(name, path) for name, path, value in EVERY if isinstance(value, int)]


@pytest.mark.parametrize(("name", "path"), ALL)
def test_a_number_that_no_machine_can_hold_is_refused_by_name(name, path):
    for number in (2**64, 10**30):
        settings = changed(SETTINGS[name], path, number)
        if path.endswith(("seed", "seeds")):
            check_numbers(settings)
        else:
            with pytest.raises(UserError, match=f"^{option(path)} must be at most"):
                check_numbers(settings)


@pytest.mark.parametrize(
    ("name", "path"), [(name, path) for name, path, value in EVERY if isinstance(value, float)]
)
def test_what_json_cannot_hold_is_refused_by_name(name, path):
    """A run that had it in its config.json could be neither resumed nor evaluated."""
    for number in (float("inf"), -float("inf"), float("nan")):
        with pytest.raises(UserError, match=rf"^{option(path)} must be finite, got {number}$"):
            check_numbers(changed(SETTINGS[name], path, number))


def held_alone(name: str, path: str) -> bool:
    return any(path in one for one in held(SETTINGS[name]))


@pytest.mark.parametrize(("name", "path"), [(n, p) for n, p in ALL if held_alone(n, p)])
def test_a_billion_of_what_is_held_does_not_fit(name, path, monkeypatch):
    monkeypatch.setattr("metarl.run.counts.machine_bytes", lambda: 3e9)
    settings = SETTINGS[name]
    number = 10**9 + 1
    with pytest.raises(UserError, match=rf"{option(path)}.* {number}\b"):
        check_memory(changed(settings, path, number))


def changed(settings, path, number):
    """Settings with one of them changed behind their own checks."""
    name, _, rest = path.partition(".")
    old = getattr(settings, name)
    new = changed(old, rest, number) if rest else (number,) if isinstance(old, tuple) else number
    copy = object.__new__(type(settings))
    for field in dataclasses.fields(settings):
        object.__setattr__(copy, field.name, getattr(settings, field.name))
    object.__setattr__(copy, name, new)
    return copy


@pytest.mark.parametrize("name", SETTINGS)
def test_the_usual_settings_fit(name):
    check_memory(SETTINGS[name])


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (maze, ["train", "--hidden-size", "1000000000"]),
        (maze, ["train", "--horizon", str(2**63)]),
        (maze, ["train", "--loss.ppo-clip", "inf"]),
        (
            maze,
            ["train", "--mazes", "dfs", "--curriculum", "plr", "--levels.temperature", "inf"],
        ),
        (regression, ["train", "--inner-lr", "inf"]),
        (maze_adapt, ["train", "--env", "bandit", "--arms", "2000000000"]),
        (maze_adapt, ["compare", "--methods", "none", "--override", f"none.meta-batch={10**30}"]),
        (maze_adapt, ["compare", "--evaluate.tasks", str(10**30)]),
        (omniglot, ["train", "--filters", "1000000000"]),
        (omniglot, ["sweep", "--", "--filters", "1000000000"]),
        (alphabets, ["train", "--warp-filters", "1000000000"]),
        (regression, ["train", "--inner-steps", "1000000000"]),
    ],
)
def test_scripts_refuse_before_anything_is_written(
    program, arguments, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if hasattr(program, "RECIPE"):
        run = partial(main, program.RECIPE)
    else:
        run = import_module(f"{program.__name__}.__main__").main
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --")
    assert not list(tmp_path.iterdir())


def test_a_config_with_such_a_number_is_not_of_this_version():
    written = json.loads(json.dumps(dataclasses.asdict(maze.TrainSettings()), default=str))
    config = written | {"hidden_size": 10**30, "seeds": [0], "recipe": "experiments.maze"}
    with pytest.raises(RunDirectoryError, match="--hidden-size must be at most"):
        maze.RECIPE.settings_of(config)


def test_memory_that_does_not_suffice_after_all_is_told_in_one_line(capsys):
    import numpy as np
    import torch

    makers = (
        lambda: torch.empty(2**55),
        lambda: torch.empty(2**62, 2**62),
        lambda: np.empty(2**57),
        lambda: np.empty((2**62, 2**62)),
        lambda: bytearray(2**60),
    )
    for make in makers:
        with pytest.raises(SystemExit) as ended, told_in_one_line(["--tasks", "5000000"]):
            make()
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "does not fit the memory" in line
        assert line.endswith("take less than --tasks 5000000")
    with pytest.raises(ValueError, match="something else"), told_in_one_line([]):
        raise ValueError("something else")


def test_the_large_counts_of_a_command_line_are_named():
    assert largest_of(["--a", "12", "--b=100000", "--c", "x", "run", "7000"]) == " than --b 100000"
    assert largest_of(["--a", "12"]) == ""
