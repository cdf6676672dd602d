"""--native on every `train`: what runs, what is written down, how runs go on."""

import json

import pytest

from experiments import regression
from metarl.native import NativeUnavailableError, kernels, mode
from metarl.run import main
from metarl.runs.files import to_json
from metarl.train.trainer import Trainer
from tests.experiments.scripts import ALPHABETS, MAZE, MAZE_ADAPT, OMNIGLOT, REGRESSION

RECIPES = (MAZE, MAZE_ADAPT, REGRESSION, OMNIGLOT, ALPHABETS)
SMALL = ("--hidden", "4", "--meta-batch", "2", "--device", "cpu")


@pytest.fixture(autouse=True)
def kernels_that_training_asks_for(monkeypatch):
    """Every step of a trainer asks for kernels, which are there."""
    monkeypatch.delenv("METARL_NATIVE", raising=False)
    monkeypatch.setattr(mode, "load_library", lambda name: "the library")
    monkeypatch.setattr(mode, "built_by", lambda name: "g++ 1.0")
    monkeypatch.setattr("metarl.native.mlp.kernels", lambda name: None)
    step = Trainer.step

    def asking(self, tasks):
        kernels("toy")
        return step(self, tasks)

    monkeypatch.setattr(Trainer, "step", asking)


def train(*arguments):
    main(regression.RECIPE, ["train", *SMALL, *map(str, arguments)])


def config_of(path):
    return json.loads((path / "config.json").read_text())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_training_has_the_switch(recipe, capsys):
    with pytest.raises(SystemExit):
        main(recipe, ["train", "--help"])
    assert "--native {auto,off}" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_runs_that_were_made_before_ran_eagerly(recipe):
    config = {**to_json(vars(recipe.defaults()), "config"), "recipe": recipe.name}
    assert recipe.settings_of(config).native == "auto"
    del config["native"]
    assert recipe.settings_of(config).native == "off"


def test_run_keeps_to_its_back_end_unless_told_otherwise(tmp_path, capsys):
    train("--iterations", 2, "--run-dir", tmp_path)
    assert config_of(tmp_path)["native_ran"]["kernels"] == {"toy": "g++ 1.0"}
    main(regression.RECIPE, ["train", "--resume", str(tmp_path), "--iterations", "3"])
    assert config_of(tmp_path)["native_ran"]["kernels"] == {"toy": "g++ 1.0"}
    go_on = ["train", "--resume", str(tmp_path), "--iterations", "4", "--native", "off"]
    main(regression.RECIPE, go_on)
    config = config_of(tmp_path)
    assert config["native"] == "off"
    assert config["native_ran"] == {"kernels": {}, "eager": ["native is off"]}
    changed = [entry["changed_from"] for entry in config["resumed"]]
    assert changed[-2:] == [{"iterations": 3}, {"native": "auto"}]


def test_back_end_that_is_gone_is_named_before_any_work(tmp_path, monkeypatch, capsys):
    train("--iterations", 2, "--run-dir", tmp_path)
    before = config_of(tmp_path)

    def gone(name):
        raise NativeUnavailableError("there is no C++ compiler")

    monkeypatch.setattr(mode, "load_library", gone)
    with pytest.raises(SystemExit):
        main(regression.RECIPE, ["train", "--resume", str(tmp_path), "--iterations", "3"])
    error = capsys.readouterr().err
    assert "ran with native kernels" in error
    assert "--native off" in error
    assert config_of(tmp_path) == before
    main(regression.RECIPE, ["evaluate", str(tmp_path), "--tasks", "3"])  # which works anywhere


def test_environment_that_asks_for_no_mode_is_named_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("METARL_NATIVE", "fast")
    with pytest.raises(SystemExit):
        train("--iterations", 2, "--run-dir", tmp_path / "run")
    assert "METARL_NATIVE=fast; it must be auto or off" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_value_that_is_no_mode_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train("--native", "fast", "--run-dir", tmp_path / "run")
    assert not (tmp_path / "run").exists()
