"""A training that begins from another run: its settings, its weights, or a file of options."""

import json
import shutil
import sys

import pytest
import torch

from experiments.maze import RECIPE as MAZE
from experiments.maze_adapt import RECIPE as MAZE_ADAPT
from experiments.regression import RECIPE as REGRESSION
from metarl import zoo
from metarl.errors import UserError
from metarl.run.beginnings import options_of
from metarl.run.command_line import parse_training
from metarl.runs.config import recipe_of
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import find_runs
from tests.experiments.scripts import maze, maze_adapt, regression

SMALL = ("--size", "5", "--horizon", "9", "--batch-size", "2", "--hidden-size", "4")
TINY = ("--iterations", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "lstm"
    own = ("--method", "lstm", "--lr", "0.05", "--loss.gamma", "0.5", "--seeds", "3", "4")
    maze(["train", *SMALL, *TINY, *own, "--run-dir", str(path)])
    return path


def read(*arguments, recipe=MAZE):
    return parse_training(recipe, "prog", list(arguments))


def test_settings_of_a_run_are_begun_from_and_changed(run):
    kept = MAZE.settings_of(find_runs(run)[0].config)
    found = read("--config", str(run / "seed-3"), "--hidden-size", "6")
    assert found.run_dir is None
    assert found.config == run / "seed-3"
    assert found.hidden_size == 6
    assert (found.core, found.learner, found.loss) == (kept.core, kept.learner, kept.loss)
    assert found.environment == kept.environment
    assert found.seeds == (3, 4)


def test_another_method_takes_what_it_has_of_the_settings(run):
    found = read("--config", str(run / "seed-3"), "--method", "warp")
    assert (found.method, found.core, found.learner.lr) == ("warp-rnn", "warp", 0.05)
    assert found.loss.gamma == 0.5


def test_an_agent_of_the_package_is_a_config():
    found = read("--config", "mazes13", "--iterations", "7")
    assert (found.mazes, found.environment.size, found.iterations) == ("mst", "13", 7)
    assert found.environment.size_schedule == "9:0.4"


def test_a_run_of_another_recipe_is_refused(run):
    with pytest.raises(UserError, match=r"it is a run of experiments.maze, not of"):
        read("--config", str(run / "seed-3"), recipe=MAZE_ADAPT)
    with pytest.raises(UserError, match="neither a run directory nor an agent"):
        read("--config", "mazes1")


OPTIONS = {
    "method": "gru",
    "hidden_size": 5,
    "seeds": [1, 2],
    "loss": {"gamma": 0.25},
    "cuda-graph": False,
}


@pytest.mark.parametrize("ending", ["json", "toml", "yaml"])
def test_options_of_a_file_come_before_those_of_the_command_line(ending, tmp_path):
    file = tmp_path / f"own.{ending}"
    file.write_text(
        'method = "gru"\nhidden_size = 5\nseeds = [1, 2]\ncuda-graph = false\n[loss]\ngamma = 0.25'
        if ending == "toml"
        else json.dumps(OPTIONS)
    )
    if ending == "yaml":  # which JSON is
        pytest.importorskip("yaml", reason="PyYAML is not installed")
    found = read("--config", str(file), "--hidden-size", "9")
    assert (found.method, found.core, found.hidden_size) == ("rl2", "gru", 9)
    assert (found.seeds, found.loss.gamma) == ((1, 2), 0.25)
    assert read(f"--config={file}").hidden_size == 5


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("none.toml", None, "there is no such file"),
        ("odd.json", "[1]", "must map options to values"),
        ("odd.json", "{", "is not valid JSON"),
        ("odd.toml", "x = 1979-05-27", "x is .*which is no option's"),
        ("odd.json", '{"lr": 1, "lr": 2}', "lr is there twice"),
        ("odd.json", '{"lr": "--method"}', "lr is '--method', which is no option's"),
        ("odd.json", '{"seeds": [[1, 2]]}', r"seeds is \[1, 2\], which is no option's"),
        ("odd.json", '{"--lr": 1}', "--lr is no option of a file"),
        ("odd.json", '{"config": "x.json"}', "config is no option of a file"),
        ("odd.json", '{"resume": "runs/x"}', "resume is no option of a file"),
        ("odd.json", '{"lr": -1}', r"lr must .*with the options of .*odd.json"),
        ("odd.json", '{"warp_period": 1}', r"is for warp-rnn.*with the options of .*odd.json"),
        ("config.json", '{"provenance": {}}', "is of a run: name its folder"),
    ],
)
def test_a_file_that_is_none(name, text, told, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=told):
        read("--config", str(tmp_path / name), recipe=MAZE_ADAPT)


def test_an_option_that_there_is_not_is_told(tmp_path, capsys):
    (tmp_path / "odd.json").write_text('{"hiden-size": 3}')
    with pytest.raises(SystemExit):
        read("--config", str(tmp_path / "odd.json"))
    said = capsys.readouterr().err
    assert "--hiden-size" in said
    assert "with the options of" in said


def test_two_configs_are_one_too_many(tmp_path):
    (tmp_path / "own.json").write_text("{}")
    with pytest.raises(UserError, match="--config is given twice"):
        read("--config", str(tmp_path / "own.json"), "--config=mazes13")


def test_words_of_yaml_stay_words(tmp_path):
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    file = tmp_path / "own.YAML"
    file.write_text("native: off\nlr: 1e-2\nlog: []\ncuda-graph: true\nmax_grad_norm: null\n")
    found = read("--config", str(file), "--device", "cpu")
    assert (found.native, found.learner.lr, found.log) == ("off", 0.01, ())
    assert found.cuda_graph
    assert found.learner.max_grad_norm is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lr: 1\nlr: 2", "lr is there twice"),
        ("a: &x {lr: 1}\nloss:\n  <<: *x", "<< is no option"),
        ("a: &a [*a]", "is not valid YAML"),
        ("? {a: 1}\n: 2", "is not valid YAML"),
        ("- lr", "must map options to values"),
        ("lr: 1\n---\nlr: 2", "is not valid YAML"),
    ],
)
def test_yaml_that_is_no_list_of_options(text, told, tmp_path):
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    (tmp_path / "odd.yml").write_text(text)
    with pytest.raises(UserError, match=told):
        read("--config", str(tmp_path / "odd.yml"))


def test_yaml_without_its_package_is_told(tmp_path, monkeypatch):
    (tmp_path / "own.yaml").write_text("size: 5")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(UserError, match=r"pip install 'metarl-maze\[yaml\]'"):
        read("--config", str(tmp_path / "own.yaml"))


def params(path):
    return RunDirectory.open(path).load_checkpoint()["learner"]["params"]


def test_weights_are_begun_with(run, tmp_path):
    """With a step of no size they stay what they were; a seed draws others."""
    own = ("--config", str(run / "seed-3"), "--seeds", "8", "--lr", "1e-30")
    maze(["train", *own, "--init-from", str(run / "seed-4"), "--run-dir", str(tmp_path / "with")])
    maze(["train", *own, "--run-dir", str(tmp_path / "without")])
    there, begun, other = (
        params(run / "seed-4"),
        params(tmp_path / "with"),
        params(tmp_path / "without"),
    )
    assert all(torch.equal(begun[n], there[n]) for n in there)
    assert not all(torch.equal(other[n], there[n]) for n in there)


def test_fast_weights_return_to_those_that_were_begun_with(tmp_path):
    warp = ("--method", "warp-rnn", *SMALL, *TINY)
    maze(["train", *warp, "--seeds", "3", "--run-dir", str(tmp_path / "first")])
    own = ("--config", str(tmp_path / "first"), "--init-from", str(tmp_path / "first"))
    back = ("--warp-period", "1", "--reset-fast", "meta-batch", "--lr", "1e-30")
    maze(["train", *own, *back, "--seeds", "8", "--run-dir", str(tmp_path / "second")])
    there, begun = params(tmp_path / "first"), params(tmp_path / "second")
    assert all(torch.equal(begun[n], there[n]) for n in there)


def test_learners_begin_with_weights_too(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for program, own in (
        (regression, ("--method", "metasgd")),
        (maze_adapt, ("--horizon", "5", "--episodes", "2", "--meta-batch", "2")),
    ):
        name = own[-1]
        program(["train", *TINY, *own, "--run-dir", str(first / name)])
        again = ("--config", str(first / name), "--init-from", str(first / name), "--lr", "1e-30")
        program(["train", *again, "--seeds", "5", "--run-dir", str(second / name)])
        there, begun = params(first / name), params(second / name)
        assert all(torch.equal(begun[n], there[n]) for n in there)


def test_weights_of_another_network_are_refused(run, tmp_path, capsys):
    own = ("--method", "lstm", *SMALL, *TINY, "--hidden-size", "6")
    arguments = [*own, "--init-from", str(run / "seed-3"), "--run-dir", str(tmp_path / "x")]
    with pytest.raises(SystemExit):
        maze(["train", *arguments])
    said = capsys.readouterr().err
    assert "has other weights: actor.weight is (4, 4) there, (6, 4) here" in said
    assert not (tmp_path / "x").exists()
    with pytest.raises(SystemExit):
        maze(["train", *own, "--init-from", "none", "--run-dir", str(tmp_path / "y")])
    assert "none" in capsys.readouterr().err
    assert not (tmp_path / "y").exists()


FEW = ("--horizon", "5", "--meta-batch", "2")


@pytest.mark.parametrize(
    ("program", "own"),
    [
        (regression, ()),
        (maze_adapt, FEW),
        (maze_adapt, ("--method", "ppo", *FEW)),
        (maze_adapt, ("--method", "rl2", *FEW)),
    ],
    ids=["regression", "gradient", "ppo", "rl2"],
)
def test_every_kind_of_learner_refuses_other_weights_before_anything_is_made(
    program, own, run, tmp_path, capsys
):
    where = ("--init-from", str(run / "seed-3"), "--run-dir", str(tmp_path / "x"))
    with pytest.raises(SystemExit) as ended:
        program(["train", *TINY, *own, *where])
    assert ended.value.code == 2
    assert "has other weights: " in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_run_that_began_with_weights_goes_on_without_their_run(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    regression(["train", *TINY, "--run-dir", str(first)])
    regression(["train", *TINY, "--init-from", str(first), "--run-dir", str(second)])
    shutil.rmtree(first)
    regression(["train", "--resume", str(second), "--iterations", "2"])
    assert RunDirectory.open(second).load_checkpoint()["iteration"] == 2


def test_resume_takes_no_config(run, capsys):
    with pytest.raises(SystemExit):
        maze(["train", "--resume", str(run), "--config", str(run / "seed-3")])
    assert "drop --config" in capsys.readouterr().err


def test_every_agent_of_a_recipe_is_a_config():
    for name in zoo.names():
        config = RunDirectory.open(zoo.find(name)).config
        recipe = {r.name: r for r in (MAZE, MAZE_ADAPT, REGRESSION)}.get(recipe_of(config))
        if recipe is not None:
            assert read("--config", name, recipe=recipe).iterations == config["iterations"]


@pytest.mark.parametrize("text", ["", "# method: gru", "---"])
def test_a_file_without_options_is_told(text, tmp_path):
    pytest.importorskip("yaml")
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"own.yaml: it must map options to values"):
        read("--config", str(file))
    file.write_text("init-from:")
    assert options_of(file) == ["--init-from", "None"]
