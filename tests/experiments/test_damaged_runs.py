"""Runs whose files are damaged: every command says which file, in one line, and exits 2."""

import json
import shutil

import pytest

from experiments import plot
from experiments.alphabets import RECIPE as ALPHABETS
from experiments.maze import RECIPE as MAZE
from experiments.maze_adapt import COMPARABLE
from experiments.maze_adapt import RECIPE as MAZE_ADAPT
from experiments.omniglot import RECIPE as OMNIGLOT
from experiments.regression import RECIPE as REGRESSION
from metarl.compare.command import keep
from metarl.compare.settings import Comparison, stored_in
from metarl.errors import UserError
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json, to_json, write_json
from tests.damage import as_bytes, damaged_bytes, damaged_values
from tests.experiments.scripts import maze, maze_adapt, regression

READERS = {
    "experiments.maze": (MAZE.defaults(), MAZE.settings_of),
    "experiments.maze_adapt": (MAZE_ADAPT.defaults("maze", "warp"), MAZE_ADAPT.settings_of),
    "experiments.maze_adapt rl2": (MAZE_ADAPT.defaults("mdp", "rl2"), MAZE_ADAPT.settings_of),
    **{r.name: (r.defaults(), r.settings_of) for r in (REGRESSION, OMNIGLOT, ALPHABETS)},
    "experiments.omniglot warp": (OMNIGLOT.defaults("warp"), OMNIGLOT.settings_of),
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_settings(tmp_path, name):
    settings, read = READERS[name]
    extra = {"recipe": name.split()[0]}
    run = RunDirectory.create(tmp_path / "run", settings, seed=0, **extra)
    whole = json.loads((run.path / "config.json").read_bytes())
    assert read(whole) == settings
    refused = 0
    for value in damaged_values(whole, 300):
        (run.path / "config.json").write_bytes(as_bytes(value))
        try:
            read(RunDirectory.open(run.path).config)
        except UserError as error:
            refused += 1
            message = str(error)
            assert len(message.splitlines()) == 1, message
    assert refused > 60


def test_whole_numbers_may_be_written_with_a_point_and_other_kinds_are_named():
    config = {**to_json(vars(MAZE.defaults()), "config"), "recipe": MAZE.name}
    size = MAZE.settings_of({**config, "hidden_size": 13.0}).hidden_size
    assert size == 13
    assert type(size) is int
    for value in (13.5, "13", True, [13], None):
        with pytest.raises(UserError, match=r"config\.json is not .*hidden_size"):
            MAZE.settings_of({**config, "hidden_size": value})


def test_a_damaged_comparison(tmp_path):
    usual = COMPARABLE.usual
    kept = Comparison(usual.methods, usual.seeds, ("--iterations", "3"), (), usual.evaluate)
    keep(tmp_path, kept, {})
    whole = read_json(tmp_path / "comparison.json")
    for value in damaged_values(whole, 200):
        write_json(tmp_path / "comparison.json", to_json(value, "x"))
        try:
            stored_in(tmp_path, usual.evaluate)
        except UserError:
            continue


TINY_MAZE = (
    *("--size", "5", "--iterations", "2", "--batch-size", "2", "--horizon", "12"),
    *("--hidden-size", "3", "--log-every", "1", "--device", "cpu"),
)
TINY_FIT = ("--iterations", "2", "--meta-batch", "2", "--log-every", "1", "--device", "cpu")
TINY_POINT = (
    *("--iterations", "2", "--meta-batch", "2", "--episodes", "2", "--horizon", "3"),
    *("--hidden", "3", "--log-every", "1", "--device", "cpu"),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    maze(["train", *TINY_MAZE, "--run-dir", str(folder / "maze")])
    maze(["evaluate", str(folder / "maze"), "--tasks", "2"])
    regression(["train", *TINY_FIT, "--run-dir", str(folder / "regression")])
    maze_adapt(["train", *TINY_POINT, "--run-dir", str(folder / "adapt")])
    return folder


def commands(run, output):
    at = str(run)
    own = {
        "maze": (
            (maze, ["evaluate", at, "--tasks", "2"]),
            (maze, ["render", at, "--output", f"{output}.png"]),
            (maze, ["export", at, "--output", f"{output}"]),
            (maze, ["train", "--resume", at]),
        ),
        "regression": (
            (regression, ["evaluate", at, "--tasks", "2", "--steps", "1"]),
            (regression, ["train", "--resume", at]),
        ),
        "adapt": (
            (maze_adapt, ["evaluate", at, "--tasks", "2", "--steps", "1", "--episodes", "2"]),
            (maze_adapt, ["train", "--resume", at]),
        ),
    }
    return *own[run.name], (plot.main, [at, "--output", f"{output}.png"])


DAMAGED = ("config.json", "metrics.jsonl", "checkpoint.pt", "summary.json")


@pytest.mark.parametrize("name", ["maze", "regression", "adapt"])
@pytest.mark.parametrize("file", DAMAGED)
def test_every_command_on_a_damaged_file(runs, tmp_path, capsys, name, file):
    if not (runs / name / file).exists():
        pytest.skip("it has none")
    whole = (runs / name / file).read_bytes()
    kinds = list(damaged_bytes(whole, 8, seed=len(name)))
    if file.endswith(".json"):
        kinds += [as_bytes(v) for v in damaged_values(json.loads(whole), 8, seed=len(name))]
    if file.endswith(".jsonl"):
        rows = [json.loads(line) for line in whole.splitlines()]
        kinds += [b"\n".join(map(as_bytes, v)) + b"\n" for v in damaged_values(rows, 8)]
    for number, data in enumerate(kinds):
        run = tmp_path / str(number) / name
        shutil.copytree(runs / name, run)
        (run / file).write_bytes(data)
        main, arguments = commands(run, tmp_path / f"out-{number}")[number % 3]
        status = 0
        try:
            main(arguments)
        except SystemExit as ended:
            status = ended.code
        said = capsys.readouterr().err.strip().splitlines()
        errors = [line for line in said if line.startswith("error: ")]
        assert (status, len(errors)) in ((0, 0), (2, 1)), (file, number, said)
