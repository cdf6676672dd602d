"""`export`: weights for other programs are those of the run, and an agent's step is the agent's."""

import json

import numpy as np
import pytest
import torch

import metarl
from metarl.errors import UserError
from metarl.methods.agent_step import AgentStep, example
from metarl.run.export import ExportSettings, export, without_folders
from metarl.runs.directory import RunDirectory
from tests.experiments.scripts import maze, maze_adapt, regression

TINY = ("--iterations", "1", "--device", "cpu")
ADAPT = (*TINY, "--meta-batch", "2", "--horizon", "5")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    small = ("--size", "5", "--horizon", "9", "--batch-size", "2", "--hidden-size", "4")
    for core in ("warp", "lstm", "plastic"):
        maze(["train", *small, *TINY, "--method", core, "--run-dir", str(place / core)])
    maze_adapt(["train", *ADAPT, "--episodes", "2", "--run-dir", str(place / "point")])
    own = ("--env", "maze", "--size", "5", "--episodes", "2", "--core", "gru", "--core-size", "4")
    maze_adapt(["train", *ADAPT, *own, "--run-dir", str(place / "gru")])
    own = ("--env", "mdp", "--method", "rl2")
    maze_adapt(["train", *ADAPT, *own, "--run-dir", str(place / "associative")])
    for core in ("transformer", "linear-attention"):
        maze_adapt(["train", *ADAPT, *own, "--core", core, "--run-dir", str(place / core)])
    double = ("--core", "linear-attention", "--dtype", "float64")
    maze_adapt(["train", *ADAPT, *own, *double, "--run-dir", str(place / "float64")])
    regression(["train", *TINY, "--method", "metasgd", "--run-dir", str(place / "sine")])
    return place


@pytest.mark.parametrize("name", ["warp", "point", "sine"])
def test_safetensors_are_the_weights_of_the_run(runs, name, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    file = tmp_path / "deep" / "weights.safetensors"
    export(ExportSettings(runs / name, file, "safetensors"))
    params = RunDirectory.open(runs / name).load_checkpoint()["learner"]["params"]
    found = safetensors.load_file(file)
    assert found.keys() == params.keys()
    assert all(torch.equal(found[n], params[n]) for n in params)
    with pytest.raises(UserError, match="there already"):
        export(ExportSettings(runs / name, file, "safetensors"))


@pytest.mark.parametrize(
    "name",
    ["warp", "lstm", "plastic", "point", "gru", "associative", "linear-attention", "float64"],
)
def test_a_step_is_the_agents(runs, name):
    agent = metarl.load(runs / name, greedy=True)
    step = AgentStep(agent)
    agent.begin(3)
    state = step.initial_state(3)
    torch.manual_seed(0)
    for _ in range(4):
        seen = torch.randn(3, step.num_inputs)
        outputs, *rest = step(seen, *state)
        state = rest[step.has_value :]
        chosen = agent.act(seen)
        if chosen.is_floating_point():  # means, then log-deviations
            torch.testing.assert_close(outputs[:, : chosen.shape[1]], chosen)
        else:
            assert torch.equal(outputs.argmax(-1), chosen)
            whole = torch.ones(3, dtype=outputs.dtype)
            torch.testing.assert_close(outputs.exp().sum(-1), whole)
    for kept, there in zip(state, agent.agent.state, strict=True):
        torch.testing.assert_close(kept, there[0])


def test_a_memory_that_grows_has_no_step_of_its_own(runs, tmp_path):
    with pytest.raises(UserError, match=r"remembers every step of a trial.*--format safetensors"):
        export(ExportSettings(runs / "transformer", tmp_path / "agent.onnx", "onnx"))
    agent = metarl.load(runs / "transformer", greedy=True)
    agent.begin(2)
    seen = torch.randn(5, 2, agent.num_inputs)
    chosen = [agent.act(x) for x in seen[:3]]
    state = agent.agent.state
    chosen += [agent.act(x) for x in seen[3:]]
    agent.begin(2)
    agent.agent.resume(state)
    assert all(torch.equal(agent.act(x), one) for x, one in zip(seen[3:], chosen[3:], strict=True))
    with pytest.raises(ValueError, match="the state of these episodes has the shapes"):
        agent.agent.resume(state[:-1])


@pytest.mark.parametrize("name", ["warp", "lstm", "point", "associative", "linear-attention"])
def test_onnx_steps_alike_for_any_number_of_trials(runs, name, tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    import onnxruntime

    file = tmp_path / "agent.onnx"
    export(ExportSettings(runs / name, file, "onnx"))
    session = onnxruntime.InferenceSession(file)
    step = AgentStep(metarl.load(runs / name))
    assert [one.name for one in session.get_inputs()] == step.input_names()
    assert [one.name for one in session.get_outputs()] == step.output_names()
    torch.manual_seed(0)
    for num_trials in (1, 3):
        inputs = [torch.randn_like(one) for one in example(step, num_trials)]
        fed = {n: x.numpy() for n, x in zip(step.input_names(), inputs, strict=True)}
        for found, expected in zip(session.run(None, fed), step(*inputs), strict=True):
            np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_what_has_no_step_is_refused(runs, tmp_path):
    with pytest.raises(UserError, match="adapts to examples"):
        export(ExportSettings(runs / "sine", tmp_path / "sine.onnx", "onnx"))
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(runs, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(UserError, match=r"pip install 'metarl-maze\[safetensors\]'"):
        export(ExportSettings(runs / "warp", tmp_path / "w", "safetensors"))
    assert not list(tmp_path.iterdir())


def test_an_exported_learner_is_the_one_that_validation_chose(runs, tmp_path):
    """A checkpoint with a selection, as few-shot images have it."""
    run = RunDirectory.open(runs / "sine")
    state = run.load_checkpoint()
    best = {n: p + 1 for n, p in state["learner"]["params"].items()}
    chosen = {"score": 0.5, "iteration": 1, "learner": {"params": best}}
    state["learner"]["selection"] = {"iteration": 1, "best": chosen, "regular": chosen}
    from metarl.run.export import learned
    from metarl.runs import checkpoint

    changed = RunDirectory(tmp_path, run.config)
    checkpoint.save(changed.checkpoint_path, state)
    small = learned(changed)
    assert all(torch.equal(small["learner"]["params"][n], best[n]) for n in best)
    kept = small["learner"]["selection"]["best"]
    assert kept["score"] == 0.5
    assert all(torch.equal(kept["learner"]["params"][n], best[n]) for n in best)


def test_an_exported_run_names_no_folder_of_the_machine():
    config = {
        **{"run_dir": "/home/me/runs/a", "resume": "/home/me/runs/a", "data": "/data/omniglot"},
        **{"init_from": "/home/me/runs/other", "config": "/home/me/own.yaml", "lr": 0.1},
        "provenance": {"command_line": "train --run-dir=/home/me/runs/a --init-from mazes13"},
    }
    found = without_folders(config)
    assert "/" not in json.dumps(found)
    assert found["run_dir"] is found["resume"] is found["data"] is None
    assert (found["init_from"], found["config"]) == ("other", "own.yaml")
    kept = without_folders({"init_from": "mazes13", "data": None, "provenance": {}})
    assert (kept["init_from"], kept["data"]) == ("mazes13", None)
    assert not {"resume", "config"} & kept.keys()
